"""Which link-local addresses an interface has now, as the kernel lists them in /proc/net/if_inet6."""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/net/if_inet6")
_LINK_LOCAL_SCOPE: Final = 0x20
_UNUSABLE: Final = 0x40 | 0x08
"""IFA_F_TENTATIVE and IFA_F_DADFAILED (linux/if_addr.h): it may be another's."""


@dataclass(frozen=True, slots=True)
class LinkLocal:
    """An address of an interface; a link-local address means nothing without it."""

    address: IPv6Address
    interface: str
    index: int


def link_local_addresses(interfaces: Collection[str], table: Path = _TABLE) -> set[LinkLocal]:
    """Those that can be bound now. Empty where there are none, or no such table."""
    found: set[LinkLocal] = set()
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        address, index, _, scope, flags, interface = line.split()
        if interface in interfaces and int(scope, 16) == _LINK_LOCAL_SCOPE and not int(flags, 16) & _UNUSABLE:
            found.add(LinkLocal(IPv6Address(int(address, 16)), interface, int(index, 16)))
    return found
