"""The router between two TUN devices: reads packets on one side, asks the decider, writes them on the other.

Will not touch a packet itself. Link-local and multicast packets end here, uncounted, as on any router.
"""

import asyncio
import contextlib
import os
from ipaddress import IPv6Address

from lichtmast.firmware_sim.network import icmpv6, limits
from lichtmast.firmware_sim.network.decider import Decider
from lichtmast.firmware_sim.network.schedule import Direction


class Router:
    """Runs in the event loop that makes it. `edge` and `core` are descriptors of TUN devices, `address` its own."""

    def __init__(self, decider: Decider, edge: int, core: int, address: IPv6Address) -> None:
        self._decider = decider
        self._address = address.packed
        self._pending = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(edge, self._carry, edge, core, Direction.UP)
        self._loop.add_reader(core, self._carry, core, edge, Direction.DOWN)

    def _carry(self, source: int, destination: int, direction: Direction) -> None:
        for _ in range(limits.READS_PER_TURN):
            try:
                packet = os.read(source, limits.PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            if not icmpv6.is_routed(packet):
                continue
            now_s = self._loop.time()
            decision = self._decider.decide(now_s, packet, direction)
            for at_s, delivered in decision.deliveries:
                if at_s <= now_s:
                    _write(destination, delivered)
                elif self._pending < limits.PENDING_PACKETS_MAX:
                    self._pending += 1
                    self._loop.call_at(at_s, self._deliver, destination, delivered)
                else:
                    self._decider.counts.toward(direction).overflowed += 1
            if decision.too_big_bytes is not None:
                answer = icmpv6.packet_too_big(packet, decision.too_big_bytes, self._address)
                if answer is not None:
                    _write(source, answer)

    def _deliver(self, destination: int, packet: bytes) -> None:
        self._pending -= 1
        _write(destination, packet)


def _write(tun: int, packet: bytes) -> None:
    # The cable is out, or the kernel will not have these bytes: a packet that is lost, as on any wire.
    with contextlib.suppress(OSError):
        os.write(tun, packet)
