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
