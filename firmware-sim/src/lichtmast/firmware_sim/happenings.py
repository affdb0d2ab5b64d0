"""What happens in town, seen from one place: a lamp fails, water stands in the street, people gather, something breaks.

A happening comes up and dies away smoothly where the real one does. Every answer follows from the time alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final


@unique
class Kind(Enum):
    """What may happen."""

    LAMP_FAILURE = "lamp_failure"
    FLOOD = "flood"
    FESTIVAL = "festival"
    VANDALISM = "vandalism"


RAMP_S: Final = {Kind.LAMP_FAILURE: 0.0, Kind.FLOOD: 600.0, Kind.FESTIVAL: 1_800.0, Kind.VANDALISM: 0.0}
"""How long it takes to come up, and again to die away, within its duration."""
FLOOD_RAIN_M_S: Final = 0.03 / 3_600
"""Thirty millimetres an hour: a cloudburst that sewers do not swallow."""
FESTIVAL_PASSERS_S: Final = 0.5
"""People who pass a pole each second, at strength 1."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happens here, from `start_s` until `end_s` (seconds since 1970). `strength` 1 is ordinary."""

    kind: Kind
    start_s: float
    end_s: float
    strength: float = 1.0

    def amount(self, at_s: float) -> float:
        """How much of it there is now: 0 up to `strength`."""
        if not self.start_s <= at_s < self.end_s:
            return 0.0
        ramp_s = self._ramp_s
        if not ramp_s:
            return self.strength
        return self.strength * min(1.0, (at_s - self.start_s) / ramp_s, (self.end_s - at_s) / ramp_s)

    def total(self, at_s: float) -> float:
        """The integral of `amount` up to a moment."""
        ramp_s, length_s = self._ramp_s, self.end_s - self.start_s
        since_s = min(max(at_s - self.start_s, 0.0), length_s)
        rising_s, falling_s = min(since_s, ramp_s), max(0.0, since_s - (length_s - ramp_s))
        lost = (ramp_s / 2 if since_s >= ramp_s else rising_s - rising_s**2 / (2 * ramp_s)) if ramp_s else 0.0
        return self.strength * (since_s - lost - (falling_s**2 / (2 * ramp_s) if ramp_s else 0.0))

    @property
    def _ramp_s(self) -> float:
        return min(RAMP_S[self.kind], (self.end_s - self.start_s) / 2)


class Surroundings:
    """All that happens at one place."""

    def __init__(self, happenings: Sequence[Happening] = ()) -> None:
        self.happenings = tuple(happenings)
        self._of = {kind: tuple(one for one in happenings if one.kind is kind) for kind in Kind} if happenings else {}

    def amount(self, kind: Kind, at_s: float) -> float:
        """How much of this kind there is now; 0 is nothing."""
        here = self._of.get(kind)
        return max(one.amount(at_s) for one in here) if here else 0.0

    def total(self, kind: Kind, at_s: float) -> float:
        """The integral of everything of this kind up to a moment."""
        here = self._of.get(kind)
        return sum(one.total(at_s) for one in here) if here else 0.0

    def windows(self, kind: Kind) -> tuple[tuple[float, float], ...]:
        """When it happens, as (start, end)."""
        return tuple((one.start_s, one.end_s) for one in self._of.get(kind, ()))

    def traffic(self, at_s: float) -> float:
        """What is left of the traffic: streets are closed for a festival, and under water nobody drives."""
        if not self._of:
            return 1.0
        flood, festival = self.amount(Kind.FLOOD, at_s), self.amount(Kind.FESTIVAL, at_s)
        return max(0.05, (1 - 0.9 * min(1.0, flood)) * (1 - 0.6 * min(1.0, festival)))


CALM: Final = Surroundings()
"""Nothing happens."""
