"""How long the server has listened, by the times in its log: the clock that silence is measured with.

A server that was away for a night has not heard anybody; nobody was silent for it. So a leap of its clock does not
count: neither the hours that it was off, nor a clock that was set forward. One that was set back goes on from there.
Ticks keep the steps small while the town says nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.limits import BACK_MAX_US, LEAP_MAX_US


@dataclass(frozen=True, slots=True)
class Heard:
    """Behind each row: what the server's clock says, and how long it has listened; `awake_before` is before the row."""

    wall_us: npt.NDArray[np.int64]
    awake_us: npt.NDArray[np.int64]
    awake_before_us: npt.NDArray[np.int64]


@dataclass(slots=True)
class Listening:
    """`watermark_us` is the latest time of reception, `awake_us` a clock that stands still while nobody listens."""

    watermark_us: int = 0
    awake_us: int = 0
    leap_max_us: int = LEAP_MAX_US

    @property
    def away_us(self) -> int:
        """By how much the wall clock is ahead of the listening one."""
        return self.watermark_us - self.awake_us

    def hear(self, received_us: npt.NDArray[np.int64], counts: npt.NDArray[np.bool_]) -> Heard:
        """Go on over rows; those that do not count (they came back from quarantine) stand at the time of before."""
        times = np.where(counts, received_us, np.iinfo(np.int64).min)
        if not self.watermark_us and counts.any():
            self.watermark_us = self.awake_us = int(times[np.argmax(counts)])
        wall = np.maximum.accumulate(np.concatenate(([self.watermark_us], times)))
        if (counts & (times < wall[:-1] - BACK_MAX_US)).any():
            return self._hear_each(times.tolist(), counts.tolist())
        steps = np.diff(wall)
        steps[steps > self.leap_max_us] = 0
        awake = self.awake_us + np.concatenate(([0], np.cumsum(steps)))
        self.watermark_us, self.awake_us = int(wall[-1]), int(awake[-1])
        return Heard(wall[1:], awake[1:], awake[:-1])

    def _hear_each(self, times: list[int], counts: list[bool]) -> Heard:
        """The same row by row: the clock goes back somewhere in here."""
        wall, awake = [self.watermark_us], [self.awake_us]
        for time_us, count in zip(times, counts, strict=True):
            step = time_us - wall[-1]
            goes = count and (step > 0 or step < -BACK_MAX_US)
            wall.append(time_us if goes else wall[-1])
            awake.append(awake[-1] + (step if goes and 0 < step <= self.leap_max_us else 0))
        self.watermark_us, self.awake_us = wall[-1], awake[-1]
        return Heard(np.array(wall[1:]), np.array(awake[1:]), np.array(awake[:-1]))
