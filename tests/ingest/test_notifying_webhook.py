"""Webhooks to a real server: signed, to the address that was judged, and no further."""

import asyncio
import hmac
import json
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from smtp_server import certificate_for_loopback

from lichtmast.ingest.notifying import NotifyingSettings
from lichtmast.ingest.notifying.addresses import is_permitted
from lichtmast.ingest.notifying.cloud_event import cloud_event
from lichtmast.ingest.notifying.limits import EVENT_BYTES_MAX, RESPONSE_BYTES_MAX
from lichtmast.ingest.notifying.signature import headers
from lichtmast.ingest.notifying.webhook import send_webhook
from lichtmast.registry.notifying import Answer, Channel, ChannelDraft, ChannelKind, Letter, limits, secret_text
from lichtmast.registry.notifying.records import Notice

NOW_US = 1_795_345_200_000_000
SECRET = b"thirty-two bytes, for tests only"
PAGE = "https://lichtmast.example.nl/"
LOOPBACK = (IPv6Network("::1/128"),)


class Receiver(ThreadingHTTPServer):
    """Answers as it is told, and remembers what came."""

    address_family = socket.AF_INET6
    status = 204
    body = b""
    location = ""
    drips = False

    def __init__(self) -> None:
        super().__init__(("::1", 0), _Handler)
        self.came: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        if not self.server.drips:
            self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)
        while self.server.drips:
            self.wfile.write(b"x" * 65_536)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def receiver(certificate: Path | None = None) -> Iterator[Receiver]:
    server = Receiver()
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def letter(target: str, count: int = 1, text: str = "Kerkstraat 12", attempts: int = 0) -> Letter:
    notices = [Notice(one, 7, "raised", NOW_US, "gm0402", text, "critical", text, text, text) for one in range(count)]
    kept = tuple(Notice.from_facts(one.facts()) for one in notices)
    return Letter("5f" * 16, Channel(3, ChannelDraft("gm0402", "hook", ChannelKind.WEBHOOK, target), 0), kept, attempts)


def send(
    target: str,
    allowed: tuple[IPv6Network, ...] = LOOPBACK,
    certificate: Path | None = None,
    attempts: int = 0,
) -> Answer:
    settings = NotifyingSettings(PAGE, oin="00000001234567890000", allow_networks=allowed)
    tls = ssl.create_default_context(cafile=certificate)
    return asyncio.run(send_webhook(letter(target, attempts=attempts), SECRET, settings, NOW_US, tls))


def test_a_receiver_gets_a_cloud_event_that_its_library_can_check() -> None:
    with receiver() as server:
        assert send(f"http://[::1]:{server.port}/hooks/lamps?key=17").accepted
    ((path, sent, body),) = server.came
    assert path == "/hooks/lamps?key=17"
    assert sent["host"] == f"[::1]:{server.port}"
    # As a receiver of Standard Webhooks does it, from the secret as it was shown.
    signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
    key = b64decode(secret_text(SECRET).removeprefix("whsec_"))
    expected = b64encode(hmac.new(key, signed, sha256).digest()).decode()
    assert sent["webhook-signature"] == f"v1,{expected}"
    assert sent["webhook-timestamp"] == str(NOW_US // 1_000_000)
    assert sent["content-type"] == "application/cloudevents+json"
    event = json.loads(body)
    assert event["id"] == sent["webhook-id"] == "5f" * 16
    assert (event["specversion"], event["type"]) == ("1.0", "nl.lichtmast.alert.notices")
    assert event["source"] == "urn:nld:oin:00000001234567890000:systeem:lichtmast"
    assert (event["time"], event["subject"]) == ("2026-11-22T11:00:00.000Z", "gm0402")
    assert event["data"]["notices"][0]["link"] == f"{PAGE}v1/alerts/7"


def test_the_signature_is_the_one_of_the_standards_own_example() -> None:
    secret = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_000_000, body)
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["é" * 300, '"\\' * 300, "x" * 300, "\U0001f4a1" * 300])
def test_the_fullest_message_stays_below_what_a_cloud_event_may_have(text: str) -> None:
    full = letter("https://example.nl/", limits.NOTICES_PER_MESSAGE_MAX, text)
    assert len(cloud_event(full, NotifyingSettings(PAGE))) <= EVENT_BYTES_MAX


@pytest.mark.slow
def test_https_is_checked_against_the_name_though_the_connection_goes_to_the_address(tmp_path: Path) -> None:
    certificate = certificate_for_loopback(tmp_path)
    with receiver(certificate) as server:
        stranger = send(f"https://[::1]:{server.port}/")
        assert "certificate verify failed" in stranger.words
        assert send(f"https://[::1]:{server.port}/", certificate=certificate).accepted
        # Another name for the same address: reached, and not believed.
        wrong = send(f"https://ip6-localhost.invalid:{server.port}/", certificate=certificate)
        assert not wrong.accepted
    assert len(server.came) == 1


def test_a_name_that_is_resolved_to_this_machine_is_refused_and_nobody_is_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resolved(host: str | bytes | None, port: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - as the library's
        assert host == "hooks.example.nl"
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))]

    with receiver() as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        told = send(f"https://hooks.example.nl:{server.port}/", ())
    assert (told.accepted, server.came) == (False, [])
    assert "hooks.example.nl" in told.words
    assert "::1, which is not on the public internet" in told.words


def test_a_name_that_changes_its_meaning_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    really = socket.getaddrinfo

    def resolved(host: Any, port: Any, *more: Any, **fields: Any) -> Any:  # noqa: ANN401 - as the library's
        asked.append(host)
        return really("::1" if host == "hooks.example.nl" else host, port, *more, **fields)

    certificate = certificate_for_loopback(tmp_path)
    with receiver(certificate) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        told = send(f"https://hooks.example.nl:{server.port}/", certificate=certificate)
    assert asked.count("hooks.example.nl") == 1
    # It is checked against the name, and this certificate is of the address.
    assert "hooks.example.nl" in told.words
    assert "certificate" in told.words


@pytest.mark.parametrize(
    "address",
    [
        "::1",
        "::",
        "fe80::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:a00:1::1",
        "fec0::1",
        "64:ff9b:1::a00:1",
        "::7f00:1",
        "::ffff:0:7f00:1",
    ],
)
def test_what_is_not_on_the_public_internet_is_not_reached(address: str) -> None:
    assert not is_permitted(IPv6Address(address), ())
    assert is_permitted(IPv6Address(address), [IPv6Network(f"{address}/128")])


@pytest.mark.parametrize("address", ["2a00:1450:400e:80f::200e", "64:ff9b::808:808"])
def test_what_is_on_the_public_internet_is_reached(address: str) -> None:
    assert is_permitted(IPv6Address(address), ())


def test_a_redirect_is_not_followed() -> None:
    with receiver() as other, receiver() as server:
        server.status, server.location = 307, f"http://[::1]:{other.port}/"
        told = send(f"http://[::1]:{server.port}/")
    assert (told.accepted, told.final, other.came) == (False, False, [])
    assert "redirects are not followed" in told.words


def test_an_endless_answer_is_read_to_a_bound() -> None:
    with receiver() as server:
        server.status, server.drips, server.body = 500, True, b"no\r\n\x1b[31mred" + b"y" * RESPONSE_BYTES_MAX
        told = send(f"http://[::1]:{server.port}/")
        server.drips = False
    assert not told.accepted
    assert "500" in told.words
    assert told.words.isprintable()


@pytest.mark.parametrize(("status", "final"), [(500, False), (404, False), (401, False), (429, False), (410, True)])
def test_a_no_is_told_with_its_status(status: int, final: bool) -> None:  # noqa: FBT001 - a table
    with receiver() as server:
        server.status, server.body = status, b"not today"
        told = send(f"http://[::1]:{server.port}/")
    assert (told.accepted, told.final) == (False, final)
    assert f"{status}" in told.words
    assert "not today" in told.words


@pytest.mark.parametrize(("status", "finals"), [(400, [2]), (415, [2]), (422, [2]), (404, []), (410, [0, 1, 2])])
def test_a_message_that_a_receiver_does_not_understand_is_final_at_the_third_try(
    status: int, finals: list[int]
) -> None:
    with receiver() as server:
        server.status = status
        told = [send(f"http://[::1]:{server.port}/", attempts=attempts) for attempts in range(3)]
    assert [at for at, one in enumerate(told) if one.final] == finals
