"""The message format of RFC 7252 section 3, read strictly: bytes in, a Message or a Malformed out.

The form is canonical: for every datagram that decodes, `encode(decode(datagram)) == datagram`. It knows lengths and
markers only. What an option means, and whether a request is allowed, is decided in `request` and `core`.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from lichtmast.ingest.coap.limits import TOKEN_BYTES_MAX

EMPTY: Final = 0x00
"""Code 0.00 (RFC 7252 section 4.1)."""
PAYLOAD_MARKER: Final = 0xFF
HEADER_BYTES: Final = 4

_EXTENDED_8: Final = 13
_EXTENDED_16: Final = 14
_RESERVED: Final = 15
_OFFSET_16: Final = 269
_ENCODABLE_MAX: Final = 0xFFFF + _OFFSET_16


class Type(IntEnum):
    """Message type (RFC 7252 section 3)."""

    CON = 0
    NON = 1
    ACK = 2
    RST = 3


class Malformed(Enum):
    """Why bytes are no message. A confirmable one is rejected with a reset, any other ignored (section 4.2 and 4.3)."""

    SHORT = "short"
    VERSION = "version"
    TOKEN_LENGTH = "token_length"  # noqa: S105 - a reason, not a secret
    EMPTY_WITH_CONTENT = "empty_with_content"
    MARKER_WITHOUT_PAYLOAD = "marker_without_payload"
    OPTION_RESERVED = "option_reserved"
    OPTION_OVERRUN = "option_overrun"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `options` are (number, value) in ascending order of number; `code` is class << 5 | detail."""

    type: Type
    code: int
    message_id: int
    token: bytes = b""
    options: tuple[tuple[int, bytes], ...] = ()
    payload: bytes = b""


def code(dotted: str) -> int:
    """The code byte of its dotted form: `code("4.04")` is 0x84 (section 3)."""
    major, _, minor = dotted.partition(".")
    return int(major) << 5 | int(minor)


def dotted(code_byte: int) -> str:
    """The dotted form of a code byte, as the standard and the logs write it."""
    return f"{code_byte >> 5}.{code_byte & 0x1F:02}"


def decode(datagram: bytes) -> Message | Malformed:
    """Read one datagram. Never raises, whatever the bytes."""
    end = len(datagram)
    if end < HEADER_BYTES:
        return Malformed.SHORT
    first, code_byte = datagram[0], datagram[1]
    if first >> 6 != 1:
        return Malformed.VERSION
    at = HEADER_BYTES + (first & 0x0F)
    if first & 0x0F > TOKEN_BYTES_MAX or at > end:
        return Malformed.TOKEN_LENGTH
    if code_byte == EMPTY and end > HEADER_BYTES:
        return Malformed.EMPTY_WITH_CONTENT
    options: list[tuple[int, bytes]] = []
    read = _read_options(datagram, at, options)
    if isinstance(read, Malformed):
        return read
    return Message(
        Type(first >> 4 & 0x03),
        code_byte,
        datagram[2] << 8 | datagram[3],
        datagram[HEADER_BYTES:at],
        tuple(options),
        datagram[read:],
    )


def _read_options(datagram: bytes, at: int, options: list[tuple[int, bytes]]) -> int | Malformed:
    """Append the options that start at `at`; the position of the payload, or what is wrong (section 3.1)."""
    end = len(datagram)
    number = 0
    while at < end:
        byte = datagram[at]
        at += 1
        if byte == PAYLOAD_MARKER:
            return at if at < end else Malformed.MARKER_WITHOUT_PAYLOAD
        delta, length = byte >> 4, byte & 0x0F
        if _RESERVED in {delta, length}:
            return Malformed.OPTION_RESERVED
        if delta >= _EXTENDED_8:
            width = delta - 12
            if at + width > end:
                return Malformed.OPTION_OVERRUN
            delta = int.from_bytes(datagram[at : at + width], "big") + (_EXTENDED_8 if width == 1 else _OFFSET_16)
            at += width
        if length >= _EXTENDED_8:
            width = length - 12
            if at + width > end:
                return Malformed.OPTION_OVERRUN
            length = int.from_bytes(datagram[at : at + width], "big") + (_EXTENDED_8 if width == 1 else _OFFSET_16)
            at += width
        if at + length > end:
            return Malformed.OPTION_OVERRUN
        number += delta
        options.append((number, datagram[at : at + length]))
        at += length
    return at


def encode(message: Message) -> bytes:
    """Write one message. Raises ValueError where it breaks the format."""
    if len(message.token) > TOKEN_BYTES_MAX:
        raise ValueError(f"token of {len(message.token)} bytes, more than {TOKEN_BYTES_MAX}")
    if message.code == EMPTY and (message.token or message.options or message.payload):
        raise ValueError("an empty message has neither token, options nor payload (RFC 7252 section 4.1)")
    head = bytes((0x40 | message.type << 4 | len(message.token), message.code)) + message.message_id.to_bytes(2, "big")
    marker = b"\xff" if message.payload else b""
    return b"".join((head, message.token, encode_options(message.options), marker, message.payload))


def encode_options(options: tuple[tuple[int, bytes], ...]) -> bytes:
    """Write options, which must be in ascending order of number (section 3.1)."""
    written = bytearray()
    previous = 0
    for number, value in options:
        delta, delta_more = _nibble(number - previous)
        length, length_more = _nibble(len(value))
        written.append(delta << 4 | length)
        written += delta_more + length_more + value
        previous = number
    return bytes(written)


def _nibble(value: int) -> tuple[int, bytes]:
    if not 0 <= value <= _ENCODABLE_MAX:
        raise ValueError(f"option delta or length {value}: options go in ascending order, up to {_ENCODABLE_MAX}")
    if value < _EXTENDED_8:
        return value, b""
    if value < _OFFSET_16:
        return _EXTENDED_8, bytes((value - _EXTENDED_8,))
    return _EXTENDED_16, (value - _OFFSET_16).to_bytes(2, "big")


def encode_uint(value: int) -> bytes:
    """An option value of format uint, in the fewest bytes (section 3.2)."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
