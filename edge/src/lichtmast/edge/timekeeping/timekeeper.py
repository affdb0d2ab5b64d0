"""What time it is, as far as somebody vouches for it.

Keeps its own offset from the monotonic clock to wall time, so that a wall clock that jumps harms nothing that is known.
A source that contradicts what is known is not believed until it has stood by its word for a while, and the longer the
stranger its word is; readings of meanwhile are stamped later. The last known time, too, may be the wrong one: a source
that keeps denying it wins in the end.

Pure: observations and monotonic time come in. Will not: read or set a clock.
"""

from dataclasses import dataclass
from typing import Final

from lichtmast.edge.timekeeping import limits
from lichtmast.edge.timekeeping.values import Observation, Source, Stamp

_DAY_US: Final = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class TimeStatistics:
    """Whether time is trusted, on whose word and how far it may be off; `jumps` and `refused` observations so far.

    `doubt` is what a source says that is not believed yet, and how long it must stand by it; "" where there is none.
    """

    trusted: bool
    source: Source | None
    error_s: float | None
    jumps: int
    refused: int
    doubt: str


@dataclass(frozen=True, slots=True)
class _Known:
    source: Source
    offset_us: int
    error_s: float
    at_s: float

    @property
    def wall_us(self) -> int:
        """What was told, when it was told."""
        return self.offset_us + round(self.at_s * 1e6)

    def error_at(self, monotonic_s: float) -> float:
        return self.error_s + limits.DRIFT_S_PER_S * max(0.0, monotonic_s - self.at_s)

    def agrees(self, other: "_Known") -> bool:
        """Whether both can be true at the moment of the later one."""
        apart_s = abs(self.offset_us - other.offset_us) / 1e6
        return apart_s <= self.error_at(other.at_s) + other.error_s + limits.CONSISTENT_S


class Timekeeper:
    """The agent's wall time. `floor_us` is the last time that was known before this boot, or limits.FLOOR_US."""

    def __init__(self, *, floor_us: int) -> None:
        self._floor_us = floor_us
        self._known: _Known | None = None
        self._claims: dict[str, _Known] = {}  # by teller: since when it says what contradicts what is known
        self._jumps = 0
        self._refused = 0

    def observe(self, observation: Observation, monotonic_s: float) -> None:
        """A source told the time of this moment."""
        offset_us = observation.wall_us - round(monotonic_s * 1e6)
        told = _Known(observation.source, offset_us, observation.error_s, monotonic_s)
        if self._known is not None and self._known.agrees(told):
            self._claims.clear()
            if told.error_s <= self._known.error_at(monotonic_s):
                self._known = told
            return
        self._refused += self._is_refused(told)
        if not min(self._floor_us, limits.FLOOR_US) <= told.wall_us < limits.TIME_BELOW_US:
            return
        claim = self._claims.get(observation.teller)
        if claim is None or not claim.agrees(told):
            claim = self._claims[observation.teller] = told
            self._jumps += self._known is not None and not self._is_refused(told)
        if monotonic_s - claim.at_s >= self._needed_s(told):
            self._known = told
            self._floor_us = min(self._floor_us, told.wall_us)
            self._claims.clear()

    def stamp(self, monotonic_s: float) -> Stamp | None:
        """From monotonic to wall time, as of this moment; None while nothing is trusted."""
        if self._known is None or not all(map(self._is_refused, self._claims.values())):
            return None
        return Stamp(self._known.offset_us, self._known.error_at(monotonic_s))

    def statistics(self, monotonic_s: float) -> TimeStatistics:
        """What is known about time at this moment."""
        stamp = self.stamp(monotonic_s)
        return TimeStatistics(
            trusted=stamp is not None,
            source=None if self._known is None else self._known.source,
            error_s=None if stamp is None else stamp.error_s,
            jumps=self._jumps,
            refused=self._refused,
            doubt=self._doubt(),
        )

    def _is_refused(self, told: _Known) -> bool:
        """Whether it says what cannot be, as far as is known: such a claim casts no doubt on what is known."""
        return not self._floor_us <= told.wall_us < limits.TIME_BELOW_US

    def _needed_s(self, told: _Known) -> float:
        """How long a teller must stand by what contradicts what is known, or what nothing is known to bear out."""
        above_us = told.wall_us - self._floor_us
        if above_us < 0:
            return limits.BELOW_FLOOR_S
        if above_us > limits.FAR_US:
            return limits.FAR_S
        was_known = self._floor_us > limits.FLOOR_US
        if self._known is None and (above_us <= limits.NEAR_US or not was_known):
            return 0.0
        return limits.CONFIRM_S

    def _doubt(self) -> str:
        claim = max(self._claims.values(), key=lambda one: one.at_s, default=None)
        if claim is None:
            return ""
        before = self._known
        apart_us = claim.wall_us - self._floor_us if before is None else claim.offset_us - before.offset_us
        return (
            f"{claim.source.value} is {apart_us / _DAY_US:+,.1f} days off the last known time; "
            f"believed when it has said so for {self._needed_s(claim):g} s"
        )
