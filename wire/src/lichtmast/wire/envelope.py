"""Many packs in one log message: how a door shares one durable write between all that arrived together.

Layout, little endian: magic `LMB1`, then per pack a header of received time (u64, microseconds since 1970),
content format (u16, IANA CoAP number), length of the sender's name (u8), length of the payload (u32), then the name
(`tenant/device` in ASCII, empty where the door knows none) and the payload, unchanged.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lichtmast.wire import limits

MAGIC: Final = b"LMB1"
SENML_JSON: Final = 110
SENML_CBOR: Final = 112
"""RFC 8428 section 12.3.4, IANA CoAP Content-Formats."""

_HEADER: Final = struct.Struct("<QHBI")


class EnvelopeError(ValueError):
    """The bytes are no envelope: damaged, or not written by a door."""


@dataclass(frozen=True, slots=True)
class Enclosed:
    """One pack as a door received it: `sender` is `tenant/device` or empty; `payload` is exactly what arrived."""

    sender: str
    received_us: int
    content_format: int
    payload: bytes


def enclose(packs: Iterable[Enclosed]) -> bytes:
    """Write packs into one message."""
    parts = [MAGIC]
    for pack in packs:
        name = pack.sender.encode("ascii")
        parts += (_HEADER.pack(pack.received_us, pack.content_format, len(name), len(pack.payload)), name, pack.payload)
    return b"".join(parts)


def enclosed_bytes(sender: str, payload: bytes) -> int:
    """How many bytes one pack adds to an envelope."""
    return _HEADER.size + len(sender) + len(payload)


def disclose(message: bytes) -> list[Enclosed]:
    """Read what `enclose` wrote. Raises EnvelopeError for anything else."""
    if not message.startswith(MAGIC):
        raise EnvelopeError(f"no envelope: starts with {message[:4]!r} instead of {MAGIC!r}")
    packs: list[Enclosed] = []
    at = len(MAGIC)
    end = len(message)
    while at < end:
        if at + _HEADER.size > end:
            raise EnvelopeError(f"truncated in the header at byte {at} of {end}")
        received_us, content_format, name_length, length = _HEADER.unpack_from(message, at)
        at += _HEADER.size
        if at + name_length + length > end:
            raise EnvelopeError(f"truncated in the pack at byte {at} of {end}")
        try:
            sender = message[at : at + name_length].decode("ascii")
        except UnicodeDecodeError as error:
            raise EnvelopeError(f"sender at byte {at} is not ASCII") from error
        at += name_length
        packs.append(Enclosed(sender, received_us, content_format, message[at : at + length]))
        at += length
        if len(packs) > limits.ENVELOPE_PACKS_MAX:
            raise EnvelopeError(f"more than {limits.ENVELOPE_PACKS_MAX} packs")
    return packs
