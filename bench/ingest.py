"""How many packs a second go from MQTT to disk, and what each costs: `scripts/bench ingest`.

One process is Lichtmast's ingest tier as `lichtmast up` composes it (broker as its child, roster of 5,000 devices,
pipeline, DuckDB store with fsync on every commit); this process is the load. Both share the machine's cores. Packs hold
6 readings and come by MQTT QoS 1 over 16 connections that publish for all devices in turn, each with up to 1,000 packs
unacknowledged.

live    packs are sent as fast as the broker takes them while the pipeline stores them; the clock stops when all are
        committed.
drain   the log is filled while the pipeline is stopped; the clock runs from its start until all are committed.
bare    the same load into the least that could take it (see `bare`), for a ratio that the machine's drift leaves alone.
rss     another run: the whole `lichtmast up`, pages included, and its broker, with 5,000 clients connected and
        subscribed to their acknowledgements, sending a pack a minute each; the highest seen.

The log fsyncs each second here (`sync_interval: 1s`), as a replicated cluster would; the store always fsyncs before it
counts. Last line: JSON {live_packs_per_s, drain_packs_per_s, cpu_us_per_pack, validation_share, rss_mb, ...}, medians
of five rounds. `validation_share` is the CPU that validation adds, over the CPU of all else in the live rounds.
`python_loop_ms` is what a million additions took in the same run: it says how fast the machine was.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from bench.load.mqtt import PROFILE, READINGS, Fleet, connect, send, subscribe_packet

DEVICES = 5_000
ROUNDS = 5
BARE_ROUNDS = 3
LIVE_PACKS = 200_000
DRAIN_PACKS = 200_000
CONNECTIONS = 16
TOWN_S = 20


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# The server: Lichtmast in a process of its own, told on its standard input when to stop and start the pipeline.


async def serve(folder: Path) -> None:
    from lichtmast.ingest.announcer import Announcer
    from lichtmast.ingest.broker import Broker, BrokerSettings
    from lichtmast.ingest.calm import calm_collector
    from lichtmast.ingest.log import Log
    from lichtmast.ingest.pipeline.run import Pipeline
    from lichtmast.registry import DeviceStatus, NewDevice, Registry
    from lichtmast.store import DuckStore
    from lichtmast.wire import DeviceId

    validated = time_validation()
    with Registry.open(folder / "registry.sqlite") as registry:
        registry.ensure_tenant("gm0402")
        devices = [
            NewDevice(DeviceId("gm0402", f"lm-{number:05d}"), PROFILE, None, DeviceStatus.ACTIVE)
            for number in range(DEVICES)
        ]
        registry.register_devices(devices, at_us=time.time_ns() // 1000)
        store = DuckStore.open(folder / "store", clock_us=lambda: time.time_ns() // 1000)
        async with Broker(BrokerSettings(folder / "broker", mqtt_port=0, sync_interval="1s")) as broker:
            announcer = Announcer("::1", broker.client_port, broker.user, broker.password)
            announcing = asyncio.create_task(announcer.run())
            pipeline: Pipeline | None = None
            running: asyncio.Task[None] | None = None
            counted = {"packs": 0, "ready": 0}
            orders = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
            while order := (await orders.readline()).decode().strip():
                if order == "start":
                    pipeline = Pipeline(
                        lambda: Log(broker.client_url, broker.user, broker.password), store, registry, announcer
                    )
                    running = asyncio.create_task(pipeline.run())
                    await pipeline.ready.wait()
                    calm_collector()
                elif order == "bare":
                    counted.update(packs=0, ready=0)
                    running = asyncio.create_task(
                        bare(broker.client_url, broker.user, broker.password, folder, counted)
                    )
                    while not counted["ready"]:
                        await asyncio.sleep(0.01)
                elif order == "stop" and running is not None:
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                done = pipeline.statistics if pipeline is not None else None
                answer = {
                    "mqtt_port": broker.mqtt_port,
                    "broker_pid": broker.pid,
                    "cpu_s": time.process_time(),
                    "validation_s": validated["s"],
                    "packs": done.packs if done else 0,
                    "quarantined": done.quarantined if done else 0,
                    "duplicates": done.duplicates if done else 0,
                    "batches": done.batches if done else 0,
                    "restarts": done.restarts if done else 0,
                    "announced": announcer.announced,
                    "bare": counted["packs"],
                }
                print(json.dumps(answer), flush=True)
            announcing.cancel()
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        store.close()


def time_validation() -> dict[str, float]:
    """Count the CPU that judging takes in this process from now on."""
    import pyarrow as pa

    from lichtmast.ingest.pipeline.origin import Origin
    from lichtmast.ingest.validation import Validator

    judge, counted = Validator.judge, {"s": 0.0}

    def timed(self: Validator, observations: pa.Table, origin: Origin) -> pa.Table:
        started_s = time.thread_time()
        judged = judge(self, observations, origin)
        counted["s"] += time.thread_time() - started_s
        return judged

    Validator.judge = timed  # type: ignore[method-assign]  # this process measures and does nothing else
    return counted


async def bare(url: str, user: str, password: str, folder: Path, counted: dict[str, int]) -> None:
    """The least that could move packs from the log to disk: no identity, no order, no ledger, no acknowledgements.

    Fetch, decode, one range check, one Arrow insert with fsync into DuckDB. What Lichtmast does beyond this is the
    difference; measured in the same run because the machine's speed drifts.
    """
    import duckdb
    import msgspec
    import numpy as np
    import pyarrow as pa

    from lichtmast.ingest.decode import Record
    from lichtmast.ingest.log import Log, Reader
    from lichtmast.wire import topics

    decode = msgspec.json.Decoder(list[Record]).decode
    database = duckdb.connect(str(folder / f"bare-{time.time_ns()}.duckdb"), config={"threads": 1})
    database.execute("SET checkpoint_threshold = '1TB'")
    database.execute("CREATE TABLE o (name VARCHAR, time DOUBLE, value DOUBLE)")
    async with Log(url, user, password) as log:
        after = (await log.extent(topics.READINGS_STREAM)).last
        async with Reader(log, topics.READINGS_STREAM, after) as reader:
            counted["ready"] = 1
            while True:
                messages = await reader.fetch()
                if not messages:
                    continue
                packs = [decode(message.payload) for message in messages]
                flat = [record for pack in packs for record in pack]
                value = np.array([record.v for record in flat])
                inside = (value > -1e9) & (value < 1e9)
                rows = pa.table(
                    {
                        "name": [record.n for record in flat],
                        "time": np.repeat([pack[0].bt for pack in packs], [len(pack) for pack in packs]),
                        "value": np.where(inside, value, np.nan),
                    }
                )
                database.register("rows", rows)
                await asyncio.to_thread(database.execute, "INSERT INTO o SELECT * FROM rows")
                counted["packs"] += len(messages)


class Server:
    """The process above."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.ingest", "serve", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def order(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the server ended; see its words above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def wait_packs(self, count: int, timeout_s: float, counter: str = "packs") -> dict[str, Any]:
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            state = self.order("state")
            if state[counter] >= count:
                return state
            time.sleep(0.02)
        raise SystemExit(f"only {self.order('state')} of {count} packs were stored in {timeout_s} s")

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def lanes(port: int, fleet: Fleet) -> list[tuple[socket.socket, Fleet]]:
    """Connections that all publish for the same fleet in turn."""
    return [(connect(port, f"bench-{number}"), fleet) for number in range(CONNECTIONS)]


def measure_memory(folder: Path) -> dict[str, float]:
    """Memory of `lichtmast up` and its broker with every device connected, subscribed, and sending a pack a minute."""
    from lichtmast.registry import DeviceStatus, NewDevice, Registry, import_source
    from lichtmast.registry.lookalike import write_bgt
    from lichtmast.wire import DeviceId

    with Registry.open(folder / "registry.sqlite") as registry:
        registry.ensure_tenant("gm0402")
        write_bgt(folder / "town.gml", assets=DEVICES, twice=0, ended=0)
        registry.import_assets("gm0402", import_source("bgt", folder / "town.gml"), dry_run=False)
        assets = registry.things("gm0402", limit=DEVICES)
        wanted = [
            NewDevice(DeviceId("gm0402", f"lm-{number:05d}"), PROFILE, asset.id, DeviceStatus.ACTIVE)
            for number, asset in enumerate(assets)
        ]
        registry.register_devices(wanted, at_us=time.time_ns() // 1000)
    words = ["up", "--data", str(folder), "--http-port", "0", "--mqtt-port", "0", "--coap-port", "0"]
    process = subprocess.Popen([sys.executable, "-m", "lichtmast.suite", *words], stdout=subprocess.DEVNULL)
    try:
        told = json.loads((_wait_for(folder / "operator.json")).read_text())
        request = urllib.request.Request(told["url"] + "/status", headers={"Authorization": f"Bearer {told['token']}"})  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as response:  # noqa: S310
            status = json.load(response)
        return _connected(process.pid, status)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(path: Path) -> Path:
    until_s = time.monotonic() + 60
    while not path.exists() or not path.read_text().endswith("}"):
        if time.monotonic() > until_s:
            raise SystemExit("lichtmast up did not start")
        time.sleep(0.1)
    return path


def _connected(pid: int, status: dict[str, Any]) -> dict[str, float]:
    """Connect all, send at the pace of a town for a while, and take the highest memory seen."""
    fleet = Fleet(range(DEVICES))
    clients = []
    for number in range(DEVICES):
        client = connect(status["mqtt_port"], f"lm-{number:05d}")
        client.sendall(subscribe_packet(f"lm/gm0402/lm-{number:05d}/ack"))
        clients.append(client)
    processes = {"lichtmast_mb": psutil.Process(pid), "broker_mb": psutil.Process(status["broker_pid"])}
    most = dict.fromkeys(processes, 0.0)
    started_s = time.monotonic()
    while time.monotonic() - started_s < TOWN_S:
        for _ in range(DEVICES // 60):
            clients[fleet.sent % DEVICES].sendall(fleet.publications(1))
        for name, process in processes.items():
            most[name] = max(most[name], process.memory_info().rss / 1e6)
        time.sleep(1)
    for client in clients:
        client.close()
    return {name: round(mb, 1) for name, mb in most.items()}


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        import logging

        logging.basicConfig(level=logging.WARNING)
        asyncio.run(serve(Path(sys.argv[2])))
        return
    with tempfile.TemporaryDirectory(prefix="lichtmast-bench-") as folder:
        server = Server(Path(folder))
        try:
            result = run(server)
        finally:
            server.end()
    with tempfile.TemporaryDirectory(prefix="lichtmast-bench-") as folder:
        memory = measure_memory(Path(folder))
    say(f"memory of `lichtmast up` with {DEVICES} devices connected: {memory}")
    print(json.dumps(result | {"rss_mb": round(sum(memory.values()), 1), **memory}))


def python_loop_ms() -> float:
    started_s = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number
    return (time.perf_counter() - started_s) * 1000


def run(server: Server) -> dict[str, Any]:
    fleet = Fleet(range(DEVICES))
    say(f"a pack is {len(fleet.example)} bytes: {fleet.example.decode()[:120]}...")
    state = server.order("start")
    port = state["mqtt_port"]
    load = lanes(port, fleet)
    send(load, 20_000)
    server.wait_packs(20_000, 60)
    live, cpu, broker_cpu, load_cpu, shares = [], [], [], [], []
    broker = psutil.Process(state["broker_pid"])
    loops = []
    for number in range(ROUNDS):
        loops.append(python_loop_ms())
        before, broker_before = server.order("state"), broker.cpu_times()
        load_before_s = time.process_time()
        started_s = time.perf_counter()
        send(load, LIVE_PACKS)
        after = server.wait_packs(before["packs"] + LIVE_PACKS, 120)
        took_s = time.perf_counter() - started_s
        broker_after = broker.cpu_times()
        live.append(LIVE_PACKS / took_s)
        cpu.append((after["cpu_s"] - before["cpu_s"]) / LIVE_PACKS * 1e6)
        validation_s = after["validation_s"] - before["validation_s"]
        shares.append(validation_s / (after["cpu_s"] - before["cpu_s"] - validation_s))
        broker_cpu.append(
            (broker_after.user + broker_after.system - broker_before.user - broker_before.system) / LIVE_PACKS * 1e6
        )
        load_cpu.append((time.process_time() - load_before_s) / LIVE_PACKS * 1e6)
        say(
            f"live {number + 1}: {live[-1]:,.0f} packs/s, {cpu[-1]:.1f} us of Lichtmast's CPU a pack (broker "
            f"{broker_cpu[-1]:.1f}, load {load_cpu[-1]:.1f}), "
            f"{LIVE_PACKS / (after['batches'] - before['batches']):,.0f} a batch"
        )
    drain = []
    for number in range(ROUNDS):
        server.order("stop")
        send(load, DRAIN_PACKS)
        started_s = time.perf_counter()
        server.order("start")
        after = server.wait_packs(DRAIN_PACKS, 120)
        drain.append(DRAIN_PACKS / (time.perf_counter() - started_s))
        say(f"drain {number + 1}: {drain[-1]:,.0f} packs/s")
    server.order("stop")
    bare_live, bare_cpu = bare_rounds(server, load)
    pids = (server.process.pid, after["broker_pid"])
    if after["quarantined"] or after["duplicates"]:
        raise SystemExit(f"packs were refused or doubled: {after}")
    return {
        "live_packs_per_s": round(statistics.median(live)),
        "drain_packs_per_s": round(statistics.median(drain)),
        "cpu_us_per_pack": round(statistics.median(cpu), 2),
        "validation_share": round(statistics.median(shares), 3),
        "broker_cpu_us_per_pack": round(statistics.median(broker_cpu), 2),
        "load_cpu_us_per_pack": round(statistics.median(load_cpu), 2),
        "bare_live_packs_per_s": round(statistics.median(bare_live)),
        "bare_cpu_us_per_pack": round(statistics.median(bare_cpu), 2),
        "ratio_to_bare": round(statistics.median(live) / statistics.median(bare_live), 2),
        "load_rss_mb": round(sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6, 1),
        "live_readings_per_s": round(statistics.median(live) * READINGS),
        "pack_bytes": len(fleet.example),
        "live_rounds": [round(one) for one in live],
        "drain_rounds": [round(one) for one in drain],
        "cores": os.cpu_count(),
        "python_loop_ms": round(statistics.median(loops)),
    }


def bare_rounds(server: Server, load: list[tuple[socket.socket, Fleet]]) -> tuple[list[float], list[float]]:
    """Packs a second, and microseconds of CPU a pack, of the least that could take them."""
    server.order("bare")
    live, cpu = [], []
    for number in range(1, BARE_ROUNDS + 1):
        before_s = server.order("state")["cpu_s"]
        started_s = time.perf_counter()
        send(load, LIVE_PACKS)
        cpu_s = server.wait_packs(number * LIVE_PACKS, 120, "bare")["cpu_s"]
        live.append(LIVE_PACKS / (time.perf_counter() - started_s))
        cpu.append((cpu_s - before_s) / LIVE_PACKS * 1e6)
        say(f"bare {number}: {live[-1]:,.0f} packs/s, {cpu[-1]:.1f} us a pack")
    return live, cpu


if __name__ == "__main__":
    main()
