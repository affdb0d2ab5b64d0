"""What the agent knows about wall time: a stamp, and the observations it comes from."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Who vouches for the wall clock."""

    KERNEL = "kernel"
    SNTP = "sntp"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Stamp:
    """From monotonic to wall time: wall_us = offset_us + monotonic_s * 1e6, off by at most `error_s`."""

    offset_us: int
    error_s: float

    def wall_us(self, monotonic_s: float) -> int:
        """The wall time at that moment of the same boot."""
        return self.offset_us + round(monotonic_s * 1e6)


@dataclass(frozen=True, slots=True)
class Observation:
    """A source says what time it was at a moment of this boot, and how far that may be off.

    `teller` tells apart those that a source has several of.
    """

    source: Source
    wall_us: int
    error_s: float
    teller: str = ""
