"""A real Lichtmast for somebody else's device: started, killed, asked and stopped by its own commands.

Everything here is what its user can do too: `lichtmast up`, `lichtmast device add`, `lichtmast audit`, and the broker's
topics. The pytest plugin wraps it in fixtures.

Will not pretend: there is no double of the server here, and no port but those of ::1.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.checker.evidence import Row, Value
from lichtmast.firmware_sim.checker.sources import read_export
from lichtmast.firmware_sim.light.mqtt import DISCONNECT, MqttFault, connect
from lichtmast.firmware_sim.light.session import Session
from lichtmast.wire import topics
from lichtmast.wire.acknowledgement import Acknowledgement, Refused, decode_acknowledgement
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles

HOST: Final = "::1"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
COMMAND_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.1
REASON_TIMEOUT_S: Final = 3.0
"""How long a pack that the books show in quarantine may wait for the acknowledgement that says why."""
PORTS: Final = range(20_000, 32_768)
"""Below those that the system gives to whoever dials: a device that dials a dead server would meet itself."""
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class UnderTestError(Exception):
    """The server cannot be had as asked; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a Lichtmast listens on ::1; the defaults are those of `lichtmast up`."""

    http: int = 8080
    mqtt: int = 1883
    coap: int = 5683

    @classmethod
    def free(cls) -> Self:
        """Three that nobody uses now; a server that is killed comes back to the same."""
        return cls(*(_free_port(kind) for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)))


class Server:
    """A Lichtmast on a data folder: one that runs already, or one that `start` begins and `kill` ends."""

    def __init__(self, data: Path, ports: Ports, *, words: tuple[str, ...] = ()) -> None:
        self.data = data
        self.ports = ports
        self.output = data / "output.log"
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its pages."""
        return f"http://[{HOST}]:{self.ports.http}"

    @property
    def mqtt(self) -> tuple[str, int]:
        """Where devices speak MQTT."""
        return HOST, self.ports.mqtt

    @property
    def coap(self) -> tuple[str, int]:
        """Where devices speak CoAP."""
        return HOST, self.ports.coap

    def start(self) -> None:
        """Begin it, and wait until it answers. Raises UnderTestError."""
        self.data.mkdir(parents=True, exist_ok=True)
        ports = [f"--{name}-port={getattr(self.ports, name)}" for name in ("http", "mqtt", "coap")]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the command that is installed
                [find_command(), "up", "--data", str(self.data), *ports, *self._words], stdout=output, stderr=output
            )
        until_s = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > until_s:
                raise UnderTestError(f"lichtmast up did not start:\n{self.output.read_text(errors='replace')[-3000:]}")
            time.sleep(POLL_S)

    def answers(self) -> bool:
        """Whether the pages say that it is well."""
        try:
            with _DIRECT.open(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004 - OK
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL, as a power cut would: no chance to tidy up. `start` brings it back on the same ports."""
        if self._process is None:
            raise UnderTestError("this Lichtmast was running before the test; kill only what the test has started")
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it gently, then firmly; nothing where it runs no more or is not ours."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `lichtmast WORDS` on its data folder, to the end."""
        return subprocess.run(  # noqa: S603 - as above
            [find_command(), *words],
            env=os.environ | {"LICHTMAST_DATA": str(self.data)},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def audit(self) -> dict[str, Any]:
        """What `lichtmast audit --json` says, also where the books do not balance. Raises UnderTestError."""
        done = self.command("audit", "--json")
        try:
            told: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise UnderTestError(f"lichtmast audit gave no account: {done.stderr[-2000:]}") from error
        return told

    def add_device(self, device: DeviceId, profile: str) -> list[int]:
        """Register an active device; its datastreams, in the order of the profile. Raises UnderTestError."""
        done = self.command("device", "add", str(device), "--profile", profile, "--json")
        if done.returncode:
            raise UnderTestError(f"lichtmast device add {device} failed: {done.stderr.strip()[-2000:]}")
        return list(json.loads(done.stdout)["datastream_ids"])

    def rows(self, datastreams: Sequence[int]) -> list[Row]:
        """What is stored in these datastreams, as `lichtmast export` writes it. Raises UnderTestError."""
        with tempfile.TemporaryDirectory(prefix="lichtmast-export-") as folder:
            file = Path(folder) / "rows.csv"
            done = self.command("export", str(file), *(f"--datastream={one}" for one in datastreams))
            if done.returncode:
                raise UnderTestError(f"lichtmast export failed: {done.stderr.strip()[-2000:]}")
            return read_export(file)


@dataclass(frozen=True, slots=True)
class Received:
    """What the server has of one device: packs by what became of them, and readings stored."""

    stored: int = 0
    quarantined: int = 0
    duplicates: int = 0
    readings: int = 0


@dataclass(slots=True)
class DeviceUnderTest:
    """A registered device that somebody else's program is to be. It hears that device's acknowledgements beside it."""

    id: DeviceId
    profile: str
    server: Server
    _datastreams: Sequence[int] = field(repr=False)
    _listener: "AckListener" = field(repr=False)

    @property
    def urn(self) -> str:
        """The SenML base name."""
        return self.id.urn

    @property
    def up_topic(self) -> str:
        """Where it publishes packs."""
        return topics.up_topic(self.id)

    @property
    def ack_topic(self) -> str:
        """Where it hears acknowledgements."""
        return topics.ack_topic(self.id)

    def acknowledgements(self) -> list[Acknowledgement]:
        """Every acknowledgement that the server has sent to this device so far."""
        return list(self._listener.heard)

    def refusals(self) -> list[Refused]:
        """Every pack that an acknowledgement said was refused, once each: its number, the reason and what to mend."""
        return list({(one.epoch, bad.seq): bad for one in self.acknowledgements() for bad in one.refused}.values())

    def readings(self) -> list[tuple[str, int, Value]]:
        """Everything that is stored of it: (suffix, microseconds since 1970, value), by time."""
        suffixes = dict(
            zip(self._datastreams, (one.suffix for one in load_profiles()[self.profile].uplinks), strict=True)
        )
        rows = self.server.rows(self._datastreams)
        return sorted(((suffixes[one.datastream], one.time_us, one.value) for one in rows), key=itemgetter(1, 0))

    def received(self) -> Received:
        """The server's own account of it, over all hours."""
        lines = [one for one in self.server.audit()["accounts"] if one["device"] == str(self.id)]
        names = ("stored", "quarantined", "duplicates", "readings")
        return Received(**{name: sum(one[name] for one in lines) for name in names})

    def wait_stored(self, packs: int, timeout_s: float = 30.0) -> Received:
        """Wait until so many packs are stored. Raises UnderTestError when one is refused, or time has run out."""
        until_s = time.monotonic() + timeout_s
        while (found := self.received()).stored < packs:
            if found.quarantined or self.refusals():
                raise UnderTestError(self._tell_refusals(found, until_s))
            if time.monotonic() > until_s:
                raise UnderTestError(
                    f"{self.id}: {packs} packs expected within {timeout_s:.0f} s; the server has {found}"
                )
            time.sleep(POLL_S)
        return found

    def _tell_refusals(self, found: Received, until_s: float) -> str:
        """What was refused and why. The books may know of a refusal just before its acknowledgement is here."""
        until_s = min(until_s, time.monotonic() + REASON_TIMEOUT_S)
        while not (refusals := self.refusals()) and time.monotonic() < until_s:
            time.sleep(POLL_S)
        told = [f"seq {one.seq} refused: {one.reason}, {one.detail}" for one in refusals]
        unnamed = "no acknowledgement says why (none is sent for a pack without lm-epoch and lm-seq)"
        return "\n  ".join([f"{self.id}: {found.quarantined} packs are in quarantine", *(told or [unnamed])])

    def wait_acknowledged(self, epoch: int, seq: int, timeout_s: float = 30.0) -> Acknowledgement:
        """Wait for an acknowledgement that covers this pack. Raises UnderTestError."""
        until_s = time.monotonic() + timeout_s
        while True:
            for one in reversed(self.acknowledgements()):
                if one.epoch == epoch and one.covers(seq):
                    return one
            if time.monotonic() > until_s:
                raise UnderTestError(
                    f"{self.id}: epoch {epoch} seq {seq} was not acknowledged within {timeout_s:.0f} s"
                )
            time.sleep(POLL_S)


class AckListener:
    """Hears one device's acknowledgement topic in a thread, and comes back when the broker does."""

    def __init__(self, device: DeviceId, endpoint: tuple[str, int]) -> None:
        self.heard: list[Acknowledgement] = []
        self.ready = threading.Event()
        self._device = device
        self._endpoint = endpoint
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"acknowledgements of {device}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self.ready.wait(START_TIMEOUT_S):
            raise UnderTestError(f"no broker answers at [{self._endpoint[0]}]:{self._endpoint[1]}")
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with socket.create_connection(self._endpoint, timeout=limits.MQTT_TIMEOUT_S) as connection:
                    self._listen(connection)
            except (OSError, MqttFault):
                self._ended.wait(POLL_S)  # the broker is down, or was killed: come back

    def _listen(self, connection: socket.socket) -> None:
        session = Session(topics.ack_topic(self._device), time.monotonic())
        connection.settimeout(POLL_S)
        connection.sendall(connect(f"ear-{secrets.token_hex(8)}", limits.MQTT_KEEPALIVE_S))
        while not self._ended.is_set():
            connection.sendall(session.tick(time.monotonic()))
            try:
                data = connection.recv(65_536)
            except TimeoutError:
                continue
            if not data:
                return
            reply, happened = session.heard(data, time.monotonic())
            connection.sendall(reply)
            self.heard += [decode_acknowledgement(one) for one in happened if isinstance(one, bytes)]
            if session.ready:
                self.ready.set()
        connection.sendall(DISCONNECT)


def find_command() -> str:
    """The `lichtmast` command: beside this Python, else on PATH. Raises UnderTestError."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("lichtmast", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if found is None:
        raise UnderTestError("no lichtmast command beside this Python or on PATH; install the distribution lichtmast")
    return found


def _free_port(kind: int) -> int:
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket(socket.AF_INET6, kind) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
