"""The router's own message: Packet Too Big, byte by byte."""

import struct
from ipaddress import IPv6Address

from lichtmast.firmware_sim.network import icmpv6

DEVICE, SERVER, ROUTER = (IPv6Address(f"2001:db8::{one}").packed for one in (1, 2, 3))


def packet(payload: bytes, *, protocol: int = 17, source: bytes = DEVICE, destination: bytes = SERVER) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source + destination + payload


def test_packet_too_big_is_laid_out_as_rfc_4443_says() -> None:
    large = packet(bytes(range(256)) * 6)
    answer = icmpv6.packet_too_big(large, 1_280, ROUTER)
    assert answer is not None
    assert len(answer) == 1_280  # as much of the packet as fits the minimum MTU
    assert (answer[8:24], answer[24:40]) == (ROUTER, DEVICE)
    kind, code, _, mtu = struct.unpack_from("!BBHI", answer, 40)
    assert (kind, code, mtu) == (2, 0, 1_280)
    assert answer[48:] == large[: 1_280 - 48]
    pseudo = answer[8:40] + struct.pack("!II", len(answer) - 40, 58)
    assert icmpv6.checksum(pseudo + answer[40:]) == 0


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert icmpv6.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2  # the example of section 3
    assert icmpv6.checksum(b"\x01") == 0xFFFF - 0x0100


def test_an_error_is_never_answered_with_an_error() -> None:
    unreachable, echo = b"\x01\x00", b"\x80\x00"
    assert icmpv6.packet_too_big(packet(unreachable + bytes(1_400), protocol=58), 1_280, ROUTER) is None
    assert icmpv6.packet_too_big(packet(echo + bytes(1_400), protocol=58), 1_280, ROUTER) is not None


def test_a_router_forwards_neither_link_local_nor_multicast_nor_broken_packets() -> None:
    neighbour, everyone = IPv6Address("fe80::1").packed, IPv6Address("ff02::1").packed
    assert icmpv6.is_routed(packet(b"x"))
    assert not icmpv6.is_routed(packet(b"x", source=neighbour))
    assert not icmpv6.is_routed(packet(b"x", destination=neighbour))
    assert not icmpv6.is_routed(packet(b"x", destination=everyone))
    assert not icmpv6.is_routed(packet(b"")[:39])
    assert not icmpv6.is_routed(b"\x45" + packet(b"x")[1:])
    assert not icmpv6.is_routed(b"")
