"""Virtual time, chance from a seed, and a diary: what everything else of the simulation stands on.

Nothing here waits: when nobody has anything to do, time jumps to the next moment at which somebody has.
"""

import asyncio
import random
import selectors
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from ingest_town import NOW_US


class StuckError(RuntimeError):
    """Everybody waits for somebody else: on a real machine this would be silence for ever."""


class _Leap(selectors.DefaultSelector):
    """Waits by moving the hand of the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError("no task is ready and no timer is set")
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is a number."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now_s


def run_virtually(main: Coroutine[Any, Any, None]) -> None:
    """Like asyncio.run, in no time."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class World:
    """One history: its chance, its time, what happened, and how often each kind of fault bit."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - it has to be the same again
        self.bites: Counter[str] = Counter()
        self.verbose = verbose
        self.diary: list[str] = []
        self.blocked: set[str] = set()
        """Directions that are cut: mqtt_up, mqtt_down, coap_up, coap_down."""
        self.loss = 0.0
        self.duplication = 0.0
        self.delay_s = (0.01, 0.2)
        self.ack_loss = 0.0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    @property
    def now_s(self) -> float:
        return self.loop.time()

    def now_us(self) -> int:
        """The true time."""
        return NOW_US + round(self.now_s * 1e6)

    def bite(self, fault: str, detail: object = "") -> None:
        """A fault that did something."""
        self.bites[fault] += 1
        self.note(f"FAULT {fault}", detail)

    def note(self, what: str, detail: object = "") -> None:
        if self.verbose:
            self.diary.append(f"{self.now_s:9.3f}  {what}  {detail}")

    def draw_delay_s(self) -> float:
        return self.chance.uniform(*self.delay_s)
