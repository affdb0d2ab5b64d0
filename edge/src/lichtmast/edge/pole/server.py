"""The CoAP server at the pole: a socket for each link-local address, each group and ::1, and nowhere else.

It is bound to addresses that no router forwards to, and answers only neighbours; what arrives is inspected before
aiocoap sees it. Interfaces come and go: they are looked at again and again.

Will not: listen on a global address, or say anything to one.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any, Final

from aiocoap import Context
from aiocoap.message import Direction, Message
from aiocoap.transports.udp6 import MessageInterfaceUDP6, UDP6EndpointAddress

from lichtmast.edge.pole import limits
from lichtmast.edge.pole.addresses import link_local_addresses
from lichtmast.edge.pole.errors import PoleError
from lichtmast.edge.pole.inspection import Inspection
from lichtmast.edge.pole.resources import Site
from lichtmast.edge.pole.view import PoleView

ALL_COAP_NODES: Final = IPv6Address("ff02::fd")
"""RFC 7252 section 12.8, link-local scope."""
_Place = tuple[IPv6Address, int]
"""An address, and the index of its interface; 0 for ::1."""

_log: Final = logging.getLogger(__name__)


class PoleServer:
    """Serves a view until it is cancelled. `port` 0 takes any for ::1, which `wait_port` tells; others share it."""

    def __init__(self, view: PoleView, *, interfaces: Sequence[str], port: int, seed: int = 0) -> None:
        self._interfaces = tuple(interfaces)
        self._port = port
        self._site = Site(view, seed=seed)
        self._inspection = Inspection()
        self._contexts: dict[_Place, Context] = {}
        self._silent: set[_Place] = set()
        self._missing: set[str] = set()
        self._bound: asyncio.Event = asyncio.Event()

    def statistics(self) -> dict[str, int]:
        """Datagrams by what became of them, observers, and addresses served."""
        return {**self._inspection.counts, "observers": len(self._site.readings), "addresses": len(self._contexts)}

    async def wait_port(self) -> int:
        """The port, as soon as ::1 is bound."""
        await self._bound.wait()
        return self._port

    async def run(self) -> None:
        """Serve. Ends by cancellation."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_interfaces(), name="pole interfaces")
                tasks.create_task(self._tell_observers(), name="pole observers")
        finally:
            await self._close(set(self._contexts))

    async def _follow_interfaces(self) -> None:
        while True:
            wanted: set[_Place] = {(IPv6Address("::1"), 0)}
            found = link_local_addresses(self._interfaces)
            self._tell_missing(set(self._interfaces) - {one.interface for one in found})
            for one in found:
                wanted |= {(one.address, one.index), (ALL_COAP_NODES, one.index)}
            await self._close(set(self._contexts) - wanted)
            self._silent &= wanted
            for place in sorted(wanted - set(self._contexts), key=lambda place: place[1]):
                await self._try_open(place)
            await asyncio.sleep(limits.RESCAN_S)

    def _tell_missing(self, missing: set[str]) -> None:
        """Say once of each interface that nobody can ask there, and which there are."""
        there = sorted(name for _, name in socket.if_nameindex())
        for name in sorted(missing - self._missing):
            reason = "it has no link-local address" if name in there else "there is no such interface"
            told = {"interface": name, "reason": reason, "there_are": ",".join(there)}
            _log.warning("pole_interface_unavailable", extra=told)
        self._missing = missing

    async def _tell_observers(self) -> None:
        while True:
            await asyncio.sleep(limits.OBSERVE_LOOK_S)
            self._site.readings.tell_observers()

    async def _try_open(self, place: _Place) -> None:
        """Open, or say once why not; it is tried again at the next look."""
        try:
            self._contexts[place] = await self._open(*place)
        except PoleError as error:
            if place not in self._silent:
                _log.warning("pole_address_unavailable address=%s reason=%s", place[0], error)
            self._silent.add(place)
            return
        self._silent.discard(place)
        if place[0].is_loopback:
            self._bound.set()

    async def _open(self, address: IPv6Address, index: int) -> Context:
        """One context for one socket: aiocoap has no way to add a socket to a context, or to take one away."""
        opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if address.is_multicast:
                membership = address.packed + struct.pack("@I", index)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            # Without SO_REUSEPORT, which aiocoap's own sockets have: a second server must not steal datagrams.
            opened.bind((str(address), self._port, 0, index))
        except OSError as error:
            opened.close()
            raise PoleError(f"port {self._port} cannot be bound: {error.strerror}") from error
        if not self._port:
            self._port = opened.getsockname()[1]
        context = Context(serversite=self._site, loggername="lichtmast.edge.pole.coap")
        # The seam to aiocoap: public API takes no socket and no message interface of one's own (0.4.17).
        await context._append_tokenmanaged_messagemanaged_transport(  # noqa: SLF001 - see above
            lambda manager: _Inspected.open(opened, manager, context, self._inspection)
        )
        return context

    async def _close(self, places: set[_Place]) -> None:
        for place in places:
            await self._contexts.pop(place).shutdown()


class _Neighbour(UDP6EndpointAddress):  # type: ignore[misc] # aiocoap has no types
    """A peer that gets small blocks."""

    maximum_block_size_exp = limits.BLOCK_EXPONENT
    maximum_payload_size = limits.PAYLOAD_BYTES_MAX


class _Inspected(MessageInterfaceUDP6):  # type: ignore[misc] # aiocoap has no types
    """aiocoap's socket, behind the inspection."""

    _inspection: Inspection

    @classmethod
    async def open(cls, opened: socket.socket, manager: Any, context: Context, inspection: Inspection) -> "_Inspected":  # noqa: ANN401 - aiocoap has no types
        """Let aiocoap read from a socket that is already bound."""
        interface: _Inspected = await cls._create_transport_endpoint(opened, manager, context.log, context.loop)
        interface._inspection = inspection
        return interface

    def datagram_msg_received(self, data: bytes, ancdata: Any, _flags: int, address: Any) -> None:  # noqa: ANN401 - aiocoap has no types
        """As in aiocoap, but for the inspection and the kind of peer."""
        pktinfo = next((one[2] for one in ancdata if one[:2] == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)), None)
        if pktinfo is None:
            return
        peer = _Neighbour(address, self, pktinfo=pktinfo)
        source = IPv6Address(address[0].partition("%")[0])
        verdict = self._inspection.judge(data, source, to_group=peer.is_multicast_locally, now_s=self.loop.time())
        if verdict.passes is not None:
            message = Message.decode(verdict.passes, peer)
            message.direction = Direction.INCOMING
            self._ctx.dispatch_message(message)
        elif verdict.reply is not None:
            self.transport.sendmsg(verdict.reply, [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, pktinfo)], 0, address)
