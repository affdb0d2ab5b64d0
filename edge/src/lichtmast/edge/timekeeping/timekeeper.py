"""What time it is, as far as somebody vouches for it.

Keeps its own offset from the monotonic clock to wall time, so that a wall clock that jumps harms nothing that is known.
A source that contradicts itself is not believed until it has stood by its word for a while; readings of meanwhile are
stamped later.

Pure: observations and monotonic time come in. Will not: read or set a clock.
"""

from dataclasses import dataclass

from lichtmast.edge.timekeeping import limits
from lichtmast.edge.timekeeping.values import Observation, Source, Stamp


@dataclass(frozen=True, slots=True)
class TimeStatistics:
    """Whether time is trusted, on whose word and how far it may be off; `jumps` and `refused` observations so far."""

    trusted: bool
    source: Source | None
    error_s: float | None
    jumps: int
    refused: int


@dataclass(frozen=True, slots=True)
class _Known:
    source: Source
    offset_us: int
    error_s: float
    at_s: float

    def error_at(self, monotonic_s: float) -> float:
        return self.error_s + limits.DRIFT_S_PER_S * max(0.0, monotonic_s - self.at_s)

    def agrees(self, other: "_Known") -> bool:
        """Whether both can be true at the moment of the later one."""
        apart_s = abs(self.offset_us - other.offset_us) / 1e6
        return apart_s <= self.error_at(other.at_s) + other.error_s + limits.CONSISTENT_S


class Timekeeper:
    """The agent's wall time. `floor_us` is the last time that was known before: nothing earlier is believed."""

    def __init__(self, *, floor_us: int) -> None:
        self._floor_us = floor_us
        self._known: _Known | None = None
        self._claimed: _Known | None = None  # what the source says since it contradicted what was known
        self._jumps = 0
        self._refused = 0

    def observe(self, observation: Observation, monotonic_s: float) -> None:
        """A source told the time of this moment."""
        if not self._floor_us <= observation.wall_us < limits.TIME_BELOW_US:
            self._refused += 1
            return
        offset_us = observation.wall_us - round(monotonic_s * 1e6)
        told = _Known(observation.source, offset_us, observation.error_s, monotonic_s)
        if self._known is None:
            self._known = told
        elif self._known.agrees(told):
            self._claimed = None
            if told.error_s <= self._known.error_at(monotonic_s):
                self._known = told
        elif self._claimed is None or not self._claimed.agrees(told):
            self._jumps += 1
            self._claimed = told
        elif monotonic_s - self._claimed.at_s >= limits.CONFIRM_S:
            self._known, self._claimed = told, None

    def stamp(self, monotonic_s: float) -> Stamp | None:
        """From monotonic to wall time, as of this moment; None while nothing is trusted."""
        if self._known is None or self._claimed is not None:
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
        )
