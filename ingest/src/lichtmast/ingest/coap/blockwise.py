"""Block-wise transfer (RFC 7959): bodies of several requests put together, and answers cut in blocks.

One body a peer at a time: a new one replaces the old. All unfinished bodies together are bounded in bytes; where the
bound bites, the oldest is dropped and its sender hears 4.08 with the next block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lichtmast.ingest.coap.exchange import Response
from lichtmast.ingest.coap.limits import ASSEMBLY_OVERHEAD_BYTES, BLOCK_LIFETIME_S, BLOCK_SZX_MAX
from lichtmast.ingest.coap.message import code, encode_uint
from lichtmast.ingest.coap.options import BLOCK1, SIZE1

BAD_REQUEST: Final = code("4.00")
ENTITY_INCOMPLETE: Final = code("4.08")
ENTITY_TOO_LARGE: Final = code("4.13")
CONTINUE: Final = code("2.31")


@dataclass(frozen=True, slots=True)
class Block:
    """A Block1 or Block2 option (section 2.2): which block, whether more follow, and its size as exponent."""

    number: int
    more: bool
    szx: int

    @property
    def size_bytes(self) -> int:
        """How many bytes a full block has."""
        return 16 << self.szx

    @property
    def offset(self) -> int:
        """Where the block begins in the body."""
        return self.number << (self.szx + 4)

    def encode(self) -> bytes:
        """The option's value."""
        return encode_uint(self.number << 4 | self.more << 3 | self.szx)


def decode_block(value: bytes) -> Block:
    """Read an option value of 0 to 3 bytes; `szx` may come out as the reserved 7, for the caller to refuse."""
    number = int.from_bytes(value, "big")
    return Block(number >> 4, bool(number & 0x08), number & 0x07)


class _Assembly:
    __slots__ = ("body", "content_format", "expires_s", "szx", "tag")

    def __init__(self, tag: tuple[bytes, ...], content_format: int, szx: int) -> None:
        self.tag = tag
        self.content_format = content_format
        self.szx = szx
        self.body = bytearray()
        self.expires_s = 0.0


class Assemblies:
    """The unfinished bodies, by peer number, oldest activity first."""

    def __init__(self, body_bytes_max: int, bytes_max: int) -> None:
        self._body_bytes_max = body_bytes_max
        self._bytes_max = bytes_max
        self._assemblies: dict[int, _Assembly] = {}
        self.bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._assemblies)

    def add(
        self,
        peer_number: int,
        *,
        tag: tuple[bytes, ...],
        content_format: int,
        announced_bytes: int,
        block: Block,
        payload: bytes,
        now_s: float,
    ) -> Response | bytes:
        """Take one block. The whole body where it was the last one, else what to answer."""
        if block.szx > BLOCK_SZX_MAX:
            return Response(BAD_REQUEST, "Block1: size exponent 7 is reserved")
        if len(payload) > block.size_bytes or (block.more and len(payload) != block.size_bytes):
            return Response(BAD_REQUEST, f"Block1: {len(payload)} bytes in a block of {block.size_bytes}")
        # One body a peer: the slot is emptied here, and filled again only where more is to come.
        assembly = self._take(peer_number)
        if max(block.offset + len(payload), announced_bytes) > self._body_bytes_max:
            return self.too_large()
        if block.number == 0:
            assembly = _Assembly(tag, content_format, block.szx)
        elif (
            assembly is None
            or assembly.expires_s <= now_s
            or block.offset != len(assembly.body)
            or (assembly.tag, assembly.content_format, assembly.szx) != (tag, content_format, block.szx)
        ):
            # Section 2.9.2: a gap, an overlap, another size, or a body we no longer have.
            return Response(ENTITY_INCOMPLETE, "Block1: start again at block 0")
        assembly.body += payload
        if not block.more:
            return bytes(assembly.body)
        assembly.expires_s = now_s + BLOCK_LIFETIME_S
        self._assemblies[peer_number] = assembly
        self.bytes += len(assembly.body) + ASSEMBLY_OVERHEAD_BYTES
        while self.bytes > self._bytes_max:
            self._take(next(iter(self._assemblies)))
            self.dropped += 1
        return Response(CONTINUE, options=((BLOCK1, block.encode()),))

    def too_large(self) -> Response:
        """4.13 that says how much would do (section 4)."""
        return Response(
            ENTITY_TOO_LARGE,
            f"more than {self._body_bytes_max} bytes; send smaller packs",
            ((SIZE1, encode_uint(self._body_bytes_max)),),
        )

    def expire(self, now_s: float) -> None:
        """Drop the bodies whose next block did not come in time."""
        # The order is that of the last block, so the first that is still fresh ends the search.
        for peer_number in list(self._stale(now_s)):
            self._take(peer_number)
            self.dropped += 1

    def _stale(self, now_s: float) -> Iterator[int]:
        for peer_number, assembly in self._assemblies.items():
            if assembly.expires_s > now_s:
                return
            yield peer_number

    def _take(self, peer_number: int) -> _Assembly | None:
        assembly = self._assemblies.pop(peer_number, None)
        if assembly is not None:
            self.bytes -= len(assembly.body) + ASSEMBLY_OVERHEAD_BYTES
        return assembly


def cut(content: bytes, block: Block) -> tuple[Block, bytes] | None:
    """The asked block of an answer, or None where it lies behind the end."""
    piece = content[block.offset : block.offset + block.size_bytes]
    if not piece:
        return None
    return Block(block.number, block.offset + len(piece) < len(content), block.szx), piece
