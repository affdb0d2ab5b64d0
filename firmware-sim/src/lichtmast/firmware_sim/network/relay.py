"""The relay for where namespaces are refused: ports of ::1 that lead to other ports of ::1, impaired on the way.

A datagram is a packet, with its own socket towards the server for each peer. A TCP connection is two streams: the relay
ends it itself, so that loss, order, duplicates, corruption and MTU do not exist there; `lab` refuses them.

Will not hide itself: the server sees the relay's address, and a connection is accepted even while nothing passes.
"""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from collections.abc import Callable

from lichtmast.firmware_sim.network import limits
from lichtmast.firmware_sim.network.decider import Decider
from lichtmast.firmware_sim.network.schedule import Direction

Address = tuple[str, int]


class TcpRelay:
    """One TCP port that leads to `target`."""

    def __init__(self, decider: Decider, target: Address) -> None:
        self._decider = decider
        self._target = target
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Listen on a free port of ::1 and return it."""
        self._server = await asyncio.start_server(self._serve, "::1", 0, limit=limits.CHUNK_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The relay's end cancels this. Python 3.11 asks the task for its exception, and a cancelled one raises there.
        with contextlib.suppress(asyncio.CancelledError):
            await self._join(reader, writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=limits.CHUNK_BYTES)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, Direction.UP), name="relay up")
                group.create_task(self._pump(far_reader, writer, Direction.DOWN), name="relay down")
        except* OSError:
            pass  # one side has reset: so does the other
        finally:
            for one in (writer, far_writer):
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        """Carry one direction to its end. Reading and delivering are two tasks, so that delay does not cost rate."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(limits.READS_PER_TURN)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(reader, on_the_way, direction), name="relay read")
            group.create_task(self._deliver(writer, on_the_way), name="relay deliver")

    async def _read(
        self, reader: asyncio.StreamReader, on_the_way: asyncio.Queue[tuple[float, bytes]], direction: Direction
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            chunk = await reader.read(limits.CHUNK_BYTES)
            # The end of a stream (no bytes) crosses a dead link no more than its bytes do.
            while (at_s := self._decider.stream(loop.time(), len(chunk), direction)) is None:
                await asyncio.sleep(limits.STREAM_CHECK_S)
            await on_the_way.put((at_s, chunk))
            if not chunk:
                return

    async def _deliver(self, writer: asyncio.StreamWriter, on_the_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at_s, chunk = await on_the_way.get()
            await asyncio.sleep(at_s - loop.time())
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


class UdpRelay:
    """One UDP port that leads to `target`; each peer gets a socket of its own, so that answers find back."""

    def __init__(self, decider: Decider, target: Address) -> None:
        self._decider = decider
        self._target = target
        self._pending = 0
        self._loop = asyncio.get_running_loop()
        self._near = _datagrams()
        self._far: OrderedDict[Address, socket.socket] = OrderedDict()

    async def open(self) -> int:
        """Listen on a free port of ::1 and return it."""
        self._near.bind(("::1", 0))
        self._loop.add_reader(self._near, self._hear_peers)
        port: int = self._near.getsockname()[1]
        return port

    def _hear_peers(self) -> None:
        with contextlib.suppress(OSError):
            data, address = self._near.recvfrom(limits.PACKET_BYTES_MAX)
            peer = (address[0], address[1])
            self._impair(data, Direction.UP, lambda one: self._far_of(peer).send(one))

    def _hear_server(self, far: socket.socket, peer: Address) -> None:
        with contextlib.suppress(OSError):  # also the server's "port unreachable", which a peer of ::1 cannot be told
            data = far.recv(limits.PACKET_BYTES_MAX)
            self._impair(data, Direction.DOWN, lambda one: self._near.sendto(one, peer))

    def _impair(self, data: bytes, direction: Direction, send: Callable[[bytes], int]) -> None:
        now_s = self._loop.time()
        for at_s, delivered in self._decider.decide(now_s, data, direction).deliveries:
            if self._pending >= limits.PENDING_PACKETS_MAX:
                self._decider.counts.toward(direction).overflowed += 1
                continue
            self._pending += 1
            self._loop.call_at(at_s, self._deliver, send, delivered)

    def _deliver(self, send: Callable[[bytes], int], data: bytes) -> None:
        self._pending -= 1
        with contextlib.suppress(OSError):  # nobody listens, or a full buffer: lost, as on any wire
            send(data)

    def _far_of(self, peer: Address) -> socket.socket:
        far = self._far.get(peer)
        if far is None:
            if len(self._far) >= limits.PEERS_MAX:
                _, silent = self._far.popitem(last=False)
                self._loop.remove_reader(silent)
                silent.close()
            far = _datagrams()
            far.connect(self._target)
            self._loop.add_reader(far, self._hear_server, far, peer)
            self._far[peer] = far
        self._far.move_to_end(peer)
        return far


def _datagrams() -> socket.socket:
    one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.settimeout(0)
    return one
