"""The twin at work: wishes and commands in, lamps moved, files written, answers out."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.timekeeping.values import Stamp
from lichtmast.edge.twin import (
    Abilities,
    Configuration,
    Hands,
    RebootAskedError,
    RebootFailedError,
    Twin,
    limits,
    reboot,
)
from lichtmast.edge.twin.lamps import TOO_LATE
from lichtmast.edge.twin.lighting import RELEASED
from lichtmast.wire.faultpoint import arm, disarm
from lichtmast.wire.twin import (
    Answer,
    Command,
    Desired,
    Dim,
    DuskRule,
    Event,
    Identify,
    Level,
    Outcome,
    Reboot,
    SensorWish,
    ThresholdRule,
)

LAMP, NOISE = "/lamp/0/command", "/noise/0/level"
CAN: Final = Abilities(frozenset({NOISE}), (LAMP,), place=(52.4, 4.9))
LOUD: Final = ThresholdRule("loud", LAMP, NOISE, 1.0, above=80, otherwise=0.2, hold_s=10)
SETTINGS: Final = Configuration(0, 60.0, {}, (LOUD,))
NOON_S: Final = 1_790_000_000.0


@dataclass
class Pole:
    """A lamp, a clock that can be set, and all that the twin said."""

    folder: Path
    settings: Configuration = SETTINGS
    can: Abilities = CAN
    boot: str = "b1"
    now_s: float = 100.0
    offset_s: float | None = NOON_S - 100.0
    latest: dict[str, Measured] = field(default_factory=dict)
    written: list[float] = field(default_factory=list)
    fault: str = ""
    reboots: int = 0
    reboot_error: Exception | None = None
    told: list[Event | Answer] = field(default_factory=list)
    configured: list[Configuration] = field(default_factory=list)
    restated: int = 0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    bus_is_slow: asyncio.Event | None = None

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return 0

    def stamp(self) -> Stamp | None:
        return None if self.offset_s is None else Stamp(round(self.offset_s * 1e6), 0.1)

    async def actuate(self, target: str, level: float) -> None:
        assert target == LAMP
        self.heard.set()
        if self.bus_is_slow is not None:
            await self.bus_is_slow.wait()
        if self.fault:
            raise DriverError(self.fault)
        self.written.append(level)

    async def reboot(self) -> None:
        self.reboots += 1
        self.heard.set()
        if self.reboot_error:
            raise self.reboot_error

    def report(self, one: Event | Answer) -> None:
        self.told.append(one)
        self.heard.set()

    def take(self, one: Configuration) -> None:
        self.configured.append(one)
        self.heard.set()

    def restate(self) -> None:
        self.restated += 1
        self.heard.set()

    def has_written(self, count: int) -> bool:
        return len(self.written) == count

    async def wait(self, condition: Callable[[], object]) -> None:
        """Until it is so; every call of the twin is a reason to look again."""
        async with asyncio.timeout(10):
            while not condition():
                await self.heard.wait()
                self.heard.clear()

    @asynccontextmanager
    async def twin(self) -> AsyncIterator[Twin]:
        hands = Hands(self.actuate, self.reboot, self.report, self.take, self.restate)
        twin = Twin(
            self.settings, self.can, self.folder, hands, clock=self, stamp=self.stamp, latest=lambda: self.latest
        )
        running = asyncio.create_task(twin.run(), name="twin")
        try:
            yield twin
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.fixture
def pole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pole:
    monkeypatch.setattr(limits, "TICK_S", 0.01)
    return Pole(tmp_path)


@pytest.fixture
def faults() -> Iterator[Callable[[Mapping[str, str]], None]]:
    yield lambda actions: arm(actions, leave=os._exit, sleep=time.sleep)
    disarm()


def wish(version: int, **more: object) -> bytes:
    return Desired(version, **more).encode()  # type: ignore[arg-type] # each test names fields of it


def command(order: Dim | Identify | Reboot, command_id: str = "a", expires_s: float = NOON_S + 60) -> bytes:
    return Command(command_id, order, expires_s).encode()


def test_a_wish_is_applied_kept_and_there_after_a_restart(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            twin.wish_nowait(wish(3, interval_s=30, sensors={NOISE: SensorWish(deadband=1.5)}, rules=()))
            await pole.wait(lambda: pole.configured)
            assert twin.configuration == Configuration(3, 30, {NOISE: SensorWish(deadband=1.5)}, ())
        async with pole.twin() as again:
            assert again.configuration == twin.configuration

    asyncio.run(run())
    assert pole.told == []


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no JSON at character 0"),
        (b"\xff\xfe", "no UTF-8 at byte 0"),
        (b'{"version": 2, "interval_s": 1e309}', "'1e309': not a number that fits a double"),
        (b"[" * 10_000, "nested deeper than 6 levels"),
        (b'{"version": 2, "sensors": {"/x/0/y": {}}}', "sensors./x/0/y: this device does not measure that"),
    ],
)
def test_a_wish_that_cannot_be_is_reported_and_the_running_one_stays(pole: Pole, raw: bytes, reason: str) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            twin.wish_nowait(wish(1, interval_s=30))
            await pole.wait(lambda: pole.configured)
            twin.wish_nowait(raw)
            await pole.wait(lambda: pole.told)
            assert twin.configuration.version == 1
        async with pole.twin() as again:
            assert again.configuration.interval_s == 30

    asyncio.run(run())
    (event,) = pole.told
    assert isinstance(event, Event)
    assert (event.name, event.at_s) == ("configuration_refused", NOON_S)
    assert reason in event.reason
    assert event.encode()


def test_a_wish_that_is_known_is_acknowledged_and_not_applied_again(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            twin.wish_nowait(wish(2, interval_s=30))
            await pole.wait(lambda: pole.restated == 1)
            twin.wish_nowait(wish(2, interval_s=40))
            await pole.wait(lambda: pole.restated == 2)
            twin.wish_nowait(wish(1, interval_s=50))
            await pole.wait(lambda: pole.restated == 3)

    asyncio.run(run())
    assert [one.interval_s for one in pole.configured] == [30]
    assert pole.told == []


def test_a_kept_configuration_that_was_cut_falls_back_to_the_settings_and_is_reported(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            twin.wish_nowait(wish(2, interval_s=30))
            await pole.wait(lambda: pole.configured)
        kept = pole.folder / "configuration"
        kept.write_bytes(kept.read_bytes()[:-1])
        async with pole.twin() as again:
            assert again.configuration == SETTINGS
            await pole.wait(lambda: pole.told)
            again.wish_nowait(wish(2, interval_s=30))
            await pole.wait(lambda: len(pole.configured) == 2)

    asyncio.run(run())
    assert pole.told == [
        Event("configuration_damaged", "configuration is cut or altered; the settings file is in force")
    ]


def test_a_kept_configuration_that_the_device_can_no_longer_do_is_refused_at_the_start(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            twin.wish_nowait(wish(2, sensors={NOISE: SensorWish(sample_s=5)}))
            await pole.wait(lambda: pole.configured)
        pole.can, pole.settings = Abilities(frozenset()), Configuration(0, 60.0)
        async with pole.twin() as again:
            assert again.configuration == pole.settings
            await pole.wait(lambda: pole.told)

    asyncio.run(run())
    (event,) = pole.told
    assert isinstance(event, Event)
    assert event.reason == f"the kept one: sensors.{NOISE}: this device does not measure that; it measures "


def test_a_wish_that_cannot_be_written_is_not_in_force_and_tried_again(
    pole: Pole, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(limits, "WISH_RETRY_S", 0.02)
        blocked = pole.folder / "configuration"
        blocked.mkdir()
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.told)  # the damage
            twin.wish_nowait(wish(2, interval_s=30))
            await pole.wait(lambda: len(pole.told) == 2)
            assert twin.configuration == SETTINGS
            blocked.rmdir()
            await pole.wait(lambda: pole.configured)
            assert twin.configuration.version == 2

    asyncio.run(run())
    assert [one.name for one in pole.told if isinstance(one, Event)] == [
        "configuration_damaged",
        "configuration_refused",
    ]


def test_lamps_follow_their_rules_while_the_disk_hangs(pole: Pole, faults: Callable[[Mapping[str, str]], None]) -> None:
    async def run() -> None:
        faults({"edge.config_written": "sleep=0.2"})
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.written == [0.2])
            twin.wish_nowait(wish(2, interval_s=30))
            await asyncio.sleep(0)
            pole.now_s += 20
            pole.latest = {NOISE: Measured(NOISE, 90.0, "dB", pole.now_s)}
            await pole.wait(lambda: pole.written == [0.2, 1.0])
            assert not pole.configured, "the disk must still hang, or this test says nothing"
            await pole.wait(lambda: pole.configured)

    asyncio.run(run())


def test_a_level_is_written_only_when_it_changes(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.written)
            decided = [twin.levels()]
            for _ in range(5):
                await asyncio.sleep(limits.TICK_S)
                decided.append(twin.levels())
            assert decided == [{LAMP: Level(0.2, "loud")}] * 6

    asyncio.run(run())
    assert pole.written == [0.2]


def test_a_level_is_told_again_after_a_while_for_a_controller_that_forgot_it(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin():
            await pole.wait(lambda: pole.has_written(1))
            pole.now_s += limits.REWRITE_S
            await pole.wait(lambda: pole.has_written(2))

    asyncio.run(run())
    assert pole.written == [0.2, 0.2]


def test_a_lamp_that_does_not_obey_is_reported_once_and_tried_again(
    pole: Pole, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(limits, "ACTUATION_RETRY_MIN_S", 0.01)
        monkeypatch.setattr(limits, "ACTUATION_RETRY_MAX_S", 0.01)
        pole.fault = "bus is silent"
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.told)
            for _ in range(3):
                pole.heard.clear()
                await pole.heard.wait()
            assert twin.levels() == {LAMP: Level(0.2, "loud; bus is silent")}
            pole.fault = ""
            await pole.wait(lambda: pole.written)
            await pole.wait(lambda: len(pole.told) == 2)

    asyncio.run(run())
    assert [one.name for one in pole.told if isinstance(one, Event)] == ["actuation_failed", "actuation_recovered"]


def test_dim_is_obeyed_answered_and_ends(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.written == [0.2])
            twin.order_nowait(command(Dim(0.7, NOON_S + 600)))
            await pole.wait(lambda: pole.told)
            assert pole.told == [Answer("a", Outcome.DONE, "", NOON_S)]
            assert pole.written == [0.2, 0.7]
            twin.order_nowait(command(Dim(0.7, NOON_S + 600)))
            await pole.wait(lambda: len(pole.told) == 2)
            pole.now_s += 600
            await pole.wait(lambda: pole.written == [0.2, 0.7, 0.2])

    asyncio.run(run())


def test_a_dim_that_the_lamp_does_not_obey_is_refused_and_taken_back(
    pole: Pole, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        monkeypatch.setattr(limits, "ACTUATION_RETRY_MIN_S", 0.01)
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.written == [0.2])
            pole.fault = "bus is silent"
            twin.order_nowait(command(Dim(0.7, NOON_S + 600)))
            await pole.wait(lambda: len(pole.told) == 2)
            pole.fault = ""
            await pole.wait(lambda: pole.written == [0.2, 0.2])

    asyncio.run(run())
    assert pole.told[1] == Answer("a", Outcome.REFUSED, "bus is silent", NOON_S)


async def wait_reason(twin: Twin, reason: str) -> None:
    """Until that is what the lamp should do."""
    async with asyncio.timeout(10):
        while twin.levels()[LAMP].reason != reason:
            await asyncio.sleep(limits.TICK_S)


@pytest.mark.parametrize("is_dimmed", [False, True])
def test_a_command_that_ends_while_an_earlier_write_is_under_way_is_refused_and_holds_nothing_up(
    pole: Pole, *, is_dimmed: bool
) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.written == [0.2])
            before = "command" if is_dimmed else "loud"
            if is_dimmed:
                twin.order_nowait(command(Dim(0.7, NOON_S + 86_400), "dim", NOON_S + 3_600))
                await pole.wait(lambda: pole.told)
                pole.told.clear()
            pole.bus_is_slow = asyncio.Event()
            pole.heard.clear()
            pole.now_s += limits.REWRITE_S
            await pole.heard.wait()
            twin.order_nowait(command(Identify(1), "late", NOON_S + 3_600))
            await wait_reason(twin, "identify")
            pole.now_s += 2
            await wait_reason(twin, before)
            pole.bus_is_slow.set()
            await pole.wait(lambda: pole.told)
            writes = len(pole.written)
            pole.now_s += limits.REWRITE_S
            await pole.wait(lambda: len(pole.written) > writes)
            assert pole.written[-1] == (0.7 if is_dimmed else 0.2), "what stood before still stands"
            twin.order_nowait(command(Dim(0.9, NOON_S + 86_400), "next", NOON_S + 3_600))
            await pole.wait(lambda: len(pole.told) == 2)
            twin.wish_nowait(wish(2, interval_s=30))
            await pole.wait(lambda: pole.configured)

    asyncio.run(run())
    at_s = NOON_S + limits.REWRITE_S + 2
    assert pole.told == [
        Answer("late", Outcome.REFUSED, TOO_LATE, at_s),
        Answer("next", Outcome.DONE, "", at_s + limits.REWRITE_S),
    ]


def test_a_command_for_the_level_that_is_just_being_written_is_done(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.written == [0.2])
            pole.bus_is_slow = asyncio.Event()
            pole.heard.clear()
            pole.now_s += limits.REWRITE_S
            await pole.heard.wait()
            twin.order_nowait(command(Dim(0.2, NOON_S + 86_400), "a", NOON_S + 3_600))
            await wait_reason(twin, "command")
            pole.bus_is_slow.set()
            await pole.wait(lambda: pole.told)

    asyncio.run(run())
    assert pole.told == [Answer("a", Outcome.DONE, "", NOON_S + limits.REWRITE_S)]
    assert pole.written == [0.2, 0.2]


def test_a_twin_that_is_stopped_while_a_command_waits_for_its_lamp_stops(pole: Pole) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            async with pole.twin() as twin:
                await pole.wait(lambda: pole.written == [0.2])
                pole.bus_is_slow = asyncio.Event()
                twin.order_nowait(command(Identify(3)))
                await wait_reason(twin, "identify")

    asyncio.run(run())
    assert pole.told == []


def test_identify_blinks_a_lamp_without_rules_and_leaves_it_burning(pole: Pole) -> None:
    async def run() -> None:
        pole.settings = Configuration(0, 60.0)
        async with pole.twin() as twin:
            twin.order_nowait(command(Identify(3)))
            await pole.wait(lambda: pole.told)
            for count in (2, 3, 4):
                assert twin.levels()[LAMP].reason == "identify"
                pole.now_s += 1
                await pole.wait(partial(pole.has_written, count))
            assert twin.levels() == {LAMP: RELEASED}

    asyncio.run(run())
    assert pole.written == [0.0, 1.0, 0.0, 1.0]


def test_without_a_trusted_clock_a_command_is_refused(pole: Pole) -> None:
    async def run() -> None:
        pole.offset_s = None
        async with pole.twin() as twin:
            twin.order_nowait(command(Identify(4)))
            await pole.wait(lambda: pole.told)

    asyncio.run(run())
    assert pole.told == [Answer("a", Outcome.REFUSED, "clock_untrusted")]


def test_a_malformed_command_is_reported_and_a_flood_of_them_is_counted(pole: Pole) -> None:
    async def run() -> None:
        async with pole.twin() as twin:
            for _ in range(limits.COMMANDS_WAITING_MAX + 5):
                twin.order_nowait(b'{"id": "a"}')
            await pole.wait(lambda: len(pole.told) == limits.COMMANDS_WAITING_MAX + 1)

    asyncio.run(run())
    events = [one for one in pole.told if isinstance(one, Event)]
    assert events[0] == Event("command_refused", "name: missing", NOON_S)
    assert events[-1].name == "commands_lost"
    assert events[-1].reason.startswith("5 commands")


def test_a_reboot_is_remembered_done_once_and_answered_after_it(pole: Pole) -> None:
    async def run() -> None:
        pole.reboot_error = RebootAskedError("end the process")
        order = command(Reboot())
        ended = None
        try:
            async with pole.twin() as twin:
                twin.order_nowait(order)
                await pole.wait(lambda: pole.reboots)
        except* RebootAskedError as group:
            ended = group
        assert ended is not None
        assert pole.told == []
        async with pole.twin() as again:
            await pole.wait(lambda: pole.told == [Answer("a", Outcome.DONE)])
            again.order_nowait(order)
            await pole.wait(lambda: len(pole.told) == 2)
        async with pole.twin() as third:
            third.order_nowait(order)
            await pole.wait(lambda: len(pole.told) == 3)

    asyncio.run(run())
    assert pole.reboots == 1
    assert pole.told[1:] == [Answer("a", Outcome.DONE, "", NOON_S)] * 2


def test_a_reboot_that_cannot_be_remembered_is_not_done(pole: Pole) -> None:
    async def run() -> None:
        (pole.folder / "commands").mkdir()
        async with pole.twin() as twin:
            twin.order_nowait(command(Reboot()))
            await pole.wait(lambda: len(pole.told) == 2)

    asyncio.run(run())
    answer = pole.told[1]
    assert isinstance(answer, Answer)
    assert (answer.outcome, pole.reboots) == (Outcome.REFUSED, 0)
    assert "cannot be written" in answer.reason


def test_a_reboot_that_fails_is_refused(pole: Pole) -> None:
    async def run() -> None:
        pole.reboot_error = RebootFailedError("reboot_command x ended with 1")
        async with pole.twin() as twin:
            twin.order_nowait(command(Reboot()))
            await pole.wait(lambda: pole.told)

    asyncio.run(run())
    assert pole.told == [Answer("a", Outcome.REFUSED, "reboot_command x ended with 1", NOON_S)]


def test_the_settings_own_command_reboots(tmp_path: Path) -> None:
    mark = tmp_path / "rebooted"
    asyncio.run(reboot([sys.executable, "-c", f"open({str(mark)!r}, 'w')"]))
    assert mark.exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (["/nowhere/reboot"], "reboot_command /nowhere/reboot cannot be started: No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "took longer than 0.2 s"),
    ],
)
def test_a_reboot_command_that_does_not_work_is_told(
    line: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lichtmast.edge.twin.rebooting.REBOOT_COMMAND_S", 0.2)
    if "sleep" not in line[-1]:
        monkeypatch.setattr("lichtmast.edge.twin.rebooting.REBOOT_COMMAND_S", 30)
    with pytest.raises(RebootFailedError) as caught:
        asyncio.run(reboot(line))
    assert reason in str(caught.value)


def test_without_a_command_the_process_is_to_end() -> None:
    with pytest.raises(RebootAskedError):
        asyncio.run(reboot([]))


def test_a_dusk_rule_burns_at_its_failsafe_until_the_clock_is_trusted(pole: Pole) -> None:
    async def run() -> None:
        pole.settings = Configuration(0, 60.0, {}, (DuskRule("night", LAMP, hold_s=10),))
        pole.offset_s = None
        async with pole.twin() as twin:
            await pole.wait(lambda: pole.written == [1.0])
            assert twin.levels()[LAMP].reason == "night: no trusted clock, failsafe"
            pole.offset_s = NOON_S - 100
            pole.now_s += 20
            await pole.wait(lambda: pole.written == [1.0, 0.0])

    asyncio.run(run())
