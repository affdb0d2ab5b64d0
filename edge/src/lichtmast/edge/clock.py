"""The agent's only view of time: a monotonic clock that never jumps, and a wall clock that nobody has vouched for yet.

Whether the wall clock may be believed is decided in `timekeeping`. Will not set any clock.
"""

import time
from pathlib import Path
from typing import Final, Protocol

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What reads time; tests and simulations bring their own."""

    @property
    def boot(self) -> str:
        """The id of this boot; monotonic times can be compared only within one."""

    def monotonic_s(self) -> float:
        """Seconds since some moment of this boot; goes on while suspended, and never jumps."""

    def wall_us(self) -> int:
        """The system's wall clock in microseconds since 1970, trusted or not."""


class SystemClock:
    """The clock of this machine."""

    def __init__(self) -> None:
        self._boot = _BOOT_ID.read_text().strip()

    @property
    def boot(self) -> str:
        """The kernel's id of this boot."""
        return self._boot

    def monotonic_s(self) -> float:
        """Seconds since the boot. CLOCK_MONOTONIC stands still while the machine sleeps, CLOCK_BOOTTIME does not."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_us(self) -> int:
        """The system's wall clock."""
        return time.time_ns() // 1_000
