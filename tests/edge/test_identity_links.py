"""Secured links against real servers: NATS over TLS 1.3, our CoAP door and OpenSSL's own server over DTLS 1.2."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from free_ports import free_port
from identity_town import CLIENT, SERVER, Credentials, IdentityTown, self_signed
from secured_links import HeldIdentity, refusal_of, server_context, tls_broker
from uplink_town import DEVICE, Server, draft, eventually, open_outbox, stamp_now

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.identity import CertificateError, Refusal
from lichtmast.edge.outbox.values import Packed
from lichtmast.edge.uplink import Delivery, Failover, UplinkError
from lichtmast.edge.uplink.coap import CoapLink
from lichtmast.edge.uplink.link import Session, Stored
from lichtmast.edge.uplink.mqtt import MqttLink
from lichtmast.ingest.coap import CoapDoor, CoapSettings
from lichtmast.ingest.coap.dtls import Dtls
from lichtmast.ingest.coap.testing import MemoryLog, inspect

pytestmark = pytest.mark.slow

P = ParamSpec("P")


def in_a_loop(story: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop of its own."""

    @wraps(story)
    def run(*words: P.args, **named: P.kwargs) -> None:
        asyncio.run(story(*words, **named))

    return run


Opening = Callable[[HeldIdentity], AbstractAsyncContextManager[Session]]


@pytest.fixture
def town(tmp_path: Path) -> IdentityTown:
    return IdentityTown(tmp_path / "town")


def held(town: IdentityTown, of: Credentials | None = None, **clock: Any) -> HeldIdentity:  # noqa: ANN401 - passed on
    return HeldIdentity(town.root, of or town.device(DEVICE), **clock)


@asynccontextmanager
async def over_mqtt(folder: Path, town: IdentityTown, *server: Path) -> AsyncIterator[Opening]:
    """How to open a link to a broker."""
    folder.mkdir()  # noqa: ASYNC240 - a test
    async with tls_broker(folder, town, *server).running() as broker:
        yield lambda identity: MqttLink(DEVICE, "::1", broker.port, identity).open()


@asynccontextmanager
async def over_coaps(_: Path, town: IdentityTown, *server: Path) -> AsyncIterator[Opening]:
    """How to open a link to OpenSSL's server, which knows nothing of CoAP, nor of us."""
    port = free_port(socket.SOCK_DGRAM)
    both = town.folder / "both.pem"
    both.write_bytes(town.root_issuer.pem + town.devices.pem)
    chain, key = server or (town.server_certificate, town.server_key)
    words = f"s_server -dtls1_2 -6 -accept {port} -cert {chain} -cert_chain {chain} -key {key} -CAfile {both} -Verify 3"
    process = await asyncio.create_subprocess_exec(
        "openssl",
        *words.split(),
        "-verify_return_error",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await asyncio.wait_for(process.stdout.readuntil(b"ACCEPT"), 20)
        yield lambda identity: CoapLink("::1", port, identity).open()
    finally:
        process.kill()
        await process.wait()


LINKS = {"mqtt": over_mqtt, "coaps": over_coaps}
BAD_SERVERS: dict[str, tuple[Callable[[IdentityTown], dict[str, Any]], Refusal]] = {
    "another authority": (
        lambda town: {"issuer": town.issuer("theirs", under=self_signed("Lichtmast test root"))},
        Refusal.SERVER_UNTRUSTED,
    ),
    "self-signed": (lambda _: {"issuer": self_signed("server")}, Refusal.SERVER_UNTRUSTED),
    "another name": (lambda _: {"hosts": ["mqtt.example.nl"]}, Refusal.SERVER_NAME),
    "another IPv6 address": (lambda _: {"hosts": ["::2"]}, Refusal.SERVER_NAME),
    "expired": (lambda _: {"starts_in": timedelta(days=-9), "ends_in": timedelta(days=-1)}, Refusal.SERVER_EXPIRED),
    "not yet valid": (
        lambda _: {"starts_in": timedelta(days=1), "ends_in": timedelta(days=9)},
        Refusal.SERVER_NOT_YET_VALID,
    ),
    "for clients": (lambda _: {"usage": CLIENT}, Refusal.SERVER_PURPOSE),
}


@pytest.mark.parametrize("bad", BAD_SERVERS)
@pytest.mark.parametrize("link", LINKS)
@in_a_loop
async def test_a_bad_server_certificate_is_refused(tmp_path: Path, town: IdentityTown, link: str, bad: str) -> None:
    spoil, refusal = BAD_SERVERS[bad]
    async with LINKS[link](tmp_path / "server", town, *town.server("bad", **spoil(town))) as opening:
        assert await refusal_of(opening(held(town))) is refusal


def expired(town: IdentityTown) -> Credentials:
    return town.device(DEVICE, starts_in=timedelta(days=-90), ends_in=timedelta(days=-1))


def foreign(town: IdentityTown) -> Credentials:
    return town.device(DEVICE, issuer=town.issuer("Lichtmast test devices", under=self_signed("Lichtmast test root")))


@pytest.mark.parametrize("link", LINKS)
@in_a_loop
async def test_what_the_server_says_of_our_certificate_is_told(tmp_path: Path, town: IdentityTown, link: str) -> None:
    async with LINKS[link](tmp_path / "server", town) as opening:
        assert await refusal_of(opening(held(town))) is None
        assert await refusal_of(opening(held(town, expired(town)))) is Refusal.CERTIFICATE_EXPIRED
        assert await refusal_of(opening(held(town, foreign(town)))) is Refusal.CERTIFICATE_UNTRUSTED
        assert await refusal_of(opening(held(town, town.device(DEVICE, usage=SERVER)))) is Refusal.CERTIFICATE_UNTRUSTED
        assert await refusal_of(opening(held(town))) is None


@pytest.mark.parametrize("link", LINKS)
@in_a_loop
async def test_a_clock_that_nobody_trusts_keeps_nobody_out(tmp_path: Path, town: IdentityTown, link: str) -> None:
    """The system's clock says what it likes: what counts is the agent's time, and while that is a floor, less of it."""
    async with LINKS[link](tmp_path / "server", town) as opening:
        assert await refusal_of(opening(held(town, wall_us=0, is_trusted=False))) is None
        assert await refusal_of(opening(held(town, wall_us=0))) is Refusal.SERVER_NOT_YET_VALID
        late_us = SystemClock().wall_us() + 200 * 86_400 * 1_000_000
        assert await refusal_of(opening(held(town, wall_us=late_us, is_trusted=False))) is Refusal.SERVER_EXPIRED


@in_a_loop
async def test_a_broker_that_speaks_no_tls_13_is_refused(town: IdentityTown) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(town.server_certificate, town.server_key)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "::1", 0, ssl=context)
    async with server:
        link = MqttLink(DEVICE, "::1", server.sockets[0].getsockname()[1], held(town))
        assert await refusal_of(link.open()) is Refusal.HANDSHAKE


@in_a_loop
async def test_a_broker_that_speaks_plaintext_gets_nothing(town: IdentityTown) -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4096))
        writer.write(b"\x20\x02\x00\x00" * 2)  # CONNACK, and as many bytes as a TLS record's header has
        await writer.drain()
        heard.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(serve, "::1", 0)
    async with server:
        with pytest.raises(UplinkError):
            async with MqttLink(DEVICE, "::1", server.sockets[0].getsockname()[1], held(town)).open():
                pass
    assert heard.startswith(b"\x16\x03")  # a TLS record, and no word of MQTT
    assert b"MQTT" not in heard


@in_a_loop
async def test_without_a_certificate_a_link_says_why_and_dials_nobody(town: IdentityTown) -> None:
    class Waiting(HeldIdentity):
        def credentials(self) -> Any:  # noqa: ANN401 - it raises
            raise CertificateError("this device has no certificate yet: no engineer has claimed it")

    identity = Waiting(town.root, town.device(DEVICE))
    for link in (MqttLink(DEVICE, "::1", 1, identity), CoapLink("::1", 1, identity)):
        with pytest.raises(UplinkError, match="no engineer has claimed it"):
            async with link.open():
                pass


@in_a_loop
async def test_a_key_that_others_can_read_opens_no_link(town: IdentityTown) -> None:
    mine = town.device(DEVICE)
    mine.key.chmod(0o644)
    with pytest.raises(UplinkError, match="can be read by others"):
        async with MqttLink(DEVICE, "::1", 1, held(town, mine)).open():
            pass


# CoAP over DTLS with our own door.


def door_at(port: int, town: IdentityTown, log: MemoryLog, asleep: bool = False) -> CoapDoor:  # noqa: FBT001, FBT002 - a test
    admission = town.admission(asleep=[DEVICE] if asleep else [])
    dtls = Dtls(town.server_certificate, town.server_key, town.device_trust, lambda: admission)
    return CoapDoor(CoapSettings(port=port), inspect, log.publish, dtls=dtls)


def pack(size: int) -> Packed:
    return Packed(1, b"x" * size, 110, 0.0)


@in_a_loop
async def test_packs_of_any_size_go_over_dtls_and_a_door_that_was_restarted_is_found_again(town: IdentityTown) -> None:
    mine, log = town.device(DEVICE), MemoryLog()
    async with door_at(0, town, log) as door:
        port = door.port
        link = CoapLink("::1", port, held(town, mine))
        async with link.open() as session:
            for size in (1, 1_024, 8_000):
                assert await session.deliver(pack(size)) == Stored()
        standing = link.open()
        session = await standing.__aenter__()
        assert await session.deliver(pack(300)) == Stored()
    async with door_at(port, town, log):
        with pytest.raises(UplinkError, match="ended the DTLS session"):
            await session.deliver(pack(300))
        await standing.__aexit__(None, None, None)
        async with link.open() as session:
            assert await session.deliver(pack(300)) == Stored()
    assert [len(one) for one in log.payloads] == [1, 1_024, 8_000, 300, 300]


@in_a_loop
async def test_a_server_that_is_silent_in_a_standing_session_is_noticed(
    tmp_path: Path, town: IdentityTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed says no goodbye, and its successor knows no such session: the link is made anew."""
    monkeypatch.setattr("lichtmast.edge.uplink.limits.COAP_ANSWER_S", 1.0)
    async with over_coaps(tmp_path, town) as opening, opening(held(town)) as session:
        with pytest.raises(UplinkError, match="does not answer"):
            await session.deliver(pack(300))


@in_a_loop
async def test_a_suspended_device_hears_that_it_is_not_admitted(town: IdentityTown) -> None:
    mine = town.device(DEVICE)
    async with door_at(0, town, MemoryLog(), asleep=True) as door:
        assert await refusal_of(CoapLink("::1", door.port, held(town, mine)).open()) is Refusal.NOT_ADMITTED


# Renewal under load.


@in_a_loop
async def test_a_certificate_renewed_under_load_costs_no_pack_and_no_repetition(
    tmp_path: Path, town: IdentityTown
) -> None:
    first, second = town.device(DEVICE), town.device(DEVICE)
    identity = held(town, first)
    context = server_context(town, town.device("server-side"))
    judged: list[Refusal | None] = []
    async with tls_broker(tmp_path, town).running() as broker, open_outbox(tmp_path) as outbox:
        server = Server(broker.port, context)
        delivery = Delivery(
            outbox,
            [MqttLink(DEVICE, "::1", broker.port, identity)],
            Failover(["mqtt"], patience_s=60, return_s=60, seed=1),
            clock=SystemClock(),
            seed=1,
            spread_s=1,
            on_cfg=lambda _: None,
            on_cmd=lambda _: None,
            on_ack_refused=pytest.fail,
            on_judged=judged.append,
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one, name="t") for one in (server.run(), delivery.run())]
            await eventually(lambda: server.client and delivery.statistics().connected, what="both are connected")
            for number in range(1, 201):
                delivery.added_nowait(await outbox.put([draft()], stamp_now()))
                if number % 50 == 0:
                    identity.of = second if identity.of is first else first
                    delivery.reconnect_nowait()
            await eventually(lambda: server.stored == set(range(1, 201)), what="all are stored")
            await eventually(lambda: delivery.statistics().connects >= 4, what="it connected anew")
            for task in tasks:
                task.cancel()
    told = delivery.statistics()
    assert sorted(server.heard) == list(range(1, 201))  # each once
    assert told.interruptions == 0
    assert set(judged) == {None}


@in_a_loop
async def test_a_link_without_a_certificate_opens_in_the_moment_that_there_is_one(
    tmp_path: Path, town: IdentityTown
) -> None:
    async with tls_broker(tmp_path, town).running() as broker, open_outbox(tmp_path) as outbox:
        identity = held(town)
        known = partial(HeldIdentity.credentials, identity)
        is_there = False

        def credentials() -> Any:  # noqa: ANN401 - as the identity's
            if not is_there:
                raise CertificateError("not yet")
            return known()

        identity.credentials = credentials  # type: ignore[method-assign]
        delivery = Delivery(
            outbox,
            [MqttLink(DEVICE, "::1", broker.port, identity)],
            Failover(["mqtt"], patience_s=60, return_s=60, seed=1),
            clock=SystemClock(),
            seed=1,
            spread_s=1,
            on_cfg=lambda _: None,
            on_cmd=lambda _: None,
            on_ack_refused=pytest.fail,
        )
        running = asyncio.create_task(delivery.run(), name="delivery")
        await eventually(lambda: delivery.statistics().interruptions >= 3, what="it tried in vain")
        assert delivery.statistics().last_trouble == "not yet"
        is_there = True
        before_s = asyncio.get_running_loop().time()
        delivery.reconnect_nowait()
        await eventually(lambda: delivery.statistics().connected, what="it is connected")
        assert asyncio.get_running_loop().time() - before_s < 3.5, "the third pause is 4 s at least"
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
