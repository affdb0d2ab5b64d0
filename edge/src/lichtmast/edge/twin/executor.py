"""The twin at work: wishes and commands come in, configurations, levels and answers go out.

Files are written in a thread, so that neither sampling nor the lamps wait for a slow card. A wish is in force only when
it is on disk: after a power cut the device runs by the old one or the new one.

Will not: speak to the network (`uplink` hands the bytes in and takes the answers), or take samples.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from lichtmast.edge.clock import Clock
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.timekeeping.values import Stamp
from lichtmast.edge.twin import limits
from lichtmast.edge.twin.commands import Commands, Do
from lichtmast.edge.twin.configuration import Abilities, Applied, Configuration, Known, RefusedWish, apply
from lichtmast.edge.twin.errors import KeepError, RebootFailedError
from lichtmast.edge.twin.keeper import Keeper
from lichtmast.edge.twin.lamps import Lamps
from lichtmast.edge.twin.lighting import Lighting
from lichtmast.wire.twin import (
    Answer,
    Dim,
    Event,
    Identify,
    Level,
    Reboot,
    TwinError,
    decode_command,
    decode_desired,
)


@dataclass(frozen=True, slots=True)
class Hands:
    """What the twin moves and tells.

    `actuate(suffix, level)` writes a level and raises EdgeError where it cannot; `reboot` starts anew (see
    `rebooting`); `report` sends an event or an answer; `configured` brings a configuration into force; `restate`
    publishes the state anew. The last three return at once.
    """

    actuate: Callable[[str, float], Awaitable[None]]
    reboot: Callable[[], Awaitable[None]]
    report: Callable[[Event | Answer], None]
    configured: Callable[[Configuration], None]
    restate: Callable[[], None]


class Twin:
    """The twin of one device, from its files in `folder`. Construct it before the event loop has much to do."""

    def __init__(
        self,
        settings: Configuration,
        abilities: Abilities,
        folder: Path,
        hands: Hands,
        *,
        clock: Clock,
        stamp: Callable[[], Stamp | None],
        latest: Callable[[], Mapping[str, Measured]],
    ) -> None:
        self._settings = settings
        self._abilities = abilities
        self._hands = hands
        self._clock = clock
        self._wishes = Keeper(folder / "configuration")
        self._memory = Keeper(folder / "commands")
        self._tell_first: list[Event | Answer] = []
        self.configuration = self._loaded_configuration()
        self._commands, self._was_unfinished = self._loaded_commands()
        self._lamps = Lamps(
            Lighting(abilities.actuators, self.configuration.rules, abilities.place),
            abilities.actuators,
            hands.actuate,
            clock=clock,
            stamp=stamp,
            latest=latest,
            report=hands.report,
        )
        self._wish: bytes | None = None
        self._unwritten: bytes | None = None
        self._orders: deque[bytes] = deque()
        self._lost_orders = 0
        self._work = asyncio.Event()

    def levels(self) -> dict[str, Level]:
        """What each lamp was told, and why."""
        return self._lamps.levels()

    def wish_nowait(self, raw: bytes) -> None:
        """A document came on `cfg`; of those that wait only the last counts."""
        self._wish = raw
        self._work.set()

    def order_nowait(self, raw: bytes) -> None:
        """A document came on `cmd`."""
        if len(self._orders) >= limits.COMMANDS_WAITING_MAX:
            self._lost_orders += 1
            return
        self._orders.append(raw)
        self._work.set()

    async def run(self) -> Never:
        """Work until cancelled. Raises RebootAskedError, in a group, where the process should end."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lamps.run(), name="lamps")
            for one in self._tell_first:
                self._hands.report(one)
            if self._was_unfinished:
                await self._write_memory()
            while True:
                await self._wait_for_work()
                await self._follow_wish()
                await self._follow_orders()

    def _loaded_configuration(self) -> Configuration:
        kept = self._wishes.load()
        if kept.damage is not None:
            self._tell_first.append(Event("configuration_damaged", f"{kept.damage}; the settings file is in force"))
        if kept.content is None:
            return self._settings
        try:
            verdict = apply(self._settings, self._settings, decode_desired(kept.content), self._abilities)
        except TwinError as error:
            self._tell_first.append(Event("configuration_refused", f"the kept one: {error}"))
            return self._settings
        if isinstance(verdict, Applied):
            return verdict.configuration
        if isinstance(verdict, RefusedWish):
            self._tell_first.append(Event("configuration_refused", f"the kept one: {verdict.reason}"))
        return self._settings

    def _loaded_commands(self) -> tuple[Commands, bool]:
        kept = self._memory.load()
        if kept.damage is not None:
            self._tell_first.append(Event("commands_forgotten", kept.damage))
        if kept.content is None:
            return Commands(self._abilities.actuators), False
        try:
            commands, unfinished = Commands.restored(self._abilities.actuators, kept.content)
        except ValueError:
            self._tell_first.append(Event("commands_forgotten", f"{self._memory.path.name} is of another version"))
            return Commands(self._abilities.actuators), False
        # What was being carried out when the memory was written is the reboot, and here we are.
        self._tell_first.extend(commands.finished(one, "", None) for one in unfinished)
        return commands, bool(unfinished)

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(limits.WISH_RETRY_S if self._unwritten is not None else None):
                await self._work.wait()
        except TimeoutError:
            if self._wish is None:
                self._wish = self._unwritten
        self._work.clear()

    async def _follow_wish(self) -> None:
        raw, self._wish = self._wish, None
        if raw is None:
            return
        is_retry = raw == self._unwritten
        self._unwritten = None
        try:
            desired = decode_desired(raw)
        except TwinError as error:
            self._refuse(str(error), None)
            return
        verdict = apply(self._settings, self.configuration, desired, self._abilities)
        if isinstance(verdict, Known):
            self._hands.restate()
            return
        if isinstance(verdict, RefusedWish):
            self._refuse(verdict.reason, desired.version)
            return
        try:
            await asyncio.to_thread(self._wishes.store, raw)
        except KeepError as error:
            self._unwritten = raw
            if not is_retry:
                self._refuse(f"{error}; it is tried again", desired.version)
            return
        self.configuration = verdict.configuration
        self._lamps.lighting.configure(self.configuration.rules)
        self._hands.configured(self.configuration)
        self._lamps.decide()
        self._hands.restate()

    def _refuse(self, reason: str, version: int | None) -> None:
        details = {} if version is None else {"version": version}
        self._hands.report(Event("configuration_refused", reason, self._lamps.wall_s(), details))

    async def _follow_orders(self) -> None:
        while self._orders:
            raw = self._orders.popleft()
            try:
                command = decode_command(raw)
            except TwinError as error:
                self._hands.report(Event("command_refused", str(error), self._lamps.wall_s()))
                continue
            verdict = self._commands.judge(command, self._lamps.wall_s())
            if isinstance(verdict, Do):
                await self._do(verdict)
            elif verdict is not None:
                self._hands.report(verdict)
        if self._lost_orders:
            lost, self._lost_orders = self._lost_orders, 0
            reason = f"{lost} commands came faster than they could be carried out and were not read"
            self._hands.report(Event("commands_lost", reason, self._lamps.wall_s()))

    async def _do(self, order: Do) -> None:
        now_s, lighting = self._clock.monotonic_s(), self._lamps.lighting
        match order.order:
            case Dim(level):
                lighting.dim(order.target, level, now_s + order.for_s)
                self._finished(order.id, await self._obeyed(order.target, lighting.release))
            case Identify():
                lighting.identify(order.target, now_s, now_s + order.for_s)
                self._finished(order.id, await self._obeyed(order.target, lighting.release_blinking))
            case Reboot():
                await self._reboot(order.id)

    async def _obeyed(self, target: str, take_back: Callable[[str], None]) -> str:
        """Why the lamp does not do as commanded, or ""; what it does not do is taken back."""
        reason = await self._lamps.wait_attempted(target)
        if reason:
            take_back(target)
        return reason

    async def _reboot(self, command_id: str) -> None:
        reason = await self._write_memory()
        if not reason:
            try:
                await self._hands.reboot()
            except RebootFailedError as error:
                reason = str(error)
            else:
                return  # The machine goes down; the answer comes after it.
        self._finished(command_id, reason)
        await self._write_memory()

    async def _write_memory(self) -> str:
        """Why the memory of commands could not be written, or ""."""
        try:
            await asyncio.to_thread(self._memory.store, self._commands.dump())
        except KeepError as error:
            return str(error)
        return ""

    def _finished(self, command_id: str, reason: str) -> None:
        self._hands.report(self._commands.finished(command_id, reason, self._lamps.wall_s()))
        self._hands.restate()
