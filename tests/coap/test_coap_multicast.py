"""The door answers no group (B4 group 58, RFC 7252 section 8), shown in a network namespace that routes one to lo."""

import asyncio
import socket
import struct

import pytest
from own_namespace import run_in_own_namespace

from lichtmast.ingest.coap.binding import bind
from lichtmast.ingest.coap.testing import Endpoint, MemoryLog, open_door, post

GROUP = "ff01::1"


@pytest.mark.slow
@pytest.mark.system
def test_a_request_to_a_group_is_not_received_where_an_ordinary_socket_receives_it() -> None:
    done = run_in_own_namespace("ip link set lo up && ip -6 route add multicast ff01::/16 dev lo table local", __file__)
    assert (done.returncode, done.stdout) == (0, "nothing received\n"), done.stderr


async def _send_to_group() -> None:
    loopback = socket.if_nametoindex("lo")
    log = MemoryLog()
    unopened = open_door(log)
    unopened._socket.close()
    unopened._socket = bind("::", 0)  # no setting allows plaintext there; in this namespace nobody else is
    async with unopened as door:
        with (
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ordinary,
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender,
            Endpoint(door.port) as endpoint,
        ):
            ordinary.settimeout(2)
            ordinary.bind(("::", 0))
            # One member on the machine is enough: Linux then hands the group's datagrams to every socket on the port.
            membership = socket.inet_pton(socket.AF_INET6, GROUP) + struct.pack("@I", loopback)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, loopback)
            for port in (door.port, ordinary.getsockname()[1]):
                sender.sendto(post(1), (GROUP, port, 0, loopback))
            assert post(1) == ordinary.recv(2_048), "the group must reach this machine, or this test says nothing"
            assert await endpoint.ask_before_ping(b"") == []
            statistics = door.statistics()
    assert statistics.answers == {}
    assert statistics.events == {"ignored_short": 1, "reset_ping": 1}
    print("nothing received")  # noqa: T201 - what the test outside waits for


if __name__ == "__main__":
    asyncio.run(_send_to_group())
