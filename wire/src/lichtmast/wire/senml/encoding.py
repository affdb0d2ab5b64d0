"""Packs for the wire: as compact as SenML gets without losing a bit of what `decode` will read.

The first record carries `bn`, `bt`, then `bu` where all units are equal, then our own labels (`labels`); each record
then has `n`, `u`, its value and `t`, each only where it differs from what the base says. In JSON that order of labels
is a promise: receivers may have a fast path for it. In CBOR the order is the canonical one.

Will not: sort, thin or split readings, convert units, or write `bver`, sums or relative times.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from math import isfinite
from typing import Any, Final

from lichtmast.wire import limits
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.names import is_suffix
from lichtmast.wire.senml.canonical_cbor import write_cbor
from lichtmast.wire.senml.labels import (
    DROPPED_LABEL,
    EPOCH_LABEL,
    SEQ_LABEL,
    TIME_ERROR_LABEL,
    write_dropped,
    wrong_ranges,
)
from lichtmast.wire.senml.records import Reading
from lichtmast.wire.senml.resolution import is_clean_text
from lichtmast.wire.senml.showing import shown
from lichtmast.wire.senml.strict_cbor import LABELS
from lichtmast.wire.units import UNITS

_NUMBERS: Final = {label: number for number, label in LABELS.items()}
_US: Final = 1_000_000
_EXACT_INTEGER_MAX: Final = 2**53


class EncodingError(ValueError):
    """A reading cannot be written as SenML; the message names it and says why."""


def encode(
    device: DeviceId,
    readings: Sequence[Reading],
    *,
    epoch: int | None = None,
    seq: int | None = None,
    content_format: int = SENML_JSON,
    dropped: Sequence[tuple[int, int]] = (),
    time_error_s: float | None = None,
) -> bytes:
    """Write one pack. Raises EncodingError.

    `epoch` and `seq` come both or not at all. `dropped` are ascending closed ranges below `seq`. `time_error_s` is
    left out where it is so small that a reader need not know.
    """
    if content_format not in (SENML_JSON, SENML_CBOR):
        raise EncodingError(f"content format {content_format}; {SENML_JSON} and {SENML_CBOR} can be written")
    if not 1 <= len(readings) <= limits.PACK_RECORDS_MAX:
        raise EncodingError(f"{len(readings)} readings; a pack has 1 to {limits.PACK_RECORDS_MAX}")
    base_us = readings[0].time_us
    unit = readings[0].unit
    shared = unit is not None and all(reading.unit == unit for reading in readings)
    records: list[dict[str, Any]] = [{"bn": device.urn, "bt": _seconds(base_us)}]
    if shared:
        records[0]["bu"] = unit
    records[0].update(_numbered(epoch, seq))
    records[0].update(_declared(dropped, seq, time_error_s))
    for index, reading in enumerate(readings):
        record = records[0] if index == 0 else {}
        record["n"] = _suffix(reading)
        if reading.unit is not None and not shared:
            record["u"] = reading.unit
        _check(reading)
        label, value = _value(reading, content_format)
        record[label] = value
        if reading.time_us != base_us:
            record["t"] = _seconds(reading.time_us - base_us)
        if index:
            records.append(record)
    raw = _json(records) if content_format == SENML_JSON else _cbor(records)
    if len(raw) > limits.PACK_BYTES_MAX:
        raise EncodingError(
            f"{len(raw)} bytes; a pack has at most {limits.PACK_BYTES_MAX}; send fewer readings in each"
        )
    return raw


def _numbered(epoch: int | None, seq: int | None) -> dict[str, int]:
    if epoch is None and seq is None:
        return {}
    if epoch is None or seq is None:
        raise EncodingError("epoch and seq come both or not at all")
    if not 0 <= epoch <= limits.EPOCH_MAX:
        raise EncodingError(f"epoch {epoch} is not from 0 to 2^53-1")
    if not 1 <= seq <= limits.SEQ_MAX:
        raise EncodingError(f"seq {seq} is not from 1 to 2^53-1")
    return {EPOCH_LABEL: epoch, SEQ_LABEL: seq}


def _declared(dropped: Sequence[tuple[int, int]], seq: int | None, time_error_s: float | None) -> dict[str, Any]:
    labels: dict[str, Any] = {}
    if dropped:
        wrong = wrong_ranges(dropped, seq)
        if wrong is not None:
            raise EncodingError(f"{DROPPED_LABEL}: {wrong}")
        labels[DROPPED_LABEL] = write_dropped(dropped)
    if time_error_s is not None and not time_error_s <= limits.TIME_ERROR_TOLD_S:
        if not time_error_s <= limits.TIME_ERROR_MAX_S:  # Not a number is above everything, too.
            raise EncodingError(f"{TIME_ERROR_LABEL} {time_error_s} is above {limits.TIME_ERROR_MAX_S} s")
        labels[TIME_ERROR_LABEL] = int(time_error_s) if float(time_error_s).is_integer() else time_error_s
    return labels


def _seconds(time_us: int) -> int | float:
    """Whole seconds as an integer, else the nearest double: within the range of `_check` it names one microsecond."""
    return time_us // _US if time_us % _US == 0 else time_us / _US


def _suffix(reading: Reading) -> str:
    if not is_suffix(reading.suffix):
        raise EncodingError(
            f"suffix {shown(reading.suffix)} must be / and 1 to {limits.SUFFIX_LENGTH_MAX - 1} of A-Za-z0-9-:./_"
        )
    return reading.suffix


def _check(reading: Reading) -> None:
    if reading.unit is not None and reading.unit not in UNITS:
        raise EncodingError(f"{reading.suffix}: unit {shown(reading.unit)} is not a SenML primary unit")
    if not limits.SENML_RELATIVE_BELOW * _US <= reading.time_us < limits.TIME_BELOW_S * _US:
        raise EncodingError(
            f"{reading.suffix}: time {reading.time_us} us is not from 1978 to 2099; set the clock first"
        )


def _value(reading: Reading, content_format: int) -> tuple[str, Any]:
    value = reading.value
    match value:
        case bool():
            return "vb", value
        case int() | float():
            return "v", _number(value, reading)
        case str():
            if len(value) > limits.TEXT_VALUE_LENGTH_MAX or not is_clean_text(value):
                raise EncodingError(
                    f"{reading.suffix}: more than {limits.TEXT_VALUE_LENGTH_MAX} characters, or a control character"
                )
            return "vs", value
        case bytes():
            if len(value) > limits.TEXT_VALUE_LENGTH_MAX:
                raise EncodingError(f"{reading.suffix}: {len(value)} bytes, at most {limits.TEXT_VALUE_LENGTH_MAX}")
            return "vd", value if content_format == SENML_CBOR else urlsafe_b64encode(value).rstrip(b"=").decode()
    raise EncodingError(f"{reading.suffix}: a value is a number, bool, str or bytes, not {type(value).__name__}")


def _number(value: float, reading: Reading) -> float:
    if isinstance(value, int):
        if abs(value) > _EXACT_INTEGER_MAX:
            raise EncodingError(f"{reading.suffix}: {shown(value)} is not exact as a double")
        return value
    if not isfinite(value):
        raise EncodingError(f"{reading.suffix}: {value} is no measurement")
    # 21.0 travels as 21; a negative zero keeps its sign.
    return int(value) if value.is_integer() and 0 < abs(value) < _EXACT_INTEGER_MAX else value


def _json(records: list[dict[str, Any]]) -> bytes:
    return json.dumps(records, ensure_ascii=False, separators=(",", ":")).encode()


def _cbor(records: list[dict[str, Any]]) -> bytes:
    """Numbers for labels; canonical, so that a float takes the fewest bytes that keep it."""
    return write_cbor([{_NUMBERS.get(k, k): v for k, v in record.items()} for record in records])
