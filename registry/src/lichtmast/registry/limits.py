"""Every limit of the register, named once. Units are last in the names."""

BUSY_TIMEOUT_MS = 10_000
"""How long a writer waits for another process' write before it gives up."""

PAGE_RECORDS_MAX = 10_000
"""Largest page a reader may ask for."""
LOOKUP_IDS_MAX = 500
"""Most ids in one IN list; SQLite's own limit is 32,766 variables."""

DEVICES_PER_ASSET_MAX = 16
"""Devices of one profile that may hang on one asset at the same time."""

# Import.
IMPORT_FILE_BYTES_MAX = 4 * 1024**3
IMPORT_CHUNK_BYTES = 256 * 1024
IMPORT_JSON_CHUNK_CHARACTERS = 32 * 1024
"""Smaller, because the parser keeps all tokens of a chunk as objects, about 15 times its size."""
IMPORT_BATCH_ROWS = 2_000
IMPORT_FIELD_CHARACTERS_MAX = 10_000
"""One cell, attribute or text element."""
IMPORT_FEATURE_EVENTS_MAX = 2_000
"""JSON tokens of one GeoJSON feature; a point with 30 properties has about 80."""
IMPORT_JSON_DEPTH_MAX = 32
IMPORT_COLUMNS_MAX = 500
IMPORT_XML_DEPTH_MAX = 32
IMPORT_XML_RECORD_ELEMENTS_MAX = 500
ENCODING_SAMPLE_BYTES = 64 * 1024
"""How much of the text outside ASCII is looked at to tell its encoding."""

REPORT_PROBLEMS_MAX = 200
"""Problems of one kind that a report spells out; the count goes on."""
EXAMPLE_CHARACTERS_MAX = 60
"""How much of a wrong value a message repeats."""

NAME_CHARACTERS_MAX = 200
SOURCE_ID_CHARACTERS_MAX = 200

# Where the Netherlands are, with a margin. CRS84 in degrees, RD New (EPSG:28992) in metres.
LONGITUDE_MIN, LONGITUDE_MAX = 3.2, 7.3
LATITUDE_MIN, LATITUDE_MAX = 50.7, 53.7
RD_X_MIN_M, RD_X_MAX_M = 7_000.0, 300_000.0
RD_Y_MIN_M, RD_Y_MAX_M = 289_000.0, 629_000.0

# The log of changes.
ACTOR_CHARACTERS_MAX = 200
EVENT_BYTES_MAX = 16 * 1024
"""What an event says of before and after; a longer list is logged as a count and a digest."""
AUDIT_BATCH_ROWS = 2_000
"""Events in memory at a time while the log is verified or exported."""
POSITION_RETENTION_US = 365 * 24 * 3600 * 1_000_000
"""How long it is kept where an engineer stood when a device was claimed."""

# Claims and certificates.
CLAIM_HOURS_MAX = 24
CLAIM_WRONG_KEYS_MAX = 5
"""Enrolments with another key that are counted and logged for a claim; the last of them is told as an attack."""
ENROLMENT_RETRY_S = 2
"""When a node that nobody claimed yet may ask again, at the earliest."""
RENEWAL_AGAIN_LIFE_FRACTION = 0.01
"""A certificate younger than this part of its life is handed out again instead of a new one: the answer got lost."""
CERTIFICATES_PER_HOUR_MAX = 4
"""New ones for one device; asked more often, it gets the newest again, so that no device fills the issuance log."""
CERTIFICATES_LIVE_MAX = 10
"""Valid ones of one device. A device that has them gets the newest again, while that one is young enough."""
ENOUGH_LIFE_FRACTION = 0.5
"""Younger than this part of its life, and so before a node renews by itself."""
REVOKED_SPELLED_MAX = 10
"""Serial numbers that an event spells out; all of them are in its digest and in the issuance log."""
ENDED_KEPT_US = 30 * 24 * 3600 * 1_000_000
"""How long an ended certificate is still known at the doors: for a clock that was wrong when they asked."""
ACCURACY_MAX_M = 100_000.0
LABELS_PER_SHEET = 24
"""Three columns of eight on A4."""
PUBLIC_KEY_BYTES_MAX = 4096
"""Of a public key's file; P-256 in PEM has 178."""
LABELS_MAX = 10_000
"""In one file."""

VALIDATION_NOTE_CHARACTERS_MAX = 500
"""Why the rules of validation were changed, in the words of who did."""
VALIDATION_DOCUMENT_BYTES_MAX = 2 * 1024**2
"""Of one version of the rules, as JSON."""
VALIDATION_TRIAL_DAYS_DEFAULT, VALIDATION_TRIAL_DAYS_MAX = 7.0, 31.0
"""How far back rules are tried on what is stored."""
