"""Who gets in over MQTT, and what it may do there: a real broker, the real callout, real TLS, on ::1."""

import asyncio
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from identity_town import SERVER, Credentials, IdentityTown, self_signed
from mqtt_bytes import connect, publish, subscribe, text

from lichtmast.ingest.broker import Broker, BrokerSettings, BrokerTls
from lichtmast.ingest.callout import Callout, RefusedConnection, limits
from lichtmast.ingest.callout.line import open_line
from lichtmast.ingest.errors import BrokerError
from lichtmast.ingest.log import Log
from lichtmast.wire import DeviceId, topics

pytestmark = pytest.mark.slow

CONNACK_ACCEPTED = b"\x20\x02\x00\x00"
CONNACK_NOT_AUTHORISED = b"\x20\x02\x00\x05"
SUBACK_REFUSED = 0x80
WITHIN_S = 20.0


class Door:
    """A broker with TLS, its callout, and an admission that the test holds."""

    def __init__(self, town: IdentityTown, broker: Broker) -> None:
        self.town = town
        self.broker = broker
        self.refused: list[RefusedConnection] = []
        self._sessions: list[RawSession] = []
        self.admission = town.admission()
        self.callout = Callout(broker, lambda: self.admission, on_refused=self.refused.append)

    def renew(self, *, revoked: Iterable[Credentials] = (), asleep: Iterable[DeviceId] = ()) -> None:
        self.admission = self.town.admission(revoked=revoked, asleep=asleep)
        self.callout.renew(self.admission)

    async def wait_swept(self) -> None:
        await wait_until(lambda: self.callout.statistics().swept_revision == self.admission.revision, "the sweep")

    async def wait_refused(self, reason: str, count: int = 1) -> RefusedConnection:
        await wait_until(lambda: self.callout.statistics().refused.get(reason, 0) >= count, f"refused as {reason}")
        return next(one for one in reversed(self.refused) if one.reason == reason)

    async def session(
        self, one: Credentials, hello: bytes | None = None, context: ssl.SSLContext | None = None
    ) -> "RawSession":
        """A TLS connection that has said CONNECT; as the device itself where `hello` says nothing else."""
        reader, writer = await asyncio.open_connection(
            "::1", self.broker.mqtt_port, ssl=context or one.client_context(self.town.root), server_hostname="::1"
        )
        writer.write(hello or connect(one.device.urn))
        self._sessions.append(RawSession(reader, writer))
        return self._sessions[-1]

    def hang_up(self) -> None:
        for session in self._sessions:
            session.writer.transport.abort()

    @asynccontextmanager
    async def ours(self) -> AsyncIterator[aiomqtt.Client]:
        """The broker's own user, who hears everything."""
        broker = self.broker
        async with aiomqtt.Client(
            "::1",
            broker.mqtt_port,
            username=broker.user,
            password=broker.password,
            tls_context=broker.mqtt_tls(),
        ) as client:
            yield client


class RawSession:
    """Bytes to and from the broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            return await self._reader.readexactly(count)

    async def wait_closed(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            with suppress(OSError):
                await self._reader.read()

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """QoS 1, and wait for the PUBACK: the broker has decided by then."""
        self.writer.write(publish(topic, payload, retain=retain))
        assert (await self.read(4))[0] == 0x40

    async def subscribe(self, topic: str) -> int:
        """What the SUBACK says."""
        self.writer.write(subscribe(topic, 1))
        return (await self.read(5))[4]


async def wait_until(condition: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {within_s} s: {what}")


@asynccontextmanager
async def open_door(folder: Path, *, callout: bool = True) -> AsyncIterator[Door]:
    town = IdentityTown(folder / "pki")
    tls = BrokerTls(town.server_certificate, town.server_key, town.device_trust)
    async with Broker(BrokerSettings(folder / "broker", mqtt_port=0, tls=tls)) as broker:
        door = Door(town, broker)
        tasks = [asyncio.create_task(broker.supervise())]
        if callout:
            tasks.append(asyncio.create_task(door.callout.run()))
            await door.wait_swept()
        try:
            yield door
        finally:
            door.hang_up()
            await broker.stop()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def scene(folder: Path, play: Callable[[Door], Awaitable[None]]) -> None:
    async def played() -> None:
        async with open_door(folder) as door:
            await play(door)

    asyncio.run(played())


def test_a_device_publishes_on_its_own_topics_and_hears_its_own(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one = door.town.device("lm-0")
        door.renew()
        async with (
            door.ours() as ours,
            aiomqtt.Client(
                "::1",
                door.broker.mqtt_port,
                identifier=one.device.urn,
                tls_context=one.client_context(door.town.root),
            ) as device,
        ):
            await ours.subscribe("lm/#", 1)
            for name in ("ack", "cfg", "cmd"):
                await device.subscribe(f"lm/gm0402/lm-0/{name}", 1)
                await ours.publish(f"lm/gm0402/lm-0/{name}", b"to you", qos=1)
            for name in ("up", "ev", "state"):
                await device.publish(f"lm/gm0402/lm-0/{name}", b"from me", qos=1)
            async with asyncio.timeout(WITHIN_S):
                heard = {str((await anext(device.messages)).topic) for _ in range(3)}
                told = {str((await anext(ours.messages)).topic) for _ in range(6)}
        assert heard == {f"lm/gm0402/lm-0/{name}" for name in ("ack", "cfg", "cmd")}
        assert told == heard | {f"lm/gm0402/lm-0/{name}" for name in ("up", "ev", "state")}

    scene(tmp_path, play)


FORBIDDEN_TO_PUBLISH = (
    *(f"lm/gm0402/lm-1/{name}" for name in ("up", "ev", "state", "ack", "cfg", "cmd")),
    *(f"lm/gm0402/lm-0/{name}" for name in ("ack", "cfg", "cmd", "other", "up/more")),
    *("lm/gm0363/lm-0/up", "lm/door/coap/up", "lm-observations", "up", "$SYS/REQ/SERVER/PING", "$JS/API/INFO"),
    *("$MQTT/rmsgs/lm/gm0402/lm-1/cfg", "$MQTT/sub/x", "$SYS/REQ/USER/AUTH", "_INBOX/x"),
)
FORBIDDEN_TO_SUBSCRIBE = (
    *("#", "+", "+/#", "lm/#", "lm/+/lm-0/ack", "lm/gm0402/lm-0/#", "lm/gm0402/lm-0/+", "lm/gm0402/+/ack"),
    *("lm/gm0402/lm-1/ack", "lm/gm0402/lm-1/cmd", "lm/gm0402/lm-1/up", "lm/gm0402/lm-0/up", "lm/gm0363/lm-0/ack"),
    *("$SYS/#", "$SYS/ACCOUNT/+/CONNECT", "$JS/#", "$CONTROL/#", "_INBOX/#", ">", "*", "lm.gm0402.lm-1.ack"),
    *("$share/all/lm/gm0402/lm-1/ack", "$MQTT/#", "$MQTT/sub/#", "$MQTT/deliver/pubrel/#", "$MQTT/rmsgs/#"),
)


def test_nobody_gets_a_word_on_the_topics_of_others(tmp_path: Path) -> None:
    """Also retained, also as a last will. A denied publish is answered with PUBACK and goes nowhere (3.1.1)."""

    async def play(door: Door) -> None:
        one, other = door.town.device("lm-0"), door.town.device("lm-1")
        door.renew()
        will = connect(one.device.urn, will=("lm/gm0402/lm-1/up", b"a will of another's"))
        async with door.ours() as ours:
            for everything in ("#", "$SYS/#", "$MQTT/rmsgs/#"):
                await ours.subscribe(everything)
            session = await door.session(one, will)
            assert await session.read(4) == CONNACK_ACCEPTED
            for topic in FORBIDDEN_TO_PUBLISH:
                await session.publish(topic, b"forbidden")
                await session.publish(topic, b"forbidden", retain=True)
            refused = await door.wait_refused("topic_not_allowed", 2 * len(FORBIDDEN_TO_PUBLISH))
            assert (refused.device, refused.source) == (one.device, "::1")
            session.writer.transport.abort()  # the will's moment
            again = await door.session(one)
            assert await again.read(4) == CONNACK_ACCEPTED
            await again.publish("lm/gm0402/lm-0/up", b"the last")
            heard: list[tuple[str, bytes]] = []
            async with asyncio.timeout(WITHIN_S):
                while not heard or heard[-1][1] != b"the last":
                    message = await anext(ours.messages)
                    heard.append((str(message.topic), bytes(message.payload)))
            assert [one for one in heard if one[1] != b"the last"] == []
        neighbour = await door.session(other)
        assert await neighbour.read(4) == CONNACK_ACCEPTED
        assert await neighbour.subscribe("lm/gm0402/lm-1/cfg") == 1
        await neighbour.publish("lm/gm0402/lm-1/up", b"a retained message would have come before this PUBACK")

    scene(tmp_path, play)


def test_nobody_hears_the_topics_of_others(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one = door.town.device("lm-0")
        door.renew()
        session = await door.session(one)
        assert await session.read(4) == CONNACK_ACCEPTED
        answers = {topic: await session.subscribe(topic) for topic in FORBIDDEN_TO_SUBSCRIBE}
        assert {topic for topic, answer in answers.items() if answer != SUBACK_REFUSED} == set()
        await door.wait_refused("topic_not_allowed", len(FORBIDDEN_TO_SUBSCRIBE) - 4)  # some, the server takes amiss

    scene(tmp_path, play)


def with_password(client: str, user: str, password: str) -> bytes:
    body = text("MQTT") + bytes([4, 0xC2]) + b"\x00\x3c" + text(client) + text(user) + text(password)
    return bytes([0x10, len(body)]) + body


def test_certificate_and_client_id_must_be_the_same_device(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        town, broker = door.town, door.broker
        one, other = town.device("lm-0"), town.device("lm-1")
        stranger, sleeper = town.device("lm-2", issued=False), town.device("lm-3")
        revoked, forged = town.device("lm-4"), town.device("lm-0", issued=False)
        door.renew(revoked=[revoked], asleep=[sleeper.device])
        odd = {
            "authority": town.device("lm-5", authority=True),
            "two names": town.device("lm-6", uris=[DeviceId("gm0402", "lm-6").urn, one.device.urn]),
            "other common name": town.device("lm-7", common_name="lm-0"),
            "wildcard": town.device("lm-8", common_name="lm-*", uris=["urn:dev:lm:gm0402:*"]),
            "rsa": town.device("lm-9", key=rsa.generate_private_key(65537, 2048)),
        }
        urn = one.device.urn
        cases: list[tuple[Credentials, bytes, str]] = [
            (one, connect(other.device.urn), "client_id_mismatch"),
            (one, connect(""), "client_id_mismatch"),
            (one, connect(urn.upper()), "client_id_mismatch"),
            (one, with_password(urn, "admin", "admin"), "credentials_given"),
            (one, with_password(urn, broker.user, "guess"), "wrong_password"),
            (one, with_password(urn, "callout", ""), "wrong_password"),
            (stranger, connect(stranger.device.urn), "unknown_device"),
            (forged, connect(urn), "unknown_serial"),
            (sleeper, connect(sleeper.device.urn), "not_active"),
            (revoked, connect(revoked.device.urn), "revoked"),
            *((bad, connect(bad.device.urn), "not_a_device_certificate") for bad in odd.values()),
        ]
        counts: dict[str, int] = {}
        for who, hello, reason in cases:
            session = await door.session(who, hello)
            assert await session.read(4) == CONNACK_NOT_AUTHORISED, reason
            await session.wait_closed()
            counts[reason] = counts.get(reason, 0) + 1
            await door.wait_refused(reason, counts[reason])
        assert door.callout.statistics().refused == counts
        assert door.callout.statistics().admitted == 0

    scene(tmp_path, play)


def test_a_handshake_that_proves_no_device_of_ours_ends_and_is_counted(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        town = door.town
        one = town.device("lm-0")
        door.renew()
        anonymous = ssl.create_default_context(cafile=str(town.root))
        old = one.client_context(town.root)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        impostor = self_signed("Lichtmast test devices")

        def shown(**flaw: object) -> ssl.SSLContext:
            return town.device("lm-0", **flaw).client_context(town.root)  # type: ignore[arg-type] # one flaw each

        cases = [
            (anonymous, "no_certificate"),
            (old, "tls_version"),
            (shown(issuer=self_signed("Another city")), "foreign_issuer"),
            (shown(issuer=impostor), "foreign_issuer"),
            (shown(issuer=town.servers), "foreign_issuer"),
            (shown(issuer=town.root_issuer), "foreign_issuer"),
            (shown(starts_in=timedelta(days=-9), ends_in=timedelta(minutes=-1)), "expired"),
            (shown(starts_in=timedelta(days=1)), "not_yet_valid"),
            (shown(usage=SERVER), "not_a_device_certificate"),
        ]
        counts: dict[str, int] = {}
        for context, reason in cases:
            with pytest.raises(OSError):  # noqa: PT011 - at the handshake or, in TLS 1.3, at the first read
                await (await door.session(one, context=context)).read(4)
            counts[reason] = counts.get(reason, 0) + 1
            await door.wait_refused(reason, counts[reason])
        assert door.callout.statistics().refused == counts

    scene(tmp_path, play)


def test_plain_mqtt_gets_no_answer(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        reader, writer = await asyncio.open_connection("::1", door.broker.mqtt_port)
        writer.write(connect("urn:dev:lm:gm0402:lm-0"))
        async with asyncio.timeout(WITHIN_S):
            with suppress(OSError):
                assert await reader.read() == b""
        writer.close()

    scene(tmp_path, play)


def test_openssl_agrees_that_only_tls_1_3_with_a_certificate_gets_through(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one, town = door.town.device("lm-0"), door.town
        door.renew()

        async def said(*arguments: str) -> str:
            where = ("openssl", "s_client", "-connect", f"[::1]:{door.broker.mqtt_port}", "-CAfile", str(town.root))
            done = await asyncio.to_thread(
                subprocess.run,
                [*where, "-verify_return_error", *arguments],
                input=connect(one.device.urn),
                capture_output=True,
                timeout=WITHIN_S,
                check=False,
            )
            return (done.stdout + done.stderr).decode("latin-1")

        mine = ("-cert", str(one.certificate), "-key", str(one.key))
        assert "TLSv1.3, Cipher is TLS_" in await said(*mine)
        assert "alert protocol version" in await said(*mine, "-tls1_2")
        assert "alert protocol version" in await said(*mine, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        assert "alert certificate required" in await said("-ign_eof")

    scene(tmp_path, play)


def test_a_revoked_device_is_gone_and_stays_out_and_its_neighbour_notices_nothing(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one, other = door.town.device("lm-0"), door.town.device("lm-1")
        door.renew()
        revoked, neighbour = await door.session(one), await door.session(other)
        assert [await revoked.read(4), await neighbour.read(4)] == [CONNACK_ACCEPTED] * 2
        began_s = time.monotonic()
        door.renew(revoked=[one])
        await revoked.wait_closed()
        await door.wait_swept()
        assert time.monotonic() - began_s < 5
        refused = await door.session(one)
        assert await refused.read(4) == CONNACK_NOT_AUTHORISED
        assert (await door.wait_refused("revoked")).device == one.device
        await neighbour.publish("lm/gm0402/lm-1/up", b"still here")
        assert door.callout.statistics().dropped == 1
        door.renew()
        assert await (await door.session(one)).read(4) == CONNACK_ACCEPTED

    scene(tmp_path, play)


def test_a_device_that_floods_is_kept_out_for_a_while_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECONCILE_S", 0.5)
    monkeypatch.setattr(limits, "HELD_S", 4.0)

    async def play(door: Door) -> None:
        one, other = door.town.device("lm-0"), door.town.device("lm-1")
        door.renew()
        async with Log(door.broker.client_url, door.broker.user, door.broker.password) as log:
            flood, neighbour = await door.session(one), await door.session(other)
            assert [await flood.read(4), await neighbour.read(4)] == [CONNACK_ACCEPTED] * 2
            acknowledged = 0
            with suppress(OSError, asyncio.IncompleteReadError):
                while acknowledged < 100_000:
                    flood.writer.write(publish("lm/gm0402/lm-0/up", b"x" * 50) * 100)
                    await flood.writer.drain()
                    await flood.read(400)
                    acknowledged += 100
            assert limits.DEVICE_BURST_MESSAGES < acknowledged < 100_000
            assert (await door.wait_refused("rate_limited")).device == one.device
            assert await (await door.session(one)).read(4) == CONNACK_NOT_AUTHORISED
            for _ in range(100):
                await neighbour.publish("lm/gm0402/lm-1/up", b"still here")
            assert (await log.extent(topics.READINGS_STREAM)).last >= acknowledged + 100
        async with asyncio.timeout(WITHIN_S):
            while await (await door.session(one)).read(4) != CONNACK_ACCEPTED:
                await asyncio.sleep(0.2)

    scene(tmp_path, play)


def test_a_session_on_an_old_certificate_goes_when_that_one_is_revoked_and_the_new_one_stays(tmp_path: Path) -> None:
    """Renewal overlaps: a device may have two certificates, and each stands for itself."""

    async def play(door: Door) -> None:
        old, new = door.town.device("lm-0"), door.town.device("lm-0")
        door.renew()
        session = await door.session(old)
        assert await session.read(4) == CONNACK_ACCEPTED
        door.renew(revoked=[new])
        await door.wait_swept()
        await session.publish("lm/gm0402/lm-0/up", b"not meant")
        door.renew(revoked=[old])
        await session.wait_closed()
        assert await (await door.session(new)).read(4) == CONNACK_ACCEPTED

    scene(tmp_path, play)


def test_a_device_that_connects_twice_takes_over_its_own_session(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one = door.town.device("lm-0")
        door.renew()
        first = await door.session(one)
        assert await first.read(4) == CONNACK_ACCEPTED
        second = await door.session(one)
        assert await second.read(4) == CONNACK_ACCEPTED
        await first.wait_closed()
        await second.publish("lm/gm0402/lm-0/up", b"me")

    scene(tmp_path, play)


def test_a_session_ends_with_its_certificate(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one = door.town.device("lm-0", ends_in=timedelta(seconds=4))
        door.renew()
        session = await door.session(one)
        assert await session.read(4) == CONNACK_ACCEPTED
        await session.wait_closed()
        assert -1 < time.time() - one.not_after_us / 1e6 < 5

    scene(tmp_path, play)


def test_nobody_is_let_in_while_nobody_answers_for_the_register(tmp_path: Path) -> None:
    """I11: fail closed. Our own user, whom the server knows itself, gets in all the same."""

    async def play() -> None:
        async with open_door(tmp_path, callout=False) as door:
            one = door.town.device("lm-0")
            async with door.ours() as ours:
                await ours.publish("lm/gm0402/lm-0/ack", b"x", qos=1)
            session = await door.session(one)
            async with asyncio.timeout(15):
                assert await session.read(4) == CONNACK_NOT_AUTHORISED

    asyncio.run(play())


def test_who_says_nothing_or_says_it_too_slowly_is_out_within_15_s(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one = door.town.device("lm-0")
        door.renew()
        reader, writer = await asyncio.open_connection(
            "::1", door.broker.mqtt_port, ssl=one.client_context(door.town.root), server_hostname="::1"
        )
        began_s = time.monotonic()
        for byte in connect(one.device.urn)[:3]:
            writer.write(bytes([byte]))
            await asyncio.sleep(2)  # the attack is its slowness
        async with asyncio.timeout(20):
            with suppress(OSError):
                await reader.read()
        assert time.monotonic() - began_s < 15
        writer.close()

    scene(tmp_path, play)


def test_a_refusal_holds_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one, other = door.town.device("lm-0"), door.town.device("lm-1")
        door.renew(revoked=[one])
        broker, before = door.broker, door.broker.pid
        os.kill(before, signal.SIGKILL)
        await wait_until(lambda: broker.pid != before and broker.ready.is_set(), "the restart")

        async def answered(who: Credentials) -> bytes:
            try:
                return await (await door.session(who)).read(4)
            except (OSError, asyncio.IncompleteReadError):
                return b""

        async with asyncio.timeout(WITHIN_S):
            while await answered(other) != CONNACK_ACCEPTED:
                await asyncio.sleep(0.05)
        assert await answered(one) == CONNACK_NOT_AUTHORISED
        door.renew(revoked=[one, other])
        await door.wait_swept()
        assert door.callout.statistics().dropped == 1

    scene(tmp_path, play)


def test_sessions_that_nobody_here_admitted_are_dropped_and_their_devices_judged_anew(tmp_path: Path) -> None:
    async def play() -> None:
        async with open_door(tmp_path, callout=False) as door:
            one, other = door.town.device("lm-0"), door.town.device("lm-1")
            door.renew()
            first = asyncio.create_task(door.callout.run())
            await door.wait_swept()
            session, neighbour = await door.session(one), await door.session(other)
            assert [await session.read(4), await neighbour.read(4)] == [CONNACK_ACCEPTED] * 2
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            door.admission = door.town.admission(revoked=[one])
            door.callout = Callout(door.broker, lambda: door.admission, on_refused=door.refused.append)
            second = asyncio.create_task(door.callout.run())
            await session.wait_closed()
            await neighbour.wait_closed()
            await wait_until(lambda: door.callout.statistics().dropped == 2, "the sweep")
            assert await (await door.session(one)).read(4) == CONNACK_NOT_AUTHORISED
            assert await (await door.session(other)).read(4) == CONNACK_ACCEPTED
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)

    asyncio.run(play())


def test_a_new_server_certificate_is_served_without_a_restart_and_sessions_go_on(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        town, broker = door.town, door.broker
        one, other = town.device("lm-0"), town.device("lm-1")
        door.renew()
        standing = await door.session(one)
        assert await standing.read(4) == CONNACK_ACCEPTED
        pid = broker.pid
        town.server()  # the same files, another certificate
        await broker.reload()
        shown = (await door.session(other)).writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(shown).strip() in town.server_certificate.read_text()
        await standing.publish("lm/gm0402/lm-0/up", b"still here")
        assert broker.pid == pid
        async with door.ours():
            pass

    scene(tmp_path, play)


def test_a_broken_server_certificate_is_said_and_the_old_one_served_on(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        one = door.town.device("lm-0")
        door.renew()
        door.town.server()
        door.town.server_key.write_text("no key")
        with pytest.raises(BrokerError, match="old certificate"):
            await door.broker.reload()
        assert await (await door.session(one)).read(4) == CONNACK_ACCEPTED

    scene(tmp_path, play)


def test_devices_of_the_old_and_of_the_new_issuer_are_both_let_in_during_a_roll_over(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        town = door.town
        following = town.issuer("Lichtmast test devices 2")
        old, new = town.device("lm-0"), town.device("lm-1", issuer=following)
        door.renew()
        with pytest.raises(OSError):  # noqa: PT011 - at the first read
            await (await door.session(new)).read(4)
        town.trust_also(following)
        await door.broker.reload()
        for one in (old, new):
            assert await (await door.session(one)).read(4) == CONNACK_ACCEPTED

    scene(tmp_path, play)


def test_the_client_port_admits_nobody_but_our_own_users(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        for user, password in (("", ""), ("open", ""), ("lichtmast", ""), ("system", "system"), ("callout", "x")):
            with pytest.raises((BrokerError, OSError)):
                async with open_line("::1", door.broker.client_port, user, password):
                    pass

    scene(tmp_path, play)


def test_no_key_of_the_callout_lies_on_the_disk(tmp_path: Path) -> None:
    async def play(door: Door) -> None:
        async with door.ours():
            pass
        broker, folder = door.broker, door.broker.settings.folder
        configuration = folder / "nats-server.conf"
        secrets = (broker.password, broker.callout_password, broker.system_password, "PRIVATE KEY")
        telling = {
            path
            for path in folder.rglob("*")
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)
        }
        assert telling == {configuration}
        assert (configuration.stat().st_mode & 0o077, folder.stat().st_mode & 0o077) == (0, 0)
        assert "PRIVATE KEY" not in configuration.read_text()
        assert re.search(r"\bSA[A-Z2-7]{56}\b", configuration.read_text()) is None  # an account's seed

    scene(tmp_path, play)
