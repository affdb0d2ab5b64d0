"""Separate responses (RFC 7252 section 5.2.2) that wait for their acknowledgement, and when to send them again.

Bounded: beyond SEPARATE_MAX an answer goes out once, as non-confirmable, and the client asks again where it got lost.
"""

from typing import Final

from lichtmast.ingest.coap.limits import ACK_RANDOM_FACTOR, ACK_TIMEOUT_S, MAX_RETRANSMIT, SEPARATE_MAX
from lichtmast.ingest.coap.peers import Address


class _Outstanding:
    __slots__ = ("address", "datagram", "due_s", "sent", "timeout_s")

    def __init__(self, datagram: bytes, address: Address, due_s: float, timeout_s: float) -> None:
        self.datagram = datagram
        self.address = address
        self.due_s = due_s
        self.timeout_s = timeout_s
        self.sent = 1


class Retransmissions:
    """Confirmable messages of ours, by `peer number << 16 | our message id`."""

    def __init__(self) -> None:
        self._outstanding: dict[int, _Outstanding] = {}
        self.undelivered = 0

    def __len__(self) -> int:
        return len(self._outstanding)

    @property
    def is_full(self) -> bool:
        """Whether another confirmable message would be one too many."""
        return len(self._outstanding) >= SEPARATE_MAX

    def begin(self, key: int, datagram: bytes, address: Address, now_s: float, chance: float) -> None:
        """A message was sent for the first time. `chance` from 0 to 1 spreads the repetitions (section 4.2)."""
        timeout_s: Final = ACK_TIMEOUT_S * (1 + (ACK_RANDOM_FACTOR - 1) * chance)
        self._outstanding[key] = _Outstanding(datagram, address, now_s + timeout_s, timeout_s)

    def end(self, key: int) -> bool:
        """The peer acknowledged or rejected it; whether there was such a message."""
        return self._outstanding.pop(key, None) is not None

    def tick(self, now_s: float) -> list[tuple[bytes, Address]]:
        """What is due to be sent again. After MAX_RETRANSMIT repetitions a message is given up and counted."""
        due = [(key, one) for key, one in self._outstanding.items() if one.due_s <= now_s]
        again: list[tuple[bytes, Address]] = []
        for key, one in due:
            if one.sent > MAX_RETRANSMIT:
                del self._outstanding[key]
                self.undelivered += 1
                continue
            one.sent += 1
            one.timeout_s *= 2
            one.due_s = now_s + one.timeout_s
            again.append((one.datagram, one.address))
        return again
