"""The strict way for one pack: decode, identify and resolve it by the wire's own rules, and say what is wrong.

Slow and exact; the fast way (`decode.py`) sends everything here that it is not certain about.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from lichtmast.ingest.pipeline.roster import BOOLEAN, NUMBER, TEXT, UNKNOWN, Roster
from lichtmast.wire import limits, senml
from lichtmast.wire.identity import URN_PREFIX
from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.validation import UnitConversion

Ranges: TypeAlias = tuple[tuple[int, int], ...]

_EPOCH: Final = re.compile(rb'"lm-epoch"[ \t\r\n]*:[ \t\r\n]*([0-9]{1,16})[ \t\r\n]*[,}]')
_SEQ: Final = re.compile(rb'"lm-seq"[ \t\r\n]*:[ \t\r\n]*([0-9]{1,16})[ \t\r\n]*[,}]')


@dataclass(frozen=True, slots=True)
class Row:
    """One observation of a judged pack."""

    datastream_id: int
    time_us: int
    result: float | None
    text: str | None
    quality: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The pack is the device's own and each reading has its datastream. `dropped` is what it declares beside them."""

    epoch: int | None
    seq: int | None
    rows: tuple[Row, ...]
    dropped: Ranges = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """The pack goes to quarantine. Epoch and seq are told where they can be read all the same.

    What a device's own pack declares as dropped counts although its readings do not: the device will not say it again.
    """

    epoch: int | None
    seq: int | None
    refusal: Refusal
    detail: str
    dropped: Ranges = ()


def judge(
    raw: bytes, content_format: int, received_us: int, device: int, sender: str, roster: Roster
) -> Accepted | Rejected:
    """Judge one pack from `sender` (its roster row is `device`, or UNKNOWN)."""
    content_format = content_format or senml.sniff(raw)
    try:
        pack = senml.decode(raw, content_format, received_us)
    except PackError as error:
        return _undecoded(raw, content_format, sender, error)
    epoch, seq = pack.epoch, pack.seq
    if pack.device is None or str(pack.device) != sender:
        named = f"names {pack.device}" if pack.device else "names no device of ours"
        return Rejected(
            epoch, seq, Refusal.IDENTITY_MISMATCH, f"{sender or 'an unknown sender'} sent a pack that {named}"
        )
    if device == UNKNOWN:
        return Rejected(epoch, seq, Refusal.UNKNOWN_DEVICE, f"{sender} is not registered; register it, then replay")
    if not roster.active[device]:
        detail = f"{sender} is registered but not active"
        return Rejected(epoch, seq, Refusal.INACTIVE_DEVICE, detail, pack.dropped)
    rows: list[Row] = []
    for record in pack.records:
        row = _row(record, record.name[len(pack.device.urn) :], device, roster)
        if not isinstance(row, Row):
            return Rejected(epoch, seq, *row, pack.dropped)
        rows.append(row)
    return Accepted(epoch, seq, tuple(rows), pack.dropped)


def _row(record: senml.Record, suffix: str, device: int, roster: Roster) -> Row | tuple[Refusal, str]:
    """The observation that a record is for this device, or why it is none."""
    profile_row = int(roster.profile_of[device])
    profile = roster.profiles[profile_row]
    column = roster.suffix_codes.get(suffix, UNKNOWN)
    if column == UNKNOWN or roster.datastreams[device, column] == UNKNOWN:
        return Refusal.UNKNOWN_NAME, f"profile {profile.key} has no name {suffix[: limits.NAME_LENGTH_MAX]}"
    capability = profile.uplinks[profile.index_of(suffix)]
    datastream_id = int(roster.datastreams[device, column])
    if record.unit is not None and record.unit != capability.unit:
        accepted = roster.validation.accepted(profile.key, capability.key, datastream_id)
        conversion = next((one for one in accepted if one.unit == record.unit), None)
        if conversion is None:
            return Refusal.WRONG_UNIT, f"{suffix} is in {capability.unit or 'no unit'}, not in {record.unit}"
        try:
            record = _converted(record, conversion)
        except OverflowError:
            return Refusal.BAD_VALUE, f"{suffix} is beyond IEEE double precision in {capability.unit or 'no unit'}"
    row = _of_kind(record, datastream_id, int(roster.kinds[profile_row, column]))
    if row is None:
        return Refusal.WRONG_TYPE, f"{suffix} takes a {capability.kind.value} value"
    minimum, maximum = roster.minima[profile_row, column], roster.maxima[profile_row, column]
    if row.result is not None and not minimum <= row.result <= maximum:
        return replace(row, quality=row.quality | Quality.OUT_OF_RANGE)
    return row


def _converted(record: senml.Record, conversion: UnitConversion) -> senml.Record:
    """The record in the capability's own unit. Raises OverflowError. What is no number is for `_of_kind` to refuse."""
    if not isinstance(record.value, float):
        return record
    quality = record.quality | int(Quality.UNIT_CONVERTED)
    return replace(record, value=conversion.convert(record.value), quality=quality)


def _of_kind(record: senml.Record, datastream_id: int, kind: int) -> Row | None:
    """The record's value as its kind demands; None where it is of another kind."""
    match kind, record.value:
        case (k, bool(value)) if k == BOOLEAN:
            return Row(datastream_id, record.time_us, float(value), None, record.quality)
        case (k, float(value)) if k == NUMBER:
            return Row(datastream_id, record.time_us, value, None, record.quality)
        case (k, str(value)) if k == TEXT:
            return Row(datastream_id, record.time_us, None, value, record.quality)
    return None


def _undecoded(raw: bytes, content_format: int, sender: str, error: PackError) -> Rejected:
    """What a pack that cannot be decoded says of itself all the same. Only its own device declares drops by it."""
    claim = senml.read_claim(raw, content_format)
    if claim is None:
        return Rejected(*_salvage(raw), error.refusal, error.detail)
    own = bool(sender) and claim.name.startswith(f"{URN_PREFIX}{sender.replace('/', ':')}/")
    return Rejected(claim.epoch, claim.seq, error.refusal, error.detail, claim.dropped if own else ())


def _salvage(raw: bytes) -> tuple[int | None, int | None]:
    """Epoch and seq of what is not even JSON, so that its device can be told which one it was."""
    if len(raw) > limits.PACK_BYTES_MAX:
        return None, None
    epoch, seq = _EPOCH.findall(raw), _SEQ.findall(raw)
    if len(epoch) != 1 or len(seq) != 1:
        return None, None
    told = int(epoch[0]), int(seq[0])
    return told if told[0] <= limits.EPOCH_MAX and 1 <= told[1] <= limits.SEQ_MAX else (None, None)
