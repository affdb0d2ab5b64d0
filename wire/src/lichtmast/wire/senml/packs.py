"""A pack of ours: SenML, in time, numbered, and of one device.

The order of checks is the order of cost: format and size, then syntax, then SenML's rules, then ours.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from lichtmast.wire import limits
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.identity import URN_PREFIX, DeviceId, IdentityError
from lichtmast.wire.names import device_of_name
from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml.labels import LABELS_OF_FIRST, Ranges, read_dropped, read_sequence, read_time_error_s
from lichtmast.wire.senml.records import Pack, Record
from lichtmast.wire.senml.resolution import Fields, resolve_fields
from lichtmast.wire.senml.showing import shown
from lichtmast.wire.senml.strict_cbor import read_cbor
from lichtmast.wire.senml.strict_json import read_json

# RFC 8949 section 3.1: major type 4, array. No JSON text begins with these bytes.
_CBOR_ARRAY_FIRST: Final = 0x80
_CBOR_ARRAY_LAST: Final = 0x9F
_US: Final = 1_000_000


def sniff(raw: bytes) -> int:
    """The content format of a pack whose transport tells none (MQTT): 112 if it begins with a CBOR array, else 110."""
    return SENML_CBOR if raw and _CBOR_ARRAY_FIRST <= raw[0] <= _CBOR_ARRAY_LAST else SENML_JSON


def decode(raw: bytes, content_format: int, received_us: int) -> Pack:
    """Read one pack of ours. Raises PackError, and nothing else, for any bytes.

    `content_format` is 110 (JSON) or 112 (CBOR); `received_us` is when the server received it. Relative times count
    from there. A record from more than five minutes later is kept and flagged TIME_IN_FUTURE; one from more than
    thirty days earlier is refused.
    """
    packed = _read(raw, content_format)
    records = resolve_fields(packed, received_us)
    _check_times(records, received_us)
    first = _first(packed)
    epoch, seq = read_sequence(first)
    dropped = read_dropped(first, seq)
    time_error_s = read_time_error_s(first)
    if time_error_s is not None and time_error_s > limits.TIME_ERROR_FLAGGED_S:
        records = [replace(one, quality=one.quality | int(Quality.TIME_UNCERTAIN)) for one in records]
    return Pack(_device(records), epoch, seq, tuple(records), dropped, time_error_s)


@dataclass(frozen=True, slots=True)
class Claim:
    """What the first record says of its pack: the name it begins with, its numbers, and what it declares as dropped."""

    name: str
    epoch: int | None
    seq: int | None
    dropped: Ranges


def read_claim(raw: bytes, content_format: int) -> Claim | None:
    """What a pack says of itself, although it may be wrong elsewhere; None where that cannot be read.

    So a device can be told which of its packs was refused, and need not say again what it dropped.
    """
    try:
        first = _first(_read(raw, content_format))
        epoch, seq = read_sequence(first)
    except PackError:
        return None
    name = "".join(part for part in (first.get("bn"), first.get("n")) if isinstance(part, str))
    try:
        return Claim(name, epoch, seq, read_dropped(first, seq))
    except PackError:
        return Claim(name, epoch, seq, ())


def resolve(raw: bytes, content_format: int, received_us: int) -> list[Record]:
    """Resolve any SenML pack (RFC 8428 section 4.6): any names, any times, no sequence. Raises PackError."""
    return resolve_fields(_read(raw, content_format), received_us)


def _read(raw: bytes, content_format: int) -> list[Fields]:
    if content_format not in (SENML_JSON, SENML_CBOR):
        raise PackError(
            Refusal.UNSUPPORTED_FORMAT, f"content format {content_format}; send {SENML_JSON} or {SENML_CBOR}"
        )
    if not raw:
        raise PackError(Refusal.EMPTY, "no bytes")
    if len(raw) > limits.PACK_BYTES_MAX:
        raise PackError(Refusal.TOO_LARGE, f"{len(raw)} bytes, at most {limits.PACK_BYTES_MAX} in one pack")
    return read_json(raw) if content_format == SENML_JSON else read_cbor(raw)


def _check_times(records: list[Record], received_us: int) -> None:
    """Refuse what no clock policy can save, flag what lies in the future. The records are in chronological order."""
    if records[-1].time_us >= limits.TIME_BELOW_S * _US:
        raise PackError(Refusal.BAD_TIME, f"{shown(records[-1].name)} is from after the year 2099")
    if records[0].time_us < received_us - limits.TIME_PAST_MAX_S * _US:
        raise PackError(Refusal.BAD_TIME, f"{shown(records[0].name)} is from more than {limits.TIME_PAST_MAX_S} s ago")
    latest_us = received_us + limits.TIME_FUTURE_MAX_S * _US
    for index in range(len(records) - 1, -1, -1):
        if records[index].time_us <= latest_us:
            break
        flagged = records[index].quality | int(Quality.TIME_IN_FUTURE)
        records[index] = replace(records[index], quality=flagged)


def _first(packed: list[Fields]) -> dict[str, Any]:
    """The first record's fields, which alone may hold labels of ours."""
    for number, fields in enumerate(packed[1:], 2):
        if not LABELS_OF_FIRST.isdisjoint(fields):
            labels = ", ".join(sorted(LABELS_OF_FIRST))
            raise PackError(Refusal.BAD_SEQUENCE, f"record {number}: {labels} belong in the first record")
    return packed[0]


def _device(records: list[Record]) -> DeviceId | None:
    """The one device whose URN begins every name; None where no name begins with a URN of ours."""
    first = records[0].name
    if not first.startswith(URN_PREFIX):
        for record in records:
            if record.name.startswith(URN_PREFIX):
                raise PackError(
                    Refusal.IDENTITY_MISMATCH, f"{shown(record.name)} stands beside {shown(first)}: one device a pack"
                )
        return None
    try:
        device = device_of_name(first)
    except IdentityError as error:
        raise PackError(Refusal.BAD_NAME, f"{shown(first)} is not {URN_PREFIX}TENANT:DEVICE/SUFFIX") from error
    start = f"{device.urn}/"
    for record in records:
        if not record.name.startswith(start):
            raise PackError(
                Refusal.IDENTITY_MISMATCH, f"{shown(record.name)} is not a name of {device}; one device a pack"
            )
        if len(record.name) == len(start):
            raise PackError(Refusal.BAD_NAME, f"{shown(record.name)} has no suffix")
    return device
