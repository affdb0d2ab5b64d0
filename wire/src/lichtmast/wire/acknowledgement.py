"""The application acknowledgement: what the store has, told to the device that sent it.

Sent on `lm/{tenant}/{device}/ack` after the store's fsync. Cumulative: an agent that misses ten of them loses nothing,
the eleventh says it all. JSON, so that the smallest device can read it:

    {"epoch": 7, "upto": 41, "ranges": [[43, 45]], "refused": [[44, "unknown_name", "no name x in profile y"]]}

Every sequence number from 1 to `upto`, and each in `ranges`, is on disk: stored, or in quarantine where `refused`
names it. A device deletes those from its outbox and keeps the rest.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from lichtmast.wire import limits

_BYTES_MAX: Final = 16 * 1024


class AcknowledgementError(ValueError):
    """The bytes are no acknowledgement; a device keeps its outbox as it is."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A pack that went to quarantine: its number, the reason (a Refusal value), and what to mend."""

    seq: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What is on disk of one epoch of one device: 1..upto, and the closed ranges above it."""

    epoch: int
    upto: int
    ranges: tuple[tuple[int, int], ...] = ()
    refused: tuple[Refused, ...] = ()

    def covers(self, seq: int) -> bool:
        """Whether this pack is on disk."""
        return seq <= self.upto or any(first <= seq <= last for first, last in self.ranges)

    def encode(self) -> bytes:
        """As JSON, without members that would be empty."""
        fields: dict[str, Any] = {"epoch": self.epoch, "upto": self.upto}
        if self.ranges:
            fields["ranges"] = self.ranges
        if self.refused:
            fields["refused"] = [(one.seq, one.reason, one.detail) for one in self.refused]
        return json.dumps(fields, separators=(",", ":")).encode()


def decode_acknowledgement(raw: bytes) -> Acknowledgement:
    """Read an acknowledgement strictly. Raises AcknowledgementError for anything else."""
    if len(raw) > _BYTES_MAX:
        raise AcknowledgementError(f"{len(raw)} bytes, more than {_BYTES_MAX}")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise AcknowledgementError("not JSON") from error
    if not isinstance(fields, dict):
        raise AcknowledgementError("not a JSON object")
    ranges = _list(fields, "ranges", limits.ACK_RANGES_MAX)
    refused = _list(fields, "refused", limits.ACK_REFUSALS_MAX)
    return Acknowledgement(
        _count(fields.get("epoch"), "epoch"),
        _count(fields.get("upto"), "upto"),
        tuple(_range(one) for one in ranges),
        tuple(_refused(one) for one in refused),
    )


def _count(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= limits.SEQ_MAX:
        raise AcknowledgementError(f"{name} is not a whole number from 0 to 2^53-1")
    return value


def _list(fields: dict[str, Any], name: str, most: int) -> list[Any]:
    value = fields.get(name, [])
    if not isinstance(value, list) or len(value) > most:
        raise AcknowledgementError(f"{name} is not a list of at most {most}")
    return value


def _range(value: object) -> tuple[int, int]:
    match value:
        case [first, last]:
            low, high = _count(first, "range start"), _count(last, "range end")
            if low <= high:
                return low, high
    raise AcknowledgementError("a range is not [first, last]")


def _refused(value: object) -> Refused:
    match value:
        case [seq, str(reason), str(detail)]:
            return Refused(_count(seq, "refused seq"), reason, detail)
    raise AcknowledgementError("a refusal is not [seq, reason, detail]")
