"""The alert engine's shell: follows the OBSERVATIONS log, feeds the core, saves what it finds. Only here are clocks.

Any failure ends the run; the next one loads what the register remembers and goes on from there. Where the log no longer
holds the saved position it goes on at the oldest message, and says how much is missing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
from natsrpy.js import JetStreamMessage

from lichtmast.ingest import observations
from lichtmast.ingest.alerting import limits
from lichtmast.ingest.alerting.baseline import Baselines, History, local_day
from lichtmast.ingest.alerting.engine import Engine
from lichtmast.ingest.alerting.follower import Follower, Snapshot
from lichtmast.ingest.alerting.plan import Plan
from lichtmast.ingest.alerting.readings import Readings
from lichtmast.ingest.alerting.rulebook import Book, Register, Rulebook
from lichtmast.ingest.alerting.snapshots import read_snapshot, write_snapshot
from lichtmast.ingest.log import Extent, Log, Reader
from lichtmast.registry.alerts.steps import EngineMemory, Step
from lichtmast.wire import topics
from lichtmast.wire.faultpoint import faultpoint

_log = logging.getLogger(__name__)
_DAY_AHEAD: Final = 1


class Store(History, Protocol):
    """What is asked of the store."""

    def latest(self) -> pa.Table:
        """The latest observation of each datastream."""


@dataclass(slots=True)
class AlertStatistics:
    """Counts since the start of the process, and where the engine stands."""

    messages: int = 0
    transitions: int = 0
    saved: int = 0
    ticks: int = 0
    restarts: int = 0
    failing: int = 0
    """How often in a row it ended before it had taken anything."""
    positions_lost: int = 0
    rules: int = 0
    position: int = 0
    watermark_us: int = 0


class Runner:
    """Runs the engine. Run `run()` as a task; `stored` tells the position in READINGS that the pipeline has stored."""

    def __init__(
        self,
        connect: Callable[[], Log],
        register: Register,
        book: Book,
        store: Store,
        folder: Path,
        stored: Callable[[], int],
    ) -> None:
        self._connect = connect
        self._register = register
        self._book = book
        self._store = store
        self._folder = folder
        self._stored = stored
        self._baselines = Baselines(store, folder)
        self._next: Plan | None = None
        self._unsaved: Step | None = None
        self._saved_at_s = 0.0
        self.statistics = AlertStatistics()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled, beginning anew after each failure."""
        delay_s = limits.RETRY_DELAY_S
        while True:
            before = self.statistics.messages
            self._next = self._unsaved = None  # of the life before; its plan may be older than the one read now
            try:
                async with asyncio.TaskGroup() as group:
                    rulebook = Rulebook(self._register, self._book)
                    plan = await asyncio.to_thread(rulebook.read)
                    group.create_task(self._renew(rulebook, plan), name="alert-rules")
                    await self._follow(plan)
            except Exception:  # noqa: BLE001 - the outermost loop of this task
                _log.exception("alerts_failed position=%d retry_in_s=%.1f", self.statistics.position, delay_s)
            self.statistics.restarts += 1
            self.statistics.failing += 1
            moved = self.statistics.messages > before
            delay_s = limits.RETRY_DELAY_S if moved else min(delay_s * 2, limits.RETRY_DELAY_MAX_S)
            await asyncio.sleep(delay_s)

    async def _renew(self, rulebook: Rulebook, present: Plan | None) -> None:
        """Have the next plan and the next day's baselines ready before they are needed: both may take their time."""
        day = local_day(_now_us())
        while True:
            await asyncio.sleep(limits.RENEW_CHECK_S)
            plan = await asyncio.to_thread(rulebook.read)
            today, present = local_day(_now_us()), plan or present
            if present is not None and (plan is not None or today != day):
                await asyncio.to_thread(self._prefetch, present)
                day = today
            if plan is not None:
                self._next = plan

    def _prefetch(self, plan: Plan) -> None:
        today = local_day(_now_us())
        readings = Readings(plan, self._baselines, {})
        for day in (today, today + _DAY_AHEAD):
            readings.prefetch(day)

    async def _follow(self, plan: Plan | None) -> None:
        if plan is None:
            raise RuntimeError("the register gave no rules at the first reading")
        await asyncio.to_thread(self._prefetch, plan)
        async with self._connect() as log:
            follower, after = await self._begin(log, plan)
            self._told(follower.engine.plan)
            self.ready.set()
            async with Reader(log, topics.OBSERVATIONS_STREAM, after) as reader:
                await self._pump(log, reader, follower)

    async def _begin(self, log: Log, plan: Plan) -> tuple[Follower, int]:
        """Where to go on: a follower, and the position behind which to read."""
        memory = await asyncio.to_thread(self._book.load)
        snapshot = await asyncio.to_thread(read_snapshot, self._folder)
        held = await log.extent(topics.OBSERVATIONS_STREAM)
        readings = await log.extent(topics.READINGS_STREAM)
        memory, snapshot = self._rebased(memory, snapshot, held, f"{topics.READINGS_STREAM}@{readings.created}")
        engine = Engine(plan, self._baselines)
        follower = Follower(engine, memory, snapshot)
        if memory.position is None:  # never before: what came until now raises nothing by its values any more
            engine.seed(await asyncio.to_thread(self._store.latest))
            step: Step | None = follower.begin(held.last) or follower.standing_still()
        else:
            step = follower.begin()
        if step is not None:
            await asyncio.to_thread(self._save, step)
        after = max(follower.read_after, held.first - 1, 0)
        _log.info("alerts_started rules=%d after=%d saved=%d", len(plan.rules), after, follower.saved_position)
        return follower, after

    def _rebased(
        self, memory: EngineMemory, snapshot: Snapshot | None, held: Extent, log_name: str
    ) -> tuple[EngineMemory, Snapshot | None]:
        """The same where the log still holds the position; else with the oldest one that there is."""
        saved = memory.position
        if saved is None:
            return memory, None
        position = saved.observations_position
        anew = position > held.last or not (saved.log_name or log_name).startswith(log_name)
        if not anew and position >= held.first - 1:
            return memory, snapshot
        self.statistics.positions_lost += 1
        _log.error(
            "alerts_position_lost saved=%d oldest=%d newest=%d: what lies between was not evaluated",
            position,
            held.first,
            held.last,
        )
        oldest = max(held.first - 1, 0)
        if snapshot is not None:
            snapshot = replace(snapshot, place=snapshot.place._replace(observations_position=oldest))
        return EngineMemory(replace(saved, observations_position=oldest), memory.standings), snapshot

    async def _pump(self, log: Log, reader: Reader, follower: Follower) -> None:
        heard_at_s = snapshot_at_s = time.monotonic()
        while True:
            messages = await reader.fetch(limits.FETCH_MAX)
            now_s = time.monotonic()
            if messages:
                heard_at_s = now_s
                await asyncio.to_thread(self._take, follower, messages)
            elif now_s - heard_at_s > limits.TICK_S:
                heard_at_s = now_s
                await self._tick(log)
            plan, self._next = self._next, None
            if plan is not None:
                await asyncio.to_thread(self._take_plan, follower, plan)
            if self._unsaved is not None and now_s - self._saved_at_s > limits.SAVE_POSITION_S:
                await asyncio.to_thread(self._save, self._unsaved)
            if now_s - snapshot_at_s > limits.SNAPSHOT_S and self._unsaved is None:
                snapshot_at_s = now_s
                await asyncio.to_thread(self._keep, follower)

    async def _tick(self, log: Log) -> None:
        """Write the time into the silent log; not while readings wait for the pipeline, which are older than now."""
        waiting = await log.extent(topics.READINGS_STREAM)
        if waiting.last <= self._stored():
            await log.append(topics.OBSERVATIONS_SUBJECT, observations.encode_tick(_now_us()))
            self.statistics.ticks += 1

    def _take(self, follower: Follower, messages: Sequence[JetStreamMessage]) -> None:
        for message in messages:
            for step in follower.take(message.stream_sequence, message.payload):
                self.statistics.watermark_us = step.position.watermark_us
                if step.transitions or step.standings:
                    self._save(step)
                else:
                    self._unsaved = step
            self.statistics.position = message.stream_sequence
        self.statistics.messages += len(messages)
        self.statistics.failing = 0

    def _take_plan(self, follower: Follower, plan: Plan) -> None:
        step = follower.renew(plan)
        if step is not None:
            self._save(step)
            # A rule that was off and on again in between: its alerts ended in the register, which nothing else tells.
            step = follower.stand_as(self._book.load().standings)
            if step.transitions or step.standings:
                self._save(step)
        self._told(plan)

    def _told(self, plan: Plan) -> None:
        self.statistics.rules = len(plan.rules)
        _log.info("alert_rules rules=%d pairs=%d", len(plan.rules), sum(len(one) for one in plan.families))

    def _save(self, step: Step) -> None:
        faultpoint("alerts.before_save")
        self._book.save(step)
        faultpoint("alerts.after_save")
        self._unsaved = None
        self._saved_at_s = time.monotonic()
        self.statistics.saved += 1
        self.statistics.transitions += len(step.transitions)

    def _keep(self, follower: Follower) -> None:
        snapshot = follower.snapshot()
        if snapshot is not None:
            write_snapshot(self._folder, snapshot)


def _now_us() -> int:
    return time.time_ns() // 1000
