"""Cookies against forged sources (RFC 6347 section 4.2.1): only who receives at an address can send one back.

Stateless: the keyed hash covers the address, the hello and a turn of time, so a flood of hellos costs no memory. A
cookie of another address, of another hello or of a minute ago does not count.
"""

import hashlib
import hmac

from lichtmast.ingest.coap.dtls.limits import COOKIE_BYTES, COOKIE_TURN_S
from lichtmast.ingest.coap.peers import Address

_TURN_BYTES = 8


class Cookies:
    """Makes and verifies cookies with one secret, which lives as long as the process; each turn has its own key."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, address: Address, parameters: bytes, now_s: float) -> bytes:
        """The cookie for this hello from this address, now."""
        return self._hash(address, parameters, int(now_s // COOKIE_TURN_S))

    def verify(self, address: Address, parameters: bytes, cookie: bytes, now_s: float) -> bool:
        """Whether we made this cookie for this hello and address, in this turn or the one before."""
        turn = int(now_s // COOKIE_TURN_S)
        return len(cookie) == COOKIE_BYTES and any(
            hmac.compare_digest(cookie, self._hash(address, parameters, one)) for one in (turn, turn - 1)
        )

    def _hash(self, address: Address, parameters: bytes, turn: int) -> bytes:
        source = f"{address[0]} {address[1]} {address[3]} ".encode()
        salt = turn.to_bytes(_TURN_BYTES, "big", signed=True)
        return hashlib.blake2b(source + parameters, key=self._secret, salt=salt, digest_size=COOKIE_BYTES).digest()
