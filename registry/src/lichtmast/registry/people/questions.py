"""Questions to passkeys that are out: nothing is kept of one that is only asked, because anybody may ask.

The ticket carries the challenge and its end under a key of this process; a restart ends the questions that are out.
Remembered, in memory, is what was answered well, which takes a passkey. Safe to use from several threads.
"""

import hmac
import secrets
import threading
from typing import Final

from lichtmast.registry.people.limits import CHALLENGE_S, CHALLENGES_USED_MAX

_CHALLENGE_BYTES: Final = 32
_PLAIN_BYTES: Final = _CHALLENGE_BYTES + 8
_TICKET_CHARACTERS: Final = (_PLAIN_BYTES + 32) * 2


class Questions:
    """Asks, recognises what it asked, and lets each question be answered well once."""

    def __init__(self, *, used_max: int = CHALLENGES_USED_MAX) -> None:
        self._key = secrets.token_bytes(32)
        self._used_max = used_max
        self._lock = threading.Lock()
        self._used: dict[bytes, int] = {}
        self._forgotten_us = 0

    def ask(self, now_us: int) -> tuple[str, bytes]:
        """A ticket and the challenge in it, good for some minutes."""
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        plain = challenge + (now_us + CHALLENGE_S * 1_000_000).to_bytes(_PLAIN_BYTES - _CHALLENGE_BYTES)
        return (plain + self._mark(plain)).hex(), challenge

    def challenge_of(self, ticket: str, now_us: int) -> bytes | None:
        """The challenge of a ticket of ours that is still good."""
        found = self._read(ticket)
        if found is None:
            return None
        with self._lock:
            return found[0] if self._is_good(*found, now_us) else None

    def use(self, ticket: str, now_us: int) -> bool:
        """It was answered well. False where it is no longer good, such as answered before."""
        found = self._read(ticket)
        if found is None:
            return False
        with self._lock:
            if not self._is_good(*found, now_us):
                return False
            self._used[found[0]] = found[1]
            if len(self._used) > self._used_max:
                # What is forgotten must not be answered again: whatever ends no later than it ends now.
                self._forgotten_us = max(self._forgotten_us, self._used.pop(next(iter(self._used))))
        return True

    def _is_good(self, challenge: bytes, until_us: int, now_us: int) -> bool:
        return until_us > max(now_us, self._forgotten_us) and challenge not in self._used

    def _read(self, ticket: str) -> tuple[bytes, int] | None:
        """The challenge and its end; None where the ticket is not ours."""
        if len(ticket) != _TICKET_CHARACTERS:
            return None
        try:
            sealed = bytes.fromhex(ticket)
        except ValueError:
            return None
        plain = sealed[:_PLAIN_BYTES]
        if not hmac.compare_digest(sealed[_PLAIN_BYTES:], self._mark(plain)):
            return None
        return plain[:_CHALLENGE_BYTES], int.from_bytes(plain[_CHALLENGE_BYTES:])

    def _mark(self, plain: bytes) -> bytes:
        return hmac.digest(self._key, plain, "sha256")
