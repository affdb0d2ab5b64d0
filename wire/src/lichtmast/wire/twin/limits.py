"""The bounds of every member of a twin document, named once; units are last in the names."""

from typing import Final

TWIN_BYTES_MAX: Final = 16 * 1024
TWIN_DEPTH_MAX: Final = 6
VERSION_MAX: Final = 2**53 - 1
UNIX_MAX_S: Final = 4_102_444_800
"""2100-01-01T00:00:00Z, as for readings."""
INTERVAL_MIN_S: Final = 0.1
INTERVAL_MAX_S: Final = 86_400
SAMPLE_MIN_S: Final = 0.1
MAGNITUDE_MAX: Final = 1e12
"""Thresholds, deadbands and reported numbers lie within plus and minus this."""
SENSORS_MAX: Final = 64
RULES_MAX: Final = 16
DIMMED_MAX: Final = 8
REPORTS_MAX: Final = 32
REPORT_FIELDS_MAX: Final = 32
TEXT_LENGTH_MAX: Final = 500
OFFSET_MAX_S: Final = 2 * 3600
SUN_MIN_DEG: Final = -18
SUN_MAX_DEG: Final = 6
HOLD_MIN_S: Final = 10
RULE_MAX_S: Final = 86_400
"""The longest hold, delay, release and age of a value in a rule."""
IDENTIFY_MAX_S: Final = 300
UPTIME_MAX_S: Final = 10**10
