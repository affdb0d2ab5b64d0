"""What fault runs of the real agent share: a scene with a witness for a sensor and a tap on its wire, and the verdict.

Also a card that fails, a time server that is silent, and eyes for SQL. All of them live outside of what the test kills.
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
from wire_tap import Tap
from witness import WITNESSED

from lichtmast.firmware_sim.checker import Report
from lichtmast.store import DuckStore
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.quality import Quality

GAP = 3
"""At four samples a pack, one that is lost leaves at least such a gap."""


def wait_for(told: Callable[[], bool], what: str, timeout_s: float = 40.0) -> None:
    """Wait for a state that another process makes true."""
    until_s = time.monotonic() + timeout_s
    while not told():
        assert time.monotonic() < until_s, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


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
        device = DeviceId("gm0402", "agent-7")  # one that chance lets dial soon
        running.register(device.device, profile="lamp-controller")
        running.start()
        tap = Tap(device, running.mqtt_port)
        journal = folder / "journal"
        sensors = WITNESSED.replace("{journal}", str(journal))
        agent = RunningAgent(folder / "agent", ("::1", tap.port), device=device, sensors=sensors, interval_s=0.4)
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

        quiet_since_s = time.monotonic()
        next_seq = 0

        def is_drained() -> bool:
            nonlocal quiet_since_s, next_seq
            now = self.look(state)
            if now.next_seq != next_seq:
                quiet_since_s, next_seq = time.monotonic(), now.next_seq
            if time.monotonic() - quiet_since_s < 3 * self.agent.interval_s:
                return False  # the last interval has not ended
            with_ack = len(self.tap.packs) == len(self.tap.acked)
            return with_ack and all((now.epoch, seq) in self.tap.acked for seq in now.waiting)

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
    """The checker's report; and of the samples that the witness took, those that packs tell of and the rest.

    A sampler that was held up leaves single samples out; `gaps` are how many are missing in a row, from `GAP` on.
    """

    report: Report
    untold: set[int]
    told: set[int]

    @property
    def gaps(self) -> list[int]:
        runs: list[int] = []
        last = 0
        for number in sorted(self.untold):
            if runs and number == last + 1:
                runs[-1] += 1
            else:
                runs.append(1)
            last = number
        return [one for one in runs if one >= GAP]
