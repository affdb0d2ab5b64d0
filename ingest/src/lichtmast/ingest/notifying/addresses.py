"""Where a webhook may lead: the public internet, and what the operator allowed. Pure.

A channel's address is text that a manager of one municipality chose; our server stands inside a network that trusts
it. So what counts is the address that a connection is made to, after the name was resolved (OWASP SSRF).
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an address of the old internet, and that one is reached."""
_INSIDE: Final = tuple(map(IPv6Network, ("fec0::/10", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""What the library takes for global: site-local, local NAT64 (RFC 8215), IPv4-compatible and IPv4-translated."""
_LAST_32_BITS: Final = 0xFFFF_FFFF


def is_permitted(address: IPv6Address, allowed: Sequence[IPv6Network]) -> bool:
    """Whether a connection to this address may be made."""
    if any(address in network for network in allowed):
        return True
    if not address.is_global or address.is_multicast or any(address in network for network in _INSIDE):
        return False
    inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inside.append(ip_address(int(address) & _LAST_32_BITS))  # below 2^32 it is the other kind
    return all(one.is_global for one in inside if one is not None)
