"""One device over MQTT 3.1.1: publishes at QoS 1, hears the store's acknowledgement, comes back when the broker dies.

A PUBACK only says that the broker has the pack; the outbox keeps it until the acknowledgement topic names it.

Will not use a persistent session: acknowledgements are cumulative, so what was missed is said again.
"""

import asyncio
import logging
from typing import Final, cast

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import backoff_s
from lichtmast.firmware_sim.light import mqtt
from lichtmast.firmware_sim.light.line import Line, open_stream
from lichtmast.firmware_sim.light.session import Happened, Session
from lichtmast.firmware_sim.outbox import Waiting
from lichtmast.wire import topics
from lichtmast.wire.acknowledgement import AcknowledgementError, decode_acknowledgement

_LOG: Final = logging.getLogger(__name__)


class MqttLine(Line, asyncio.Protocol):
    """A line that is connected, being connected, or waiting for its next try."""

    _transport: asyncio.Transport | None = None
    _session: Session | None = None
    _answered: "asyncio.Future[None] | None" = None
    _failures = 0
    _dial_at_s = 0.0
    _leaving = False

    async def connect(self) -> None:
        """Open, subscribe, and be ready; or plan the next try."""
        self._answered = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limits.MQTT_CONNECT_TIMEOUT_S):
                await open_stream(lambda: self, self._server, self._source)
                await self._answered
        except (OSError, TimeoutError):
            if self._transport is None:
                self._failed()
            else:
                self._transport.abort()  # connection_lost plans the next try
        finally:
            self._answered = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce the device."""
        self._transport = cast("asyncio.Transport", transport)
        if self._leaving:
            self._transport.abort()
            return
        self._session = Session(topics.ack_topic(self.device.spec.device), self._board.now_s())
        self._transport.write(mqtt.connect(self.device.spec.device.urn, limits.MQTT_KEEPALIVE_S))

    def data_received(self, data: bytes) -> None:
        """Feed the session and do what it says."""
        session, transport = self._session, self._transport
        if session is None or transport is None or transport.is_closing():
            return
        try:
            reply, happened = session.heard(data, self._board.now_s())
        except mqtt.MqttFault as fault:
            self._break(fault)
            return
        if reply:
            transport.write(reply)
        for one in happened:
            if one is Happened.READY:
                self._ready()
            elif one is Happened.PUBLISHED:
                self._landed()
            else:
                self._acknowledged(one)
        if session.ready:
            self.tick(self._board.now_s())

    def connection_lost(self, _exc: Exception | None) -> None:
        """Take back what was in flight, and plan the next try."""
        self._transport = self._session = None
        self._lost()
        if not self._leaving:
            self._failed()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def tick(self, now_s: float) -> None:
        """Publish what is next, keep the connection alive, or dial."""
        session, transport = self._session, self._transport
        if session is None or transport is None:
            if self._answered is None and not self._leaving:
                if now_s >= self._dial_at_s:
                    self._board.dial(self)
                else:
                    self._board.wake(self, self._dial_at_s)
            return
        if not session.ready or transport.is_closing():
            return  # `connect` watches the one, and `connection_lost` follows the other
        try:
            transport.write(session.tick(now_s))
        except mqtt.MqttFault as fault:
            self._break(fault)
            return
        if session.may_publish and self._flight is None:
            stray = self._take(now_s)
            if stray is not None:
                self._publish(session, transport, stray.payload)
        wake_at_s = session.wake_at_s()
        pack_at_s = self.device.outbox.wake_at_s() if self._flight is None else None
        self._board.wake(self, wake_at_s if pack_at_s is None else min(wake_at_s, pack_at_s))

    def deliver(self, waiting: Waiting) -> None:
        """Publish a pack."""
        session, transport = self._session, self._transport
        if self._flight is not waiting:
            return  # the connection broke and took it back
        if session is None or transport is None or transport.is_closing() or not session.may_publish:
            self._lost()
        else:
            self._publish(session, transport, waiting.payload)
            self._board.wake(self, session.wake_at_s())

    def interrupt(self) -> None:
        """A broken connection, as a device that starts again leaves it."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """DISCONNECT."""
        self._leaving = True
        if self._transport is not None:
            self._transport.write(mqtt.DISCONNECT)
            self._transport.close()

    def abort(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_closed(self) -> bool:
        """Whether no connection is left."""
        return self._transport is None

    def _publish(self, session: Session, transport: asyncio.Transport, payload: bytes) -> None:
        transport.write(session.publish(topics.up_topic(self.device.spec.device), payload, self._board.now_s()))

    def _ready(self) -> None:
        self._failures = 0
        self._board.connects += 1
        self.device.outbox.reconnected()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def _acknowledged(self, payload: bytes) -> None:
        try:
            ack = decode_acknowledgement(payload)
        except AcknowledgementError as error:
            _LOG.warning(
                "acknowledgement_unreadable", extra={"device": str(self.device.spec.device), "reason": str(error)}
            )
            return
        if ack.epoch != self.device.epoch:
            return  # of an earlier life; it confirms nothing of this one
        accepted, refused = self.device.outbox.acknowledge(ack)
        self._board.settled(self, "ack", accepted)
        self._board.settled(self, "refused", refused)

    def _break(self, fault: mqtt.MqttFault) -> None:
        _LOG.debug("mqtt_interrupted", extra={"device": str(self.device.spec.device), "reason": str(fault)})
        if self._transport is not None:
            self._transport.abort()

    def _failed(self) -> None:
        self._board.interruptions += 1
        pause_s = backoff_s(self._failures, self.device.seed, limits.RETRY_S, limits.RETRY_MAX_S)
        self._failures += 1
        self._dial_at_s = self._board.now_s() + pause_s
        self._board.wake(self, self._dial_at_s)
