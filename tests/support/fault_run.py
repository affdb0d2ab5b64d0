"""One fault run: a real Lichtmast, a town of sealed devices with a history, and the verdict over all of it."""

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mqtt_bytes import connect, publish
from running_lichtmast import Running
from xxhash import xxh3_64_intdigest

from lichtmast.firmware_sim import DeviceSpec, Town
from lichtmast.firmware_sim.checker import (
    Arrival,
    Books,
    Evidence,
    Fate,
    PackKey,
    Report,
    Rollup,
    Row,
    Sealed,
    check,
    check_rollups,
    read_books,
    read_export,
    read_sensorthings,
)
from lichtmast.firmware_sim.history import Entry, History
from lichtmast.registry import Registry
from lichtmast.store import DuckStore, Outcome
from lichtmast.suite import virtual_town
from lichtmast.suite.folder import Folder
from lichtmast.suite.remote import Remote
from lichtmast.wire import load_profiles

HOUR_US = 3_600_000_000
DRAIN_S = 120.0
FATES = {
    Outcome.STORED: Fate.STORED,
    Outcome.QUARANTINED: Fate.QUARANTINED,
    Outcome.DUPLICATE: Fate.DUPLICATE,
    Outcome.REPLAYED: Fate.REPLAYED,
}


@dataclass
class FaultRun:
    """The server of a run, its devices, and what they swear to.

    `shown` is what somebody saw while it ran; each of `bites` must be above 0 or the run proves nothing.
    """

    running: Running
    history: Path
    seed: int
    specs: list[DeviceSpec] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    """Histories of devices beside the town."""
    shown: set[Row] = field(default_factory=set)
    bites: dict[str, int] = field(default_factory=dict)

    @classmethod
    def prepare(cls, running: Running, folder: Path, *, seed: int, devices: int = 30) -> "FaultRun":
        """Register the devices before Lichtmast starts, so that none is a stranger when it speaks first."""
        with Registry.open(running.folder.registry) as registry:
            virtual_town.furnish(registry, running.folder.path)
            specs = virtual_town.settle(registry, devices)
        return cls(running, folder / "history.jsonl", seed, specs)

    @asynccontextmanager
    async def town(self, *, interval_s: float = 0.3, copies: int = 1) -> AsyncIterator[Town]:
        """Devices that measure sealed values and deliver, while the block does its worst.

        At the end of the block they stop measuring, and everything must be acknowledged within two minutes.
        """
        sealed = [Sealed(spec, seed=self.seed, copies=copies) for spec in self.specs]
        async with Town(
            self.specs,
            seed=self.seed,
            interval_s=interval_s,
            history=self.history,
            instruments=sealed,
            mqtt=("::1", self.running.mqtt_port),
            coap=("::1", self.running.coap_port),
        ) as town:
            living = asyncio.create_task(town.run(None), name="town")
            try:
                yield town
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
            drained = await town.wait_drained(DRAIN_S)
            assert drained, f"not all was acknowledged within {DRAIN_S:.0f} s: {town.statistics()}"
            self.bites.setdefault("packs sent", town.ledger().total.sent)

    def books(self) -> Books:
        """What the devices swear to so far."""
        return read_books([self.history, *self.others])

    def judge(self) -> Report:
        """Stop the server, read everything by every path, and fail with the report where anything is wrong."""
        report = verdict(self)
        sys.stdout.write(f"{report.text()}\n")  # pytest -rP shows it of runs that passed
        if not report.sound:
            kept = report.keep(self.history.parent / "failing", [self.history, *self.others])
            raise AssertionError(f"{report.text()}\nkept in {kept}")
        return report


def verdict(run: FaultRun) -> Report:
    """The checker's report: SensorThings and an export while it runs, the ledger and the quarantine once it is down."""
    running = run.running
    books = run.books()
    export = run.history.parent / "all.csv"
    export.unlink(missing_ok=True)
    audit = running.audit()
    paths = {"sensorthings": read_sensorthings(running.url)}
    remote = Remote.find(running.folder)
    assert remote is not None
    remote.post("/export", {"path": str(export), "form": "csv", "start_us": 0, "end_us": 2**62})
    paths["export"] = read_export(export)
    assert running.stop() == 0
    return judge_folder(run, books, paths, audit=audit)


def judge_folder(
    run: FaultRun, books: Books, paths: dict[str, list[Row]], *, audit: dict[str, object] | None = None
) -> Report:
    """The report on a data folder on which nothing runs; the store's own rows are one more path."""
    with Registry.open(run.running.folder.registry) as registry:
        entries = registry.directory().entries
    profiles = load_profiles()
    series = {
        (name, capability.suffix): datastream
        for name, entry in entries.items()
        for capability, datastream in zip(profiles[entry.profile].uplinks, entry.datastream_ids, strict=False)
    }
    store = DuckStore.open(run.running.folder.store, clock_us=lambda: 0)
    try:
        keys = sorted({(key.device, key.epoch) for key in books.packs})
        arrivals = [
            Arrival(PackKey(one["device"], one["epoch"], one["seq"]), FATES[Outcome(one["outcome"])], one["digest"])
            for device, epoch in keys
            for one in store.ledger_range(device, epoch).to_pylist()
        ]
        dropped = {
            PackKey(one["device"], one["epoch"], seq)
            for one in store.dropped().to_pylist()
            for seq in range(one["first"], one["last"] + 1)
        }
        rows = _rows(store, sorted(set(series.values())))
        evidence = Evidence(
            paths | {"store": rows},
            # The public pages show what hangs on lampposts; a run's extra devices hang nowhere.
            partial=["sensorthings"] if any(entry.asset_id is None for entry in entries.values()) else [],
            arrivals=arrivals,
            quarantine=store.quarantine(100_000)["payload"].to_pylist(),
            dropped=dropped,
            series=series,
            shown=run.shown,
            audit=audit,
        )
        report = check(books, evidence, fingerprint=xxh3_64_intdigest, bites=run.bites, seed=run.seed)
        rollups = [one for key in sorted({row.datastream for row in rows}) for one in _rollups(store, key)]
        wrong = tuple(check_rollups(rows, rollups, HOUR_US))
    finally:
        store.close()
    return replace(report, faults=(*report.faults, *wrong))


def _rows(store: DuckStore, series: list[int]) -> list[Row]:
    found = store.range(series, 0, 2**62, limit=10**7).to_pylist()
    return [
        Row(
            one["datastream_id"],
            one["phenomenon_time"],
            one["result_text"] if one["result"] is None else one["result"],
        )
        for one in found
    ]


def _rollups(store: DuckStore, datastream: int) -> Iterator[Rollup]:
    for one in store.aggregate(datastream, 0, 2**62, HOUR_US).to_pylist():
        yield Rollup(datastream, one["bucket"], one["count"], one["mean"], one["minimum"], one["maximum"])


def write_history(path: Path, *entries: Entry) -> None:
    """Put lines on disk, for a device that has no history of its own."""

    async def noted() -> None:
        async with History(path) as history:
            for one in entries:
                history.note(one)

    asyncio.run(noted())


async def wait_until(told: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for a state that another process makes true."""
    async with asyncio.timeout(timeout_s):
        while not told():
            await asyncio.sleep(0.02)


async def wait_acknowledged(town: Town, packs: int) -> None:
    """Wait until so many packs are acknowledged in all."""
    await wait_until(lambda: town.statistics().total.acknowledged >= packs)


def acknowledged(town: Town) -> int:
    """How many packs are acknowledged now."""
    return town.statistics().total.acknowledged


class Disk:
    """A small disk of its own for one Lichtmast: a tmpfs in a mount namespace that only a holder process keeps.

    When the holder is gone, so is the disk: nothing is left behind, however the test ended.
    """

    def __init__(self, mount: Path, size_mib: int) -> None:
        self.mount = mount
        mount.mkdir()
        script = f"mount -t tmpfs -o size={size_mib}m lab '{mount}' && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n", "no disk of its own: it needs root"
        self.seen_from_here = Path(f"/proc/{self._holder.pid}/root{mount}")
        self._filler = self.seen_from_here / "filler"

    @property
    def prefix(self) -> list[str]:
        """What makes a command run where the disk is."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    def fill(self) -> None:
        """Leave not a single block."""
        with self._filler.open("ab") as file, contextlib.suppress(OSError):
            for size in itertools.chain(itertools.repeat(1 << 20, 4096), itertools.repeat(4096, 4096)):
                try:
                    os.write(file.fileno(), bytes(size))
                except OSError:
                    if size == 4096:
                        raise

    def clear(self) -> None:
        """Give it back."""
        self._filler.unlink()

    def free_bytes(self) -> int:
        """How much is free."""
        found = os.statvfs(self.seen_from_here)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Let go of it."""
        self._holder.kill()
        self._holder.communicate()


@dataclass
class RunningOnDisk(Running):
    """A Lichtmast that runs on a Disk; `move` brings its folder there, `stop` brings it back to be read."""

    disk: Disk | None = None

    def move(self) -> None:
        assert self.disk is not None
        # Not resolved: the way leads through /proc, and ends here where the disk is not.
        there = self.disk.seen_from_here / "data"
        shutil.copytree(self.folder.path, there)
        self.folder = Folder(there)

    def start(self) -> None:
        assert self.disk is not None
        ports = [
            f"--{name}-port={port}"
            for name, port in (("http", self.http_port), ("mqtt", self.mqtt_port), ("coap", self.coap_port))
        ]
        command = [sys.executable, "-m", "lichtmast.suite", "up", "--data", str(self.disk.mount / "data"), *ports]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen([*self.disk.prefix, *command], stdout=output, stderr=output)
        until_s = time.monotonic() + 60
        while Remote.find(self.folder) is None:
            if self.process.poll() is not None or time.monotonic() > until_s:
                raise AssertionError(f"lichtmast did not start:\n{self.output.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> int:
        assert self.disk is not None
        code = super().stop()
        here = self.disk.mount.parent / "read-back"
        shutil.copytree(self.folder.path, here)
        self.folder = Folder(here)
        return code


class Burst:
    """One MQTT client that publishes as fast as it can and remembers every PUBACK: what the broker alone promised."""

    def __init__(self, port: int, topic: str) -> None:
        self._socket = socket.create_connection(("::1", port), timeout=10)
        try:
            self._socket.sendall(connect("burst"))
            assert self._read(4) == b"\x20\x02\x00\x00"
        except BaseException:
            self._socket.close()
            raise
        self._topic = topic
        self.promised: set[int] = set()
        self._rest = b""

    def send(self, first: int, payloads: list[bytes]) -> None:
        """Publish packs `first`.. with their number as packet identifier, without waiting."""
        self._socket.sendall(
            b"".join(publish(self._topic, one, identifier=first + at) for at, one in enumerate(payloads))
        )

    def hear(self, wanted: int, timeout_s: float = 10.0) -> None:
        """Take PUBACKs until there are so many, or the connection or the time has ended."""
        self._socket.settimeout(timeout_s)
        with contextlib.suppress(OSError):
            while len(self.promised) < wanted and (data := self._socket.recv(65_536)):
                self._rest += data
                whole = len(self._rest) // 4 * 4
                for kind, size, number in struct.iter_unpack(">BBH", self._rest[:whole]):
                    assert (kind, size) == (0x40, 2)
                    self.promised.add(number)
                self._rest = self._rest[whole:]

    def close(self) -> None:
        self._socket.close()

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self._socket.recv(size - len(found))
            if not part:
                raise ConnectionResetError("the broker ended the connection")
            found += part
        return found


def payloads_of(history: Path) -> dict[PackKey, bytes]:
    """Every pack of a history as bytes, to be sent again by somebody else."""
    return {key: account.payload for key, account in read_books([history]).packs.items() if account.payload}
