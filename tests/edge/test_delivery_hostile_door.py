"""What a CoAP server may answer, and what of it settles a pack: a lie costs a repetition, never a pack."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lichtmast.edge.outbox.values import Packed
from lichtmast.edge.uplink.coap import CoapLink, judge
from lichtmast.edge.uplink.errors import UplinkError
from lichtmast.edge.uplink.link import Later, Outcome, Refused, Stored


class Liar(asyncio.DatagramProtocol):
    """Answers each request at once, with this code and these options, in one piggybacked datagram."""

    def __init__(self, code: int, options: bytes) -> None:
        self._code, self._options = code, options

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's own is no DatagramTransport in 3.11
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        token_bytes = data[0] & 0x0F
        head = bytes([0x60 | token_bytes, self._code]) + data[2:4]
        self._transport.sendto(head + data[4 : 4 + token_bytes] + self._options, addr)


@asynccontextmanager
async def lying(code: int, options: bytes) -> AsyncIterator[CoapLink]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Liar(code, options), local_addr=("::1", 0))
    try:
        yield CoapLink("::1", transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


@pytest.mark.parametrize("code", ["2.01", "2.04"])
def test_done_settles_a_pack(code: str) -> None:
    assert judge(code, None, b"") == Stored()


@pytest.mark.parametrize("code", ["2.00", "2.02", "2.03", "2.05", "2.31", "3.00", "5.00", "7.31"])
def test_any_other_answer_that_does_not_judge_the_pack_keeps_it(code: str) -> None:
    assert isinstance(judge(code, None, b""), Later)


@pytest.mark.parametrize("size_bytes", [50, 3_000])
@pytest.mark.parametrize(
    ("code", "options"),
    [
        (0x8D, b"\xd1\x0e\x05"),
        (0x8D, b"\xd1\x0e\x02"),
        (0x44, b"\xd1\x0e\x06"),
        (0x5F, b"\xd1\x0e\x0e"),
        (0x80, b"\xd1\x0e\x06"),
        (0xA3, b"\xd1\x0e\x06"),
        (0x44, b"\xd1\x0a\x0e"),
        (0x45, b"\xd1\x0a\xff"),
    ],
    ids=["4.13 hint", "4.13 small hint", "2.04 block", "2.31 more", "4.00 block", "5.03 block", "block2", "bad block2"],
)
def test_an_answer_with_blocks_that_nobody_asked_for_neither_settles_nor_ends_the_agent(
    code: int, options: bytes, size_bytes: int
) -> None:
    async def story() -> Outcome | UplinkError:
        async with lying(code, options) as link, asyncio.timeout(5), link.open() as session:
            try:
                return await session.deliver(Packed(1, b"x" * size_bytes, 110, 0.0))
            except UplinkError as error:
                return error

    told = asyncio.run(story())
    assert not isinstance(told, Stored)
    if isinstance(told, Refused):
        assert told.reason.startswith("4."), "a judgement of the pack, which blocks do not change"
