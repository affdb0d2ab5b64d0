"""The events that wait for a link which takes them: in order, bounded, and answers to commands before anything else.

Will not lose an answer for an event: somebody upstream waits for each.
"""

from collections import deque
from dataclasses import dataclass

from lichtmast.edge.uplink import limits


@dataclass(frozen=True, slots=True, eq=False)  # two equal events are two events
class Waiting:
    """One event, encoded; `is_answer` where it answers a command."""

    payload: bytes
    is_answer: bool


class Events:
    """A queue that makes room for what is newer and matters more; `dropped` counts what it cost."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, payload: bytes, *, is_answer: bool) -> None:
        """One more. In a full queue the oldest event makes room, and only where all are answers the oldest answer."""
        new = Waiting(payload, is_answer)
        self._waiting.append(new)
        if len(self._waiting) > limits.EVENTS_MAX:
            self.dropped += 1
            self._waiting.remove(next((one for one in self._waiting if not one.is_answer), self._waiting[0]))

    def first(self) -> Waiting | None:
        """The next to send; it waits on until it is `sent`."""
        return self._waiting[0] if self._waiting else None

    def sent(self, one: Waiting) -> None:
        """The other side has it; it may have had to make room meanwhile."""
        if one in self._waiting:
            self._waiting.remove(one)
