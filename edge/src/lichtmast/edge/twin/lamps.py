"""Levels on their way to the lamps: decided once a second, written on change and now and then, tried again on failure.

Each lamp has a task of its own, so one whose driver hangs keeps no other waiting. Nothing here needs the network, the
outbox or the disk.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from lichtmast.edge.clock import Clock
from lichtmast.edge.errors import EdgeError
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.timekeeping.values import Stamp
from lichtmast.edge.twin import limits
from lichtmast.edge.twin.lighting import Lighting
from lichtmast.wire.twin import Event, Level

TOO_LATE: Final = "it ended before the lamp could be told"


class _Lamp:
    """One lamp: what it should do, what it was last told, and who waits for the outcome of the next attempt.

    Each of `waiting` with the reason of the level that it waits for.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.wanted: Level | None = None
        self.written: float | None = None
        self.written_at_s = 0.0
        self.failure = ""
        self.changed = asyncio.Event()
        self.hurry = asyncio.Event()
        self.waiting: list[tuple[str, asyncio.Future[str]]] = []

    def is_settled(self) -> bool:
        """Whether there is nothing to write."""
        return self.wanted is None or self.wanted.level == self.written


class Lamps:
    """The lamps of one device. `actuate(suffix, level)` writes one level and raises EdgeError where it cannot."""

    def __init__(
        self,
        lighting: Lighting,
        targets: Iterable[str],
        actuate: Callable[[str, float], Awaitable[None]],
        *,
        clock: Clock,
        stamp: Callable[[], Stamp | None],
        latest: Callable[[], Mapping[str, Measured]],
        report: Callable[[Event], None],
    ) -> None:
        self.lighting = lighting
        self._lamps = {target: _Lamp(target) for target in targets}
        self._actuate = actuate
        self._clock = clock
        self._stamp = stamp
        self._latest = latest
        self._report = report

    def levels(self) -> dict[str, Level]:
        """What each lamp was told; the reason says so where it does not obey."""
        return {
            lamp.target: Level(lamp.wanted.level, f"{lamp.wanted.reason}; {lamp.failure}")
            if lamp.failure
            else lamp.wanted
            for lamp in self._lamps.values()
            if lamp.wanted is not None
        }

    def wall_s(self) -> float | None:
        """Seconds since 1970, or None while no clock is trusted."""
        stamp = self._stamp()
        return None if stamp is None else stamp.wall_us(self._clock.monotonic_s()) / 1e6

    def decide(self) -> None:
        """Ask the rules and commands now."""
        levels = self.lighting.levels(self._clock.monotonic_s(), self.wall_s(), self._latest())
        for target, lamp in self._lamps.items():
            lamp.wanted = levels.get(target)
            if self._clock.monotonic_s() - lamp.written_at_s >= limits.REWRITE_S:
                lamp.written = None
            if not lamp.is_settled():
                lamp.changed.set()

    async def wait_attempted(self, target: str) -> str:
        """Decide, and wait until the lamp has the level that it should have. Returns why it has not, or "".

        Also when it should have another one by then, because what asked for this one has ended.
        """
        self.decide()
        lamp = self._lamps[target]
        if lamp.wanted is None or lamp.is_settled():
            return ""
        attempt: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        lamp.waiting.append((lamp.wanted.reason, attempt))
        lamp.hurry.set()
        return await attempt

    async def run(self) -> None:
        """Decide and write, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for lamp in self._lamps.values():
                tasks.create_task(self._write(lamp), name=f"lamp {lamp.target}")
            while True:
                self.decide()
                await asyncio.sleep(limits.TICK_S)

    async def _write(self, lamp: _Lamp) -> None:
        pause_s = limits.ACTUATION_RETRY_MIN_S
        while True:
            await lamp.changed.wait()
            lamp.changed.clear()
            lamp.hurry.clear()
            wanted, waiting, lamp.waiting = lamp.wanted, lamp.waiting, []
            failure = "" if wanted is None or lamp.is_settled() else await self._attempt(lamp, wanted.level)
            for reason, attempt in waiting:
                if not attempt.done():
                    stands = wanted is not None and wanted.reason == reason
                    attempt.set_result(failure or ("" if stands else TOO_LATE))
            if not failure:
                pause_s = limits.ACTUATION_RETRY_MIN_S
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await lamp.hurry.wait()
            lamp.changed.set()
            pause_s = min(limits.ACTUATION_RETRY_MAX_S, 2 * pause_s)

    async def _attempt(self, lamp: _Lamp, level: float) -> str:
        """Write one level; returns why it could not be, or "". An episode of failures is reported once."""
        try:
            await self._actuate(lamp.target, level)
        except EdgeError as error:
            if not lamp.failure:
                self._report(Event("actuation_failed", f"{lamp.target}: {error}", self.wall_s()))
            lamp.written, lamp.failure = None, str(error)  # It may have been half done.
            return lamp.failure
        if lamp.failure:
            self._report(Event("actuation_recovered", lamp.target, self.wall_s()))
        lamp.written, lamp.written_at_s, lamp.failure = level, self._clock.monotonic_s(), ""
        return ""
