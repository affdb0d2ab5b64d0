"""What both kinds of line do alike: take the next thing to say, account for it, and ask to be woken.

A line is one device's way out. It has at most one thing in flight: a numbered pack, or a stray.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from ipaddress import IPv6Address
from socket import AF_INET6, IPPROTO_TCP, SOCK_DGRAM, SOCK_STREAM, TCP_MAXSEG, SocketKind, socket
from typing import Final, Protocol

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.device import Stray, VirtualDevice
from lichtmast.firmware_sim.outbox import Waiting

_IPPROTO_IPV6: Final = 41
_IPV6_FREEBIND: Final = 78
"""linux/in6.h: bind to an address of a prefix that is routed here, though no interface carries it."""

Address = tuple[str, int, int, int]
"""An IPv6 socket address: literal, port, flow and zone."""


class Board(Protocol):
    """What a line needs of the switchboard."""

    connects: int
    interruptions: int

    def now_s(self) -> float:
        """Monotonic time."""

    def wake(self, line: "Line", at_s: float) -> None:
        """Call `tick` then."""

    def dial(self, line: "Line") -> None:
        """Call `connect` as soon as there is a free hand."""

    def send(self, line: "Line", waiting: Waiting) -> None:
        """Call `deliver` once the history has the attempt."""

    def settled(self, line: "Line", op: str, numbers: list[int]) -> None:
        """Numbers were acknowledged or refused."""

    def stray_sent(self) -> None:
        """One more stray went out."""


class Line(ABC):
    """One device's way out, over a socket bound to `source` (any address, where it is None)."""

    def __init__(self, device: VirtualDevice, server: Address, source: IPv6Address | None, board: Board) -> None:
        self.device = device
        self._server = server
        self._source = source
        self._board = board
        self._flight: Waiting | Stray | None = None

    @abstractmethod
    async def connect(self) -> None:
        """Open the way, or plan the next try."""

    @abstractmethod
    def tick(self, now_s: float) -> None:
        """Do what the time asks for, and plan the next wake-up."""

    @abstractmethod
    def deliver(self, waiting: Waiting) -> None:
        """Send a pack that was taken; it goes back into the outbox where the way is gone meanwhile."""

    @abstractmethod
    def interrupt(self) -> None:
        """The device starts again: what is open breaks."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether no socket is left."""

    @abstractmethod
    def abort(self) -> None:
        """Close without a word."""

    def _take(self, now_s: float) -> Stray | None:
        """Take what is next: a stray is returned, a pack is handed to the board, which has it delivered."""
        if self.device.strays:
            self._flight = self.device.strays[0]
            return self._flight
        waiting = self.device.outbox.take(now_s)
        if waiting is not None:
            self._flight = waiting
            self._board.send(self, waiting)
        return None

    def _landed(self) -> None:
        """What was in flight has arrived as far as the transport tells."""
        flight, self._flight = self._flight, None
        if isinstance(flight, Stray):
            self.device.stray_sent()
            self._board.stray_sent()

    def _lost(self) -> None:
        """What was in flight got nowhere that we know of."""
        flight, self._flight = self._flight, None
        if isinstance(flight, Waiting):
            self.device.outbox.returned(flight.seq)


def open_socket(kind: SocketKind, source: IPv6Address | None) -> socket:
    """A non-blocking IPv6 socket, bound where a source is given. Raises OSError."""
    made = socket(AF_INET6, kind)
    try:
        made.setblocking(False)  # noqa: FBT003 - its only parameter
        if source is not None:
            made.setsockopt(_IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            made.bind((str(source), 0))
    except BaseException:
        made.close()
        raise
    return made


async def open_stream(factory: Callable[[], asyncio.Protocol], server: Address, source: IPv6Address | None) -> None:
    """Connect by TCP; the protocol is told its transport. Raises OSError.

    In segments that every IPv6 path carries, both ways: where a small MTU is on the way and ICMPv6 "too big" is lost,
    larger ones would vanish for ever.
    """
    made = open_socket(SOCK_STREAM, source)
    try:
        made.setsockopt(IPPROTO_TCP, TCP_MAXSEG, limits.TCP_SEGMENT_BYTES)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(made, server)
        await loop.create_connection(factory, sock=made)
    except BaseException:
        made.close()
        raise


async def open_datagrams(
    factory: Callable[[], asyncio.DatagramProtocol], server: Address, source: IPv6Address | None
) -> None:
    """A UDP socket that hears its server only. Raises OSError."""
    made = open_socket(SOCK_DGRAM, source)
    try:
        made.connect(server)
        await asyncio.get_running_loop().create_datagram_endpoint(factory, sock=made)
    except BaseException:
        made.close()
        raise
