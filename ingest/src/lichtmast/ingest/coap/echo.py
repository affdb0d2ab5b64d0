"""Proof of address (RFC 9175 section 2): a value that only who receives at an address can send back.

Stateless: the value carries its time and a keyed hash over time and address, so a flood of forged requests costs no
memory. It proves reachability, not identity.
"""

import hashlib
import hmac
from typing import Final

from lichtmast.ingest.coap.limits import ECHO_LIFETIME_S
from lichtmast.ingest.coap.peers import Address

_TIME_BYTES: Final = 4
_HASH_BYTES: Final = 8


class Echoes:
    """Makes and verifies Echo values with one secret, which lives as long as the process."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, address: Address, now_s: float) -> bytes:
        """The value for this address, now."""
        time = (int(now_s) & 0xFFFFFFFF).to_bytes(_TIME_BYTES, "big")
        return time + self._hash(address, time)

    def verify(self, address: Address, value: bytes, now_s: float) -> bool:
        """Whether we made this value for this address, at most ECHO_LIFETIME_S ago."""
        time = value[:_TIME_BYTES]
        age_s = (int(now_s) - int.from_bytes(time, "big")) & 0xFFFFFFFF
        return hmac.compare_digest(value[_TIME_BYTES:], self._hash(address, time)) and age_s <= ECHO_LIFETIME_S

    def _hash(self, address: Address, time: bytes) -> bytes:
        return hashlib.blake2b(repr(address).encode() + time, key=self._secret, digest_size=_HASH_BYTES).digest()
