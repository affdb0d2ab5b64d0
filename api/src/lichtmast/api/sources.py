"""Where a request comes from, as far as a limit may count it: an IPv6 network of /64, which one customer has whole.

A site may have the /48 around it. Counting addresses would count nothing: whoever has one has 2**64 of them.
"""

from ipaddress import IPv6Address, IPv6Network
from typing import Final

_NETWORK_BITS: Final = 64
_SITE_BITS: Final = 48
UNKNOWN: Final = "unknown"


def network_of(host: str | None) -> str:
    """The /64 of an address, such as `2001:db8:1:2::/64`; `unknown` where there is none."""
    return _around(host, _NETWORK_BITS)


def site_of(host: str | None) -> str:
    """The /48 of an address, such as `2001:db8:1::/48`; `unknown` where there is none."""
    return _around(host, _SITE_BITS)


def _around(host: str | None, bits: int) -> str:
    try:
        address = IPv6Address((host or "").partition("%")[0])
    except ValueError:
        return UNKNOWN
    return str(IPv6Network((address, bits), strict=False))
