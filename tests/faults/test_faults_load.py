"""F24: a town comes back at once with an hour in every outbox, and then says ten times as much as it does on any day.

Nothing is lost or doubled (the checker), the server's memory stays where it was, all of it drains without hands, and
devices that were not away do not wait for those that were. The quick form runs always, the long one with
`scripts/test --faults`.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from fault_run import FaultRun, wait_until
from running_lichtmast import Running

from lichtmast.firmware_sim import DeviceSpec, Town, limits
from lichtmast.firmware_sim.checker import Books, PackKey, Sealed
from lichtmast.firmware_sim.instrument import Measurement
from lichtmast.suite.folder import Folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SEED = 20261121
MINUTE_US = 60_000_000
BACKLOG_PACKS = 60
HASTE = 10
"""How many times as much the burst says."""
STEADY = 10
"""One of so many devices was never away."""
EPOCH = 24
DRAIN_S = 180.0
STARVED_S = 5.0
GROWTH = 1.25
MEMORY_MAX_MB = 640.0


class Hasty(Sealed):
    """Sealed values at one turn in ten, or at every turn while in haste; remembers when it measured live.

    Who was never away is always in haste: there is something to see of it at any moment.
    """

    def __init__(self, spec: DeviceSpec, *, seed: int, was_away: bool) -> None:
        super().__init__(spec, seed=seed)
        self.was_away = was_away
        self.in_haste = not was_away
        self.live_us: dict[int, int] = {}
        self._turns = 0

    def moments(self, at_us: int, _interval_us: int) -> Sequence[int]:
        self._turns += 1
        return (at_us,) if self.in_haste or self._turns % HASTE == 0 else ()

    def measure(self, at_us: int, epoch: int, seq: int) -> Measurement:
        self.live_us[seq] = at_us
        return super().measure(at_us, epoch, seq)


@dataclass
class Memory:
    """Megabytes of Lichtmast and its broker together, looked at each quarter of a second."""

    process: psutil.Process
    broker: psutil.Process
    samples: list[float] = field(default_factory=list)

    def now_mb(self) -> float:
        return sum(one.memory_info().rss for one in (self.process, self.broker)) / 1e6

    def take_highest_mb(self) -> float:
        """The highest since it was last asked for."""
        highest, self.samples = max([*self.samples, self.now_mb()]), []
        return highest

    async def watch(self) -> None:
        while True:
            self.samples.append(self.now_mb())
            await asyncio.sleep(0.25)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A data folder on which nothing runs yet."""
    one = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


@asynccontextmanager
async def returning_town(run: FaultRun, instruments: Sequence[Hasty], turn_s: float) -> AsyncIterator[Town]:
    """A town whose devices hold an hour and all dial in the same moment; after the block everything must drain."""
    town = Town(
        run.specs,
        seed=run.seed,
        interval_s=turn_s,
        epoch=EPOCH,
        history=run.history,
        instruments=instruments,
        mqtt=("::1", run.running.mqtt_port),
        coap=("::1", run.running.coap_port),
    )
    now_us = time.time_ns() // 1_000
    for device, one in zip(town.devices, instruments, strict=True):
        for minute in range(BACKLOG_PACKS if one.was_away else 0):
            device.sample(now_us - (BACKLOG_PACKS - minute) * MINUTE_US)
    for one in instruments:
        one.live_us.clear()
    async with town:
        async with asyncio.TaskGroup() as group:
            living = group.create_task(town.run(None), name="town")
            yield town
            living.cancel()
        assert await town.wait_drained(DRAIN_S), f"not drained in {DRAIN_S:.0f} s: {town.statistics()}"


def has_returned(town: Town, instruments: Sequence[Hasty]) -> bool:
    """Whether nothing of the hour is left in any outbox."""
    left = (
        device.outbox.oldest_outstanding for device, one in zip(town.devices, instruments, strict=True) if one.was_away
    )
    return all(oldest is None or oldest > BACKLOG_PACKS for oldest in left)


@pytest.mark.parametrize(
    ("devices", "turn_s", "burst_s"),
    [(50, 0.25, 6.0), pytest.param(500, 1.0, 60.0, marks=[pytest.mark.faults, pytest.mark.timeout(1_200)])],
)
def test_f24_an_hour_of_every_device_at_once_and_a_tenfold_burst_starve_nobody(
    running: Running, tmp_path: Path, devices: int, turn_s: float, burst_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIALLERS", devices)  # in a street nobody waits until another has dialled
    run = FaultRun.prepare(running, tmp_path, seed=SEED, devices=devices)
    instruments = [Hasty(spec, seed=SEED, was_away=at % STEADY > 0) for at, spec in enumerate(run.specs)]
    running.start()
    assert running.process is not None
    memory = Memory(psutil.Process(running.process.pid), psutil.Process(running.status()["broker_pid"]))
    figures = asyncio.run(story(run, instruments, memory, turn_s, burst_s))
    usual_packs_per_s = devices * (1 - 1 / STEADY) / (turn_s * HASTE)
    run.bites["times the usual in the burst"] = int(figures.burst_packs_per_s / usual_packs_per_s)
    report = run.judge()
    assert report.counts.stored == report.counts.attempted
    assert run.bites["reconnects"] == devices
    assert run.bites["times the usual in the burst"] > HASTE / 2

    delays = delays_s(run.books(), run.specs, instruments, figures)
    for (phase, kind), found in delays.items():
        told = f"median {statistics.median(found):.2f} s, p99 {p99_s(found):.2f} s"
        print(f"{phase}, {kind}: {len(found)} live packs, {told}")  # noqa: T201 - with -s
    print(figures)  # noqa: T201 - as above
    # I7: what is live somewhere else does not stand in the queue of those who return.
    assert p99_s(delays["return", "never away"]) < max(STARVED_S, figures.return_s / 2)
    # I6: pools and caches warm up when the town comes; from then on memory does not go with what arrives.
    assert figures.burst_late_mb < figures.burst_early_mb * GROWTH
    assert max(figures.return_mb, figures.burst_late_mb) < MEMORY_MAX_MB


def p99_s(delays: list[float]) -> float:
    return sorted(delays)[int(len(delays) * 0.99)]


@dataclass
class Figures:
    """What there is to tell beside the checker's verdict: seconds to drain (I12), megabytes, packs a second."""

    idle_mb: float
    return_s: float = 0.0
    return_mb: float = 0.0
    burst_packs_per_s: float = 0.0
    burst_early_mb: float = 0.0
    burst_late_mb: float = 0.0
    calm_again_s: float = 0.0
    began_us: dict[str, int] = field(default_factory=dict)

    def begin(self, phase: str) -> float:
        """Remember when; returns the monotonic time of it."""
        self.began_us[phase] = time.time_ns() // 1_000
        return time.monotonic()


async def story(run: FaultRun, instruments: Sequence[Hasty], memory: Memory, turn_s: float, burst_s: float) -> Figures:
    """All return, and when nothing is left of their hour, the burst."""
    figures = Figures(memory.now_mb())
    async with returning_town(run, instruments, turn_s) as town:
        watching = asyncio.create_task(memory.watch(), name="memory")
        begin_s = figures.begin("return")
        town.mark("all return with an hour each")
        await wait_until(lambda: has_returned(town, instruments), DRAIN_S)
        figures.return_s = time.monotonic() - begin_s
        figures.return_mb = memory.take_highest_mb()

        begin_s = figures.begin("burst")
        town.mark("tenfold burst")
        before = sampled(instruments)
        set_haste(instruments, in_haste=True)
        await asyncio.sleep(burst_s / 2)  # the burst itself, not a wait for something
        figures.burst_early_mb = memory.take_highest_mb()
        await asyncio.sleep(burst_s / 2)
        set_haste(instruments, in_haste=False)
        figures.burst_packs_per_s = (sampled(instruments) - before) / (time.monotonic() - begin_s)
        figures.burst_late_mb = memory.take_highest_mb()

        begin_s = figures.begin("calm")
        town.mark("the burst is over")
        assert await town.wait_drained(DRAIN_S), f"not drained in {DRAIN_S:.0f} s: {town.statistics()}"
        figures.calm_again_s = time.monotonic() - begin_s
        watching.cancel()
        assert town.statistics().total.skipped == 0, "an outbox was full"
        run.bites["reconnects"] = town.statistics().connects
    return figures


def set_haste(instruments: Sequence[Hasty], *, in_haste: bool) -> None:
    for one in instruments:
        one.in_haste = in_haste or not one.was_away


def sampled(instruments: Sequence[Hasty]) -> int:
    """Live packs of those that were away."""
    return sum(len(one.live_us) for one in instruments if one.was_away)


def delays_s(
    books: Books, specs: Sequence[DeviceSpec], instruments: Sequence[Hasty], figures: Figures
) -> dict[tuple[str, str], list[float]]:
    """From the measurement of a live pack to the server's word that it is on disk, by phase and kind of device.

    A light device sends its oldest first, so its own live packs wait for its own hour; a real agent sends live first.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for spec, one in zip(specs, instruments, strict=True):
        kind = "was away" if one.was_away else "never away"
        for seq, measured_us in one.live_us.items():
            phase = max((since_us, name) for name, since_us in figures.began_us.items() if since_us <= measured_us)[1]
            acked_us = books.packs[PackKey(str(spec.device), EPOCH, seq)].acked_us
            assert acked_us is not None
            found.setdefault((phase, kind), []).append((acked_us - measured_us) / 1e6)
    return found
