"""The pipeline's shell: wait for the log, feed the transform, perform the commit, tell the devices.

Only here are sockets, threads and clocks. Any failure ends the run; the next one reads roster and sequences anew and
goes on from behind the position that the store has.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import pyarrow as pa

from lichtmast.ingest import observations
from lichtmast.ingest.errors import IngestError
from lichtmast.ingest.log import FETCH_MAX, Log, Reader
from lichtmast.ingest.pipeline.acks import Acks
from lichtmast.ingest.pipeline.arrivals import Arrivals, Message, collect
from lichtmast.ingest.pipeline.position import Position, locate
from lichtmast.ingest.pipeline.prepared import Prepared
from lichtmast.ingest.pipeline.replays import ask
from lichtmast.ingest.pipeline.roster import UNKNOWN, Roster
from lichtmast.ingest.pipeline.sequence import Sequences
from lichtmast.ingest.pipeline.transform import Settled, Transform
from lichtmast.ingest.pipeline.upkeep import Upkeep
from lichtmast.ingest.validation import REMEMBERED, Validator
from lichtmast.registry.directory import Directory
from lichtmast.store.errors import StoreBrokenError, StoreError
from lichtmast.store.port import Batch, ObservationStore
from lichtmast.wire import topics
from lichtmast.wire.faultpoint import faultpoint
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.quality import Quality

_log = logging.getLogger(__name__)

RETRY_DELAY_S: Final = 0.2
RETRY_DELAY_MAX_S: Final = 10.0
FULL_ENOUGH: Final = 1_000
"""A fetch of fewer messages is followed by a pause: a quiet town costs ten commits a second and not a thousand."""
LINGER_S: Final = 0.08
ROSTER_CHECK_S: Final = 1.0
ACK_ROUND_S: Final = 0.1


class Register(Protocol):
    """What the pipeline asks of the registry."""

    def revision(self) -> int:
        """A number that moves with every change."""

    def directory(self) -> Directory:
        """All devices."""


class Store(ObservationStore, Protocol):
    """The store with what keeps it in shape."""

    def maintain(self, now_us: int) -> object:
        """Checkpoint and seal what is due; called about once a minute."""

    def existing(self, keys: pa.Table) -> pa.Table:
        """Of (datastream_id, phenomenon_time) keys those that are stored, with `result` and `result_text`."""

    def digests_at(self, log_seq: int) -> list[int]:
        """Digests of the first pack of the log message at this position."""


class Announce(Protocol):
    """Sends messages to devices without waiting."""

    def announce_nowait(self, messages: Any) -> None:  # noqa: ANN401 - (subject, payload) pairs
        """Publish or drop."""


@dataclass(slots=True)
class Statistics:
    """Counts since the start of the process, and where the pipeline stands."""

    packs: int = 0
    readings: int = 0
    quarantined: int = 0
    duplicates: int = 0
    batches: int = 0
    restarts: int = 0
    position: int = 0
    committed_at_us: int = 0
    refusals: dict[str, int] = field(default_factory=dict)

    def add(self, settled: Settled) -> None:
        """Count a committed batch."""
        self.packs += settled.packs
        self.readings += settled.readings
        self.quarantined += settled.quarantined
        self.duplicates += settled.duplicates
        self.batches += 1
        self.position = settled.batch.offset
        self.committed_at_us = time.time_ns() // 1000
        for refusal, count in settled.refusals.items():
            self.refusals[refusal.value] = self.refusals.get(refusal.value, 0) + count


@dataclass(frozen=True, slots=True)
class Heart:
    """What one run knows: the transform decides what is stored, the validator what is doubtful about it."""

    transform: Transform
    validator: Validator

    @property
    def roster(self) -> Roster:
        """The devices as known now."""
        return self.transform.roster

    def renew(self, roster: Roster) -> None:
        """Go on with another roster."""
        self.transform.renew(roster)
        self.validator.renew(roster)

    def judge(self, settled: Settled) -> Settled:
        """The same with what is doubtful about each observation."""
        judged = self.validator.judge(settled.batch.observations, settled.origin)
        return replace(settled, batch=replace(settled.batch, observations=judged))


class Pipeline:
    """Moves readings from the log to the store. Run `run()` as a task; `statistics` tells what it did."""

    def __init__(
        self,
        connect: Callable[[], Log],
        store: Store,
        register: Register,
        announcer: Announce,
        *,
        on_roster: Callable[[Roster], None] | None = None,
    ) -> None:
        self._connect = connect
        self._store = store
        self._register = register
        self._announcer = announcer
        self._on_roster = on_roster or (lambda _: None)
        self._acks = Acks()
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._profiles = load_profiles()
        self._roster_checked_s = 0.0
        self._careful_left = 0
        self._published = ("", 0)
        self.statistics = Statistics()
        self.ready = asyncio.Event()
        self.roster_revision = -1
        """The register's revision that packs are judged by now."""

    async def run(self) -> None:
        """Run until cancelled, beginning anew after each failure, whatever it is: a bug must not stop a town."""
        delay_s = RETRY_DELAY_S
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell(), name="tell-devices")
                while True:
                    before = self.statistics.batches
                    try:
                        await self._run_once()
                    except StoreBrokenError:
                        raise  # nothing here can mend it; whoever runs us starts us again
                    except (IngestError, StoreError) as error:
                        _log.warning("pipeline_restart reason=%s retry_in_s=%.1f", error, delay_s)
                    except Exception:  # noqa: BLE001 - the outermost loop of this task
                        # Perhaps one message is the cause: for a while each goes alone, so that it can be told apart.
                        self._careful_left = FETCH_MAX
                        _log.exception("pipeline_failed position=%d", self.statistics.position)
                    self.statistics.restarts += 1
                    delay_s = RETRY_DELAY_S if self.statistics.batches > before else min(delay_s * 2, RETRY_DELAY_MAX_S)
                    await asyncio.sleep(delay_s)
        finally:
            self._writer.shutdown(wait=True)

    async def _run_once(self) -> None:
        async with self._connect() as log:
            position = await locate(log, self._store, self._in_writer)
            self.statistics.position = position.offset
            progress = await self._in_writer(self._store.progress)
            sequences = Sequences.restored(zip(*(column.to_pylist() for column in progress.columns), strict=True))
            roster = await self._read_roster()
            heart = Heart(
                Transform(roster, sequences), await self._in_writer(lambda: self._validator(roster, progress))
            )
            _log.info("pipeline_started log=%s offset=%d devices=%d", *position, len(roster.names))
            self.ready.set()
            upkeep = asyncio.create_task(
                Upkeep(log, self._store, lambda: self.statistics.position).run(), name="store-upkeep"
            )
            try:
                async with Reader(log, topics.READINGS_STREAM, position.offset) as reader:
                    await self._pump(log, reader, heart, position)
            finally:
                upkeep.cancel()
                await asyncio.gather(upkeep, return_exceptions=True)

    def _validator(self, roster: Roster, progress: pa.Table) -> Validator:
        """A validator that knows what the store holds."""
        validator = Validator(roster)
        out_of_order = int(Quality.LATE | Quality.TIME_IN_FUTURE)
        recent = self._store.recent(REMEMBERED, without=out_of_order)
        try:
            validator.restore(recent, progress)
        except Exception:  # noqa: BLE001 - what it failed on once and was stored unjudged must not stop every start
            _log.exception("validation_begins_anew")
            return Validator(roster)
        return validator

    async def _pump(self, log: Log, reader: Reader, heart: Heart, position: Position) -> None:
        """Fetch, transform and commit; the next fetch and transform run beside the commit."""
        fetching = asyncio.ensure_future(reader.fetch(self._most()))
        committing: asyncio.Future[None] | None = None
        try:
            while True:
                messages = await fetching
                self._careful_left = max(self._careful_left - 1, 0)
                fetching = asyncio.ensure_future(reader.fetch(self._most()))
                await self._renew_roster(heart, ROSTER_CHECK_S)
                if not messages:
                    continue
                prepared = await self._prepare(messages, heart)
                settled = self._judge(await self._settle(prepared, heart.transform, position.name, committing), heart)
                if committing is not None:
                    await committing
                committing = asyncio.ensure_future(self._finish(log, settled))
                if len(messages) < FULL_ENOUGH:
                    await committing
                    await asyncio.sleep(0 if self._careful_left else LINGER_S)
        finally:
            fetching.cancel()
            if committing is not None:
                await asyncio.gather(committing, return_exceptions=True)
            await asyncio.gather(fetching, return_exceptions=True)

    def _most(self) -> int:
        """How many messages the next fetch may bring."""
        return 1 if self._careful_left else FETCH_MAX

    async def _prepare(self, messages: Sequence[Message], heart: Heart) -> Prepared:
        arrivals = collect(messages, heart.roster)
        if _is_refused(arrivals, heart.roster) and await self._renew_roster(heart, 0.0):
            arrivals = collect(messages, heart.roster)  # registered or enrolled a moment ago, before it sent this
        try:
            return heart.transform.prepare(arrivals)
        except Exception as error:
            if len(messages) > 1:
                raise
            _log.exception("message_quarantined position=%d", arrivals.last_position)
            return heart.transform.refuse(arrivals, f"the pipeline failed on it ({type(error).__name__}); see its log")

    async def _settle(
        self, prepared: Prepared, transform: Transform, log_name: str, committing: asyncio.Future[None] | None
    ) -> Settled:
        known, held = {}, None
        loose = prepared.loose_keys() if prepared.loose else None
        if prepared.doubtful or loose is not None or prepared.arrivals.orders:
            if committing is not None:
                await committing  # the answer may be in the batch that is being written
            if prepared.doubtful:
                known = await self._in_writer(lambda: self._store.digests(prepared.doubtful_keys()))
            if loose is not None:
                loose = await self._in_writer(lambda: self._store.existing(loose))
            if prepared.arrivals.orders:
                held = await self._in_writer(lambda: ask(prepared, self._store))
        return transform.settle(prepared, known, loose, log_name, held)

    def _judge(self, settled: Settled, heart: Heart) -> Settled:
        """Flag what is doubtful. One message that makes the validator fail is stored without its flags."""
        try:
            return heart.judge(settled)
        except Exception:
            if not self._careful_left:
                raise
            _log.exception("observations_not_judged position=%d", settled.batch.offset)
            return settled

    async def _publish(self, log: Log, settled: Settled) -> None:
        """Give the batch to the OBSERVATIONS log, but not again when only its commit had failed."""
        batch = settled.batch
        published_log, published_upto = self._published
        if batch.log == published_log and batch.offset <= published_upto:
            return
        for message in observations.encode(batch.observations, settled.origin.log_seq, log_name=batch.log):
            await log.append(topics.OBSERVATIONS_SUBJECT, message)
        self._published = (batch.log, batch.offset)

    async def _finish(self, log: Log, settled: Settled) -> None:
        """To the OBSERVATIONS log, then to the store, and only then to the devices."""
        await self._publish(log, settled)
        await self._in_writer(lambda: self._commit(settled.batch))
        self.statistics.add(settled)
        self._acks.offer(settled.standings)

    def _commit(self, batch: Batch) -> None:
        faultpoint("ingest.before_commit")
        self._store.commit(batch)
        faultpoint("ingest.after_commit")

    async def _renew_roster(self, heart: Heart, not_within_s: float) -> bool:
        """Take the register's present state when it moved; whether it did."""
        now_s = time.monotonic()
        if now_s - self._roster_checked_s < not_within_s:
            return False
        self._roster_checked_s = now_s
        if await asyncio.to_thread(self._register.revision) == heart.roster.revision:
            return False
        roster = await self._read_roster()
        await asyncio.to_thread(heart.renew, roster)
        return True

    async def _read_roster(self) -> Roster:
        roster = await asyncio.to_thread(lambda: Roster.build(self._register.directory(), self._profiles))
        self._on_roster(roster)
        self.roster_revision = roster.revision
        return roster

    async def _tell(self) -> None:
        """Send what the devices may know, ten times a second."""
        while True:
            due = list(self._acks.due(time.monotonic()))
            if due:
                faultpoint("ingest.before_ack")
                self._announcer.announce_nowait(due)
                faultpoint("ingest.after_ack")
            await asyncio.sleep(ACK_ROUND_S)

    async def _in_writer(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - passes any result through
        """Run in the one thread that writes the store."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)


def _is_refused(arrivals: Arrivals, roster: Roster) -> bool:
    """Whether the roster would refuse a sender: then it must be the register's present one."""
    return any(row == UNKNOWN or not roster.active[row] for row in set(arrivals.device))
