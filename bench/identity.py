"""What certificates cost at 5,000 devices, and how fast one of them is out: `scripts/bench identity`.

One process is a real Lichtmast with everything encrypted, as `lichtmast up --secure` composes it, with its nats-server;
this process is the load, with a key and a certificate of our authority for each device. They share the machine's cores,
and each one's CPU time is told apart. Two things are not as delivered: the DTLS door's rate of handshakes is lifted,
because all devices here are in one /64, which gets 100 a second; and what one device may send over MQTT, because 16
connections carry what 5,000 devices would.

tls      every device connects by MQTT: TLS 1.3 with both certificates, CONNECT, our answer to the broker, CONNACK; at
         most 200 at one time, no session resumed. Then memory: what both processes hold beyond what they held before.
dtls     every device shakes hands with the CoAP door: cookie, both certificates; at most 100 at one time.
revoke   with 5,000 sessions of each kind: one device, then half of them, each suspended by a commit of its own in
         another process; seconds from the return of that commit until both sockets of the device are told. Nobody else
         may lose a session, and who was suspended is refused when it comes again.
bare     TLS 1.3 with both certificates between two objects of OpenSSL in memory: what the arithmetic costs here.
return   the broker is killed under 5,000 connections; seconds until all are back, with the pauses of `lichtmast-edge`
         (2 s doubling to 60 s), and when each waits 1 to 30 s by chance instead. The time limits are the agent's.
ingest   packs from connections that stand, each with its device's packs, into a plaintext Lichtmast and an encrypted
         one, turn by turn; the clock stops when all are stored. From 16 connections with 1,000 packs unacknowledged
         each, written by the hundred (`tls_ingest_ratio`); and from 1,000 with 8, each pack in a record of its own, as
         devices send it (`single_...`). The log fsyncs each second here, as a replicated cluster would: with an fsync
         for each message, TLS would not be seen. `..._cpu_ratio` is the same by the CPU time of broker and Lichtmast.

Last line: JSON {tls_handshakes_per_s, dtls_handshakes_per_s, kb_per_connection, tls_ingest_ratio, revoke_s, ...}: rates
are medians of the rounds, `revoke_s` is the slowest of all, `load` the machine's load average at beginning and end.
"""

import argparse
import heapq
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.load.bare import bare_handshake_ms
from bench.load.dtls_clients import DtlsDevice, shake_all
from bench.load.mqtt import Fleet, connect, send
from bench.load.server import Server, server
from bench.load.tls_clients import State, TlsClient, connect_all
from bench.load.town import Town, certify, device, register
from bench.load.watch import Watch

from lichtmast.edge.pace import backoff_s
from lichtmast.edge.uplink.limits import RETRY_MAX_S, RETRY_S
from lichtmast.suite.folder import Folder

DEVICES = 5_000
ROUNDS = 3
TLS_AT_ONCE = 200
DTLS_AT_ONCE = 100
SETTLE_S = 5.0
REVOKE_TIMEOUT_S = 60.0
RETURN_TIMEOUT_S = 300.0
SCAN_S = 0.1
INGEST_ROUNDS = 5
INGEST_PACKS = 60_000
WARM_PACKS = 10_000


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# Sessions.


def measure_tls(one: Server, clients: list[TlsClient], watch: Watch) -> dict[str, Any]:
    """Rates of connecting, and memory when all are connected for the first time."""
    rates, cpus, memory = [], [], {}
    before = one.memory_kb()
    for number in range(ROUNDS):
        for client in clients:
            client.close()
        time.sleep(SETTLE_S)
        cpu, started_s = one.cpu(), time.perf_counter()
        troubles = connect_all(clients, watch, TLS_AT_ONCE)
        rates.append((len(clients) - sum(troubles.values())) / (time.perf_counter() - started_s))
        cpus.append(one.cpu().since(cpu, len(clients)))
        say(f"tls {number + 1}: {rates[-1]:,.0f} connects/s, CPU ms each {cpus[-1]}, troubles {troubles}")
        if troubles:
            raise SystemExit("not all were connected")
        if number == 0:
            memory = one.memory_kb()
            say(f"memory, MB: before {_mb(before)}, connected {_mb(memory)}")
    grown = {name: (memory[name] - before[name]) / len(clients) for name in before}
    return {
        "tls_handshakes_per_s": round(statistics.median(rates)),
        "tls_rounds": [round(rate) for rate in rates],
        "tls_cpu_ms": cpus[-1],
        "kb_per_connection": round(sum(grown.values()), 1),
        "kb_per_connection_broker": round(grown["broker"], 1),
        "kb_per_connection_lichtmast": round(grown["lichtmast"], 1),
        "broker_mb": round(memory["broker"] / 1e3, 1),
    }


def measure_dtls(one: Server, devices: list[DtlsDevice], watch: Watch) -> dict[str, Any]:
    """As `measure_tls`, at the CoAP door."""
    rates, cpus, memory = [], [], {}
    before = one.memory_kb()
    for number in range(ROUNDS):
        for each in devices:
            each.hang_up()
        time.sleep(SETTLE_S)
        cpu, started_s = one.cpu(), time.perf_counter()
        failures = shake_all(devices, watch, DTLS_AT_ONCE)
        rates.append((len(devices) - sum(failures.values())) / (time.perf_counter() - started_s))
        cpus.append(one.cpu().since(cpu, len(devices)))
        repeated = sum(each.repeated for each in devices)
        say(f"dtls {number + 1}: {rates[-1]:,.0f}/s, CPU ms each {cpus[-1]}, {repeated} repeated so far, {failures}")
        if failures:
            raise SystemExit("not all have a session")
        if number == 0:
            memory = one.memory_kb()
            say(f"memory, MB: before {_mb(before)}, with sessions {_mb(memory)}")
    return {
        "dtls_handshakes_per_s": round(statistics.median(rates)),
        "dtls_rounds": [round(rate) for rate in rates],
        "dtls_cpu_ms": cpus[-1],
        "kb_per_dtls_session": round((memory["lichtmast"] - before["lichtmast"]) / len(devices), 1),
    }


def _mb(kb: dict[str, float]) -> dict[str, float]:
    return {name: round(one / 1e3, 1) for name, one in kb.items()}


def measure_revocation(
    one: Server, clients: list[TlsClient], devices: list[DtlsDevice], watch: Watch
) -> dict[str, Any]:
    """One, then half. `half_..._after_last_s` is from the last commit of all to the last session's end."""
    last = len(clients) - 1
    single = revoke(one, clients, devices, watch, [last])
    half = revoke(one, clients, devices, watch, range(last - len(clients) // 2, last))
    refused = connect_all([clients[last]], watch, 1), shake_all([devices[last]], watch, 1)
    say(f"revoke: one {single}; half {half}; then refused with {refused}")
    if not all(refused):
        raise SystemExit("a suspended device was let in again")
    result = {f"revoke_one_{name}": value for name, value in single.items()}
    result |= {f"revoke_half_{name}": value for name, value in half.items()}
    worst = [value for name, value in result.items() if name.endswith("_max_s")]
    return {"revoke_s": max(worst), "revoked": len(clients) // 2 + 1} | result


def revoke(
    one: Server, clients: list[TlsClient], devices: list[DtlsDevice], watch: Watch, numbers: Sequence[int]
) -> dict[str, float]:
    """Seconds from each commit to the end of the device's sessions."""
    told = one.folder.path / "suspended"
    words = ["-m", "bench.load.server", "suspend", str(one.folder.path), str(numbers[0]), str(numbers[-1] + 1)]
    with told.open("wb") as output:
        operator = subprocess.Popen([sys.executable, *words], stdout=output)
    out = set(numbers)
    standing = [client for client in clients if client.number not in out and client.state is State.OPEN]
    waiting: list[TlsClient | DtlsDevice] = [
        *(clients[number] for number in numbers),
        *(devices[number] for number in numbers),
    ]
    closed_before = {id(each): each.closed_s for each in waiting}
    until_s = time.monotonic() + REVOKE_TIMEOUT_S + len(numbers) * 0.1
    while any(each.closed_s == closed_before[id(each)] for each in waiting) or operator.poll() is None:
        if time.monotonic() > until_s:
            left = [each for each in waiting if each.closed_s == closed_before[id(each)]]
            kinds = {kind.__name__: sum(isinstance(each, kind) for each in left) for kind in (TlsClient, DtlsDevice)}
            raise SystemExit(f"sessions of suspended devices stand: {kinds}")
        end_s = time.monotonic() + SCAN_S
        while time.monotonic() < end_s:
            watch.step(0.01)
    lost = sum(client.state is not State.OPEN for client in standing)
    if lost:
        raise SystemExit(f"{lost} devices that nobody suspended lost their connection")
    committed = {int(number): float(s) for number, s in (line.split() for line in told.read_text().splitlines())}
    result = {}
    for name, ended in (("mqtt", clients), ("dtls", devices)):
        took = [ended[number].closed_s - committed[number] for number in numbers]
        after_last = max(ended[number].closed_s for number in numbers) - max(committed.values())
        result[f"{name}_median_s"] = round(statistics.median(took), 2)
        result[f"{name}_max_s"] = round(max(took), 2)
        result[f"{name}_after_last_s"] = round(after_last, 2)
    return result


def measure_return(
    one: Server, clients: list[TlsClient], watch: Watch, pause_s: Callable[[int, int], float]
) -> dict[str, Any]:
    """Kill the broker; how long until all are back."""
    restarts = one.status()["broker_restarts"]
    os.kill(one.broker_pid, signal.SIGKILL)
    killed_s = time.monotonic()
    tries = dict.fromkeys(range(len(clients)), 0)
    troubles: dict[str, int] = {}
    due: list[tuple[float, int]] = []
    idle = {client.number for client in clients}  # neither connected nor counted on to try again
    scan_s = busy_most = 0.0
    while True:
        watch.step(0.01)
        now_s = time.monotonic()
        while due and due[0][0] <= now_s:
            number = heapq.heappop(due)[1]
            idle.add(number)
            clients[number].dial()
        if now_s < scan_s:
            continue
        scan_s = now_s + SCAN_S
        for number in list(idle):
            client = clients[number]
            client.close_if_late(now_s)
            if client.state is State.CLOSED:
                idle.discard(number)
                if tries[number]:
                    troubles[client.trouble] = troubles.get(client.trouble, 0) + 1
                heapq.heappush(due, (now_s + pause_s(tries[number], number), number))
                tries[number] += 1
        connected = sum(client.state is State.OPEN for client in clients)
        busy_most = max(busy_most, len(idle) - connected)
        if connected == len(clients) and all(tries.values()) and one.status()["broker_restarts"] > restarts:
            break
        if now_s > killed_s + RETURN_TIMEOUT_S:
            raise SystemExit(f"only {connected} were back after {RETURN_TIMEOUT_S} s: {troubles}")
    took_s = time.monotonic() - killed_s
    result = {"s": round(took_s, 1), "tries": sum(tries.values()), "failed": troubles, "at_once_most": int(busy_most)}
    say(f"return: {result}")
    return result


def as_the_agent(tries: int, seed: int) -> float:
    return backoff_s(tries, seed, RETRY_S, RETRY_MAX_S)


def by_chance(_tries: int, _seed: int) -> float:
    return random.uniform(1, 30)  # noqa: S311 - spreads a herd


def measure_sessions(folder: Folder, town: Town) -> dict[str, Any]:
    watch = Watch()
    with server(folder, secure=True) as one:
        status = one.status()
        clients = [TlsClient(number, town, status["mqtt_port"], watch) for number in range(town.devices)]
        devices = [DtlsDevice(number, town, status["coap_port"], watch) for number in range(town.devices)]
        bare_ms = round(bare_handshake_ms(folder, town), 2)
        say(f"bare: {bare_ms} ms of CPU for both sides of a handshake")
        result = measure_tls(one, clients, watch) | {"bare_handshake_ms": bare_ms}
        result["return_as_agent"] = measure_return(one, clients, watch, as_the_agent)
        result["return_1_to_30_s"] = measure_return(one, clients, watch, by_chance)
        result |= measure_dtls(one, devices, watch)
        result |= measure_revocation(one, clients, devices, watch)
        for client in clients:
            client.close()
        for each in devices:
            each.hang_up()
    return result


# Ingest.


@dataclass(frozen=True, slots=True)
class Shape:
    """How the packs come: over so many connections, so many of each unacknowledged, so many in one write."""

    connections: int
    in_flight_max: int
    chunk: int


SHAPES = {"": Shape(16, 1_000, 250), "single_": Shape(1_000, 8, 1)}


class Side:
    """One of the two Lichtmasts, and connections to it that stand."""

    def __init__(self, one: Server, town: Town | None, connections: int) -> None:
        self.server = one
        self.connections = connections
        port = one.status()["mqtt_port"]
        self._lanes = [
            (connect(port, device(number).urn, None if town is None else town.tls(number)), Fleet([number]))
            for number in range(connections)
        ]

    def take(self, shape: Shape, packs: int) -> tuple[float, dict[str, float]]:
        """Packs a second until all are stored, and what each cost."""
        stored, cpu = self.server.status()["packs"], self.server.cpu()
        started_s = time.perf_counter()
        send(self._lanes[: shape.connections], packs, shape.in_flight_max, shape.chunk)
        self.server.wait_packs(stored + packs)
        took_s = time.perf_counter() - started_s
        return packs / took_s, self.server.cpu().since(cpu, packs)

    def close(self) -> None:
        for connection, _ in self._lanes:
            connection.close()


def measure_ingest(folders: dict[str, Folder], town: Town) -> dict[str, Any]:
    most = min(max(shape.connections for shape in SHAPES.values()), town.devices // 2 - 1)  # the others are suspended
    result: dict[str, Any] = {}
    with server(folders["plain"], secure=False) as plain, server(folders["tls"], secure=True) as tls:
        sides = {"plain": Side(plain, None, most), "tls": Side(tls, town, most)}
        for name, shape in SHAPES.items():
            result |= {f"{name}{key}": value for key, value in compare(sides, shape).items()}
        for kind, side in sides.items():
            side.close()
            status = side.server.status()
            if status["quarantined"] or status["duplicates"]:
                raise SystemExit(f"packs were refused or doubled by {kind}: {status}")
    return result


def compare(sides: dict[str, Side], shape: Shape) -> dict[str, Any]:
    """Turn by turn, because the machine's speed drifts; the first round warms and does not count."""
    rates: dict[str, list[float]] = {kind: [] for kind in sides}
    cpus: dict[str, list[dict[str, float]]] = {kind: [] for kind in sides}
    for number in range(INGEST_ROUNDS + 1):
        for kind in sorted(sides, reverse=number % 2 == 0):
            rate, cpu = sides[kind].take(shape, INGEST_PACKS if number else WARM_PACKS)
            if number:
                rates[kind].append(rate)
                cpus[kind].append(_us(cpu))
                connections = min(shape.connections, sides[kind].connections)
                say(f"{kind} {number}, {connections} connections: {rate:,.0f} packs/s, CPU us a pack {_us(cpu)}")
    ratios = [with_tls / without for with_tls, without in zip(rates["tls"], rates["plain"], strict=True)]
    return {
        "tls_ingest_ratio": round(statistics.median(ratios), 3),
        "tls_ingest_ratio_rounds": [round(ratio, 2) for ratio in ratios],
        "plain_packs_per_s": round(statistics.median(rates["plain"])),
        "tls_packs_per_s": round(statistics.median(rates["tls"])),
        "tls_ingest_cpu_ratio": round(_served_us(cpus["plain"]) / _served_us(cpus["tls"]), 3),
        "plain_cpu_us": _medians(cpus["plain"]),
        "tls_cpu_us": _medians(cpus["tls"]),
    }


def _served_us(cpus: list[dict[str, float]]) -> float:
    """What the server's two processes used in all rounds: what others do on the machine hardly touches it."""
    return sum(one["broker"] + one["lichtmast"] for one in cpus)


def _medians(cpus: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in cpus) for name in cpus[0]}


def _us(ms: dict[str, float]) -> dict[str, float]:
    return {name: round(one * 1e3, 1) for name, one in ms.items()}


def measure(parts: Sequence[str], devices: int) -> dict[str, Any]:
    result: dict[str, Any] = {"devices": devices, "cores": os.cpu_count(), "load": [round(os.getloadavg()[0], 1)]}
    with tempfile.TemporaryDirectory(prefix="lichtmast-bench-") as place:
        folders = {name: Folder.choose(Path(place) / name) for name in ("plain", "tls")}
        started_s = time.perf_counter()
        for folder in folders.values():
            register(folder, devices)
        town = certify(folders["tls"], Path(place) / "devices", devices)
        say(f"{devices:,} devices with certificates made in {time.perf_counter() - started_s:.0f} s")
        if "sessions" in parts:
            result |= measure_sessions(folders["tls"], town)
        if "ingest" in parts:
            result |= measure_ingest(folders, town)
    result["load"].append(round(os.getloadavg()[0], 1))
    return result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--devices", type=int, default=DEVICES)
    arguments.add_argument("--part", choices=("sessions", "ingest"), help="measure only these")
    chosen = arguments.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parts = [chosen.part] if chosen.part else ["sessions", "ingest"]
    print(json.dumps(measure(parts, chosen.devices)))


if __name__ == "__main__":
    main()
