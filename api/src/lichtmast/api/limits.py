"""Every limit of the HTTP side, named once. Units are last in the names."""

from typing import Final

# What one request may carry.
PATH_CHARACTERS_MAX: Final = 1_000
QUERY_CHARACTERS_MAX: Final = 4_000
HEADER_BYTES_MAX: Final = 16 * 1024
"""All request headers together, as the server's parser counts them."""
BODY_BYTES_MAX: Final = 0
"""Everything here is read with GET; a body is refused before it is read."""
CONNECTIONS_MAX: Final = 1_000
REGISTRY_BUSY_RETRY_S: Final = 30
"""When who found the register busy may ask again; an import of a large city holds it for half a minute."""
REQUEST_TIMEOUT_S: Final = 15.0
"""What a client may take to send one request whole, headers and body."""

# TLS.
TLS_HANDSHAKE_TIMEOUT_S: Final = 10.0
TLS_CLOSE_TIMEOUT_S: Final = 1.0
"""What a client may take to answer that we close; many never do, and the end of the server waits for them."""
TLS_HANDSHAKES_MAX: Final = 256
"""Handshakes that may be going on at one time; the next connection is closed."""
CONNECTIONS_OF_NETWORK_MAX: Final = 400
"""Connections from one /64, those that shake hands included."""

# EST: who asks has shown nothing yet, so everything is small.
EST_BODY_BYTES_MAX: Final = 8 * 1024
"""A certificate request of ours has about 500 bytes of base64."""
EST_NETWORK_BURST, EST_NETWORK_PER_S = 60, 6.0
"""Requests of one /64: so many at once, then so many a second. A street may share one /64."""
EST_SITE_BURST, EST_SITE_PER_S = 100, 20.0
"""The same of one /48, whose owner has 65,536 of those: half of what everybody has."""
EST_BURST, EST_PER_S = 200, 40.0
"""Requests of everybody together who only read, of those who show a certificate, and of the others: each for itself."""
EST_NETWORKS_MAX: Final = 4_096
"""Networks, and sites, whose requests are counted at one time."""
EST_THREADS: Final = 2
EST_WAITING_MAX: Final = 64
"""Certificate requests that may wait for a thread; the next one gets 503."""

# The management API.
V1_BODY_BYTES_MAX: Final = 64 * 1024
V1_TEXT_CHARACTERS_MAX: Final = 200
V1_LABEL_CHARACTERS_MAX: Final = 4_096
"""More than a label has: one that is too long is refused with a sentence of its own."""
V1_PAGE_DEFAULT, V1_PAGE_MAX = 100, 1_000
TRIAL_DAYS_DEFAULT, TRIAL_DAYS_MAX = 30, 92
"""Of what is stored, for trying a rule of alerts."""
NEAR_DEFAULT, NEAR_MAX = 10, 100
"""Lampposts around an engineer."""
CLAIM_WAIT_MAX_S: Final = 60
CLAIM_POLL_S: Final = 0.5
CLAIM_WAITERS_MAX: Final = 50
"""Requests that may wait for news of a claim; the next is answered at once."""
REFUSED_DEVICES_KEPT_MAX: Final = 10_000

# SensorThings pages.
ENTITIES_DEFAULT: Final = 100
ENTITIES_MAX: Final = 1_000
OBSERVATIONS_DEFAULT: Final = 100
OBSERVATIONS_MAX: Final = 10_000
OBSERVATIONS_SKIP_MAX: Final = 100_000
"""Skipped rows are read and thrown away; @iot.nextLink continues by time and needs no skipping."""
EXPANDED_OBSERVATIONS_DEFAULT: Final = 20
EXPAND_DEPTH_MAX: Final = 3
EXPANDED_SERIES_MAX: Final = 250
"""Datastreams whose Observations one request may read one by one; the latest of each is one read for all."""
ORDERED_SERIES_MAX: Final = 2_000
"""Datastreams whose Observations are merged by time; over more of them they come datastream by datastream."""
EXPANDED_ENTITIES_MAX: Final = 20_000
PATH_SEGMENTS_MAX: Final = 8
FILTER_TOKENS_MAX: Final = 200
FILTER_DEPTH_MAX: Final = 20

# Live readings.
LIVE_BATCH_READINGS_MAX: Final = 2_000
"""Readings in one event; what does not fit goes first in the next one."""
LIVE_SNAPSHOT_READINGS_MAX: Final = 5_000
LIVE_PENDING_ROWS_MAX: Final = 1_000_000
LIVE_QUEUE_BATCHES_MAX: Final = 8
LIVE_REPLAY_BATCHES_MAX: Final = 60
LIVE_THINGS_MAX: Final = 100
"""Lampposts that one stream may name in its `things` parameter."""
LIVE_SEND_TIMEOUT_S: Final = 20.0

# Pages.
LIST_PAGE_LENGTH: Final = 24
SEARCH_CHARACTERS_MAX: Final = 100
LAST_READINGS: Final = 20
MAP_POINTS_MAX: Final = 50_000
