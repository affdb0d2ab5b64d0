"""Orders to the pipeline about its quarantine, as log messages on `topics.REPLAY_SUBJECT`: judge anew, or discard.

The log is the only order of all that is stored, so these go through it too (docs/adr/0035). An order names entries of
the quarantine, and a replay carries their bytes; whether an entry is there, and with these bytes, the store decides.

Layout, little endian: magic `LMR1`, then per entry a header of action (u8), position in the log (u64), part (u32),
received time (u64, microseconds since 1970), content format (u16, 0 where the transport told none), length of the
sender's name (u8), length of the payload (u32), then the name (`tenant/device` in ASCII, empty where nobody is known)
and the payload, unchanged. A discard has no payload.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from lichtmast.wire import limits
from lichtmast.wire.envelope import EnvelopeError

REPLAY_MAGIC: Final = b"LMR1"
_HEADER: Final = struct.Struct("<BQIQHBI")
_NUMBER_END: Final = 2**63
_PART_END: Final = 2**31


@unique
class Action(IntEnum):
    """What to do with an entry."""

    REPLAY = 0
    DISCARD = 1


@dataclass(frozen=True, slots=True)
class Ordered:
    """One entry of the quarantine: where it came in, as the quarantine holds it."""

    action: Action
    log_seq: int
    part: int
    received_us: int
    sender: str
    content_format: int = 0
    payload: bytes = b""

    @property
    def key(self) -> bytes:
        """What names the order in place of a payload, where there is none."""
        return _HEADER.pack(self.action, self.log_seq, self.part, self.received_us, 0, 0, 0) + self.sender.encode()

    @property
    def size_bytes(self) -> int:
        """How much it adds to a message."""
        return _HEADER.size + len(self.sender) + len(self.payload)


def write_orders(orders: Iterable[Ordered]) -> Iterator[bytes]:
    """Messages that each fit into the log. The caller keeps a single payload within PACK_BYTES_MAX."""
    parts: list[bytes] = []
    size = count = 0
    for one in orders:
        if parts and (size + one.size_bytes > limits.ENVELOPE_BYTES_MAX or count == limits.ENVELOPE_PACKS_MAX):
            yield b"".join(parts)
            parts, size, count = [], 0, 0
        if not parts:
            parts, size = [REPLAY_MAGIC], len(REPLAY_MAGIC)
        name = one.sender.encode("ascii")
        head = (one.action, one.log_seq, one.part, one.received_us, one.content_format, len(name), len(one.payload))
        parts += (_HEADER.pack(*head), name, one.payload)
        size += one.size_bytes
        count += 1
    if parts:
        yield b"".join(parts)


def read_orders(message: bytes) -> list[Ordered]:
    """Read one message of `write_orders`. Raises EnvelopeError for anything else."""
    if not message.startswith(REPLAY_MAGIC):
        raise EnvelopeError(f"no order: starts with {message[:4]!r} instead of {REPLAY_MAGIC!r}")
    orders: list[Ordered] = []
    at, end = len(REPLAY_MAGIC), len(message)
    while at < end:
        if at + _HEADER.size > end:
            raise EnvelopeError(f"truncated in the header at byte {at} of {end}")
        action, log_seq, part, received_us, content_format, name_length, length = _HEADER.unpack_from(message, at)
        if action not in list(Action) or max(log_seq, received_us) >= _NUMBER_END or part >= _PART_END:
            raise EnvelopeError(f"the header at byte {at} names no entry")
        if action == Action.DISCARD and (length or content_format):
            raise EnvelopeError(f"the discard at byte {at} has a payload")
        at += _HEADER.size
        if at + name_length + length > end:
            raise EnvelopeError(f"truncated in the entry at byte {at} of {end}")
        try:
            sender = message[at : at + name_length].decode("ascii")
        except UnicodeDecodeError as error:
            raise EnvelopeError(f"sender at byte {at} is not ASCII") from error
        at += name_length
        payload = message[at : at + length]
        orders.append(Ordered(Action(action), log_seq, part, received_us, sender, content_format, payload))
        at += length
        if len(orders) > limits.ENVELOPE_PACKS_MAX:
            raise EnvelopeError(f"more than {limits.ENVELOPE_PACKS_MAX} entries")
    return orders
