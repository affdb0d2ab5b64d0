"""Duplicate detection (RFC 7252 section 4.5): each request is done once, and each copy of it gets the same answer.

Bounded in entries and bytes; where a bound bites, the oldest exchange is forgotten first. A forgotten one that is
retransmitted is done again, and the pipeline then drops the pack as a duplicate.
"""

from collections import deque
from typing import Final

from lichtmast.ingest.coap.exchange import Exchange
from lichtmast.ingest.coap.limits import EXCHANGE_LIFETIME_S, REMEMBERED_OVERHEAD_BYTES

FINGERPRINT_BYTES: Final = 4

Remembered = Exchange | bytes
"""An exchange that is not answered yet, or the fingerprint of a request followed by the answer it got."""


class ReplyMemory:
    """What was answered to whom, by `peer number << 16 | message id`, for EXCHANGE_LIFETIME."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        # An int as key and bytes as value are not tracked by the garbage collector: 200,000 of them cost it nothing.
        self.entries: dict[int, Remembered] = {}
        self.bytes = 0
        self._order: deque[int] = deque()
        self._expiry_s: deque[float] = deque()
        self._entries_max = entries_max
        self._bytes_max = bytes_max

    def begin(self, key: int, remembered: Remembered, now_s: float) -> None:
        """Remember a new exchange; `key` is not in `entries`."""
        self.entries[key] = remembered
        self._order.append(key)
        self._expiry_s.append(now_s + EXCHANGE_LIFETIME_S)
        self.bytes += REMEMBERED_OVERHEAD_BYTES
        if type(remembered) is bytes:
            self.bytes += len(remembered)
        if len(self._order) > self._entries_max or self.bytes > self._bytes_max:
            self._shrink()

    def finish(self, exchange: Exchange, answer: bytes) -> None:
        """The answer of an exchange that has begun; nothing where it was forgotten meanwhile."""
        key = exchange.key
        if self.entries.get(key) is exchange:
            self.entries[key] = exchange.fingerprint + answer
            self.bytes += FINGERPRINT_BYTES + len(answer)

    def expire(self, now_s: float) -> None:
        """Forget what is older than EXCHANGE_LIFETIME."""
        expiry_s = self._expiry_s
        while expiry_s and expiry_s[0] <= now_s:
            self._forget_oldest()

    def _shrink(self) -> None:
        while len(self._order) > self._entries_max or (self.bytes > self._bytes_max and self._order):
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        self._expiry_s.popleft()
        remembered = self.entries.pop(self._order.popleft())
        self.bytes -= REMEMBERED_OVERHEAD_BYTES
        if type(remembered) is bytes:
            self.bytes -= len(remembered)
