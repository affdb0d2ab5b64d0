"""How many handshakes may begin: in all, and from one /64, so that one subscriber's flood leaves room for the others.

Counts only hellos with a good cookie: the others cost nothing that would need a limit.
"""

import socket

from lichtmast.ingest.coap.dtls.limits import RATE_BURST_S, SUBNET_BYTES, SUBNETS_MAX
from lichtmast.ingest.coap.peers import Address

_ALL = b""


class HandshakeRates:
    """Token buckets of RATE_BURST_S, each kept as one number: when its allowance will be whole again."""

    def __init__(self, per_s: float, subnet_per_s: float) -> None:
        self._interval_s = 1.0 / per_s
        self._subnet_interval_s = 1.0 / subnet_per_s
        self._due_s: dict[bytes, float] = {}

    def admit(self, address: Address, now_s: float) -> bool:
        """Whether a handshake from this address may begin now. One that may not costs no allowance."""
        subnet = socket.inet_pton(socket.AF_INET6, address[0].partition("%")[0])[:SUBNET_BYTES]
        of_all_s = max(self._due_s.get(_ALL, 0.0), now_s) + self._interval_s
        of_subnet_s = max(self._due_s.get(subnet, 0.0), now_s) + self._subnet_interval_s
        if max(of_all_s, of_subnet_s) > now_s + RATE_BURST_S:
            return False
        if len(self._due_s) >= SUBNETS_MAX:
            self._due_s = {one: due_s for one, due_s in self._due_s.items() if due_s > now_s}
        self._due_s[_ALL], self._due_s[subnet] = of_all_s, of_subnet_s
        return True

    def __len__(self) -> int:
        return len(self._due_s)
