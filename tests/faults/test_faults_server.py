"""Faults of the server, for real: killed, paused, out of disk, restarted, slow. The checker judges each (I1 to I4).

Quick forms run always, the long ones with `scripts/test --faults`. A run whose fault did not bite fails as vacuous.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from fault_run import (
    Burst,
    Disk,
    FaultRun,
    RunningOnDisk,
    acknowledged,
    payloads_of,
    wait_acknowledged,
    wait_until,
    write_history,
)
from mqtt_bytes import connect, publish
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from running_lichtmast import Running

from lichtmast.firmware_sim import Transport, limits
from lichtmast.firmware_sim.checker import Watcher, read_sensorthings
from lichtmast.firmware_sim.history import Entry, digest
from lichtmast.firmware_sim.light.coap import Exchange
from lichtmast.firmware_sim.under_test import AckListener
from lichtmast.store import DuckStore, Outcome
from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId, Reading, encode, topics
from lichtmast.wire.acknowledgement import decode_acknowledgement
from lichtmast.wire.faultpoint import EXIT_CODE
from lichtmast.wire.senml import sniff

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SEED = 20261121
EPOCH = 9
FOLDERS = Path(__file__).parents[1] / "vectors/folders"


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Running]:
    """A data folder, nothing running yet; whatever runs at the end is killed."""
    one = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    yield one
    end(one)


def end(running: Running) -> None:
    if running.process is not None and running.process.poll() is None:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def run(prepared: Running, tmp_path: Path) -> FaultRun:
    """A run with its devices registered."""
    return FaultRun.prepare(prepared, tmp_path, seed=SEED)


def pid_of(running: Running) -> int:
    assert running.process is not None
    return running.process.pid


def now_us() -> int:
    return time.time_ns() // 1_000


def noise_pack(device: DeviceId, seq: int) -> bytes:
    return encode(device, [Reading("/noise/0/level", 40.0 + seq / 100, "dB", now_us())], epoch=EPOCH, seq=seq)


class Promise(NamedTuple):
    """What a broker had confirmed when it was killed, and when the packs began to be sent again."""

    numbers: frozenset[int]
    again_us: int


@pytest.mark.parametrize(
    "down_s", [0, pytest.param(5, marks=pytest.mark.faults), pytest.param(60, marks=pytest.mark.faults)]
)
def test_f2_broker_killed_in_a_burst_loses_nothing_that_the_store_acknowledged(run: FaultRun, down_s: float) -> None:
    packs = 2_000
    device = DeviceId("gm0402", "burst-1")
    run.running.register(device.device, profile="noise")
    run.running.start()
    payloads = [noise_pack(device, seq) for seq in range(1, packs + 1)]
    path = run.history.parent / "burst.jsonl"
    write_history(
        path, *(Entry("attempt", device, EPOCH, at, digest(one), now_us(), one) for at, one in enumerate(payloads, 1))
    )
    run.others.append(path)

    async def live() -> Promise:
        async with run.town() as town:
            await wait_acknowledged(town, 30)
            promise = await asyncio.to_thread(burst, run, device, payloads, down_s)
            run.bites["interruptions"] = town.statistics().interruptions
            return promise

    promise = asyncio.run(live())
    run.bites["broker restarts"] = run.running.status()["broker_restarts"]
    report = run.judge()
    assert report.counts.acknowledged >= packs
    broken = sum(received_us > promise.again_us for seq, received_us in arrivals(run, device) if seq in promise.numbers)
    sys.stdout.write(f"PUBACKed {len(promise.numbers)} packs, of which the killed broker had kept all but {broken}\n")


def arrivals(run: FaultRun, device: DeviceId) -> list[tuple[int, int]]:
    """When each pack came that was stored: (number, microseconds)."""
    store = DuckStore.open(run.running.folder.store, clock_us=lambda: 0)
    try:
        rows = store.ledger_range(str(device), EPOCH).to_pylist()
    finally:
        store.close()
    return [(one["seq"], one["received_at"]) for one in rows if one["outcome"] == Outcome.STORED]


def burst(run: FaultRun, device: DeviceId, payloads: list[bytes], down_s: float) -> Promise:
    """Publish without waiting, kill the broker in the middle, and send all again that the store has not confirmed."""
    running = run.running
    with AckListener(device, ("::1", running.mqtt_port)) as ear:
        one = Burst(running.mqtt_port, topics.up_topic(device))
        broker = running.status()["broker_pid"]
        one.send(1, payloads)
        one.hear(len(payloads) // 4)
        os.kill(pid_of(running), signal.SIGSTOP)  # else it would start the next broker at once
        os.kill(broker, signal.SIGKILL)
        one.hear(len(payloads), 2.0)
        one.close()
        settled = {seq for seq in range(1, len(payloads) + 1) for ack in ear.heard[-1:] if ack.covers(seq)}
        time.sleep(down_s)
        os.kill(pid_of(running), signal.SIGCONT)
        wait_for(lambda: running.status()["broker_restarts"] > 0)
        run.bites["PUBACKed, and not yet known to be stored"] = len(one.promised - settled)
        promise = Promise(frozenset(one.promised), now_us())
        left = list(range(1, len(payloads) + 1))
        until_s = time.monotonic() + 60
        while left:
            assert time.monotonic() < until_s, f"{len(left)} packs of the burst are not acknowledged"
            with contextlib.suppress(OSError, AssertionError):
                again = Burst(running.mqtt_port, topics.up_topic(device))
                for seq in left:
                    again.send(seq, [payloads[seq - 1]])
                again.hear(len(left), 5.0)
                again.close()
            time.sleep(1.2)  # acknowledgements come once a second
            left = [seq for seq in left if not any(ack.covers(seq) for ack in ear.heard)]
    write_history(
        run.others[0],
        *(Entry("ack", device, EPOCH, at, digest(one), now_us()) for at, one in enumerate(payloads, 1)),
    )
    return promise


def wait_for(told: Any, timeout_s: float = 60.0) -> None:  # noqa: ANN401 - a question
    until_s = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(Exception):
            if told():
                return
        assert time.monotonic() < until_s
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("point", "again"),
    [
        pytest.param("ingest.before_commit", False, marks=pytest.mark.faults),
        ("ingest.after_commit", True),
        pytest.param("ingest.before_ack", True, marks=pytest.mark.faults),
        pytest.param("ingest.after_ack", False, marks=pytest.mark.faults),
        pytest.param("coap.before_log", False, marks=pytest.mark.faults),
        pytest.param("coap.after_log", True, marks=pytest.mark.faults),
    ],
)
def test_f3_dying_between_any_two_steps_of_a_commit_stores_each_pack_once(
    run: FaultRun, point: str, *, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`again`: what dies there has been kept and not yet been told, so its devices must send it again."""

    async def live() -> None:
        async with run.town() as town:
            process = run.running.process
            assert process is not None
            await wait_until(lambda: process.poll() is not None)
            run.bites["died at the point"] = int(process.returncode == EXIT_CODE)
            town.mark(f"died at {point}")
            monkeypatch.delenv("LICHTMAST_FAULTS")
            if again:  # down for longer than a device is patient, else a later pack's acknowledgement covers those
                await asyncio.sleep(limits.ACK_PATIENCE_S)
            await run.running.start_again()
            await wait_acknowledged(town, acknowledged(town) + 60)

    monkeypatch.setenv("LICHTMAST_FAULTS", f"{point}=exit@7")
    run.running.start()
    asyncio.run(live())
    report = run.judge()
    assert report.repeated > 0
    if again:
        assert report.duplicates > 0, "vacuous: nothing was received twice"


@pytest.mark.parametrize("kills", [pytest.param(5, marks=pytest.mark.faults)])
def test_f4_kill_of_the_store_under_load_loses_nothing_and_its_rollups_recompute(run: FaultRun, kills: int) -> None:
    async def live() -> None:
        async with run.town() as town:
            for number in range(kills):
                await wait_acknowledged(town, 60 * (number + 1))
                town.mark("kill lichtmast")
                await asyncio.to_thread(run.running.kill)
                await run.running.start_again()
            run.bites["interruptions"] = town.statistics().interruptions

    run.running.start()
    asyncio.run(live())
    report = run.judge()
    assert [one.what for one in report.recoveries] == ["kill lichtmast"] * kills
    assert report.counts.stored >= 60 * kills


def test_f5_kill_of_the_pages_while_people_watch_takes_nothing_back(run: FaultRun) -> None:
    async def live() -> None:
        async with run.town() as town:
            await wait_until(lambda: watcher.events["readings"] >= 3)
            town.mark("kill lichtmast")
            await asyncio.to_thread(run.running.kill)
            await run.running.start_again()
            await wait_until(lambda: watcher.events["snapshot"] >= 2)
            before = watcher.events["readings"]
            await wait_until(lambda: watcher.events["readings"] >= before + 3)

    run.running.start()
    with Watcher(run.running.url) as watcher:
        asyncio.run(live())
    run.shown = watcher.shown
    run.bites |= {"streams broken": watcher.breaks, "readings seen": len(watcher.shown)}
    run.judge()


@pytest.mark.parametrize("pause_s", [4, *(pytest.param(one, marks=pytest.mark.faults) for one in (5, 30, 120))])
def test_f6_a_pause_is_no_death_and_nobody_takes_its_place(run: FaultRun, pause_s: float) -> None:
    async def live() -> None:
        async with run.town() as town:
            await wait_acknowledged(town, 60)
            os.kill(pid_of(run.running), signal.SIGSTOP)
            await asyncio.sleep(0.5)  # what was on its way
            town.mark("stop lichtmast")
            before, sent = acknowledged(town), town.statistics().total.sent
            second = await asyncio.to_thread(second_on, run.running)
            await asyncio.sleep(pause_s)
            run.bites["packs sent into the pause"] = town.statistics().total.sent - sent
            assert acknowledged(town) == before, "somebody acknowledged while the store stood still"
            assert second == 1, "a second Lichtmast took the folder of one that only paused"
            town.mark("go on")
            os.kill(pid_of(run.running), signal.SIGCONT)
            await wait_acknowledged(town, before + 60)

    run.running.start()
    asyncio.run(live())
    run.judge()


def second_on(running: Running) -> int:
    """The exit code of another Lichtmast on the same folder."""
    ports = [f"--{name}-port=0" for name in ("http", "mqtt", "coap")]
    words = [sys.executable, "-m", "lichtmast.suite", "up", "--data", str(running.folder.path), *ports]
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """64 MiB of its own."""
    if os.geteuid() != 0:
        pytest.skip("a disk of its own needs root")
    one = Disk(tmp_path / "disk", 64)
    yield one
    one.close()


def test_f7_a_full_disk_stops_acknowledgements_and_nothing_else(disk: Disk, tmp_path: Path) -> None:
    running = RunningOnDisk(Folder.choose(tmp_path / "data"), tmp_path / "output.log", disk=disk)
    run = FaultRun.prepare(running, tmp_path, seed=SEED, devices=20)
    running.move()

    async def live() -> None:
        async with run.town() as town:
            await wait_acknowledged(town, 40)
            disk.fill()
            town.mark("disk full")
            await asyncio.sleep(2)  # what was on its way
            before, sent = acknowledged(town), town.statistics().total.sent
            await asyncio.sleep(4)
            assert acknowledged(town) == before, "acknowledged, with no block left to write on"
            assert disk.free_bytes() < 2**20
            run.bites["packs without an answer"] = town.statistics().total.outstanding
            run.bites["packs sent to a full disk"] = town.statistics().total.sent - sent
            shown = await asyncio.to_thread(read_sensorthings, running.url)
            assert shown, "what is stored could not be read while the disk was full"
            disk.clear()
            town.mark("disk cleared")
            await wait_acknowledged(town, before + 40)

    try:
        running.start()
        asyncio.run(live())
        run.judge()
    finally:
        end(running)


@pytest.mark.parametrize(
    ("number", "clean"),
    [
        (signal.SIGKILL, False),
        pytest.param(signal.SIGKILL, True, marks=pytest.mark.faults),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.faults),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.faults),
    ],
)
def test_f16_a_subscriber_hears_again_after_the_broker_restarted(
    run: FaultRun, number: signal.Signals, *, clean: bool
) -> None:
    """Somebody else's device: it subscribes again where the broker says that it has forgotten (Session Present 0)."""
    device = DeviceId("gm0402", "canary-1")
    run.running.register(device.device, profile="noise")
    run.running.start()
    path = run.history.parent / "canary.jsonl"
    run.others.append(path)
    heard: set[int] = set()
    present: list[bool] = []
    client = Client(CallbackAPIVersion.VERSION2, "canary", clean_session=clean)
    client.reconnect_delay_set(1, 1)

    def on_connect(_client: Any, _data: Any, flags: Any, _reason: Any, _properties: Any) -> None:  # noqa: ANN401 - paho's
        present.append(flags.session_present)
        if not flags.session_present:
            client.subscribe(topics.ack_topic(device), qos=0)

    def on_message(_client: Any, _data: Any, message: Any) -> None:  # noqa: ANN401 - paho's
        ack = decode_acknowledgement(message.payload)
        heard.update(seq for seq in (1, 2) if ack.epoch == EPOCH and ack.covers(seq))

    client.on_connect, client.on_message = on_connect, on_message

    def sing(seq: int) -> None:
        pack = noise_pack(device, seq)
        write_history(path, Entry("attempt", device, EPOCH, seq, digest(pack), now_us(), pack))
        client.publish(topics.up_topic(device), pack, qos=1).wait_for_publish(30)
        wait_for(lambda: seq in heard)
        write_history(path, Entry("ack", device, EPOCH, seq, digest(pack), now_us()))

    client.connect("::1", run.running.mqtt_port)
    client.loop_start()

    async def live() -> None:
        async with run.town() as town:
            await asyncio.to_thread(sing, 1)
            before, connects = run.running.status(), len(present)
            os.kill(psutil.Process(before["broker_pid"]).pid, number)
            await wait_until(lambda: len(present) > connects)
            await asyncio.to_thread(sing, 2)
            run.bites["interruptions"] = town.statistics().interruptions

    try:
        asyncio.run(live())
    finally:
        client.disconnect()
        client.loop_stop()
    run.bites["broker restarts"] = run.running.status()["broker_restarts"]
    assert present[0] is False
    run.judge()


def test_f18_what_is_delivered_again_and_again_is_stored_once(run: FaultRun) -> None:
    """Copies beside the original, then everything once more after a restart: by MQTT, and each datagram five times."""

    async def live() -> None:
        async with run.town(copies=3) as town:
            await wait_acknowledged(town, 90)

    run.running.start()
    asyncio.run(live())
    before = run.running.audit()
    assert run.running.stop() == 0
    run.running.start()
    transports = {str(spec.device): spec.transport for spec in run.specs}
    packs = payloads_of(run.history)
    over_mqtt = [(key, one) for key, one in packs.items() if transports[key.device] is Transport.MQTT]
    over_coap = [one for key, one in packs.items() if transports[key.device] is Transport.COAP]
    with socket.create_connection(("::1", run.running.mqtt_port), timeout=10) as link:
        link.sendall(connect("parrot"))
        for at, (key, one) in enumerate(over_mqtt, 1):
            link.sendall(publish(topics.up_topic(DeviceId.parse(key.device)), one, identifier=at, duplicate=True))
        answered = b""
        while len(answered) < 4 + 4 * len(over_mqtt):
            answered += link.recv(65_536)
    for at, one in enumerate(over_coap):
        exchange = Exchange(one, sniff(one), message_id=at, token=b"tk", first_timeout_s=2.0, now_s=0.0)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as link:
            link.settimeout(10)
            link.connect(("::1", run.running.coap_port))
            for _ in range(5):
                link.send(exchange.request)
            heard = exchange.heard(link.recv(2_000))
            assert heard.answer is not None
            assert heard.answer.is_success
    wait_for(lambda: run.running.audit()["duplicates"] >= before["duplicates"] + len(packs))
    after = run.running.audit()
    assert after["stored"] == before["stored"] == len(packs)
    run.bites["duplicates"] = after["duplicates"] - before["duplicates"]
    run.judge()


@pytest.mark.parametrize(
    ("seconds", "growth"),
    [
        pytest.param(12, 1.25, marks=pytest.mark.faults),  # the store's own buffers are still filling
        pytest.param(600, 1.1, marks=[pytest.mark.faults, pytest.mark.timeout(1_200)]),
    ],
)
def test_f20_a_slow_store_and_a_reader_that_never_reads_cost_no_memory(
    prepared: Running, tmp_path: Path, seconds: int, growth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FaultRun.prepare(prepared, tmp_path, seed=SEED, devices=60)

    async def live() -> None:
        async with run.town(interval_s=0.5) as town:
            await wait_acknowledged(town, 120)
            process = psutil.Process(pid_of(prepared))
            samples = []
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s:
                samples.append(process.memory_info().rss / 2**20)
                run.bites["packs waited"] = max(run.bites.get("packs waited", 0), town.statistics().total.outstanding)
                await asyncio.sleep(seconds / 24)
            await asyncio.to_thread(read_page, prepared.url)
            early, late = samples[len(samples) // 3], samples[-1]
            assert late < early * growth, f"memory went from {early:.0f} to {late:.0f} MB: {samples}"

    monkeypatch.setenv("LICHTMAST_FAULTS", "ingest.before_commit=sleep=0.5")
    prepared.start()
    with socket.socket(socket.AF_INET6) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1_220)  # else loopback alone holds megabytes
        deaf.connect(("::1", prepared.http_port))
        deaf.sendall(b"GET /live HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
        asyncio.run(live())
        run.bites["readers dropped"] = int(is_ended(deaf))
    run.judge()


def read_page(url: str) -> None:
    """Somebody else's question is answered meanwhile (I7)."""
    with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:  # noqa: S310 - our own, on ::1
        assert answer.status == 200


def is_ended(stream: socket.socket) -> bool:
    """Whether the server has ended it: what it had sent before comes, and then the end instead of more."""
    stream.settimeout(20)
    until_s = time.monotonic() + 20  # a stream that goes on has a comment every 15 s
    try:
        while stream.recv(65_536):
            if time.monotonic() > until_s:
                return False
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("restarts", [pytest.param(4, marks=pytest.mark.faults)])
def test_f27_restarts_under_load_lose_nothing_and_take_nothing_back(run: FaultRun, restarts: int) -> None:
    async def live() -> None:
        async with run.town() as town:
            for number in range(restarts):
                await wait_acknowledged(town, 60 * (number + 1))
                town.mark("restart lichtmast")
                assert await asyncio.to_thread(run.running.stop) == 0
                await run.running.start_again()
            run.bites["interruptions"] = town.statistics().interruptions

    run.running.start()
    with Watcher(run.running.url) as watcher:
        asyncio.run(live())
    run.shown = watcher.shown
    run.bites["streams broken"] = watcher.breaks
    run.judge()


def test_f27_a_folder_of_the_version_before_is_taken_over_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Written by the first version, killed under load: log, journal, register. Its devices go on under this one."""
    with tarfile.open(FOLDERS / "0.1.0.tar.xz") as vector:
        vector.extractall(tmp_path, filter="data")
    running = Running(Folder.choose(tmp_path / "data"), tmp_path / "output.log")
    history = tmp_path / "now.jsonl"
    run = FaultRun.prepare(running, tmp_path, seed=SEED, devices=12)
    run.history, run.others = history, [tmp_path / "history.jsonl"]
    before = json.loads((tmp_path / "audit.json").read_text())

    async def live() -> None:
        async with run.town() as town:
            await wait_acknowledged(town, 48)
            town.mark("restart lichtmast")
            assert await asyncio.to_thread(running.stop) == 0
            await running.start_again()
            await wait_acknowledged(town, 96)

    try:
        running.start()
        assert running.audit()["stored"] == before["stored"]
        assert running.audit()["rows_stored"] == before["rows_stored"]
        asyncio.run(live())
        report = run.judge()
    finally:
        end(running)
    assert report.counts.stored > before["stored"]
