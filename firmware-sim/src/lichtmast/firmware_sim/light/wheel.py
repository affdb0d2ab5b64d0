"""A timer wheel: thousands of deadlines, one clock hand. Sans-IO; cheaper than a task or a timer handle for each.

Deadlines are kept in slots of a tick, so one goes off up to a tick late, and never early but for one that was put off:
an item whose deadline moves back is shown at the old moment too, and asks for its new one again.
"""

import math
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Deadlines of items, one each. `now_s` is where the hand stands."""

    def __init__(self, now_s: float, tick_s: float) -> None:
        self._tick_s = tick_s
        self._hand = math.floor(now_s / tick_s)
        self._slots: dict[int, list[T]] = {}
        self._slot_of: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._slot_of)

    def set(self, item: T, at_s: float) -> None:
        """Show the item at this moment, or at an earlier one that was asked for before."""
        slot = max(self._hand + 1, math.ceil(at_s / self._tick_s))
        if slot < self._slot_of.get(item, slot + 1):
            self._slot_of[item] = slot
            self._slots.setdefault(slot, []).append(item)

    def turn(self, now_s: float) -> list[T]:
        """The items whose moment came; each has no deadline any more."""
        hand = math.floor(now_s / self._tick_s)
        due: list[T] = []
        late = hand - self._hand > len(self._slots)  # a long pause: look at the slots there are, not at all between
        slots = sorted(one for one in self._slots if one <= hand) if late else range(self._hand + 1, hand + 1)
        for slot in slots:
            for item in self._slots.pop(slot, ()):
                if self._slot_of.get(item) == slot:
                    del self._slot_of[item]
                    due.append(item)
        self._hand = max(self._hand, hand)
        return due
