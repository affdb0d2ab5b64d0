"""One confirmable POST of a light device and its answer: RFC 7252 message format, sections 4.2 and 5.2.

Retransmission doubles from a seeded first timeout; the answer comes in the acknowledgement or apart from it. Sans-IO:
datagrams and moments in, datagrams out. What is not for this exchange is rejected or ignored as section 4 asks.
"""

from dataclasses import dataclass
from typing import Final

from lichtmast.firmware_sim import limits

POST_UP: Final = b"\xb2up"
"""Uri-Path (11) "up"; Content-Format (12) follows."""
_MARKER: Final = 0xFF
_MAX_AGE: Final = 14
_MAX_AGE_DEFAULT_S: Final = 0
_CON, _NON, _ACK, _RST = range(4)
_HEADER_BYTES: Final = 4
_TOKEN_BYTES_MAX: Final = 8
_RESERVED: Final = 15
_EXTENDED_8: Final = 13
_RESPONSES: Final = range(0x40, 0xC0)
"""Codes 2.00 to 5.31 (section 5.9)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its code byte (class << 5 | detail), and how long Max-Age says to wait."""

    code: int
    max_age_s: int

    @property
    def is_success(self) -> bool:
        """2.xx."""
        return self.code >> 5 == 2  # noqa: PLR2004 - section 5.9.1

    @property
    def is_later(self) -> bool:
        """5.xx or 4.29: the same request may succeed another time."""
        return self.code >> 5 == 5 or self.code == 0x9D  # noqa: PLR2004 - section 5.9.3, RFC 8516

    @property
    def dotted(self) -> str:
        """As the standard writes it."""
        return f"{self.code >> 5}.{self.code & 0x1F:02}"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a datagram: bytes to send back (empty for none), the answer, and whether the peer rejected us."""

    reply: bytes = b""
    answer: Answer | None = None
    rejected: bool = False


class Exchange:
    """A POST to /up in flight. `first_timeout_s` is ACK_TIMEOUT times a chance from 1 to 1.5 (section 4.2)."""

    __slots__ = ("_acknowledged", "_ends_at_s", "_id", "_left", "_timeout_s", "_token", "request", "wake_at_s")

    def __init__(
        self,
        payload: bytes,
        content_format: int,
        *,
        message_id: int,
        token: bytes,
        first_timeout_s: float,
        now_s: float,
    ) -> None:
        identifier = message_id.to_bytes(2, "big")
        head = bytes((0x40 | len(token), 0x02)) + identifier + token
        self.request = head + POST_UP + bytes((0x11, content_format, _MARKER)) + payload
        self._id = identifier
        self._token = token
        self._timeout_s = first_timeout_s
        self._left = limits.COAP_MAX_RETRANSMIT
        self._acknowledged = False
        self._ends_at_s = now_s + limits.COAP_ANSWER_TIMEOUT_S
        self.wake_at_s = min(now_s + first_timeout_s, self._ends_at_s)

    def tick(self, now_s: float) -> bytes | None:
        """The datagram to send again, empty for none yet; None where it is time to give up."""
        if now_s < self.wake_at_s:
            return b""
        if now_s >= self._ends_at_s or self._acknowledged or not self._left:
            return None
        self._left -= 1
        self._timeout_s *= 2
        self.wake_at_s = min(now_s + self._timeout_s, self._ends_at_s)
        return self.request

    def heard(self, datagram: bytes) -> Heard:
        """Act on a datagram. Never raises, whatever the bytes."""
        if len(datagram) < _HEADER_BYTES or datagram[0] >> 6 != 1:
            return Heard()
        kind, size, code = datagram[0] >> 4 & 3, datagram[0] & 0x0F, datagram[1]
        ours = datagram[2:4] == self._id
        if kind == _RST:
            return Heard(rejected=ours and len(datagram) == _HEADER_BYTES)
        if kind == _ACK and not ours:
            return Heard()
        if not code:
            if kind == _ACK and len(datagram) == _HEADER_BYTES:
                self._acknowledged = True  # the answer comes apart (section 5.2.2)
                self.wake_at_s = self._ends_at_s
            return Heard(_reset(datagram) if kind == _CON else b"")  # a CoAP ping, or bytes that are no message
        answer = _answer(datagram, size)
        if answer is None or datagram[_HEADER_BYTES : _HEADER_BYTES + size] != self._token:
            return Heard(_reset(datagram) if kind == _CON else b"")
        return Heard(b"\x60\x00" + datagram[2:4] if kind == _CON else b"", answer)


def refused(datagram: bytes) -> bytes:
    """What a device that waits for nothing says to a datagram: a reset to a confirmable one (section 4.2)."""
    confirmable = len(datagram) >= _HEADER_BYTES and datagram[0] >> 4 == 1 << 2 | _CON
    return _reset(datagram) if confirmable else b""


def _reset(datagram: bytes) -> bytes:
    return b"\x70\x00" + datagram[2:4]


def _answer(datagram: bytes, token_bytes: int) -> Answer | None:
    """The response in a datagram, its options read to the end; None where it is malformed or no response."""
    code, at = datagram[1], _HEADER_BYTES + token_bytes
    if code not in _RESPONSES or token_bytes > _TOKEN_BYTES_MAX or at > len(datagram):
        return None
    number, max_age_s = 0, _MAX_AGE_DEFAULT_S
    while at < len(datagram):
        if datagram[at] == _MARKER:
            return Answer(code, max_age_s) if at + 1 < len(datagram) else None
        delta, length = datagram[at] >> 4, datagram[at] & 0x0F
        at += 1
        widened = []
        for nibble in (delta, length):
            width = max(0, nibble - 12)
            if nibble == _RESERVED or at + width > len(datagram):
                return None
            extra = int.from_bytes(datagram[at : at + width], "big")
            widened.append(nibble if not width else extra + (_EXTENDED_8 if width == 1 else 269))
            at += width
        number, length = number + widened[0], widened[1]
        if at + length > len(datagram):
            return None
        if number == _MAX_AGE:
            max_age_s = int.from_bytes(datagram[at : at + length], "big")
        at += length
    return Answer(code, max_age_s)
