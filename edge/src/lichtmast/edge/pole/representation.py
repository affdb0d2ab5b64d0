"""What the engineer reads: readings as SenML, the rest as JSON.

Readings carry times relative to now ("12 seconds ago", RFC 8428 section 4.5.3): that is true without any clock.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lichtmast.edge.sampling.measured import Measured
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml.canonical_cbor import write_cbor
from lichtmast.wire.senml.strict_cbor import LABELS

JSON: Final = 50
_NUMBERS: Final = {label: number for number, label in LABELS.items()}


def readings_as(content_format: int, device: DeviceId, readings: Sequence[Measured], now_s: float) -> bytes | None:
    """A SenML pack of at least one reading in JSON or CBOR; None for any other format."""
    records = [_record(one, now_s) for one in sorted(readings, key=lambda one: one.suffix)]
    records[0] = {"bn": device.urn, **records[0]}
    if content_format == SENML_JSON:
        return as_json(records)
    if content_format == SENML_CBOR:
        return write_cbor([{_NUMBERS[label]: value for label, value in one.items()} for one in records])
    return None


def as_json(content: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """Compact JSON in UTF-8, so that a terminal shows what it says."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _record(measured: Measured, now_s: float) -> dict[str, Any]:
    value = measured.value
    label = "vb" if isinstance(value, bool) else "vs" if isinstance(value, str) else "v"
    record: dict[str, Any] = {"n": measured.suffix, label: value}
    if measured.unit is not None:
        record["u"] = measured.unit
    age_s = round(now_s - measured.at_s, 1)
    if age_s:
        record["t"] = -age_s
    return record
