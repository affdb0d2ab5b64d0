"""Quiet hours: wall-clock times in the Netherlands, also in the two nights of the year when that clock jumps.

Pure. Whether it is quiet is read off the wall clock at that moment, and nothing else: in the night that skips 02:00 to
03:00 hours that end at 02:30 end at 03:00; in the night that has 02:00 to 03:00 twice it is quiet twice.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

MINUTES_PER_DAY: Final = 24 * 60
_MINUTE_US: Final = 60 * 1_000_000
_ZONE: Final = ZoneInfo("Europe/Amsterdam")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one minute of the day until another, over midnight where the second is the smaller."""

    from_minute: int
    until_minute: int

    def holds(self, minute: int) -> bool:
        """Whether a minute of the day is quiet."""
        if self.from_minute < self.until_minute:
            return self.from_minute <= minute < self.until_minute
        return minute >= self.from_minute or minute < self.until_minute


def released_at_us(quiet: QuietHours, now_us: int) -> int:
    """The first moment from now on that is not quiet: now, or the beginning of a minute."""
    first = _first_loud_minute(quiet, now_us // _MINUTE_US)
    return max(now_us, first * _MINUTE_US)


@lru_cache(maxsize=256)
def _first_loud_minute(quiet: QuietHours, minute: int) -> int:
    """Looked for minute by minute, a day at most: no reckoning with offsets is right in every night."""
    while quiet.holds(_minute_of_day(minute)):
        minute += 1
    return minute


def _minute_of_day(minute: int) -> int:
    local = datetime.fromtimestamp(minute * 60, _ZONE)
    return local.hour * 60 + local.minute
