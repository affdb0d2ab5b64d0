"""What an interval's samples become: mean, least, most, last, sum and a few that the field needs.

Pure. A mean of decibels is one of energy, a mean of directions one of vectors: the plain mean of 350 and 10 degrees is
south. Will not keep samples: every statistic is a handful of running numbers.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

STATISTICS: Final[Mapping[str, frozenset[str]]] = {
    "mean": frozenset({"number"}),
    "min": frozenset({"number"}),
    "max": frozenset({"number"}),
    "last": frozenset({"number", "counter", "boolean", "text"}),
    "sum": frozenset({"number"}),
    "count": frozenset({"number", "counter", "boolean", "text"}),
    "increase": frozenset({"counter"}),
    "energy_mean": frozenset({"number"}),
    "direction_mean": frozenset({"number"}),
    "any": frozenset({"boolean"}),
}
"""Each statistic and the kinds of channel that have it."""


class Aggregate:
    """The samples of one channel in one interval. `clear` begins the next; a counter goes on from its last value."""

    def __init__(self) -> None:
        self._counter: float | None = None
        self._fallen: float | None = None  # a read below the last, until the next says what it was
        self._before = math.inf  # where a counter stood that began anew
        self.clear()

    def clear(self) -> None:
        """Begin an interval."""
        self.samples = 0
        self.last: float | bool | str = 0.0
        self.last_at_s = 0.0
        self.least = math.inf
        self.most = -math.inf
        self.total = 0.0
        self.increase: float | None = None
        self.energy = 0.0
        self.east = 0.0
        self.north = 0.0

    def add_number(self, value: float, at_s: float) -> None:
        """Take up a gauge's value."""
        self._add(value, at_s)
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        self.total += value
        # 10^(x/10) of a number that is no decibel may be beyond any float; nobody asks for its energy.
        self.energy += 10 ** (value / 10) if value < 3_000 else math.inf  # noqa: PLR2004 - 10^300
        self.north += math.cos(value)
        self.east += math.sin(value)

    def add_counter(self, value: float, at_s: float) -> str:
        """Take up a counter's value, or say why not.

        One that falls is left out. Only the next read tells whether the counter began anew, and then counts on from the
        fallen one; or whether that was a bad read, as meters give while they start. The whole value never counts.
        """
        if self._counter is None:
            self._counter = value
        elif value >= self._counter:
            # Back where it was before it seemed to begin anew: it never did.
            self._grow(value - (self._before if value >= self._before else self._counter))
            if value >= self._before:
                self._before = math.inf
            self._counter = value
        elif self._fallen is not None and value >= self._fallen:
            self._grow(value - self._fallen)
            self._before, self._counter = self._counter, value
        else:
            self._fallen = value
            return f"fell from {self._counter:.15g} to {value:.15g}"
        self._fallen = None
        self._add(value, at_s)
        return ""

    def add_state(self, value: bool | str, at_s: float) -> None:  # noqa: FBT001 - it is the value
        """Take up a switch's or a text's value."""
        self._add(value, at_s)
        self.total += value is True

    def has(self, statistic: str) -> bool:
        """Whether the interval says anything of it.

        A counter's increase takes a value before it to grow from, and a mean of energy values that can be decibels.
        """
        if statistic == "increase":
            return self.increase is not None
        if statistic == "energy_mean":
            return 0 < self.energy < math.inf
        return self.samples > 0

    def value(self, statistic: str) -> float | bool | str:
        """One statistic that the interval has."""
        return _VALUES[statistic](self)

    def _grow(self, step: float) -> None:
        self.increase = step if self.increase is None else self.increase + step

    def _add(self, value: float | bool | str, at_s: float) -> None:  # noqa: FBT001 - it is the value
        self.samples += 1
        self.last, self.last_at_s = value, at_s


def _direction(one: Aggregate) -> float:
    return math.atan2(one.east, one.north) % math.tau


_VALUES: Final[Mapping[str, Callable[[Aggregate], float | bool | str]]] = {
    "mean": lambda one: one.total / one.samples,
    "min": lambda one: one.least,
    "max": lambda one: one.most,
    "last": lambda one: one.last,
    "sum": lambda one: one.total,
    "count": lambda one: float(one.samples),
    "increase": lambda one: one.increase or 0.0,
    "energy_mean": lambda one: 10 * math.log10(one.energy / one.samples),
    "direction_mean": _direction,
    "any": lambda one: one.total > 0,
}
