"""The runner on a real log: it goes on from what is saved, ticks where nothing comes, and says what it has lost."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alert_oracle import Came, S
from alert_town import START_US, PaperBook, entries, plan_of, rule, table_of

from lichtmast.ingest import observations
from lichtmast.ingest.alerting import limits
from lichtmast.ingest.alerting.baseline import Baselines, local_day
from lichtmast.ingest.alerting.runner import Runner
from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.log import Log
from lichtmast.registry import Directory
from lichtmast.registry.alerts.groups import Membership
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.store.memory import MemoryStore
from lichtmast.wire import topics

pytestmark = pytest.mark.slow


class Register(PaperBook):
    """A register on paper, with one rule."""

    at = 1
    listed: tuple[AlertRule, ...] = (rule(1, "bright", {"kind": "threshold", "above": 50}),)

    def revision(self) -> int:
        return self.at

    def directory(self) -> Directory:
        return Directory(self.at, entries(), ())

    def rules(self) -> list[AlertRule]:
        return list(self.listed)

    def groups(self) -> dict[int, Membership]:
        return {}

    def kinds(self) -> list[str]:
        return [kind for _, _, kind, _ in self.transitions]


class Scene:
    def __init__(self, connect: Callable[[], Log], log: Log, folder: Path) -> None:
        self.connect, self.log, self.folder = connect, log, folder
        self.register = Register()
        self.number = 0

    async def publish(self, value: float) -> int:
        self.number += 1
        at_us = START_US + self.number * S
        table = table_of([Came(at_us, 1, "gm0402/lm-0", at_us, value)])
        position = 0
        log_name = f"READINGS@{(await self.log.extent(topics.READINGS_STREAM)).created}"
        for message in observations.encode(table, np.array([self.number]), log_name=log_name):
            position = await self.log.append(topics.OBSERVATIONS_SUBJECT, message)
        return position

    @asynccontextmanager
    async def running(self, stored: Callable[[], int] = lambda: 0) -> AsyncIterator[Runner]:
        runner = Runner(self.connect, self.register, self.register, MemoryStore(), self.folder, stored)
        task = asyncio.create_task(runner.run(), name="runner")
        try:
            async with asyncio.timeout(30):
                await runner.ready.wait()
            yield runner
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def wait(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def play(folder: Path, act: Callable[[Scene], Awaitable[None]]) -> None:
    async def scene() -> None:
        async with Broker(BrokerSettings(folder / "broker", mqtt_port=0)) as broker:

            def connect() -> Log:
                return Log(broker.client_url, broker.user, broker.password)

            async with connect() as log:
                await act(Scene(connect, log, folder / "alerting"))

    asyncio.run(scene())


def test_what_came_while_it_was_away_is_evaluated_once_and_what_was_saved_never_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_S", 0.0)

    async def act(scene: Scene) -> None:
        await scene.publish(99.0)  # before its first start: history
        async with scene.running():
            await scene.publish(20.0)
            await scene.publish(70.0)
            await wait(lambda: scene.register.kinds() == ["raised"])
            await wait((scene.folder / "heard.npz").exists)
        await scene.publish(10.0)
        await scene.publish(80.0)
        async with scene.running() as runner:
            await wait(lambda: scene.register.kinds() == ["raised", "cleared", "raised"])
            assert runner.statistics.positions_lost == 0
            # A rule that is changed while it runs takes effect without a restart.
            scene.register.listed = ()
            scene.register.at += 1
            await wait(lambda: scene.register.kinds() == ["raised", "cleared", "raised", "cleared"])

    play(tmp_path, act)


def test_a_silent_log_gets_the_time_unless_readings_wait_for_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TICK_S", 0.1)

    async def act(scene: Scene) -> None:
        position = await scene.log.append("lm.gm0402.lm-0.up", b"waiting")
        stored = [position - 1]
        async with scene.running(lambda: stored[0]) as runner:
            await scene.publish(1.0)
            await wait(lambda: runner.statistics.position == 1)
            assert runner.statistics.ticks == 0
            stored[0] = position
            await wait(lambda: runner.statistics.ticks > 1 and runner.statistics.position > 1)
            assert runner.statistics.watermark_us > START_US + S

    play(tmp_path, act)


def test_where_the_log_no_longer_holds_its_position_it_says_so_and_goes_on_at_the_oldest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(scene: Scene) -> None:
        async with scene.running():
            await scene.publish(20.0)
            await wait(lambda: scene.register.position is not None)
        for value in (70.0, 10.0, 80.0):
            last = await scene.publish(value)
        await scene.log.forget(topics.OBSERVATIONS_STREAM, last - 1)
        with caplog.at_level(logging.ERROR):
            async with scene.running() as runner:
                await wait(lambda: scene.register.kinds() == ["raised"])
                assert runner.statistics.positions_lost == 1
        assert "alerts_position_lost" in caplog.text

    play(tmp_path, act)


def test_a_new_day_has_its_baselines_read_before_it_comes_although_no_rule_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {"kind": "baseline", "sigma": 5}
    monkeypatch.setattr(Register, "listed", (rule(1, "unusual", usual),))
    monkeypatch.setattr(limits, "RENEW_CHECK_S", 0.02)
    clock_us = [START_US]
    monkeypatch.setattr("lichtmast.ingest.alerting.runner._now_us", lambda: clock_us[0])
    asked: list[int] = []
    monkeypatch.setattr(Baselines, "_write", lambda _, day, *__, **___: asked.append(day))

    async def act(scene: Scene) -> None:
        async with scene.running():
            today = local_day(START_US)
            assert asked == [today, today + 1]
            clock_us[0] += 86_400 * S
            await wait(lambda: asked == [today, today + 1, today + 2])

    play(tmp_path, act)


def test_a_life_begins_with_the_plan_that_it_read_and_not_with_one_left_over(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        runner = Runner(scene.connect, scene.register, scene.register, MemoryStore(), scene.folder, lambda: 0)
        runner._next = plan_of(())  # as a life leaves it that ended before it took it
        task = asyncio.create_task(runner.run(), name="runner")
        await asyncio.wait_for(runner.ready.wait(), 30)
        await scene.publish(70.0)
        await wait(lambda: scene.register.kinds() == ["raised"])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    play(tmp_path, act)


def test_a_rule_that_was_off_and_on_again_before_it_looked_raises_what_still_holds(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        async with scene.running() as runner:
            await scene.publish(70.0)
            await wait(lambda: scene.register.kinds() == ["raised"])
            scene.register.standings.clear()  # as the register does where a rule is switched off
            scene.register.listed = tuple(replace(one, version=one.version + 2) for one in scene.register.listed)
            told, scene.register.at = runner.statistics.saved, scene.register.at + 1
            await wait(lambda: runner.statistics.saved > told)
            await scene.publish(71.0)
            await wait(lambda: scene.register.kinds() == ["raised", "raised"])

    play(tmp_path, act)


def test_while_nothing_can_be_saved_it_says_so_and_afterwards_nothing_is_missing(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        def broken(_step: object) -> None:
            raise OSError("no space left on the disk")

        async with scene.running() as runner:
            save, scene.register.save = scene.register.save, broken  # type: ignore[method-assign, assignment]
            await scene.publish(70.0)
            await wait(lambda: runner.statistics.failing > 1)
            scene.register.save = save  # type: ignore[method-assign]
            await wait(lambda: scene.register.kinds() == ["raised"])
            await wait(lambda: runner.statistics.failing == 0)

    play(tmp_path, act)
