"""When to measure and when to report: ticks on the monotonic clock that neither drift nor come in a burst.

Pure. Tick n lies at begin + n * interval, a little later by seeded chance: a thousand devices that got their current
back at the same moment do not speak in the same moment, for as long as they live. Ticks that passed while the machine
slept or was busy are counted, not made up for.
"""

import math
from random import Random
from typing import Final

JITTER_SHARE: Final = 0.05
"""Of the interval: how much later than its place a tick may come."""


class Schedule:
    """Ticks every `interval_s`, the first within `spread_s` of `now_s`; `missed` counts those nobody came for."""

    def __init__(self, interval_s: float, *, seed: int, now_s: float, spread_s: float = 0.0) -> None:
        self._chance = Random(seed)  # noqa: S311 - spreads devices
        self._interval_s = interval_s
        self._begin_s = now_s + spread_s * self._chance.random()
        self._tick = 0
        self.next_s = self._begin_s
        self.missed = 0

    @property
    def interval_s(self) -> float:
        """The time between two ticks."""
        return self._interval_s

    def due(self, now_s: float) -> bool:
        """Whether a tick has come; then `next_s` is the next one after now, whatever was missed in between."""
        if now_s < self.next_s:
            return False
        latest = max(self._tick, math.floor((now_s - self._begin_s) / self._interval_s))
        self.missed += latest - self._tick
        self._tick = latest + 1
        late_s = JITTER_SHARE * self._interval_s * self._chance.random()
        self.next_s = self._begin_s + self._tick * self._interval_s + late_s
        return True

    def change(self, interval_s: float, now_s: float) -> None:
        """Another interval from now on; the same one changes nothing."""
        if interval_s != self._interval_s:
            self._interval_s = interval_s
            self._begin_s = now_s + interval_s
            self._tick = 0
            self.next_s = self._begin_s
