"""The exact machine for one pair: idle, pending, active, clearing. Few readings get here; they come in order.

A delay is confirmed by a reading at or after its end, never by a timer: what nobody measured is not known.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from lichtmast.ingest.alerting.limits import RATE_PARTS
from lichtmast.ingest.alerting.pairs import State


@dataclass(slots=True)
class Stand:
    """What a pair stands at, while it is walked through its readings."""

    state: State
    since_us: int
    last_us: int
    value: float

    def go(self, time_us: int, value: float, *, breach: bool, calm: bool, for_us: int, clear_for_us: int) -> State:
        """Take one reading; returns ACTIVE where it raised, IDLE where it cleared, PENDING where neither.

        What is neither breach nor calm lies between the two limits of a hysteresis: nothing begins or ends by it.
        """
        if self.state in (State.IDLE, State.PENDING):
            if not breach:
                if self.state is State.PENDING:
                    self._enter(State.IDLE, time_us, time_us, value)
                return State.PENDING
            since_us = self.since_us if self.state is State.PENDING else time_us
            if time_us - since_us >= for_us:
                self._enter(State.ACTIVE, since_us, time_us, value)
                return State.ACTIVE
            if self.state is State.IDLE:
                self._enter(State.PENDING, since_us, time_us, value)
            return State.PENDING
        if not calm:
            if self.state is State.CLEARING:
                self._enter(State.ACTIVE, time_us, time_us, value)
            return State.PENDING
        since_us = self.since_us if self.state is State.CLEARING else time_us
        if time_us - since_us >= clear_for_us:
            self._enter(State.IDLE, time_us, time_us, value)
            return State.IDLE
        if self.state is State.ACTIVE:
            self._enter(State.CLEARING, time_us, time_us, value)
        return State.PENDING

    def _enter(self, state: State, since_us: int, last_us: int, value: float) -> None:
        self.state, self.since_us, self.last_us, self.value = state, since_us, last_us, value


class Window:
    """The last readings of one pair, as far back as its condition looks."""

    def __init__(self, held: Iterator[tuple[int, float]] | None = None) -> None:
        self._readings: deque[tuple[int, float]] = deque(held or ())

    def held(self) -> list[tuple[int, float]]:
        """All that it knows, to be restored."""
        return list(self._readings)

    def rate_per_s(self, time_us: int, value: float, over_us: int) -> float:
        """By how much the result changed a second since the reading that was `over_us` ago; 0 where there is none.

        Of each RATE_PARTS-th of that time only the first reading is held, by the clock: whoever begins to listen
        later holds the same ones.
        """
        readings = self._readings
        while len(readings) > 1 and readings[1][0] <= time_us - over_us:
            readings.popleft()
        rate = 0.0
        if readings and readings[0][0] <= time_us - over_us:
            then_us, was = readings[0]
            if time_us > then_us:
                rate = (value - was) * 1e6 / (time_us - then_us)
        part_us = max(over_us // RATE_PARTS, 1)
        if not readings or readings[-1][0] // part_us != time_us // part_us:
            readings.append((time_us, value))
        return rate

    def is_often(self, time_us: int, count: int, within_us: int, *, flagged: bool) -> bool:
        """Whether the last `count` flagged readings, this one too where it is, lie within `within_us` before now."""
        readings = self._readings
        if flagged:
            readings.append((time_us, 1.0))
            while len(readings) > count:
                readings.popleft()
        # On either side: a flagged time that has not come yet must not hold an alert until it does.
        return len(readings) == count and abs(time_us - readings[0][0]) <= within_us
