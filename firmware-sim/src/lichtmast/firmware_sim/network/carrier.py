"""The process that carries the packets: a router between two TUN devices, or a relay on ::1.

Its own process, so that a busy test cannot slow the network down. It is given one socket to the test, answers one
question at a time (JSON), and ends when the test's end of that socket closes, however the test ended.

    python -m lichtmast.firmware_sim.network.carrier CONTROL [EDGE CORE ADDRESS]      (descriptors, router's address)
"""

import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any

from lichtmast.firmware_sim.network import icmpv6, limits
from lichtmast.firmware_sim.network.decider import Decider
from lichtmast.firmware_sim.network.relay import TcpRelay, UdpRelay
from lichtmast.firmware_sim.network.router import Router
from lichtmast.firmware_sim.network.schedule import Schedule


async def carry(control: socket.socket, tuns: Sequence[str]) -> None:
    """Carry packets and answer questions until the test has gone."""
    loop = asyncio.get_running_loop()
    decider = Decider(Schedule(), loop.time(), header_bytes=icmpv6.HEADER_BYTES if tuns else 0)
    if tuns:
        Router(decider, int(tuns[0]), int(tuns[1]), IPv6Address(tuns[2]))
    control.settimeout(0)
    while question := await loop.sock_recv(control, limits.MESSAGE_BYTES_MAX):
        answer = await _answer(json.loads(question), decider)
        await loop.sock_sendall(control, json.dumps(answer).encode())


async def _answer(question: dict[str, Any], decider: Decider) -> dict[str, Any]:
    match question:
        case {"follow": schedule}:
            decider.follow(Schedule.from_table(schedule), asyncio.get_running_loop().time())
            return {}
        case {"open": "tcp", "host": host, "port": port}:
            return {"port": await TcpRelay(decider, (host, port)).open()}
        case {"open": "udp", "host": host, "port": port}:
            return {"port": await UdpRelay(decider, (host, port)).open()}
    return {"counts": decider.counts.to_table()}


if __name__ == "__main__":
    asyncio.run(carry(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]))
