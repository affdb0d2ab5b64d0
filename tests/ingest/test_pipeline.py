"""The pipeline on a real broker: what breaks on purpose here is the store, the register, or the code itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ingest_town import pack as pack_of

from lichtmast.ingest import decode, observations
from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.log import Log, Reader
from lichtmast.ingest.pipeline import run as pipeline_run
from lichtmast.ingest.pipeline.run import Pipeline
from lichtmast.registry import DeviceEntry, DeviceStatus, Directory
from lichtmast.store import Batch, StoreError
from lichtmast.store.memory import MemoryStore
from lichtmast.wire import DeviceId, load_profiles, topics
from lichtmast.wire.acknowledgement import Acknowledgement, decode_acknowledgement
from lichtmast.wire.faultpoint import arm, disarm

pytestmark = pytest.mark.slow
START_S = round(time.time(), 3)


def entry(name: str, number: int) -> DeviceEntry:
    size = len(load_profiles()["air-quality"].uplinks)
    first = number * size + 1
    device = DeviceId("gm0402", name)
    return DeviceEntry(number, device, DeviceStatus.ACTIVE, "air-quality", None, tuple(range(first, first + size)))


def pack(name: str, seq: int) -> bytes:
    """A pack of now: the log's clock is the real one."""
    return pack_of(name, seq, time_s=START_S)


class Register:
    """A register in memory."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.asleep: list[str] = []
        self.changes = 0

    def revision(self) -> int:
        return len(self.names) + self.changes

    def directory(self) -> Directory:
        entries = [entry(name, number) for number, name in enumerate(self.names)]
        entries = [
            replace(one, status=DeviceStatus.CLAIMED) if one.device.device in self.asleep else one for one in entries
        ]
        return Directory(self.revision(), {str(one.device): one for one in entries}, ())

    def sleep(self, *names: str) -> None:
        """These are claimed and not yet active, from now on."""
        self.asleep = list(names)
        self.changes += 1


class Heard:
    """What devices were told, the latest of each."""

    def __init__(self) -> None:
        self.by_subject: dict[str, Acknowledgement] = {}

    def announce_nowait(self, messages: Iterable[tuple[str, bytes]]) -> None:
        for subject, payload in messages:
            self.by_subject[subject] = decode_acknowledgement(payload)


class FailingStore(MemoryStore):
    """Refuses the next commits."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    def commit(self, batch: Batch) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreError("the disk is full, says the test")
        super().commit(batch)


class Scene:
    """A broker, a log to publish to as a device would, and a pipeline that runs."""

    def __init__(self, log: Log, pipeline: Pipeline, store: MemoryStore, heard: Heard, register: Register) -> None:
        self.log = log
        self.pipeline = pipeline
        self.store = store
        self.heard = heard
        self.register = register
        self.position = 0

    async def publish(self, name: str, raw: bytes) -> None:
        self.position = await self.log.append(f"lm.gm0402.{name}.up", raw)

    async def wait_stored(self) -> None:
        async with asyncio.timeout(40):
            while self.pipeline.statistics.position < self.position:
                await asyncio.sleep(0.02)

    async def wait_told(self, name: str, upto: int) -> Acknowledgement:
        subject = topics.ack_subject(DeviceId("gm0402", name))
        async with asyncio.timeout(10):
            while subject not in self.heard.by_subject or self.heard.by_subject[subject].upto < upto:
                await asyncio.sleep(0.02)
        return self.heard.by_subject[subject]


def play(folder: Path, store: MemoryStore, act: Callable[[Scene], Awaitable[None]], *names: str) -> None:
    async def scene() -> None:
        async with Broker(BrokerSettings(folder, mqtt_port=0)) as broker:

            def connect() -> Log:
                return Log(broker.client_url, broker.user, broker.password)

            heard, register = Heard(), Register(*names)
            pipeline = Pipeline(connect, store, register, heard)
            running = asyncio.create_task(pipeline.run())
            async with connect() as log:
                await pipeline.ready.wait()
                await act(Scene(log, pipeline, store, heard, register))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scene())


def rows(store: MemoryStore) -> int:
    counts = store.audit_counts()
    assert counts["double_packs"] == 0
    assert counts["positions_unaccounted"] == 0
    assert counts["observations_total"] == counts["readings_by_ledger"]
    return counts["observations_total"]


def test_a_message_that_our_own_code_fails_on_is_quarantined_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = decode.read_columns

    def fragile(payloads: Any, *codes: Any) -> Any:  # noqa: ANN401 - as it comes
        if any(b"poison" in raw for raw in payloads):
            raise ZeroDivisionError
        return sound(payloads, *codes)

    monkeypatch.setattr(decode, "read_columns", fragile)
    monkeypatch.setattr(pipeline_run, "RETRY_DELAY_S", 0.01)

    async def act(scene: Scene) -> None:
        for seq in range(1, 6):
            await scene.publish("lm-1", pack("lm-1", seq))
        await scene.publish("lm-2", b"poison")
        for seq in range(6, 11):
            await scene.publish("lm-1", pack("lm-1", seq))
        await scene.wait_stored()
        assert (await scene.wait_told("lm-1", 10)).upto == 10

    store = MemoryStore()
    play(tmp_path, store, act, "lm-1", "lm-2")
    assert rows(store) == 20
    [refused] = store.quarantine(10).to_pylist()
    assert (refused["device"], refused["payload"]) == ("gm0402/lm-2", b"poison")
    assert "ZeroDivisionError" in refused["detail"]


def test_a_store_that_refuses_for_a_while_loses_nothing_and_floods_no_log(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        for seq in range(1, 21):
            await scene.publish("lm-1", pack("lm-1", seq))
        await scene.wait_stored()
        await scene.wait_told("lm-1", 20)
        assert scene.pipeline.statistics.restarts >= 3
        seen = []
        async with Reader(scene.log, topics.OBSERVATIONS_STREAM, 0) as reader:
            while messages := await reader.fetch():
                seen += [observations.decode(one.payload) for one in messages]
        table = pa.concat_tables(seen)
        keys = set(zip(table["datastream_id"].to_pylist(), table["phenomenon_time"].to_pylist(), strict=True))
        assert len(keys) == 2, "every pack of the test has the same time"
        # A retry may hold more than the batch that failed, and is then published whole; the same is not.
        assert 40 <= table.num_rows < 80, "batches whose commit failed were published again and again"

    store = FailingStore(3)
    play(tmp_path, store, act, "lm-1")
    assert rows(store) == 40


@pytest.mark.parametrize("point", ["ingest.before_commit", "ingest.after_commit"])
def test_a_fault_beside_the_commit_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    async def act(scene: Scene) -> None:
        arm({point: "raise@1"}, leave=lambda _: None, sleep=lambda _: None)
        for seq in range(1, 4):
            await scene.publish("lm-1", pack("lm-1", seq))
        await scene.publish("lm-1", pack("lm-1", 1))  # nobody told the device, so it repeats
        await scene.wait_stored()
        async with asyncio.timeout(20):
            while scene.pipeline.statistics.restarts < 1:
                await asyncio.sleep(0.02)
        await scene.publish("lm-1", pack("lm-1", 2))
        assert await scene.wait_told("lm-1", 3) == Acknowledgement(7, 3)

    store = MemoryStore()
    try:
        play(tmp_path, store, act, "lm-1")
    finally:
        disarm()
    assert rows(store) == 6


def test_nothing_is_acknowledged_before_it_is_stored(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        for seq in range(1, 4):
            await scene.publish("lm-1", pack("lm-1", seq))
        async with asyncio.timeout(20):
            while scene.pipeline.statistics.restarts < 2:
                await asyncio.sleep(0.02)
        assert scene.heard.by_subject == {}
        assert rows(scene.store) == 0

    play(tmp_path, FailingStore(1_000_000), act, "lm-1")


def test_a_device_that_was_registered_a_moment_ago_is_known(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.publish("lm-1", pack("lm-1", 1))
        await scene.wait_stored()
        scene.register.names.append("lm-9")
        await scene.publish("lm-9", pack("lm-9", 1))
        await scene.wait_stored()
        await scene.wait_told("lm-9", 1)

    store = MemoryStore()
    play(tmp_path, store, act, "lm-1")
    assert rows(store) == 4
    assert store.quarantine(10).num_rows == 0


def test_the_first_pack_of_a_device_that_was_activated_a_moment_ago_is_stored(tmp_path: Path) -> None:
    """It enrols, connects and sends within milliseconds; the roster that the pipeline has is older."""

    async def act(scene: Scene) -> None:
        scene.register.sleep("lm-2")
        async with asyncio.timeout(10):
            while scene.pipeline.roster_revision < scene.register.revision():
                await asyncio.sleep(0.02)
        scene.register.sleep()
        await scene.publish("lm-2", pack("lm-2", 1))
        await scene.wait_stored()

    store = MemoryStore()
    play(tmp_path, store, act, "lm-1", "lm-2")
    assert rows(store) == 2
    assert store.quarantine(10).num_rows == 0


def test_repetitions_across_restarts_of_the_pipeline_are_duplicates(tmp_path: Path) -> None:
    store = MemoryStore()

    async def first(scene: Scene) -> None:
        for seq in (1, 2, 4):
            await scene.publish("lm-1", pack("lm-1", seq))
        await scene.wait_stored()

    async def again(scene: Scene) -> None:
        for seq in (1, 2, 3, 4):
            await scene.publish("lm-1", pack("lm-1", seq))
        await scene.wait_stored()
        assert await scene.wait_told("lm-1", 4) == Acknowledgement(7, 4)
        assert (scene.pipeline.statistics.duplicates, scene.pipeline.statistics.packs) == (3, 4)

    play(tmp_path, store, first, "lm-1")
    play(tmp_path, store, again, "lm-1")
    assert rows(store) == 8


def test_declared_drops_are_acknowledged_after_a_restart_and_arrive_all_the_same(tmp_path: Path) -> None:
    store = MemoryStore()
    declaring = pack("lm-1", 9).replace(b'"lm-seq":9', b'"lm-seq":9,"lm-dropped":"2-8"')

    async def first(scene: Scene) -> None:
        await scene.publish("lm-1", pack("lm-1", 1))
        await scene.publish("lm-1", declaring)
        await scene.wait_stored()
        await scene.wait_told("lm-1", 9)

    async def again(scene: Scene) -> None:
        await scene.publish("lm-1", declaring)
        await scene.wait_stored()
        assert await scene.wait_told("lm-1", 9) == Acknowledgement(7, 9)
        await scene.publish("lm-1", pack("lm-1", 5))
        await scene.wait_stored()

    play(tmp_path, store, first, "lm-1")
    play(tmp_path, store, again, "lm-1")
    assert rows(store) == 6
    assert [(row["first"], row["last"]) for row in store.dropped().to_pylist()] == [(2, 4), (6, 8)]
