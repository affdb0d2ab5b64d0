"""The one message that the router itself sends: Packet Too Big (RFC 4443 section 3.2), from bytes to bytes.

Will not parse extension headers: for what it must know the fixed header (RFC 8200 section 3) is enough.
"""

import struct
from typing import Final

from lichtmast.firmware_sim.network import limits

HEADER_BYTES: Final = 40
ADDRESS_BYTES: Final = 16
NEXT_HEADER_ICMPV6: Final = 58
PACKET_TOO_BIG: Final = 2
ERROR_TYPES_BELOW: Final = 128
"""RFC 4443 section 2.1: types 0 to 127 are errors."""
_HOP_LIMIT: Final = 64
_VERSION: Final = 0x6
_LINK_LOCAL: Final = 0xFE80
_LINK_LOCAL_MASK: Final = 0xFFC0
_MULTICAST: Final = 0xFF


def is_routed(packet: bytes) -> bool:
    """Whether a router forwards this at all: whole, IPv6, neither multicast nor link-local (RFC 4291 section 2.5.6)."""
    if len(packet) < HEADER_BYTES or packet[0] >> 4 != _VERSION:
        return False
    source, destination = packet[8:10], packet[24:26]
    link_local = any(int.from_bytes(one) & _LINK_LOCAL_MASK == _LINK_LOCAL for one in (source, destination))
    return not link_local and destination[0] != _MULTICAST and source[0] != _MULTICAST


def packet_too_big(packet: bytes, mtu_bytes: int, router: bytes) -> bytes | None:
    """The answer to the sender of `packet` from the address `router`; None where none may be sent (section 2.4 e.1)."""
    if packet[6] == NEXT_HEADER_ICMPV6 and packet[HEADER_BYTES] < ERROR_TYPES_BELOW:
        return None
    sender = packet[8:24]
    # As much of the packet as fits without the answer exceeding the minimum MTU (section 3.2).
    quoted = packet[: limits.MTU_BYTES_MIN - HEADER_BYTES - 8]
    body = struct.pack("!BBHI", PACKET_TOO_BIG, 0, 0, mtu_bytes) + quoted
    pseudo = router + sender + struct.pack("!II", len(body), NEXT_HEADER_ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", _VERSION << 28, len(body), NEXT_HEADER_ICMPV6, _HOP_LIMIT)
    return header + router + sender + body


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071); 0 over data that carries its own right checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
