"""What fault runs of the real agent share: a witness for a sensor, a tap on its wire, a disk of its own, eyes for SQL.

The witness is a driver that writes down what it measured before the agent has it; the tap is a relay before the broker
that writes down what the agent sends and what it is told. Both live outside of whatever the test kills or fills.
"""

import contextlib
import shutil
import socket
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from fault_run import Disk, FaultRun, write_history
from running_agent import RunningAgent
from running_lichtmast import Running

from lichtmast.firmware_sim.checker import Report
from lichtmast.firmware_sim.history import Entry, digest
from lichtmast.store import DuckStore
from lichtmast.wire import decode, topics
from lichtmast.wire.acknowledgement import decode_acknowledgement
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.quality import Quality
from lichtmast.wire.senml import Pack, sniff
from lichtmast.wire.twin import Answer, Event, State, decode_event, decode_state

WITNESS = '''
import json, os, time
from pathlib import Path
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel


class Witness:
    """Counts its reads over all its lives; each is in the journal, with the kernel's own time, before it is told."""

    def __init__(self, options, context):
        self._journal, self._control = Path(options["journal"]), Path(options["control"])
        self._file = None

    @property
    def channels(self):
        return (
            Channel("upto", "number", "J"), Channel("since", "number", "s"), Channel("warmth", "number", "Cel"),
            Channel("power", "number", "W"), Channel("voltage", "number", "V"), Channel("level", "number", "/", True),
        )

    def _note(self, text):
        if self._file is None:
            raw = self._journal.read_bytes() if self._journal.exists() else b""
            self._number = raw.count(b"read ")
            self._file = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            if raw and not raw.endswith(b"\\n"):
                os.write(self._file, b"\\n")
        os.write(self._file, text.encode())
        # The modification time is the kernel's: no library that lies about the clock comes between.
        return os.fstat(self._file).st_mtime_ns // 1000

    def read(self):
        told = json.loads(self._control.read_text()) if self._control.exists() else {}
        if told.get("silent"):
            raise DriverError("silent, as the test wants")
        true_us = self._note("read ")
        self._number += 1
        self._note(f"{self._number} {true_us} {time.time_ns() // 1000}\\n")
        number = float(self._number)
        return {"upto": number, "since": number, "warmth": told.get("warmth", 10.0), "power": 40.0, "voltage": 230.0}

    def write(self, channel, value):
        self._note(f"write {value}\\n")

    def close(self):
        pass
'''
WITNESSED = """
[[driver]]
name = "witness"
kind = "witness"
journal = "{journal}"
control = "{control}"
[[driver.reading]]
channel = "upto"
statistics = {{ max = "/lamp/0/energy" }}
sample_s = 0.1
[[driver.reading]]
channel = "since"
statistics = {{ min = "/lamp/0/operating-time" }}
sample_s = 0.1
[[driver.reading]]
channel = "warmth"
suffix = "/lamp/0/temperature"
sample_s = 0.1
[[driver.reading]]
channel = "power"
suffix = "/lamp/0/power"
sample_s = 0.1
[[driver.reading]]
channel = "voltage"
suffix = "/lamp/0/voltage"
sample_s = 0.1
[[driver.actuator]]
channel = "level"
suffix = "/lamp/0/command"
"""
"""Each pack says with two readings which samples it is made of: from which number (min) up to which (max)."""
READINGS = 5
"""So many readings has a pack of the witness."""


def install_witness(folder: Path) -> Path:
    """Make the driver as a distribution that any Python finds with this folder on its path."""
    folder.mkdir()
    (folder / "fault_witness.py").write_text(WITNESS)
    about = folder / "fault_witness-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fault-witness\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[lichtmast.edge.drivers]\nwitness = fault_witness:Witness\n")
    return folder


def wait_for(told: Callable[[], bool], what: str, timeout_s: float = 40.0) -> None:
    """Wait for a state that another process makes true."""
    until_s = time.monotonic() + timeout_s
    while not told():
        assert time.monotonic() < until_s, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


class Tap:
    """A relay on ::1 before the broker that takes down every pack and every acknowledgement which passes.

    `open` false refuses everybody; `swallow` keeps packs from the broker, while commands and events still pass.
    """

    def __init__(self, device: DeviceId, broker_port: int) -> None:
        self.open = True
        self.swallow = False
        self.entries: list[Entry] = []
        self.packs: dict[tuple[int, int], Pack] = {}
        self.acked: set[tuple[int, int]] = set()
        self.dropped: set[tuple[int, int]] = set()
        self.repeated = 0
        self.events: list[Event | Answer] = []
        self.states: list[State] = []
        self._device = device
        self._broker_port = broker_port
        self._lock = threading.Lock()
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._door = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._accept, name="tap", daemon=True).start()

    def cut(self) -> None:
        """Break every connection and let nobody in."""
        self.open = False
        with self._lock:
            links, self._links = self._links, []
        for one in links:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for one in self._threads:
            one.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._door.accept()
                if not self.open:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("::1", self._broker_port), timeout=5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._lock:
                    self._links += [near, far]
                for source, sink, hear in ((near, far, self._hear_up), (far, near, self._hear_down)):
                    thread = threading.Thread(target=_pump, args=(source, sink, hear), name="tap", daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _hear_up(self, topic: str, payload: bytes) -> bool:
        """Whether the packet may pass."""
        if topic == topics.state_topic(self._device):
            self.states.append(decode_state(payload))
        elif topic == topics.ev_topic(self._device):
            self.events.append(decode_event(payload))
        if topic != topics.up_topic(self._device):
            return True
        if self.swallow:
            return False
        now_us = time.time_ns() // 1_000
        pack = decode(payload, sniff(payload), now_us)
        assert pack.epoch is not None
        assert pack.seq is not None
        key = pack.epoch, pack.seq
        with self._lock:
            is_first = key not in self.packs
            self.repeated += not is_first
            self.packs.setdefault(key, pack)
            told = payload if is_first else b""
            self.entries.append(Entry("attempt", self._device, *key, digest(payload), now_us, told))
            for first, last in pack.dropped:
                for seq in range(first, last + 1):
                    if (pack.epoch, seq) not in self.dropped:
                        self.dropped.add((pack.epoch, seq))
                        self.entries.append(Entry("dropped", self._device, pack.epoch, seq, "", now_us))
        return True

    def _hear_down(self, topic: str, payload: bytes) -> bool:
        if topic == topics.ack_topic(self._device):
            ack = decode_acknowledgement(payload)
            with self._lock:
                for key in self.packs.keys() - self.acked:
                    if key[0] == ack.epoch and ack.covers(key[1]):
                        self.acked.add(key)
                        self.entries.append(Entry("ack", self._device, *key, "", time.time_ns() // 1_000))
        return True

    def seqs(self, epoch: int) -> set[int]:
        """The numbers of this epoch that were sent."""
        with self._lock:
            return {seq for one, seq in self.packs if one == epoch}


def _pump(source: socket.socket, sink: socket.socket, hear: Callable[[str, bytes], bool]) -> None:
    """Carry whole MQTT packets (3.1.1, section 2) from one socket to the other; both end together."""
    rest = b""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            rest += data
            while (size := _packet_bytes(rest)) is not None:
                packet, rest = rest[:size], rest[size:]
                if packet[0] >> 4 != 3 or hear(*_published(packet)):
                    sink.sendall(packet)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
    source.close()  # whoever still sends into it hears an OSError


def _packet_bytes(raw: bytes) -> int | None:
    """How long the first packet is; None while it is not whole."""
    length = 0
    for at, byte in enumerate(raw[1:5]):
        length |= (byte & 0x7F) << (7 * at)
        if not byte & 0x80:
            size = 2 + at + length
            return size if len(raw) >= size else None
    return None


def _published(packet: bytes) -> tuple[str, bytes]:
    at = 1 + next(number for number, byte in enumerate(packet[1:5], 1) if not byte & 0x80)
    size = int.from_bytes(packet[at : at + 2])
    topic = packet[at + 2 : at + 2 + size].decode()
    return topic, packet[at + 2 + size + (2 if packet[0] & 6 else 0) :]


class TimeServer:
    """An SNTP server (RFC 4330) on ::1 that says nothing until `answers`, and then the true time."""

    def __init__(self) -> None:
        self.answers = False
        self.ignored = 0
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind(("::1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="time server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while request := self._socket.recvfrom(1_024):
                asked, who = request
                if len(asked) < 48:
                    return
                if not self.answers:
                    self.ignored += 1
                    continue
                now = time.time() + 2_208_988_800
                stamp = struct.pack(">II", int(now), int(now % 1 * 2**32))
                head = struct.pack(">BBbbII4s", 4 << 3 | 4, 1, 6, -20, 0, 0, b"TEST")
                self._socket.sendto(head + stamp + asked[40:48] + stamp + stamp, who)


class CardDisk(Disk):
    """An ext4 of a few MiB in a mount namespace that only a holder keeps; it fails as a worn card does."""

    def __init__(self, mount: Path, images: Path, size_mib: int = 4) -> None:
        self.mount = mount
        mount.mkdir(parents=True)
        images.mkdir()
        self._image = images / "card-1"
        with self._image.open("wb") as file:
            file.truncate(size_mib * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(self._image)], check=True)
        script = f"mount -o loop '{self._image}' '{mount}' && echo ready && exec cat"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n", "no disk of its own: it needs root and loop devices"
        self.seen_from_here = Path(f"/proc/{self._holder.pid}/root{mount}")
        self._filler = self.seen_from_here / "filler"

    def leave(self, free_bytes: int) -> None:
        """Fill the disk but for so much."""
        wanted = self.free_bytes() - free_bytes
        assert wanted > 0, f"only {self.free_bytes()} bytes are free"
        with self._filler.open("wb") as file:
            for _ in range(wanted // 4096):
                file.write(bytes(4096))

    def go_read_only(self) -> None:
        """Abort the journal: every write fails with EROFS, also on files that are open, as after an I/O error.

        A plain `remount,ro` is refused by the kernel while anybody has a file open for writing.
        """
        self._run("mount", "-o", "remount,abort", str(self.mount))

    def repair(self) -> None:
        """Check the file system and mount it again, writable. It is a copy, as the old one lives while it is open."""
        self._run("umount", "--lazy", str(self.mount))
        copy = self._image.with_name("card-2")
        shutil.copyfile(self._image, copy)
        checked = subprocess.run(["e2fsck", "-p", str(copy)], capture_output=True, check=False)
        assert checked.returncode in {0, 1}, checked.stdout + checked.stderr
        self._run("mount", "-o", "loop", str(copy), str(self.mount))

    def _run(self, *words: str) -> None:
        subprocess.run([*self.prefix, *words], check=True)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the outbox file says to somebody who asks it with SQL of his own."""

    epoch: int
    next_seq: int
    waiting: tuple[int, ...]
    unstamped: int


def kept(file: Path, scratch: Path) -> Kept:
    """Look into a copy of the outbox and its write-ahead log; the agent may be alive or dead."""
    log = file.with_name(file.name + "-wal")
    copy = scratch / "looked-into.sqlite"
    until_s = time.monotonic() + 20
    while True:
        try:
            before = log.read_bytes()[:32] if log.exists() else b""
            shutil.copyfile(file, copy)
            copy.with_name(copy.name + "-wal").write_bytes(log.read_bytes() if log.exists() else b"")
            if before == (log.read_bytes()[:32] if log.exists() else b""):
                with contextlib.closing(sqlite3.connect(copy)) as opened:
                    (body,) = opened.execute("SELECT body FROM meta").fetchone()
                    rows = opened.execute("SELECT seq, created_us IS NULL FROM pack ORDER BY seq").fetchall()
                    (epoch, next_seq) = opened.execute(
                        "SELECT json_extract(?, '$.epoch'), json_extract(?, '$.next_seq')", (body, body)
                    ).fetchone()
                return Kept(epoch, next_seq, tuple(seq for seq, _ in rows), sum(one for _, one in rows))
        except (OSError, sqlite3.Error, TypeError):
            assert time.monotonic() < until_s, f"{file} cannot be read"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Sample:
    """One read of the witness: when it truly was, and what the agent's process saw on the wall clock."""

    true_us: int
    seen_us: int


@dataclass
class Scene:
    """One agent with a witness, a tap and a server, and the verdict over them."""

    run: FaultRun
    agent: RunningAgent
    tap: Tap
    journal: Path
    scratch: Path
    numbers_seen: list[Kept] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def set_up(cls, running: Running, folder: Path, *, seed: int) -> Iterator["Scene"]:
        """A registered agent that does not run yet; whatever runs at the end is killed."""
        device = DeviceId("gm0402", "agent-1")
        running.register(device.device, profile="lamp-controller")
        running.start()
        tap = Tap(device, running.mqtt_port)
        journal = folder / "journal"
        sensors = WITNESSED.replace("{journal}", str(journal))
        agent = RunningAgent(folder / "agent", ("::1", tap.port), device=device, sensors=sensors)
        scene = cls(FaultRun(running, folder / "history.jsonl", seed), agent, tap, journal, folder)
        try:
            yield scene
        finally:
            agent.end()
            tap.close()

    def samples(self) -> dict[int, Sample]:
        """Every read that the witness told of, by its number."""
        found = {}
        for line in self.journal.read_text().splitlines():
            words = line.split()
            if words[:1] == ["read"] and len(words) == 4:
                found[int(words[1])] = Sample(int(words[2]), int(words[3]))
        return found

    def levels(self) -> list[float]:
        """Every level that the lamp was given."""
        return [float(line.split()[1]) for line in self.journal.read_text().splitlines() if line.startswith("write ")]

    def look(self, state: Path | None = None) -> Kept:
        """What is in the outbox now. Epoch and numbers must go on from look to look."""
        found = kept((state or self.agent.state) / "outbox.sqlite", self.scratch)
        self.numbers_seen.append(found)
        return found

    def wait_acked(self, more: int, timeout_s: float = 40.0) -> None:
        """Wait for so many acknowledgements from now on."""
        wanted = len(self.tap.acked) + more
        wait_for(lambda: len(self.tap.acked) >= wanted, f"{more} more packs acknowledged", timeout_s)

    def drain(self, state: Path | None = None, timeout_s: float = 60.0) -> None:
        """Let the sensor fall silent, wait until all that is numbered is acknowledged, and stop the agent."""
        self.agent.control.write_text('{"silent": true}')

        def is_drained() -> bool:
            if len(self.tap.packs) != len(self.tap.acked):
                return False
            now = self.look(state)
            return all((now.epoch, seq) in self.tap.acked for seq in now.waiting)

        wait_for(is_drained, "everything in the outbox acknowledged", timeout_s)
        assert self.agent.stop() == 0, self.agent.log.read_text()[-2_000:]
        left = self.look(state)  # what it was just told may still be kept: it would be sent once more
        assert all((left.epoch, seq) in self.tap.acked for seq in left.waiting), "numbered after the drain"

    def judge(self, *, salvaged: bool = False, error_s: float = 0.25) -> "Verdict":
        """The checker's report over wire and store; then the witness against the packs: numbers, samples, times.

        `salvaged`: the outbox was replaced, so another epoch may tell again what the first had told.
        """
        audit = self.run.running.audit()
        assert (audit["missing"], audit["faults"]) == (0, []), audit
        write_history(self.run.history, *self.tap.entries)
        report = self.run.judge()
        assert report.counts.quarantined == 0
        if not salvaged:
            assert len({one.epoch for one in self.numbers_seen}) == 1, "another epoch without another file"
            numbers = [one.next_seq for one in self.numbers_seen]
            assert numbers == sorted(numbers), "numbers went back"
            epoch, next_seq = self.numbers_seen[-1].epoch, numbers[-1]
            explained = {seq for _, seq in self.tap.packs} | {seq for _, seq in self.tap.dropped}
            assert explained == set(range(1, next_seq)), f"epoch {epoch}: numbers given and never explained"
        covered = self._covered(error_s, twice=salvaged)
        return Verdict(report, set(self.samples()) - covered, covered)

    def stored_with(self, quality: Quality) -> int:
        """How many stored readings carry the flag; the server must have ended."""
        store = DuckStore.open(self.run.running.folder.store, clock_us=lambda: 0)
        try:
            rows = store.range(list(range(1, 100)), 0, 2**62, limit=10**6).to_pylist()
        finally:
            store.close()
        return sum(bool(one["quality"] & quality) for one in rows)

    def _covered(self, error_s: float, *, twice: bool) -> set[int]:
        samples = self.samples()
        covered: set[int] = set()
        for key, pack in self.tap.packs.items():
            found = {pack.suffix_of(one): one for one in pack.records}
            first, last = found["/lamp/0/operating-time"], found["/lamp/0/energy"]
            assert isinstance(first.value, float | int)
            assert isinstance(last.value, float | int)
            mine = set(range(int(first.value), int(last.value) + 1))
            assert mine <= samples.keys(), f"{key} tells of samples that nobody took"
            assert twice or not mine & covered, f"{key} tells of samples that another pack told already"
            off_s = (last.time_us - samples[int(last.value)].true_us) / 1e6
            allowed_s = max(error_s, pack.time_error_s or 0.0)
            assert abs(off_s) <= allowed_s, f"{key}: sample {int(last.value)} is {off_s:+.3f} s off its true time"
            covered |= mine
        return covered


@dataclass(frozen=True, slots=True)
class Verdict:
    """The checker's report; and of the samples that the witness took, those that no pack tells of."""

    report: Report
    untold: set[int]
    told: set[int]
