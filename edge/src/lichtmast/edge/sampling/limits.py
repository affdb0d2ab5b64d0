"""The bounds of sampling and of counting people."""

from typing import Final

SAMPLE_S_MIN: Final = 0.1
SAMPLE_S_MAX: Final = 86_400
SAMPLE_S: Final = 10.0
SILENCE_S_MIN: Final = 1
SILENCE_S_MAX: Final = 86_400
SILENCE_S: Final = 3_600.0
"""A value within its deadband is sent all the same after this long, so that a quiet sensor is known to live."""
DRIVERS_MAX: Final = 32
READINGS_MAX: Final = 64

COUNTED_INTERVAL_S_MIN: Final = 900
COUNTED_INTERVAL_S_MAX: Final = 86_400
K_MIN: Final = 3
"""At 2 a suppressed count would be known to be 1."""
K: Final = 10
K_MAX: Final = 10_000
VISITORS_MAX: Final = 20_000
"""Distinct addresses of one interval, about 2 MB; a count stands still there and is sent as this many."""
