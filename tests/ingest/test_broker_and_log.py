"""The broker is restarted when it dies, and the log says when a read broke instead of staying silent."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyarrow as pa
import pytest
from mqtt_bytes import connect, subscribe
from xxhash import xxh3_64_intdigest

from lichtmast.ingest import observations
from lichtmast.ingest.announcer import Announcer
from lichtmast.ingest.broker import DISK_FULL_BYTES, Broker, BrokerSettings, find_server
from lichtmast.ingest.errors import BrokerError, LogError
from lichtmast.ingest.log import Log, LogSettings, Reader
from lichtmast.ingest.pipeline.position import Position, locate
from lichtmast.store.port import OBSERVATION_SCHEMA
from lichtmast.wire import DeviceId, topics

pytestmark = pytest.mark.slow
SUBJECT = topics.COAP_DOOR_SUBJECT


@asynccontextmanager
async def broker_and_log(folder: Path, settings: LogSettings | None = None) -> AsyncIterator[tuple[Broker, Log]]:
    async with Broker(BrokerSettings(folder, mqtt_port=0)) as broker:
        supervising = asyncio.create_task(broker.supervise())
        async with Log(broker.client_url, broker.user, broker.password, settings) as log:
            yield broker, log
        await broker.stop()
        await supervising


async def wait_restarted(broker: Broker, killed: int) -> None:
    async with asyncio.timeout(30):
        while broker.pid == killed:
            await asyncio.sleep(0.02)
        await broker.ready.wait()


async def in_thread(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the pipeline's
    return await asyncio.to_thread(work)


async def wait_two(reader: Reader) -> None:
    """Fetch until something comes, for a minute."""
    async with asyncio.timeout(60):
        while not await reader.fetch():
            pass


async def fill(log: Log) -> int:
    """Append until the log refuses; how many it took. It raises nothing else."""
    for taken in range(100):
        try:
            await log.append(SUBJECT, bytes(1_000))
        except LogError:
            return taken
    pytest.fail("the log has no bound")


class Positions:
    """A store that knows one position of one log, and digests."""

    def __init__(self) -> None:
        self.offsets: dict[str, int] = {}
        self.digests: dict[int, list[int]] = {}

    def offset(self, log: str) -> int:
        return self.offsets.get(log, 0)

    def digests_at(self, log_seq: int) -> list[int]:
        return self.digests.get(log_seq, [])


def test_who_opens_an_empty_log_at_the_same_moment_finds_room_for_its_streams(tmp_path: Path) -> None:
    """As pipeline and door do at the first start, where the disk is so small that the streams have a share of it."""

    async def scene() -> None:
        share = LogSettings(readings_bytes_max=shutil.disk_usage(tmp_path).free * 2 // 5)
        async with Broker(BrokerSettings(tmp_path, mqtt_port=0)) as broker, AsyncExitStack() as stack:
            supervising = asyncio.create_task(broker.supervise())
            logs = [Log(broker.client_url, broker.user, broker.password, share) for _ in range(6)]
            opened = await asyncio.gather(*map(stack.enter_async_context, logs))
            assert [await one.append(SUBJECT, b"x") for one in opened] == [1, 2, 3, 4, 5, 6]
            await broker.stop()
            await supervising

    asyncio.run(scene())


def test_the_broker_comes_back_on_its_ports_and_has_what_it_acknowledged(tmp_path: Path) -> None:
    async def scene() -> None:
        async with broker_and_log(tmp_path) as (broker, log):
            ports = broker.client_port, broker.mqtt_port
            for number in range(20):
                assert await log.append(SUBJECT, b"%d" % number) == number + 1
            before = broker.pid
            os.kill(before, signal.SIGKILL)
            await wait_restarted(broker, before)
            async with Log(broker.client_url, broker.user, broker.password) as again:
                assert (await again.extent(topics.READINGS_STREAM)).last == 20
                found = await again.message_at(topics.READINGS_STREAM, 20)
                assert found is not None
                assert (found.stream_sequence, found.payload) == (20, b"19")
                assert await again.message_at(topics.READINGS_STREAM, 21) is None
            assert (broker.client_port, broker.mqtt_port) == ports

    asyncio.run(scene())


def test_a_reader_of_a_broker_that_died_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with broker_and_log(tmp_path) as (broker, log):
            await log.append(SUBJECT, b"one")
            async with Reader(log, topics.READINGS_STREAM, 0) as reader:
                assert [one.payload for one in await reader.fetch()] == [b"one"]
                os.kill(broker.pid, signal.SIGKILL)
                await wait_restarted(broker, broker.pid)
                async with Log(broker.client_url, broker.user, broker.password) as other:
                    await other.append(SUBJECT, b"two")
                with pytest.raises(LogError):
                    await wait_two(reader)

    asyncio.run(scene())


def test_a_reader_gets_everything_in_order_from_behind_its_position(tmp_path: Path) -> None:
    async def scene() -> None:
        async with broker_and_log(tmp_path) as (_, log):
            for number in range(1, 51):
                await log.append(SUBJECT, b"%d" % number)
            async with Reader(log, topics.READINGS_STREAM, 20) as reader:
                got: list[tuple[int, bytes]] = []
                while len(got) < 30:
                    got += [(one.stream_sequence, one.payload) for one in await reader.fetch(7)]
                assert got == [(number, b"%d" % number) for number in range(21, 51)]
                assert await reader.fetch() == []

    asyncio.run(scene())


def test_the_broker_is_restarted_when_its_disk_has_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that met a full disk refuses messages until its server starts anew."""
    room = DISK_FULL_BYTES * 100

    async def scene() -> None:
        nonlocal room
        async with broker_and_log(tmp_path) as (broker, _):
            monkeypatch.setattr("lichtmast.ingest.broker.shutil.disk_usage", lambda _: SimpleNamespace(free=room))
            healing = asyncio.create_task(broker.heal(wait_s=0.01))
            before = broker.pid
            await asyncio.sleep(0.1)
            room = DISK_FULL_BYTES - 1
            await asyncio.sleep(0.1)
            assert (broker.pid, broker.restarts) == (before, 0), "nothing to gain while the disk is full"
            room = DISK_FULL_BYTES * 3
            await wait_restarted(broker, before)
            await asyncio.sleep(0.1)
            assert broker.restarts == 1
            healing.cancel()
            await asyncio.gather(healing, return_exceptions=True)

    asyncio.run(scene())


def test_streams_are_sized_by_the_disk_and_kept_when_they_are_there(tmp_path: Path) -> None:
    async def scene() -> tuple[int, int]:
        async with Broker(BrokerSettings(tmp_path, mqtt_port=0)) as broker:
            sizes = []
            for free_bytes in (1_000_000_000, 5_000_000_000):
                async with Log(broker.client_url, broker.user, broker.password, free_bytes=free_bytes) as log:
                    sizes.append((await log.extent(topics.READINGS_STREAM)).bytes_max)
            return sizes[0], sizes[1]

    assert asyncio.run(scene()) == (400_000_000, 400_000_000)


class Cutter:
    """A relay on ::1 that cuts its connections once so many bytes have come from the server."""

    def __init__(self, port: int, after_bytes: int) -> None:
        self._port = port
        self._left = after_bytes
        self.cuts = 0

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "::1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("::1", self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, to_server, counted=False))
                group.create_task(self._pass(from_server, writer, counted=True))
        except* OSError:
            self.cuts += 1
        writer.close()
        to_server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        while part := await reader.read(4_096):
            writer.write(part)
            await writer.drain()
            if counted and self._left > 0:
                self._left -= len(part)
                if self._left <= 0:
                    raise ConnectionResetError
        raise ConnectionAbortedError


@pytest.mark.parametrize("after_bytes", [20_000, 60_000, 150_000])
def test_a_connection_that_breaks_during_a_fetch_loses_no_message(after_bytes: int, tmp_path: Path) -> None:
    """The client library reconnects by itself and goes on behind what was on its way; the reader must notice."""

    async def scene() -> tuple[list[int], int]:
        async with broker_and_log(tmp_path) as (broker, log):
            for _ in range(300):
                await log.append(SUBJECT, bytes(1_000))
            cutter = Cutter(broker.client_port, after_bytes)
            async with cutter as port:
                got: list[int] = []
                async with asyncio.timeout(60):
                    while len(got) < 300:
                        async with Log(f"nats://[::1]:{port}", broker.user, broker.password) as cut_off:
                            try:
                                async with Reader(cut_off, topics.READINGS_STREAM, got[-1] if got else 0) as reader:
                                    while len(got) < 300:
                                        got += [one.stream_sequence for one in await reader.fetch(100)]
                            except LogError:
                                continue
            return got, cutter.cuts

    got, cuts = asyncio.run(scene())
    assert cuts > 0, "vacuous: nothing was cut"
    assert got == list(range(1, 301))


def test_positions_that_were_removed_are_passed_over_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> list[int]:
        async with broker_and_log(tmp_path) as (_, log):
            for _ in range(20):
                await log.append(SUBJECT, b"x")
            await log.forget(topics.READINGS_STREAM, 5)
            async with Reader(log, topics.READINGS_STREAM, 0) as reader:
                return [one.stream_sequence for one in await reader.fetch()]

    assert asyncio.run(scene()) == list(range(6, 21))
    assert "log_positions_gone stream=READINGS from=1 to=5" in caplog.text


def test_a_full_log_refuses_and_takes_again_when_what_is_stored_is_forgotten(tmp_path: Path) -> None:
    async def scene() -> None:
        settings = LogSettings(readings_bytes_max=20_000)
        async with broker_and_log(tmp_path, settings) as (_, log):
            taken = await fill(log)
            assert 10 < taken < 20
            await log.forget(topics.READINGS_STREAM, taken - 2)
            extent = await log.extent(topics.READINGS_STREAM)
            assert (extent.first, extent.last) == (taken - 1, taken)
            assert await log.append(SUBJECT, bytes(1_000)) == taken + 1

    asyncio.run(scene())


def test_the_broker_ends_with_its_supervisor_even_when_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from lichtmast.ingest.broker import Broker, BrokerSettings\n"
        "async def main():\n"
        "    async with Broker(BrokerSettings(pathlib.Path(sys.argv[1]), mqtt_port=0)) as broker:\n"
        "        print(broker.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )

    async def scene() -> None:
        import sys

        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        server = psutil.Process(int(await child.stdout.readline()))
        child.kill()
        await child.wait()
        await asyncio.to_thread(server.wait, 15)

    asyncio.run(scene())


def test_a_taken_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lichtmast.ingest.broker.PORT_WAIT_S", 0.1)

    async def scene(port: int) -> None:
        with pytest.raises(BrokerError, match=str(port)):
            async with Broker(BrokerSettings(tmp_path, mqtt_port=port)):
                pass

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        asyncio.run(scene(taken.getsockname()[1]))


@pytest.mark.parametrize("host", ["::", "fe80::1", "2001:db8::5"])
def test_the_broker_refuses_to_listen_beyond_loopback(host: str, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="loopback"):
        BrokerSettings(tmp_path, host)


def test_a_wrong_sync_interval_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="sometimes"):
        BrokerSettings(tmp_path, sync_interval="sometimes")


def test_the_server_that_is_found_runs() -> None:
    assert find_server().name == "nats-server"


def test_the_configuration_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Broker(BrokerSettings(tmp_path, mqtt_port=0)):
            assert (tmp_path / "nats-server.conf").stat().st_mode & 0o077 == 0

    asyncio.run(scene())


def test_reading_goes_on_behind_the_position_of_the_store(tmp_path: Path) -> None:
    async def scene() -> None:
        async with broker_and_log(tmp_path) as (_, log):
            store = Positions()
            fresh = await locate(log, store, in_thread)
            assert fresh.offset == 0
            for number in range(1, 11):
                await log.append(SUBJECT, b"%d" % number)
            store.offsets[fresh.name], store.digests = 6, {6: [xxh3_64_intdigest(b"6")]}
            assert await locate(log, store, in_thread) == Position(fresh.name, 6)
            store.digests = {}  # sealed long ago: nothing to compare with, and nothing speaks against it
            assert await locate(log, store, in_thread) == Position(fresh.name, 6)

    asyncio.run(scene())


@pytest.mark.parametrize(("offset", "digest"), [(40, b"40"), (6, b"another message")], ids=["shorter", "overwritten"])
def test_a_log_that_was_rewound_is_read_again_under_a_new_name(tmp_path: Path, offset: int, digest: bytes) -> None:
    async def scene() -> None:
        async with broker_and_log(tmp_path) as (_, log):
            store = Positions()
            name = (await locate(log, store, in_thread)).name
            for number in range(1, 11):
                await log.append(SUBJECT, b"%d" % number)
            store.offsets[name], store.digests = offset, {offset: [xxh3_64_intdigest(digest)]}
            again = await locate(log, store, in_thread)
            assert again.offset == 0
            assert again.name != name
            store.offsets[again.name], store.digests = 8, {8: [xxh3_64_intdigest(b"8")]}
            assert await locate(log, store, in_thread) == Position(again.name, 8)

    asyncio.run(scene())


def test_observations_come_out_of_their_log_as_they_went_in(tmp_path: Path) -> None:
    count = observations.ROWS_MAX + 10
    table = pa.table(
        [
            pa.array(range(count), pa.int32()),
            pa.array(range(count), pa.int64()),
            pa.array([one / 7 for one in range(count)]),
            pa.nulls(count, pa.string()),
            pa.array([0] * count, pa.int32()),
            pa.array([1] * count, pa.int64()),
        ],
        schema=OBSERVATION_SCHEMA,
    )

    async def scene() -> None:
        async with broker_and_log(tmp_path) as (broker, log):
            for message in observations.encode(table):
                await log.append(topics.OBSERVATIONS_SUBJECT, message)
            got = []
            async for position, part in observations.follow(
                lambda: Log(broker.client_url, broker.user, broker.password), after=0
            ):
                got.append((position, part))
                if len(got) == 2:
                    break
            assert [position for position, _ in got] == [1, 2]
            assert pa.concat_tables([part for _, part in got]).equals(table)

    asyncio.run(scene())


def test_an_announcement_reaches_its_device_also_after_the_broker_was_killed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with broker_and_log(tmp_path) as (broker, _):
            announcer = Announcer("::1", broker.client_port, broker.user, broker.password)
            announcing = asyncio.create_task(announcer.run())
            for attempt in range(2):
                reader, writer = await asyncio.open_connection("::1", broker.mqtt_port)
                writer.write(connect(f"device-{attempt}") + subscribe("lm/gm0402/lm-1/ack"))
                granted = b""
                while not granted.endswith(bytes.fromhex("9003000100")):
                    granted += await reader.read(100)
                heard = b""
                async with asyncio.timeout(20):
                    while b"hello" not in heard:
                        announcer.announce_nowait([("lm.gm0402.lm-1.ack", b"hello")])
                        try:
                            heard += await asyncio.wait_for(reader.read(100), 0.2)
                        except TimeoutError:
                            continue
                writer.close()
                if attempt == 0:
                    before = broker.pid
                    os.kill(before, signal.SIGKILL)
                    await wait_restarted(broker, before)
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)

    asyncio.run(scene())


def test_events_are_kept_per_device_up_to_their_bound(tmp_path: Path) -> None:
    lamp, other = DeviceId("gm0402", "lamp-1"), DeviceId("gm0402", "lamp-2")

    async def scene() -> None:
        async with broker_and_log(tmp_path, LogSettings(events_per_subject_max=3)) as (_, log):
            for number in range(5):
                await log.append(topics.ev_subject(lamp), b"event %d" % number)
                await log.append(topics.state_subject(lamp), b"state %d" % number)
            await log.append(topics.ev_subject(other), b"another's")
            for subject, kept in (
                (topics.ev_subject(lamp), [b"event 2", b"event 3", b"event 4"]),
                (topics.state_subject(lamp), [b"state 2", b"state 3", b"state 4"]),
                (topics.ev_subject(other), [b"another's"]),
                (topics.state_subject(other), []),
            ):
                held = await log.held_of(topics.EVENTS_STREAM, subject, 3)
                assert [one.payload for one in held] == kept

    asyncio.run(scene())
