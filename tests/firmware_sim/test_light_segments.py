"""A light device's TCP: segments that every IPv6 path carries, in both directions."""

import asyncio
import socket

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.light.line import open_stream


def test_a_light_device_and_its_broker_send_no_segment_that_a_small_path_would_lose() -> None:
    async def story() -> int:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            server.setblocking(False)  # noqa: FBT003 - its only parameter
            ended = asyncio.Event()

            class Quiet(asyncio.Protocol):
                def connection_lost(self, exc: Exception | None) -> None:
                    assert exc is None
                    ended.set()

            await open_stream(Quiet, ("::1", server.getsockname()[1], 0, 0), None)
            accepted, _ = await asyncio.get_running_loop().sock_accept(server)
            with accepted:
                segment_bytes = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            await asyncio.wait_for(ended.wait(), 5)
            return segment_bytes

    assert asyncio.run(story()) <= limits.TCP_SEGMENT_BYTES
