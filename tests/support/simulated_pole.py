"""The agent of a simulation: the real outbox, timekeeper, courier, fail-over and delivery, killed and started again.

A kill copies the outbox's files as they are at that instant and lets nothing of the old life act any more. What it had
in memory is gone; what SQLite had written is there.
"""

import asyncio
import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from simulated_links import Broker, SimulatedCoap, SimulatedMqtt
from simulated_server import DEVICE
from simulated_world import World

from lichtmast.edge.outbox import Draft, OutboxSettings, OutboxThread, Packed
from lichtmast.edge.outbox import outbox as outbox_module
from lichtmast.edge.outbox.storage import Connection, connect_sqlite
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.timekeeping.timekeeper import Timekeeper
from lichtmast.edge.timekeeping.values import Observation, Source
from lichtmast.edge.uplink import Delivery, Failover, Link
from lichtmast.firmware_sim.checker import Account, Books, PackKey
from lichtmast.firmware_sim.history import digest
from lichtmast.wire import faultpoint, senml

_T = TypeVar("_T")
PATIENCE_S, RETURN_S, SPREAD_S = 40.0, 120.0, 30.0
BOOTS_S = 5.0
"""From the start of the machine to the start of its agent."""


class KilledError(BaseException):
    """Ends the task that came to the point at which its process dies."""


class SimulatedClock:
    """The clock of one boot."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._began_s = world.now_s - BOOTS_S
        self.boot = f"boot-{number}"

    def monotonic_s(self) -> float:
        return self._world.now_s - self._began_s

    def wall_us(self) -> int:
        return round(self.monotonic_s() * 1e6)  # 1970: there is no battery


class FlakyDisk:
    """A connection whose commits fail while the card is loose: before it took effect, or after."""

    def __init__(self, world: World, path: Path, loose: Callable[[], bool]) -> None:
        self._world = world
        self._real: Connection = connect_sqlite(path)
        self._loose = loose

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:  # noqa: ANN401 - as sqlite3
        if sql == "COMMIT" and self._loose():
            durable = self._world.chance.random() < 0.5
            if durable:
                self._real.execute(sql)
            self._world.bite("disk_error_after_commit" if durable else "disk_error_before_commit")
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(sql, parameters)

    def close(self) -> None:
        self._real.close()


class InlineOutbox(OutboxThread):
    """The outbox without its thread: in virtual time a disk takes none."""

    settled_by: Callable[[int, list[int]], None]

    async def _run(self, work: Callable[[], _T]) -> _T:
        return work()

    async def settle(self, seqs: Iterable[int], *, epoch: int) -> None:
        numbers = list(seqs)
        self.settled_by(epoch, numbers)
        await super().settle(numbers, epoch=epoch)


class Pole:
    """The machine on the pole, over several lives of its agent. What it swears to is in `books`."""

    def __init__(self, world: World, broker: Broker, folder: Path) -> None:
        chance = world.chance
        self._world = world
        self._broker = broker
        self._folder = folder
        self._files = itertools.count(1)
        self._path = folder / "outbox-0.db"
        self._boots = itertools.count(1)
        self._clock: SimulatedClock | None = None
        self._order = chance.choice((("mqtt", "coap"), ("mqtt", "coap"), ("coap", "mqtt"), ("mqtt",), ("coap",)))
        hours = chance.choice((24.0, 24.0, 0.008))
        self._settings = OutboxSettings(hours=hours, bytes_max=256 * 1024, drop=chance.choice(("oldest", "newest")))
        self._interval_s = chance.uniform(4.0, 12.0)
        self._main: set[asyncio.Task[Any]] = set()
        self._card_is_loose = 0
        self._clock_lies_s = 0.0
        self._wrong_unit = 0
        self.measuring = True
        self.outbox: InlineOutbox | None = None
        self.books = Books()
        self.true_us: dict[float, int] = {}
        """When each value was measured, in truth."""
        self.carried_by: dict[float, PackKey] = {}
        self.twice: list[str] = []
        self.drafts = 0
        self.uncertain = 0
        """Drafts that a kill may have taken before they were on the disk."""
        self.given: dict[int, int] = {}
        """How many numbers each epoch gave."""
        self.turned_away = 0
        self.lost_with_card: set[PackKey] = set()

    # The machine ----------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Begin a life."""
        world = self._world
        if self._clock is None:
            self._clock = SimulatedClock(world, next(self._boots))
        clock = self._clock
        world.note("start", f"{clock.boot} {self._order} {self._settings}")
        outbox = InlineOutbox(
            self._path,
            DEVICE,
            settings=self._settings,
            clock=clock,
            connect=lambda path: FlakyDisk(world, path, self._is_loose),
        )
        outbox.settled_by = self._settled
        self.outbox = outbox
        life = world.loop.create_task(self._live(outbox, clock), name=clock.boot)
        self._main = {life}

    def kill(self, down_s: float, *, new_card: bool = False) -> None:
        """The process dies now; with a new card its outbox goes too."""
        world, outbox = self._world, self.outbox
        if outbox is None:
            return
        reboots = new_card or world.chance.random() < 0.5
        world.note("kill", "with its card" if new_card else "with its machine" if reboots else "alone")
        if reboots:
            world.bites["machine_rebooted"] += 1
            self._clock = None
            down_s += BOOTS_S
        faultpoint.disarm()
        told = outbox.statistics()
        self._count(outbox)
        world.bites["failed_over"] += self.delivery.statistics().failover.changes
        self.uncertain += told.memory_drafts
        self.outbox = None
        for task in asyncio.all_tasks() - {self.keeper}:
            task.cancel()
        if new_card:
            self._lose(outbox)
        path = self._folder / f"outbox-{next(self._files)}.db"
        if not new_card:
            for suffix in ("", "-wal"):
                source = self._path.with_name(self._path.name + suffix)
                if source.exists():
                    shutil.copyfile(source, path.with_name(path.name + suffix))
        self._path = path
        world.loop.call_later(down_s, self.boot)

    @property
    def keeper(self) -> asyncio.Task[Any]:
        """The task of the simulation itself."""
        return self._keeper

    @keeper.setter
    def keeper(self, task: asyncio.Task[Any]) -> None:
        self._keeper = task

    def arm(self, point: str, at: int, down_s: float) -> None:
        """The process dies when it comes to this point for the `at`-th time from now on."""

        def leave(_: int) -> None:
            self._world.bite(point)
            if point == "edge.before_put":
                self.uncertain += 1
            self.kill(down_s)
            raise KilledError

        faultpoint.arm({point: f"exit@{at}"}, leave=leave, sleep=lambda _: None)

    def loosen_card(self, commits: int) -> None:
        self._card_is_loose = commits

    def lie_about_time(self, wrong_s: float) -> None:
        self._clock_lies_s = wrong_s

    def measure_wrongly(self, packs: int) -> None:
        self._wrong_unit = packs

    def end(self) -> None:
        """Count what the last life did."""
        if self.outbox is not None:
            self._count(self.outbox)

    def _is_loose(self) -> bool:
        if not self._card_is_loose:
            return False
        self._card_is_loose -= 1
        return True

    def _count(self, outbox: OutboxThread) -> None:
        told = outbox.statistics()
        if told.epoch:
            self.given[told.epoch] = told.next_seq - 1

    def _lose(self, outbox: OutboxThread) -> None:
        self._world.bite("card_lost")
        told = outbox.statistics()
        self.turned_away += told.turned_away_drafts + told.lost_drafts
        device, epoch = str(DEVICE), told.epoch
        self.lost_with_card |= {PackKey(device, epoch, seq) for seq in range(1, told.next_seq)}

    # The agent ------------------------------------------------------------------------------------------------------

    async def _live(self, outbox: InlineOutbox, clock: SimulatedClock) -> None:
        world = self._world
        try:
            async with outbox, asyncio.TaskGroup() as group:
                keeper = Timekeeper(floor_us=outbox.floor_us)
                links: dict[str, Link] = {
                    "mqtt": SimulatedMqtt(world, self._broker, self._attempted),
                    "coap": SimulatedCoap(world, self._broker, self._attempted),
                }
                seed = world.chance.getrandbits(32)
                delivery = Delivery(
                    outbox,
                    [links[name] for name in self._order],
                    Failover(self._order, patience_s=PATIENCE_S, return_s=RETURN_S, seed=seed),
                    clock=clock,
                    seed=seed,
                    spread_s=SPREAD_S,
                    on_cfg=_unexpected,
                    on_cmd=_unexpected,
                    on_ack_refused=lambda reason: world.bite("ack_refused", reason),
                )
                self.delivery = delivery
                group.create_task(delivery.run(), name="delivery")
                group.create_task(self._keep_time(keeper, clock), name="time")
                group.create_task(self._measure(outbox, delivery, keeper, clock), name="measure")
        except* KilledError:
            pass

    async def _keep_time(self, keeper: Timekeeper, clock: SimulatedClock) -> None:
        """A time server that answers at once, late, or never during this life; and lies when it is told to."""
        await asyncio.sleep(self._world.chance.choice((0.0, 0.0, 0.0, 8.0, 30.0)))
        self._world.bites["late_time"] += (
            keeper.stamp(clock.monotonic_s()) is None and clock.monotonic_s() > BOOTS_S + 1
        )
        while True:
            error_us = self._world.chance.randint(-20_000, 20_000)
            wall_us = self._world.now_us() + error_us
            if self._clock_lies_s and keeper.stamp(clock.monotonic_s()) is not None:
                self._world.bite("clock_jump", self._clock_lies_s)
                wall_us += round(self._clock_lies_s * 1e6)
                self._clock_lies_s = 0.0
            keeper.observe(Observation(Source.SNTP, wall_us, 0.02), clock.monotonic_s())
            await asyncio.sleep(8.0)

    async def _measure(
        self, outbox: InlineOutbox, delivery: Delivery, keeper: Timekeeper, clock: SimulatedClock
    ) -> None:
        world = self._world
        while True:
            await asyncio.sleep(self._interval_s * world.chance.uniform(0.9, 1.1))
            stamp = keeper.stamp(clock.monotonic_s())
            if self.measuring:
                world.bites["unstamped"] += stamp is None
                delivery.added_nowait(await outbox.put([self._draft(clock)], stamp))
            elif outbox.statistics().memory_drafts:
                delivery.added_nowait(await outbox.put([], stamp))
            if stamp is not None and outbox.statistics().unstamped:
                delivery.added_nowait(await outbox.stamp_waiting(stamp))

    def _draft(self, clock: SimulatedClock) -> Draft:
        self.drafts += 1
        unit = "kg/m3"
        if self._wrong_unit:
            self._wrong_unit -= 1
            self._world.bite("wrong_unit")
            unit = "W"
        at_s = clock.monotonic_s()
        values = [round((2 * self.drafts + place) * 1e-9, 12) for place in (0, 1)]
        self.true_us.update(dict.fromkeys(values, self._world.now_us()))
        return Draft(
            [
                Measured(suffix, value, unit, at_s)
                for suffix, value in zip(("/air/0/pm10", "/air/0/pm25"), values, strict=True)
            ]
        )

    # What it swears to ----------------------------------------------------------------------------------------------

    def _attempted(self, packed: Packed) -> None:
        outbox = self.outbox
        if outbox is None:
            raise KilledError  # of a life that is over
        key = PackKey(str(DEVICE), outbox.epoch, packed.seq)
        account = self.books.packs.setdefault(key, Account(""))
        if account.digest == "":
            account.digest, account.payload = digest(packed.payload), packed.payload
            account.attempted_us = self._world.now_us()
            self._read(key, packed)
        elif account.payload != packed.payload:
            self.books.clashes.append(key)
        self._world.bites["repeated"] += account.attempts > 0
        account.attempts += 1
        self._world.note("send", key.seq)

    def _read(self, key: PackKey, packed: Packed) -> None:
        """What a pack says when it is sent for the first time."""
        now_us = self._world.now_us()
        pack = senml.decode(packed.payload, packed.content_format, now_us)
        if (pack.epoch, pack.seq) != (key.epoch, key.seq):
            self.books.clashes.append(key)
        for record in pack.records:
            assert isinstance(record.value, float)
            other = self.carried_by.setdefault(record.value, key)
            if other != key:
                self.twice.append(f"{record.value} was sent as {other} and as {key}")
        for first, last in pack.dropped:
            self._world.note("declares", f"{first} to {last} as dropped")
            for seq in range(first, last + 1):
                self._world.bites["declared_drop"] += 1
                self.books.packs.setdefault(key._replace(seq=seq), Account("")).dropped_us = now_us

    def _settled(self, epoch: int, seqs: list[int]) -> None:
        self._world.note("settled", seqs)
        for seq in seqs:
            account = self.books.packs.setdefault(PackKey(str(DEVICE), epoch, seq), Account(""))
            if account.dropped_us is None:  # else the acknowledgement only says that it need not come any more
                account.acked_us = self._world.now_us()


def _unexpected(payload: bytes) -> None:
    raise AssertionError(payload)


def seed_epochs(world: World, replace: Callable[[object, str, object], None]) -> None:
    """Epochs come from the machine's own chance; in a history they come from its seed."""

    class Seeded:
        @staticmethod
        def randbelow(below: int) -> int:
            return world.chance.randrange(below)

    replace(outbox_module, "secrets", Seeded)
