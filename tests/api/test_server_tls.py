"""HTTPS: what it speaks, whom it lets in, how a certificate changes while it serves, and what a flood finds."""

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop
from cryptography import x509
from identity_town import SERVER, IdentityTown
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from lichtmast.api import Broadcaster, ServerError, TlsFiles, limits, open_socket, serve
from lichtmast.api.http_protocol import HttpProtocol
from lichtmast.api.server import SHUTDOWN_S
from lichtmast.api.sources import network_of
from lichtmast.api.tls import client_certificate
from lichtmast.api.tls_door import TlsDoor


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> IdentityTown:
    return IdentityTown(tmp_path_factory.mktemp("tls"))


async def mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells the client what the server knows of its connection."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    shown = client_certificate(scope)
    told: dict[str, Any] = dict(scope.get("extensions", {}).get("tls", {}))
    told["scheme"] = scope["scheme"]
    told["serial"] = None if shown is None else str(x509.load_der_x509_certificate(shown).serial_number)
    body = json.dumps(told).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def serving(tls: TlsFiles | None, client_trust: Path | None = None) -> AsyncIterator[int]:
    """The mirror on a free port of ::1."""
    listener = open_socket("::1", 0)
    port = int(listener.getsockname()[1])
    started = asyncio.Event()
    server = asyncio.create_task(
        serve(mirror, [listener], Broadcaster(), tls=tls, client_trust=client_trust, on_started=started.set)
    )
    async with asyncio.timeout(10):
        await started.wait()
    try:
        yield port
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server


@dataclass(slots=True)
class Client:
    """One connection of a client that speaks just enough HTTP."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext) -> "Client":
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("::1", port, ssl=context)
        return cls(reader, writer, context)

    async def get(self, path: str = "/") -> dict[str, Any]:
        async with asyncio.timeout(10):
            self.writer.write(f"GET {path} HTTP/1.1\r\nHost: [::1]\r\n\r\n".encode())
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body: dict[str, Any] = json.loads(await self.reader.readexactly(int(length.split(b":")[1])))
            return body

    @property
    def server_serial(self) -> int:
        shown = self.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).serial_number

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def trusting(town: IdentityTown) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(town.root))


async def ask(port: int, context: ssl.SSLContext) -> dict[str, Any]:
    client = await Client.connect(port, context)
    try:
        return await client.get()
    finally:
        await client.close()


def files(town: IdentityTown) -> TlsFiles:
    return TlsFiles(town.server_certificate, town.server_key)


def test_a_client_without_a_certificate_is_let_in_and_none_is_told(town: IdentityTown) -> None:
    async def run() -> dict[str, Any]:
        async with serving(files(town), town.device_trust) as port:
            return await ask(port, trusting(town))

    told = asyncio.run(run())
    assert told["scheme"] == "https"
    assert told["client_cert_chain"] == []
    assert told["serial"] is None
    assert told["tls_version"] == 0x0304


def test_the_application_hears_which_certificate_the_client_showed(town: IdentityTown) -> None:
    device = town.device("lm-1")

    async def run() -> dict[str, Any]:
        async with serving(files(town), town.device_trust) as port:
            return await ask(port, device.client_context(town.root))

    told = asyncio.run(run())
    assert told["serial"] == str(device.serial)
    assert told["client_cert_chain"][0].startswith("-----BEGIN CERTIFICATE-----")


def test_without_client_trust_no_certificate_is_asked_for(town: IdentityTown) -> None:
    device = town.device("lm-1")

    async def run() -> dict[str, Any]:
        async with serving(files(town)) as port:
            return await ask(port, device.client_context(town.root))

    assert asyncio.run(run())["serial"] is None


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"ends_in": timedelta(minutes=-1)}, "client_certificate_certificate_has_expired"),
        ({"starts_in": timedelta(hours=1)}, "client_certificate_certificate_is_not_yet_valid"),
        ({"usage": SERVER}, "client_certificate_unsuitable_certificate_purpose"),
        ({"foreign": True}, "client_certificate_unable_to_get_local_issuer_certificate"),
    ],
    ids=["expired", "not yet valid", "of a server", "foreign"],
)
def test_a_bad_client_certificate_fails_its_handshake_and_is_counted_and_logged(
    town: IdentityTown, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: dict[str, Any], reason: str
) -> None:
    foreign = spoil.get("foreign", False)
    device = IdentityTown(tmp_path).device("lm-1") if foreign else town.device("lm-1", **spoil)

    async def run() -> None:
        async with serving(files(town), town.device_trust) as port:
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await ask(port, device.client_context(town.root))
            await ask(port, trusting(town))  # the next one is served

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert f"tls_refused reason={reason} source=::/64" in caplog.text


def test_a_changed_certificate_is_for_new_connections_and_old_ones_go_on(tmp_path: Path) -> None:
    town = IdentityTown(tmp_path)

    async def run() -> None:
        tls = files(town)
        async with serving(tls) as port:
            old = await Client.connect(port, trusting(town))
            await old.get()
            town.server()  # writes another certificate and key to the same files
            between = await Client.connect(port, trusting(town))
            assert between.server_serial == old.server_serial
            tls.reload()
            new = await Client.connect(port, trusting(town))
            assert new.server_serial != old.server_serial
            assert (await old.get())["scheme"] == (await new.get())["scheme"] == "https"
            for client in (old, between, new):
                await client.close()

    asyncio.run(run())


def test_files_that_cannot_be_used_change_nothing(tmp_path: Path) -> None:
    town = IdentityTown(tmp_path)
    tls = files(town)
    kept = tls.context()
    town.server_certificate.write_text("nonsense")
    with pytest.raises(ServerError, match="they are not PEM, damaged, or do not belong together"):
        tls.reload()
    assert tls.context() is kept


def test_reload_reads_the_issuers_of_clients_again(tmp_path: Path) -> None:
    town = IdentityTown(tmp_path)
    other = town.issuer("Lichtmast test devices 2")
    device = town.device("lm-2", issuer=other)

    async def run() -> None:
        tls = files(town)
        async with serving(tls, town.device_trust) as port:
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await ask(port, device.client_context(town.root))
            town.trust_also(other)
            tls.reload()
            assert (await ask(port, device.client_context(town.root)))["serial"] == str(device.serial)

    asyncio.run(run())


def test_what_cannot_serve_is_refused_before_anything_listens(town: IdentityTown, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="No such file"):
        TlsFiles(tmp_path / "none.pem", town.server_key)
    with pytest.raises(ServerError, match="do not belong together"):
        TlsFiles(town.server_certificate, town.device("lm-9").key)
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    with pytest.raises(ServerError, match="issuers of client certificates"):
        files(town).context(empty)


def limited(town: IdentityTown, **changes: Any) -> ssl.SSLContext:  # noqa: ANN401 - attributes of a context
    context = trusting(town)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


WEAK = ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "DHE-RSA-AES128-GCM-SHA256", "AES128-SHA")


def test_old_versions_and_weak_suites_are_refused(town: IdentityTown) -> None:
    async def run() -> None:
        async with serving(files(town)) as port:
            for suite in WEAK:
                context = limited(town, maximum_version=ssl.TLSVersion.TLSv1_2)
                context.set_ciphers(suite)
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await ask(port, context)
            for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
                context = trusting(town)
                context.set_ciphers("ALL:@SECLEVEL=0")
                with pytest.warns(DeprecationWarning, match="deprecated"):
                    context.minimum_version = ssl.TLSVersion.TLSv1
                with pytest.warns(DeprecationWarning, match="deprecated"):
                    context.maximum_version = version
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await ask(port, context)
            told = await ask(port, limited(town, maximum_version=ssl.TLSVersion.TLSv1_2))
            assert told["tls_version"] == 0x0303
            assert told["cipher_suite"].startswith("ECDHE-ECDSA-")

    asyncio.run(run())


def test_every_suite_on_offer_is_forward_secret_and_aead(town: IdentityTown) -> None:
    for suite in files(town).context().get_ciphers():
        assert suite["aead"], suite["name"]
        assert suite["protocol"] == "TLSv1.3" or suite["name"].startswith("ECDHE-"), suite["name"]
        assert "PSK" not in suite["name"]
    offered = files(town).context().options
    assert offered & ssl.OP_NO_RENEGOTIATION
    assert offered & ssl.OP_NO_COMPRESSION


@pytest.mark.slow
def test_an_idle_client_that_does_not_answer_a_close_does_not_hold_the_server_up(town: IdentityTown) -> None:
    async def run() -> float:
        async with serving(files(town)) as port:
            context = trusting(town)

            def connect() -> ssl.SSLSocket:
                idle = context.wrap_socket(socket.create_connection(("::1", port)), server_hostname="::1")
                idle.sendall(b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n")
                assert idle.recv(12) == b"HTTP/1.1 200"
                return idle

            idle = await asyncio.to_thread(connect)
            begun_s = time.monotonic()
        idle.close()
        return time.monotonic() - begun_s

    assert asyncio.run(run()) < SHUTDOWN_S


def test_http_1_1_is_agreed_on_by_alpn(town: IdentityTown) -> None:
    async def run() -> str | None:
        async with serving(files(town)) as port:
            context = trusting(town)
            context.set_alpn_protocols(["h2", "http/1.1"])
            client = await Client.connect(port, context)
            agreed: str | None = client.writer.get_extra_info("ssl_object").selected_alpn_protocol()
            await client.close()
            return agreed

    assert asyncio.run(run()) == "http/1.1"


def test_plaintext_on_the_tls_port_gets_no_answer(town: IdentityTown) -> None:
    async def run() -> bytes:
        async with serving(files(town)) as port, asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n")
            try:
                heard = await reader.read()
            except ConnectionError:
                heard = b""
            writer.close()
            return heard

    assert not asyncio.run(run()).startswith(b"HTTP")


@contextlib.asynccontextmanager
async def door_of(
    town: IdentityTown, protocol: Callable[[], HttpProtocol], handshake_timeout_s: float = 10.0
) -> AsyncIterator[tuple[TlsDoor, int]]:
    listener = open_socket("::1", 0)
    door = TlsDoor(listener, files(town).context, protocol, handshake_timeout_s=handshake_timeout_s)
    running = asyncio.create_task(door.run())
    try:
        yield door, int(listener.getsockname()[1])
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        listener.close()


async def wait_until(condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        await asyncio.sleep(0.01)


async def silent(port: int) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("::1", port)
    return writer


def test_a_handshake_that_is_never_finished_ends(town: IdentityTown, make_protocol: Callable[[], HttpProtocol]) -> None:
    async def run() -> None:
        async with door_of(town, make_protocol, handshake_timeout_s=0.1) as (door, port):
            writer = await silent(port)
            await wait_until(lambda: door.statistics().refused == {"handshake_not_finished": 1})
            assert door.statistics().open == 0
            writer.close()

    asyncio.run(run())


@pytest.fixture
def make_protocol() -> Callable[[], HttpProtocol]:
    """Connections that nobody will speak on."""

    def build() -> HttpProtocol:
        return HttpProtocol(uvicorn.Config(mirror, log_config=None), ServerState(), {})

    return build


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("TLS_HANDSHAKES_MAX", "too_many_handshakes"),
        ("CONNECTIONS_OF_NETWORK_MAX", "too_many_connections_of_network"),
        ("CONNECTIONS_MAX", "too_many_connections"),
    ],
)
def test_one_connection_more_than_the_limit_is_closed_and_counted(
    town: IdentityTown,
    monkeypatch: pytest.MonkeyPatch,
    make_protocol: Callable[[], HttpProtocol],
    name: str,
    reason: str,
) -> None:
    monkeypatch.setattr(limits, name, 3)

    async def run() -> None:
        async with door_of(town, make_protocol) as (door, port), asyncio.timeout(10):
            held = [await silent(port) for _ in range(3)]
            await wait_until(lambda: door.statistics().open == 3)
            reader, extra = await asyncio.open_connection("::1", port)
            assert await reader.read() == b""
            assert door.statistics().refused == {reason: 1}
            held.pop().close()
            await wait_until(lambda: door.statistics().open == 2)
            held.append(await silent(port))
            await wait_until(lambda: door.statistics().open == 3)
            for writer in (*held, extra):
                writer.close()

    asyncio.run(run())


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_connections_that_shook_hands_count_while_they_stand_on_either_event_loop(
    town: IdentityTown,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_protocol: Callable[[], HttpProtocol],
    runner: Callable[[Coroutine[None, None, None]], None],
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_OF_NETWORK_MAX", 2)

    async def run() -> None:
        async with door_of(town, make_protocol) as (door, port), asyncio.timeout(10):
            held = [await Client.connect(port, trusting(town)) for _ in range(2)]
            await wait_until(lambda: door.statistics().accepted == 2)
            await asyncio.sleep(0)
            assert door.statistics().open == 2
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await Client.connect(port, trusting(town))
            assert door.statistics().refused == {"too_many_connections_of_network": 1}
            for one in held:
                await one.close()
            await wait_until(lambda: door.statistics().open == 0)

    runner(run())
    assert [one for one in caplog.records if one.levelname == "ERROR"] == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"])
def test_a_request_that_is_never_finished_ends_and_an_answer_may_take_longer(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 0.15)

    async def run() -> None:
        async with serving(None) as port, asyncio.timeout(10):
            slow_reader, slow_writer = await asyncio.open_connection("::1", port)
            slow_writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                assert not (await reader.read()).startswith(b"HTTP/1.1 200") or sent.startswith(b"POST")
            assert (await slow_reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            slow_writer.close()

    asyncio.run(run())


def test_a_network_is_a_64() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("name") == network_of(None) == "unknown"
