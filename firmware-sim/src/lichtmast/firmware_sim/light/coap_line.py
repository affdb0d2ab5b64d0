"""One device over CoAP: CON POST /up, one at a time, each until it is answered (RFC 7252 sections 4.2 and 4.7).

Every device has its own socket, as in the street: NSTART = 1 holds for each of them and not for the town.

Will not fragment: packs fit in one datagram (DESIGN section 6).
"""

import asyncio
from typing import cast

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import backoff_s, seed_of, share
from lichtmast.firmware_sim.device import Stray
from lichtmast.firmware_sim.light import coap
from lichtmast.firmware_sim.light.line import Line, open_datagrams
from lichtmast.firmware_sim.outbox import Waiting

_MESSAGE_IDS = 65_536


class CoapLine(Line, asyncio.DatagramProtocol):
    """A line with a socket, or waiting for one."""

    _transport: asyncio.DatagramTransport | None = None
    _exchange: coap.Exchange | None = None
    _exchanges = 0
    _failures = 0
    _unanswered_in_a_row = 0
    _dialing = False
    _leaving = False
    _dial_at_s = 0.0

    async def connect(self) -> None:
        """Open the socket, or plan the next try."""
        self._dialing = True
        try:
            await open_datagrams(lambda: self, self._server, self._source)
        except OSError:  # no route now: a network that renumbers, or an interface that is down
            self._board.interruptions += 1
            pause_s = backoff_s(self._failures, self.device.seed, limits.RETRY_S, limits.RETRY_MAX_S)
            self._failures += 1
            self._dial_at_s = self._board.now_s() + pause_s
        finally:
            self._dialing = False
        self.tick(self._board.now_s())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        if self._leaving:
            self._transport.abort()
            return
        self._failures = 0
        self._board.connects += 1

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """Act on what the server says."""
        transport, exchange = self._transport, self._exchange
        if transport is None or transport.is_closing():
            return
        if exchange is None:
            reply = coap.refused(data)
            if reply:
                transport.sendto(reply)
            return
        heard = exchange.heard(data)
        if heard.reply:
            transport.sendto(heard.reply)
        if heard.answer is not None:
            self._exchange = None
            self._answered(heard.answer)
        elif heard.rejected:
            self._unanswered()
        else:
            return
        self.tick(self._board.now_s())

    def error_received(self, _exc: Exception) -> None:
        """Nobody listens there, says the network."""
        if self._exchange is not None:
            self._unanswered()
            self.tick(self._board.now_s())

    def connection_lost(self, _exc: Exception | None) -> None:
        """The socket is closed."""
        self._transport = self._exchange = None
        self._lost()
        if not self._leaving:
            self.tick(self._board.now_s())

    def tick(self, now_s: float) -> None:
        """Send what is next, send again, or give up."""
        transport = self._transport
        if transport is None:
            if not self._dialing and not self._leaving:
                if now_s >= self._dial_at_s:
                    self._board.dial(self)
                else:
                    self._board.wake(self, self._dial_at_s)
            return
        if transport.is_closing():
            return  # `connection_lost` follows
        if self._exchange is not None:
            again = self._exchange.tick(now_s)
            if again is None:
                self._unanswered()
            elif again:
                transport.sendto(again)
        if self._flight is None and not transport.is_closing():
            stray = self._take(now_s)
            if stray is not None:
                self._request(transport, stray.payload, now_s)
        if self._exchange is not None:
            self._board.wake(self, self._exchange.wake_at_s)
        elif self._flight is None:
            at_s = self.device.outbox.wake_at_s()
            if at_s is not None:
                self._board.wake(self, at_s)

    def deliver(self, waiting: Waiting) -> None:
        """Ask the server to take a pack."""
        if self._flight is not waiting:
            return
        if self._transport is None or self._transport.is_closing():
            self._lost()
        else:
            self._request(self._transport, waiting.payload, self._board.now_s())
            if self._exchange is not None:
                self._board.wake(self, self._exchange.wake_at_s)

    def interrupt(self) -> None:
        """A device that starts again has another socket, and forgets what it asked."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close the socket."""
        self._leaving = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """The same at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_closed(self) -> bool:
        """Whether no socket is left."""
        return self._transport is None

    def _request(self, transport: asyncio.DatagramTransport, payload: bytes, now_s: float) -> None:
        device = self.device
        chance = seed_of(device.seed, "coap")
        number = self._exchanges + int(_MESSAGE_IDS * share(chance, 0))  # section 4.4: begin anywhere, count on
        self._exchanges += 1
        self._exchange = coap.Exchange(
            payload,
            device.spec.content_format,
            message_id=number % _MESSAGE_IDS,
            token=(number % _MESSAGE_IDS).to_bytes(2, "big"),
            first_timeout_s=limits.COAP_ACK_TIMEOUT_S * (1 + share(chance, self._exchanges) / 2),
            now_s=now_s,
        )
        transport.sendto(self._exchange.request)

    def _answered(self, answer: coap.Answer) -> None:
        flight = self._flight
        self._unanswered_in_a_row = 0
        if not isinstance(flight, Waiting):
            self._landed()
            return
        self._flight = None
        outbox, seq = self.device.outbox, flight.seq
        if answer.is_success:
            self._board.settled(self, "ack", [seq] if outbox.accept(seq) else [])
        elif answer.is_later:
            self._board.interruptions += 1
            # RFC 7252 section 5.9.3.4 and RFC 8516: Max-Age says when to come back; without it, we decide.
            outbox.failed(seq, self._board.now_s(), min(answer.max_age_s, limits.RETRY_AFTER_MAX_S))
        else:
            self._board.settled(self, "refused", [seq] if outbox.refuse(seq, answer.dotted) else [])

    def _unanswered(self) -> None:
        """The exchange failed; the outbox decides when to try again.

        After some failures with another socket: a connected one keeps the source address it began with, and a network
        that was renumbered has taken that away.
        """
        self._exchange = None
        self._board.interruptions += 1
        flight, self._flight = self._flight, None
        if isinstance(flight, Stray):
            self.device.stray_sent()  # it went out; nobody waits for its answer
            self._board.stray_sent()
        elif flight is not None:
            self.device.outbox.failed(flight.seq, self._board.now_s())
        self._unanswered_in_a_row += 1
        if self._transport is not None and self._unanswered_in_a_row % limits.COAP_REOPEN_AFTER == 0:
            self._transport.abort()
