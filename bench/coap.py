"""What one CoAP request costs: our door with JetStream's acknowledgement, against aiocoap's Site doing nothing.

Both servers run in processes of their own on uvloop and get the same load: confirmable POSTs of a SenML pack of six
readings from 1,024 endpoints in turn, 64 requests in flight, never two of one endpoint (NSTART 1, RFC 7252 section
4.7). With 64, aiocoap answers in time to piggyback; with more it would pay for separate responses too. Ours inspects
each pack against a register of 1,024 devices and answers 2.04 after a real nats-server has acknowledged its envelope;
aiocoap's resource returns an empty 2.04. Counted is the server process's CPU time (in ours, natsrpy's threads
included); nats-server's is shown apart. The broker syncs once a second here, as in a replicated cluster;
`--sync always` shows one machine's default.

The last line is the median of five runs each, as JSON.
"""

import argparse
import asyncio
import json
import logging
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiocoap
import aiocoap.resource
import psutil
import uvloop

from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.coap import CoapDoor, CoapSettings
from lichtmast.ingest.inspector import Inspector
from lichtmast.ingest.log import Log
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.registry.directory import DeviceEntry, Directory
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.topics import COAP_DOOR_SUBJECT

ENDPOINTS = 1_024
IN_FLIGHT = 64
RETRANSMIT_S = 1.0
CHANGED = 0x44
CON_WITH_TOKEN = 0x42
PROFILE = "weather"


@dataclass(frozen=True, slots=True)
class Run:
    """One run against one server."""

    requests: int
    seconds: float
    server_cpu_s: float
    broker_cpu_s: float
    retransmitted: int

    @property
    def server_us(self) -> float:
        """CPU microseconds a request."""
        return self.server_cpu_s / self.requests * 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--serve", choices=("door", "aiocoap"), help=argparse.SUPPRESS)
    arguments.add_argument("--sync", default="1s", help="the broker's sync_interval: a duration, or always")
    arguments.add_argument("--seconds", type=float, default=2.0, help="length of one run")
    arguments.add_argument("--runs", type=int, default=5)
    chosen = arguments.parse_args()
    if chosen.serve is None:
        compare(chosen.sync, chosen.seconds, chosen.runs)
    else:
        logging.disable(logging.CRITICAL)
        uvloop.run(serve_door(chosen.sync) if chosen.serve == "door" else serve_aiocoap())


def compare(sync: str, seconds: float, runs: int) -> None:
    ours: list[Run] = []
    theirs: list[Run] = []
    with Server("door", sync) as door, Server("aiocoap", sync) as site:
        for load in (door.load, site.load):
            load.run(0.5)  # warm
        for number in range(runs):
            ours.append(door.measure(seconds))
            theirs.append(site.measure(seconds))
            for name, run in (("door", ours[-1]), ("aiocoap", theirs[-1])):
                print(
                    f"{number + 1}/{runs} {name:8} {run.requests / run.seconds:8.0f} requests/s "
                    f"{run.server_us:7.1f} us CPU a request, broker {run.broker_cpu_s / run.requests * 1e6:5.1f} us, "
                    f"{run.retransmitted} retransmitted",
                    file=sys.stderr,
                )
    cpu_us = statistics.median(run.server_us for run in ours)
    aiocoap_us = statistics.median(run.server_us for run in theirs)
    result = {
        "cpu_ratio_to_aiocoap": round(
            statistics.median(a.server_us / b.server_us for a, b in zip(ours, theirs, strict=True)), 4
        ),
        "requests_per_s": round(statistics.median(run.requests / run.seconds for run in ours)),
        "aiocoap_requests_per_s": round(statistics.median(run.requests / run.seconds for run in theirs)),
        "cpu_us_per_request": round(cpu_us, 2),
        "aiocoap_cpu_us_per_request": round(aiocoap_us, 2),
        "nats_cpu_us_per_request": round(statistics.median(run.broker_cpu_s / run.requests * 1e6 for run in ours), 2),
        "retransmitted": sum(run.retransmitted for run in ours),
        "pack_bytes": len(pack(0, 1)),
        "sync_interval": sync,
    }
    print(json.dumps(result))


class Server:
    """A server process, and the load on it."""

    def __init__(self, name: str, sync: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__, "--serve", name, "--sync", sync], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        assert self._child.stdout is not None
        self.load = Load(int(self._child.stdout.readline()))
        return self

    def __exit__(self, *_: object) -> None:
        self.load.close()
        assert self._child.stdin is not None
        self._child.stdin.close()  # the server ends when its input does
        self._child.wait(15)

    def measure(self, seconds: float) -> Run:
        """Load the server for so long and see what it used."""
        server = psutil.Process(self._child.pid)
        broker = server.children(recursive=True)
        before, broker_before = _cpu_s([server]), _cpu_s(broker)
        started = time.perf_counter()
        requests, retransmitted = self.load.run(seconds)
        elapsed = time.perf_counter() - started
        return Run(requests, elapsed, _cpu_s([server]) - before, _cpu_s(broker) - broker_before, retransmitted)


def _cpu_s(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


class Load:
    """Endpoints that take turns, at most one confirmable request in flight each; every answer must be 2.04."""

    def __init__(self, port: int) -> None:
        self._sockets = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(ENDPOINTS)]
        self._poll = select.epoll()
        self._endpoint = {one.fileno(): number for number, one in enumerate(self._sockets)}
        for one in self._sockets:
            one.settimeout(0)
            one.connect(("::1", port))
            self._poll.register(one.fileno(), select.EPOLLIN)
        self._sequence = [0] * ENDPOINTS
        self._last = [b""] * ENDPOINTS
        self._sent_s = [0.0] * ENDPOINTS

    def run(self, seconds: float) -> tuple[int, int]:
        """Answered requests and retransmissions."""
        end = time.perf_counter() + seconds
        answered = retransmitted = 0
        idle = deque(range(ENDPOINTS))
        waiting: set[int] = set()
        checked_s = 0.0
        while True:
            now_s = time.perf_counter()
            while now_s < end and len(waiting) < IN_FLIGHT:
                number = idle.popleft()
                waiting.add(number)
                self._ask(number, now_s)
            if not waiting:
                return answered, retransmitted
            for descriptor, _ in self._poll.poll(0.05, IN_FLIGHT):
                number = self._endpoint[descriptor]
                if self._hear(number):
                    answered += 1
                    waiting.discard(number)
                    idle.append(number)
            if now_s - checked_s > RETRANSMIT_S / 4:
                checked_s = now_s
                for number in waiting:
                    if now_s - self._sent_s[number] > RETRANSMIT_S:
                        retransmitted += 1
                        self._sent_s[number] = now_s
                        self._sockets[number].send(self._last[number])

    def _hear(self, number: int) -> bool:
        """Whether what arrived answers the request; fails on anything but 2.04."""
        answer, request = self._sockets[number].recv(2048), self._last[number]
        if answer == b"\x60\x00" + request[2:4]:
            return False  # an empty acknowledgement: the answer comes apart
        if answer[1] != CHANGED or answer[4:6] != request[4:6]:
            raise SystemExit(f"endpoint {number} was answered {answer.hex()} to {request[:20].hex()}")
        if answer[0] == CON_WITH_TOKEN:
            self._sockets[number].send(b"\x60\x00" + answer[2:4])
        return True

    def _ask(self, number: int, now_s: float) -> None:
        self._sequence[number] += 1
        sequence = self._sequence[number]
        datagram = (
            b"\x42\x02" + (sequence % 65_536).to_bytes(2, "big") * 2 + b"\xb2up\x11\x6e\xff" + pack(number, sequence)
        )
        self._last[number] = datagram
        self._sent_s[number] = now_s
        self._sockets[number].send(datagram)

    def close(self) -> None:
        """Close the endpoints."""
        self._poll.close()
        for one in self._sockets:
            one.close()


def pack(number: int, sequence: int) -> bytes:
    """Six readings of one device, as canonical SenML JSON."""
    return b'[{"bn":"urn:dev:lm:gm0402:lm-%04d","bt":%d,"lm-epoch":1,"lm-seq":%d%s]' % (
        number,
        NOW_S,
        sequence,
        READINGS,
    )


def _readings() -> bytes:
    uplinks = [one for one in load_profiles()[PROFILE].uplinks if one.kind.value == "number"]
    six = (uplinks * 6)[:6]
    records = [
        b'"n":"%s","u":"%s","v":%d' % (one.suffix.encode(), (one.unit or "").encode(), 1 + int(one.minimum or 0))
        + (b',"t":-%d' % at if at else b"")
        for at, one in enumerate(six)
    ]
    return b"," + b"},{".join(records) + b"}"


NOW_S = int(time.time())
READINGS = _readings()


async def serve_door(sync: str) -> None:
    devices = [DeviceId("gm0402", f"lm-{number:04}") for number in range(ENDPOINTS)]
    profiles = load_profiles()
    series = len(profiles[PROFILE].uplinks)
    entries = {
        str(device): DeviceEntry(
            row, device, DeviceStatus.ACTIVE, PROFILE, None, tuple(range(row * series, (row + 1) * series))
        )
        for row, device in enumerate(devices)
    }
    inspector = Inspector(Roster.build(Directory(1, entries, ()), profiles))
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Broker(BrokerSettings(Path(folder), mqtt_port=0, sync_interval=sync)) as broker,
            Log(broker.client_url, broker.user, broker.password) as log,
        ):

            async def publish(envelope: bytes) -> None:
                await log.append(COAP_DOOR_SUBJECT, envelope)

            async with CoapDoor(CoapSettings(port=0), inspector.inspect, publish) as door:
                print(door.port, flush=True)
                await _wait_input_closed()
                counted = door.statistics()
                print(f"{counted.packs_logged / counted.envelopes:.0f} packs an envelope", file=sys.stderr)


class Up(aiocoap.resource.Resource):  # type: ignore[misc]  # aiocoap has no types
    """A resource that does nothing."""

    async def render_post(self, _request: aiocoap.Message) -> aiocoap.Message:
        """Answer 2.04."""
        return aiocoap.Message(code=aiocoap.CHANGED)


async def serve_aiocoap() -> None:
    site = aiocoap.resource.Site()
    site.add_resource(["up"], Up())
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind(("::1", 0))
        port = free.getsockname()[1]
    context = await aiocoap.Context.create_server_context(site, bind=("::1", port))
    print(port, flush=True)
    await _wait_input_closed()
    await context.shutdown()


async def _wait_input_closed() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    main()
