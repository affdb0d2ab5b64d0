"""The CoAP door on a socket: reads datagrams, groups packs into envelopes, publishes them, and answers.

Every rule is in `core`, those of DTLS in `dtls.layer`. Here are the socket, the clock, one task that publishes and one
that lets time pass. What arrives while a publish is in flight shares the next one, so the log's acknowledgement and
fsync are shared too. A door speaks plaintext or DTLS, never both.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import IPv6Address
from types import TracebackType
from typing import Final, Self

from lichtmast.ingest.coap.binding import bind
from lichtmast.ingest.coap.core import Core
from lichtmast.ingest.coap.dtls.layer import DtlsLayer
from lichtmast.ingest.coap.dtls.limits import HANDSHAKE_BUDGET_S, SEALED_BYTES_MAX
from lichtmast.ingest.coap.dtls.settings import Dtls
from lichtmast.ingest.coap.exchange import Exchange
from lichtmast.ingest.coap.inspection import Inspect
from lichtmast.ingest.coap.limits import (
    DATAGRAM_BYTES_MAX,
    DATAGRAMS_PER_WAKE_MAX,
    TICK_S,
)
from lichtmast.ingest.coap.message import dotted
from lichtmast.ingest.coap.peers import Address
from lichtmast.ingest.coap.settings import CoapSettings
from lichtmast.ingest.coap.statistics import CoapStatistics
from lichtmast.registry.identity import Admission
from lichtmast.wire import limits as wire_limits
from lichtmast.wire.envelope import MAGIC, Enclosed, enclose, enclosed_bytes
from lichtmast.wire.faultpoint import faultpoint

Publish = Callable[[bytes], Awaitable[None]]
"""Puts one envelope in the log and returns when it is durable there. Raises where it is not."""

_REPORT_S: Final = 10.0
_log = logging.getLogger(__name__)


def wall_clock_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


class CoapDoor:
    """A CoAP server that puts packs in a log. Bound when it is made, open inside `async with`, for one use.

        async with CoapDoor(CoapSettings(), inspect, publish) as door:
            ...

    Raises CoapDoorError where the address cannot be bound, CoapSettingsError for plaintext beyond loopback and for
    certificates that cannot be used.
    """

    def __init__(
        self,
        settings: CoapSettings,
        inspect: Inspect,
        publish: Publish,
        clock: Callable[[], int] = wall_clock_us,
        *,
        dtls: Dtls | None = None,
    ) -> None:
        self._settings = settings
        self._publish = publish
        self._clock = clock
        self._layer = layer = None if dtls is None else DtlsLayer(dtls, secrets.token_bytes(32))
        self._read: Callable[[], None] = self._read_plain
        self._send: Callable[[bytes, Address], None] = self._send_plain
        if layer is None:
            settings.check_plaintext()
        else:
            self._read, self._send = partial(self._read_sealed, layer), partial(self._send_sealed, layer)
        authenticated = dtls is not None
        self._core = Core(settings, inspect, secrets.token_bytes(32), random.random, authenticated=authenticated)
        self._working = False
        self._arrived: deque[tuple[Exchange, int]] = deque()
        self._wake = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._closing = False
        self._datagrams = self._envelopes = self._envelopes_failed = self._packs_logged = 0
        self._reported: dict[str, int] = {}
        self._socket = bind(settings.host, settings.port)

    @property
    def port(self) -> int:
        """The UDP port that was bound."""
        port: int = self._socket.getsockname()[1]
        return port

    async def run(self) -> None:
        """Serve until cancelled, then close as `async with` does."""
        async with self:
            await asyncio.Event().wait()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._publisher = self._tasks.create_task(self._publish_arrived(), name="coap-publish")
        self._timer = self._tasks.create_task(self._let_time_pass(), name="coap-time")
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)
        encrypted = self._layer is not None
        extra = {"host": self._settings.host, "port": self.port, "encrypted": encrypted}
        _log.log(logging.INFO if encrypted else logging.WARNING, "coap_door_opened", extra=extra)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop reading, let the log take what has arrived, answer it, and close. Takes `shutdown_s` at most."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._closing = True
        self._wake.set()
        try:
            # Before the task group hears of it: a cancelled group would cancel a publish that is nearly done.
            await asyncio.wait({self._publisher}, timeout=self._settings.shutdown_s)
        finally:
            self._publisher.cancel()
            self._timer.cancel()
            try:
                # Not told of the caller's error, which goes on by itself and needs no group around it.
                await self._tasks.__aexit__(None, None, None)
            finally:
                self._close()

    def _close(self) -> None:
        # Nobody may be left to guess: what the log did not take in time is refused, and can be sent again.
        self._answer([one for one, _ in self._arrived], logged=False)
        self._arrived.clear()
        if self._layer is not None:
            self._layer.close()
            self._flush(self._layer)
        self._socket.close()
        _log.info("coap_door_closed", extra={"packs_logged": self._packs_logged})

    def sighted(self) -> list[tuple[str, IPv6Address]]:
        """Devices that have a session, and from where; none where everything is open."""
        return [] if self._layer is None else self._layer.sighted()

    def statistics(self) -> CoapStatistics:
        """What was counted, and what is held now."""
        core = self._core
        events = dict(core.counts)
        events["given_up"] = core.retransmissions.undelivered
        events["bodies_dropped"] = core.assemblies.dropped
        return CoapStatistics(
            answers={dotted(code): count for code, count in enumerate(core.answers) if count},
            events={name: count for name, count in events.items() if count},
            datagrams=self._datagrams,
            envelopes=self._envelopes,
            envelopes_failed=self._envelopes_failed,
            packs_logged=self._packs_logged,
            packs_waiting=core.waiting_packs,
            bytes_waiting=core.waiting_bytes,
            remembered=len(core.memory.entries),
            remembered_bytes=core.memory.bytes,
            assemblies=len(core.assemblies),
            assembly_bytes=core.assemblies.bytes,
            separate_open=len(core.retransmissions),
            peers=len(core.peers),
            dtls=None if self._layer is None else self._layer.statistics(),
        )

    def renew(self, admission: Admission) -> int:
        """End the sessions that this admission refuses; how many those were. Without DTLS there are none."""
        if self._layer is None:
            return 0
        ended = self._layer.renew(admission, self._clock())
        self._work_soon(self._layer)
        return ended

    def reload(self) -> None:
        """Read the certificates again for the handshakes to come. Raises CoapSettingsError, keeping the old ones."""
        if self._layer is not None:
            self._layer.reload()

    def _read_plain(self) -> None:
        now_s = asyncio.get_running_loop().time()
        received_us = self._clock()
        receive, arrived, read = self._core.receive, self._arrived, self._socket.recvfrom
        for _ in range(DATAGRAMS_PER_WAKE_MAX):
            try:
                datagram, address = read(DATAGRAM_BYTES_MAX + 1)
            except BlockingIOError:
                break
            except OSError:
                self._core.counts["unread"] += 1
                break
            self._datagrams += 1
            try:
                effect = receive(datagram, address, now_s)
            except Exception:  # noqa: BLE001 - outermost: one datagram must never stop the door
                self._core.counts["fault"] += 1
                _log.exception("coap_fault", extra={"bytes": len(datagram)})
                continue
            if isinstance(effect, bytes):
                self._send(effect, address)
            elif effect is not None:
                arrived.append((effect, received_us))
        if arrived:
            self._wake.set()

    def _read_sealed(self, layer: DtlsLayer) -> None:
        """As `_read_plain`, with the layer between. Handshakes come after the packs that are there."""
        now_s = asyncio.get_running_loop().time()
        received_us = self._clock()
        for _ in range(DATAGRAMS_PER_WAKE_MAX):
            try:
                datagram, address = self._socket.recvfrom(SEALED_BYTES_MAX)
            except BlockingIOError:
                break
            except OSError:
                self._core.counts["unread"] += 1
                break
            self._datagrams += 1
            for message, endpoint in layer.receive(datagram, address, now_s):
                self._take(message, endpoint, now_s, received_us)
        self._flush(layer)
        if self._arrived:
            self._wake.set()
        self._work_soon(layer)

    def _take(self, message: bytes, endpoint: Address, now_s: float, received_us: int) -> None:
        try:
            effect = self._core.receive(message, endpoint, now_s)
        except Exception:  # noqa: BLE001 - outermost: one message must never stop the door
            self._core.counts["fault"] += 1
            _log.exception("coap_fault", extra={"bytes": len(message)})
            return
        if isinstance(effect, bytes):
            self._send(effect, endpoint)
        elif effect is not None:
            self._arrived.append((effect, received_us))

    def _work_soon(self, layer: DtlsLayer) -> None:
        if layer.has_work and not self._working:
            self._working = True
            asyncio.get_running_loop().call_soon(self._work, layer)

    def _work(self, layer: DtlsLayer) -> None:
        """Go on with handshakes and goodbyes for HANDSHAKE_BUDGET_S, then let the loop look at the socket again."""
        self._working = False
        end_s = time.monotonic() + HANDSHAKE_BUDGET_S
        while layer.has_work and time.monotonic() < end_s:
            layer.work(asyncio.get_running_loop().time(), self._clock())
        self._flush(layer)
        self._work_soon(layer)

    def _flush(self, layer: DtlsLayer) -> None:
        for datagram, address in layer.outgoing:
            self._send_plain(datagram, address)
        layer.outgoing.clear()

    def _send_sealed(self, layer: DtlsLayer, message: bytes, endpoint: Address) -> None:
        sealed = layer.seal(message, endpoint)
        if sealed is None:
            self._core.counts["unsent"] += 1  # the session has ended
        else:
            self._send_plain(*sealed)

    def _send_plain(self, datagram: bytes, address: Address) -> None:
        try:
            self._socket.sendto(datagram, address)
        except OSError:
            # A full buffer, no route, or a forged port 0. Datagrams may get lost; the client repeats its request
            # and gets the remembered answer.
            self._core.counts["unsent"] += 1

    async def _publish_arrived(self) -> None:
        while True:
            if not self._arrived:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            exchanges, packs = self._take_group()
            logged = False
            try:
                logged = await self._log_envelope(packs)
            finally:
                # Also when cancelled at the deadline: these have left the queue, so nobody else can answer them.
                self._answer(exchanges, logged=logged)
            self._envelopes += logged
            self._envelopes_failed += not logged
            self._packs_logged += len(packs) * logged

    async def _log_envelope(self, packs: list[Enclosed]) -> bool:
        """Whether the log has the packs. Whatever its client raises, the door goes on and the answer is 5.03."""
        try:
            async with asyncio.timeout(self._settings.publish_timeout_s):
                faultpoint("coap.before_log")
                await self._publish(enclose(packs))
                faultpoint("coap.after_log")
        except asyncio.CancelledError as error:
            if self._publisher.cancelling():
                raise
            # Not we were cancelled, but a future of the log's client, as when its connection closes.
            failure: BaseException = error
        except Exception as error:  # noqa: BLE001 - a publisher that ends would leave everybody unanswered
            failure = error
        else:
            return True
        _log.warning("coap_publish_failed", extra={"packs": len(packs), "error": type(failure).__name__})
        return False

    def _take_group(self) -> tuple[list[Exchange], list[Enclosed]]:
        """What has arrived, as much as one envelope holds."""
        exchanges: list[Exchange] = []
        packs: list[Enclosed] = []
        arrived = self._arrived
        size_bytes = len(MAGIC)
        while arrived and len(packs) < wire_limits.ENVELOPE_PACKS_MAX:
            exchange, received_us = arrived[0]
            size_bytes += enclosed_bytes(exchange.sender, exchange.payload)
            if size_bytes > wire_limits.ENVELOPE_BYTES_MAX and packs:
                break
            arrived.popleft()
            exchanges.append(exchange)
            packs.append(Enclosed(exchange.sender, received_us, exchange.content_format, exchange.payload))
        return exchanges, packs

    def _answer(self, exchanges: list[Exchange], *, logged: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        complete, send = self._core.complete, self._send
        for exchange in exchanges:
            send(complete(exchange, logged=logged, now_s=now_s), exchange.peer.address)

    async def _let_time_pass(self) -> None:
        loop = asyncio.get_running_loop()
        report_s = loop.time() + _REPORT_S
        while True:
            await asyncio.sleep(TICK_S)
            for datagram, address in self._core.tick(loop.time()):
                self._send(datagram, address)
            if self._layer is not None:
                self._layer.tick(loop.time(), self._clock())
                self._flush(self._layer)
                self._work_soon(self._layer)
            if loop.time() >= report_s:
                report_s += _REPORT_S
                self._report()

    def _report(self) -> None:
        """Log what was refused since the last report: one line, however many datagrams a flood has."""
        statistics = self.statistics()
        refused = {name: count for name, count in statistics.answers.items() if name[0] != "2"} | statistics.events
        news = {name: count - self._reported.get(name, 0) for name, count in refused.items()}
        if any(news.values()):
            _log.info("coap_refused", extra={"refused": {name: count for name, count in news.items() if count}})
        self._reported = refused
        if self._layer is not None:
            for host, claimed, reason in self._layer.refusals:
                extra = {"host": host, "claimed": claimed, "reason": reason}
                _log.warning("coap_certificate_refused", extra=extra)
            self._layer.refusals.clear()
