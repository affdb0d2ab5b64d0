"""The link over MQTT 3.1.1: packs at QoS 1, acknowledgements, configuration and commands back, state and events up.

A PUBACK only says that the broker has the pack; the outbox keeps it until the acknowledgement topic names it. Off
loopback it is MQTT over TLS 1.3 with this device's certificate; a refusal is told by its reason.

Will not use a persistent session: acknowledgements are cumulative and configuration is retained, so what was missed is
said again.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import aiomqtt

from lichtmast.edge.identity.refusals import IdentityRefusedError, Refusal
from lichtmast.edge.identity.tls import refusal_of, secure
from lichtmast.edge.outbox.values import Packed
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.errors import LinkRefusedError, UplinkError
from lichtmast.edge.uplink.link import Handed, Heard, Kind, Report
from lichtmast.edge.uplink.resolve import Resolver
from lichtmast.edge.uplink.securing import Identity, tls_context
from lichtmast.wire import topics
from lichtmast.wire.identity import DeviceId

_LOG: Final = logging.getLogger(__name__)
_PAHO_LOG: Final = logging.getLogger(f"{__name__}.paho")
_PAHO_LOG.setLevel(logging.CRITICAL)  # a broken connection is an event that we count, not an error of the program

_NOT_AUTHORISED: Final = (4, 5, 134, 135)
"""CONNACK: bad user name or password, not authorised (MQTT 3.1.1 section 3.2.2.3), and what paho makes of them."""


class MqttLink:
    """The broker at a host and port, for one device."""

    name = "mqtt"
    window = limits.MQTT_WINDOW_PACKS
    at_once = limits.MQTT_AT_ONCE

    def __init__(self, device: DeviceId, host: str, port: int, identity: Identity | None = None) -> None:
        self._device = device
        self._host = host
        self._identity = identity
        self._where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._port = port
        self._resolver = Resolver(host)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["MqttSession"]:
        """Connect and subscribe; raises UplinkError."""
        tls = None if self._identity is None else _Tls(await tls_context(self._identity), self._host, self._identity)
        address = await self._resolver.next_address()
        client = aiomqtt.Client(
            address,
            self._port,
            identifier=self._device.urn,
            clean_session=True,
            timeout=limits.MQTT_TIMEOUT_S,
            keepalive=limits.MQTT_KEEPALIVE_S,
            max_queued_incoming_messages=limits.MQTT_HEARD_MAX,
            logger=_PAHO_LOG,
        )
        paho = client._client  # noqa: SLF001 - aiomqtt has no setting for how to connect
        paho._create_socket_connection = partial(_dial, address, self._port, tls)  # type: ignore[method-assign]  # noqa: SLF001 - nor has paho
        try:
            await _connect(client, tls)
        except aiomqtt.MqttError as error:
            refusal = _refusal(error, tls)
            if refusal is not None:
                raise LinkRefusedError(f"the broker at {self._where}", refusal) from error
            raise UplinkError(f"the broker at {self._where} does not take the connection: {error}") from error
        try:
            await self._subscribe(client)
            yield MqttSession(client, self._device)
        finally:
            await _disconnect(client)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        # Acknowledgements at QoS 0: cumulative ones need no queue at the broker, where a thousand would cost much.
        for topic, qos, needed in (
            (topics.ack_topic(self._device), 0, True),
            (topics.cfg_topic(self._device), 1, False),
            (topics.cmd_topic(self._device), 1, False),
        ):
            try:
                codes = await client.subscribe(topic, qos=qos)
            except aiomqtt.MqttError as error:
                raise UplinkError(f"the broker at {self._where} does not answer SUBSCRIBE {topic}: {error}") from error
            if not any(code if isinstance(code, int) else code.is_failure for code in codes):
                continue
            if needed:
                raise UplinkError(
                    f"the broker at {self._where} refuses SUBSCRIBE {topic}; see the device's permissions"
                )
            _LOG.warning("subscription_refused", extra={"topic": topic})


class MqttSession:
    """An open connection, subscribed to what the device is told."""

    def __init__(self, client: aiomqtt.Client, device: DeviceId) -> None:
        self._client = client
        self._messages = client.messages
        self._up = topics.up_topic(device)
        self._kinds = {
            topics.ack_topic(device): Kind.ACK,
            topics.cfg_topic(device): Kind.CFG,
            topics.cmd_topic(device): Kind.CMD,
        }
        self._report_topics = {Report.STATE: topics.state_topic(device), Report.EVENT: topics.ev_topic(device)}

    @property
    def conversation(self) -> "MqttSession":
        """MQTT carries everything."""
        return self

    async def deliver(self, packed: Packed) -> Handed:
        """Publish at QoS 1; returns with the PUBACK."""
        await self._publish(self._up, packed.payload, retain=False)
        return Handed()

    async def report(self, kind: Report, payload: bytes) -> None:
        """Publish at QoS 1; a state is retained."""
        await self._publish(self._report_topics[kind], payload, retain=kind is Report.STATE)

    async def wait_heard(self) -> Heard:
        """The next acknowledgement, configuration or command."""
        while True:
            try:
                message = await anext(self._messages)
            except aiomqtt.MqttError as error:
                raise UplinkError("the connection to the broker ended; it is opened again") from error
            kind = self._kinds.get(message.topic.value)
            if kind is not None:
                return Heard(kind, message.payload if isinstance(message.payload, bytes) else b"")

    async def _publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        try:
            await self._client.publish(topic, payload, qos=1, retain=retain)
        except aiomqtt.MqttError as error:
            raise UplinkError(f"the broker did not confirm a message on {topic}; it is sent again") from error


class _Tls:
    """TLS for one connection, and how it ended."""

    def __init__(self, context: ssl.SSLContext, host: str, identity: Identity) -> None:
        self._context, self._host, self._moment = context, host, identity.moment()
        self._loop = asyncio.get_running_loop()
        self._refusal: Refusal | None = None
        self._socket: ssl.SSLSocket | None = None
        self.has_ended = asyncio.Event()

    @property
    def refusal(self) -> Refusal | None:
        """Why it ended, where that was for the sake of identity."""
        return self._refusal or refusal_of(self._socket)

    def secure(self, dialled: socket.socket) -> ssl.SSLSocket:
        """Speak TLS from here on; called in the thread that dials."""
        try:
            self._socket = secure(self._context, dialled, self._host, self._moment, self._ended)
        except IdentityRefusedError as error:
            self._refusal = error.refusal
            raise ConnectionError(str(error)) from error
        return self._socket

    def _ended(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self.has_ended.set)


def _dial(address: str, port: int, tls: _Tls | None) -> socket.socket:
    """Connect with segments that every IPv6 path carries, both ways: the SYN tells the broker the same.

    Where a small MTU is on the way and ICMPv6 "too big" is lost, larger ones would vanish for ever.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(address, port, socket.AF_INET6, socket.SOCK_STREAM)[0]
    dialled = socket.socket(family, kind, protocol)
    try:
        dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, limits.TCP_SEGMENT_BYTES)
        dialled.settimeout(limits.MQTT_CONNECT_S)
        dialled.connect(where)
        return dialled if tls is None else tls.secure(dialled)
    except BaseException:
        dialled.close()
        raise


def _refusal(error: aiomqtt.MqttError, tls: _Tls | None) -> Refusal | None:
    """Why a secured connection was refused, where that is known."""
    if tls is None:
        return None
    code = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
    return Refusal.NOT_ADMITTED if getattr(code, "value", code) in _NOT_AUTHORISED else tls.refusal


async def _connect(client: aiomqtt.Client, tls: _Tls | None) -> None:
    """Connect, and leave nothing behind when that fails or is cancelled.

    aiomqtt 2.5 opens the socket in a thread, which a cancellation cannot stop; a moment is enough for it to finish. A
    server that ends the connection before its CONNACK, as one does that refuses a certificate in TLS 1.3, it would not
    notice: it waits for its own timeout.
    """
    entering = asyncio.ensure_future(client.__aenter__())
    ending = asyncio.ensure_future(asyncio.Event().wait() if tls is None else tls.has_ended.wait())
    try:
        await asyncio.wait([entering, ending], return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():  # a CONNACK that refuses comes just before the end
            await asyncio.wait([entering], timeout=limits.MQTT_LEAVING_S)
        if not entering.done():
            entering.cancel()
            await asyncio.wait([entering])
        _require_connected(entering)
    except asyncio.CancelledError:
        await asyncio.wait([entering], timeout=limits.MQTT_LEAVING_S)
        entering.cancel()
        await asyncio.wait([entering])
        await _abandon(client)
        raise
    except aiomqtt.MqttError:
        await _abandon(client)
        raise
    finally:
        ending.cancel()


def _require_connected(entering: "asyncio.Future[aiomqtt.Client]") -> None:
    """Raises what became of the connect, where that is no connection."""
    if entering.cancelled():
        raise aiomqtt.MqttError("it ended the connection before it answered")
    entering.result()


async def _disconnect(client: aiomqtt.Client) -> None:
    """Say goodbye where somebody still listens, but do not wait long for it."""
    with contextlib.suppress(aiomqtt.MqttError, OSError):  # the connection is gone, which is what was asked for
        async with asyncio.timeout(limits.MQTT_GOODBYE_S):
            await client.__aexit__(None, None, None)
    await _abandon(client)


async def _abandon(client: aiomqtt.Client) -> None:
    """Close what aiomqtt 2.5 forgets after a CONNACK or DISCONNECT that did not happen: socket, reader and timer task.

    Left alone they would live until the keepalive runs out, which adds up over years of a bad connection.
    """
    client._client._sock_close()  # noqa: SLF001 - the only handle on that socket
    timer = client._misc_task  # noqa: SLF001 - as above
    if timer is not None:
        timer.cancel()
        await asyncio.wait([timer])
    disconnected = client._disconnected  # noqa: SLF001 - else asyncio complains that nobody looked at its exception
    if disconnected.done() and not disconnected.cancelled():
        disconnected.exception()
