"""Every limit of the wire, named once. Units are last in the names."""

TENANT_LENGTH = 6
DEVICE_LENGTH_MIN = 3
DEVICE_LENGTH_MAX = 40

# A pack as a whole (our own limits; RFC 8428 has none).
PACK_BYTES_MAX = 64 * 1024
PACK_BYTES_MAX_COAP = 1_024
"""What a pack on CoAP should fit in (DESIGN section 6); larger ones travel by Block1 up to PACK_BYTES_MAX."""
PACK_RECORDS_MAX = 1_000
PACK_DEPTH_MAX = 4
NAME_LENGTH_MAX = 255
SUFFIX_LENGTH_MAX = 180
"""What follows the device URN in a name; the longest URN of ours has 58 characters, so the name stays within 255."""
TEXT_VALUE_LENGTH_MAX = 1_024
NUMBER_LENGTH_MAX = 64
"""Characters of one JSON number; the longest float64 needs 24."""

# Time policy for absolute times, relative to the moment of reception.
TIME_PAST_MAX_S = 30 * 24 * 3600
TIME_FUTURE_MAX_S = 5 * 60
SENML_RELATIVE_BELOW = 2**28
"""RFC 8428 section 4.5.3: time sums below this are relative to now."""
TIME_SUM_MAX_S = 10**11
"""A sum of base time and time further from zero than this (the year 5138) is no time at all."""
TIME_BELOW_S = 4_102_444_800
"""2100-01-01T00:00:00Z: phenomenon times from here on are refused, whatever the clock says."""

EPOCH_MAX = 2**53 - 1
SEQ_MAX = 2**53 - 1
"""Largest integers that every JSON reader keeps exact (RFC 7493 section 2.2)."""

DROPPED_RANGES_MAX = 16
DROPPED_NUMBERS_MAX = 1_000_000
"""What one pack may declare as dropped; more goes with the next pack."""
DROPPED_TEXT_LENGTH_MAX = 16 * (16 + 1 + 16 + 1)
"""Characters of a declaration: sixteen ranges of two 16-digit numbers, a dash and a comma."""
TIME_ERROR_MAX_S = 10**9
"""Seconds; an error of more than thirty years is no bound."""
TIME_ERROR_TOLD_S = 1.0
"""A sender tells its clock error only above this."""
TIME_ERROR_FLAGGED_S = 2.0
"""Readings of a pack whose sender tells more than this are flagged TIME_UNCERTAIN."""

ENVELOPE_PACKS_MAX = 4_096
ENVELOPE_BYTES_MAX = 900 * 1024
"""One log message of grouped packs; below the broker's max_payload of 1 MiB with room for headers."""

ACK_RANGES_MAX = 16
ACK_REFUSALS_MAX = 16

PIN_BYTES = 16
"""Of a key on a label: 128 bits of SHA-256, which nobody finds a second key for."""
LABEL_CHARACTERS_MAX = 512
"""The longest label has 108; a longer code is told what it is (two labels, an address) up to here."""

VALIDATION_WINDOW = 32
"""Readings of a datastream that validation remembers; no rule can look further back."""
VALIDATION_TABLES_MAX = 10_000
"""Tables of one document of validation rules."""
VALIDATION_ACCEPTS_MAX = 8
"""Foreign units that one capability takes."""
