"""The wall clock of this program: the only place that reads it."""

import time


def wall_clock_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1_000
