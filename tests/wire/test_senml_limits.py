"""Every limit of a pack, at n and at n + 1, in JSON and in CBOR."""

import json
from typing import Any, Final

import cbor2
import pytest

from lichtmast.wire import limits
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml import Record, decode, resolve
from lichtmast.wire.senml.strict_cbor import LABELS

NOW_US: Final = 1_763_757_018_000_000
NUMBERS: Final = {label: number for number, label in LABELS.items()}


def packed(records: list[dict[str, Any]], content_format: int) -> bytes:
    if content_format == 110:
        return json.dumps(records).encode()
    return cbor2.dumps([{NUMBERS.get(label, label): value for label, value in record.items()} for record in records])


def refusal_of(raw: bytes, content_format: int) -> Refusal | None:
    try:
        resolve(raw, content_format, NOW_US)
    except PackError as error:
        return error.refusal
    return None


both = pytest.mark.parametrize("content_format", [110, 112])


@both
def test_records(content_format: int) -> None:
    most = [{"n": "a", "v": 1}] * limits.PACK_RECORDS_MAX
    assert refusal_of(packed(most, content_format), content_format) is None
    assert refusal_of(packed([*most, most[0]], content_format), content_format) is Refusal.TOO_MANY_RECORDS


@both
def test_bytes(content_format: int) -> None:
    def pack_of(size: int) -> bytes:
        bare = len(packed([{"n": "a", "v": 1, "x": "-" * 60_000}], content_format))
        return packed([{"n": "a", "v": 1, "x": "-" * (60_000 + size - bare)}], content_format)

    most = pack_of(limits.PACK_BYTES_MAX)
    assert len(most) == limits.PACK_BYTES_MAX
    assert refusal_of(most, content_format) is None
    assert refusal_of(pack_of(limits.PACK_BYTES_MAX + 1), content_format) is Refusal.TOO_LARGE


@both
def test_depth(content_format: int) -> None:
    nested: Any = 1
    for _ in range(limits.PACK_DEPTH_MAX - 2):
        nested = [nested]
    assert refusal_of(packed([{"n": "a", "v": 1, "x": nested}], content_format), content_format) is None
    assert refusal_of(packed([{"n": "a", "v": 1, "x": [nested]}], content_format), content_format) is Refusal.TOO_DEEP


@both
def test_depth_of_objects(content_format: int) -> None:
    nested: Any = {}
    for _ in range(limits.PACK_DEPTH_MAX - 3):
        nested = {"x": nested}
    assert refusal_of(packed([{"n": "a", "v": 1, "x": nested}], content_format), content_format) is None
    deeper = packed([{"n": "a", "v": 1, "x": {"x": nested}}], content_format)
    assert refusal_of(deeper, content_format) is Refusal.TOO_DEEP


@both
def test_name_length(content_format: int) -> None:
    most: dict[str, Any] = {"bn": "a" * 200, "n": "b" * (limits.NAME_LENGTH_MAX - 200), "v": 1}
    assert refusal_of(packed([most], content_format), content_format) is None
    assert refusal_of(packed([most | {"n": most["n"] + "b"}], content_format), content_format) is Refusal.BAD_NAME


@both
def test_text_length(content_format: int) -> None:
    for letter in ("a", "é", "\U0001f4a1"):
        most = {"n": "a", "vs": letter * limits.TEXT_VALUE_LENGTH_MAX}
        assert refusal_of(packed([most], content_format), content_format) is None
        assert (
            refusal_of(packed([most | {"vs": most["vs"] + "a"}], content_format), content_format) is Refusal.BAD_VALUE
        )


def test_data_length() -> None:
    most = {"n": "a", "vd": bytes(limits.TEXT_VALUE_LENGTH_MAX)}
    assert refusal_of(packed([most], 112), 112) is None
    assert refusal_of(packed([most | {"vd": bytes(limits.TEXT_VALUE_LENGTH_MAX + 1)}], 112), 112) is Refusal.BAD_VALUE


@pytest.mark.parametrize("lead", ["", "0.", "-", "1.0e-0"])
def test_number_length(lead: str) -> None:
    most = lead + "1" * (limits.NUMBER_LENGTH_MAX - len(lead))
    if "e" in lead:
        most = lead + "0" * (limits.NUMBER_LENGTH_MAX - len(lead))
    for number, expected in ((most, None), (f"{most}0", Refusal.BAD_VALUE)):
        assert refusal_of(b'[{"n":"a","v":%s}]' % number.encode(), 110) is expected


def test_decimal_exponent() -> None:
    for exponent, expected in ((-400, None), (-401, Refusal.BAD_VALUE)):
        raw = cbor2.dumps([{0: "a", 2: cbor2.CBORTag(4, [exponent, 1])}])
        assert refusal_of(raw, 112) is expected


@both
def test_time_sum(content_format: int) -> None:
    def record_of(seconds: int) -> Record:
        return resolve(packed([{"n": "a", "v": 1, "t": seconds}], content_format), content_format, NOW_US)[0]

    assert record_of(limits.TIME_SUM_MAX_S - 1).time_us == (limits.TIME_SUM_MAX_S - 1) * 1_000_000
    assert record_of(1 - limits.TIME_SUM_MAX_S).time_us == NOW_US - (limits.TIME_SUM_MAX_S - 1) * 1_000_000
    for seconds in (limits.TIME_SUM_MAX_S, -limits.TIME_SUM_MAX_S):
        raw = packed([{"n": "a", "v": 1, "t": seconds}], content_format)
        assert refusal_of(raw, content_format) is Refusal.BAD_TIME


@both
@pytest.mark.parametrize(("label", "most"), [("lm-epoch", limits.EPOCH_MAX), ("lm-seq", limits.SEQ_MAX)])
def test_sequence_numbers(content_format: int, label: str, most: int) -> None:
    numbers = {"lm-epoch": 1, "lm-seq": 1}
    for number, accepted in ((most, True), (most + 1, False)):
        raw = packed([{"n": "a", "v": 1} | numbers | {label: number}], content_format)
        if accepted:
            pack = decode(raw, content_format, NOW_US)
            assert number in (pack.epoch, pack.seq)
        else:
            with pytest.raises(PackError) as caught:
                decode(raw, content_format, NOW_US)
            assert caught.value.refusal is Refusal.BAD_SEQUENCE
