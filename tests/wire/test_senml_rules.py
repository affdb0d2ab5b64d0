"""What a sound pack means: base fields, times, values, units, versions, order (RFC 8428 section 4)."""

import json
from decimal import getcontext, localcontext
from typing import Any, Final

import cbor2
import pytest

from lichtmast.wire.identity import DeviceId
from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml import Pack, Record, decode, resolve, sniff

NOW_S: Final = 1_763_757_018
NOW_US: Final = NOW_S * 1_000_000
URN: Final = "urn:dev:lm:gm0402:lm-0001"


def resolved(*records: dict[str, Any]) -> list[Record]:
    return resolve(json.dumps(records).encode(), 110, NOW_US)


def resolved_text(text: str) -> list[Record]:
    return resolve(text.encode(), 110, NOW_US)


def decoded(*records: dict[str, Any]) -> Pack:
    return decode(json.dumps(records).encode(), 110, NOW_US)


def test_base_fields_hold_from_their_record_until_set_again() -> None:
    records = resolved(
        {"n": "a", "v": 1, "bt": NOW_S},
        {"bn": "x:", "bu": "V", "n": "b", "v": 2},
        {"n": "c", "v": 3, "u": "A"},
        {"bn": "y:", "bt": NOW_S + 1, "n": "d", "v": 4},
    )
    assert [(one.name, one.unit, one.time_us - NOW_US) for one in records] == [
        ("a", None, 0),
        ("x:b", "V", 0),
        ("x:c", "A", 0),
        ("y:d", "V", 1_000_000),
    ]


def test_name_may_be_split_from_its_base_anywhere() -> None:
    whole = f"{URN}/lamp/0/level"
    for cut in range(len(whole) + 1):
        pack = decoded({"bn": whole[:cut], "n": whole[cut:], "v": 1})
        assert pack.device == DeviceId("gm0402", "lm-0001")
        assert pack.suffix_of(pack.records[0]) == "/lamp/0/level"


def test_base_value_is_added_exactly() -> None:
    assert [one.value for one in resolved({"bv": 0.1, "n": "a", "v": 0.2}, {"n": "b", "v": 0.7})] == [0.3, 0.8]


def test_a_number_too_small_for_a_double_is_zero_in_every_sum() -> None:
    text = '[{"bv":1,"bs":2,"n":"a","v":1e-999999999999,"s":-0e999999999999,"t":1e-999999999999}]'
    record = resolved_text(text)[0]
    assert (record.value, record.sum, record.time_us) == (1.0, 2.0, NOW_US)


def test_base_value_leaves_other_kinds_alone() -> None:
    records = resolved({"bv": 5, "n": "a", "vb": True}, {"n": "b", "vs": "x"}, {"n": "c", "vd": "aGk"})
    assert [one.value for one in records] == [True, "x", b"hi"]


def test_sum_stands_beside_or_instead_of_a_value() -> None:
    records = resolved({"n": "a", "s": 10.5}, {"n": "b", "v": 1, "s": 2}, {"n": "c", "v": 1})
    assert [(one.value, one.sum) for one in records] == [(None, 10.5), (1.0, 2.0), (1.0, None)]


def test_base_sum_counts_as_the_sum_where_a_record_has_none() -> None:
    records = resolved({"bs": 10, "n": "a", "s": 0.5}, {"n": "b", "v": 1})
    assert [(one.value, one.sum) for one in records] == [(None, 10.5), (1.0, 10.0)]


def test_no_value_is_invented_from_a_base_value() -> None:
    assert resolved({"bv": 5, "n": "a", "s": 1})[0].value is None


def test_update_time_is_kept() -> None:
    assert resolved({"n": "a", "v": 1, "ut": 60})[0].update_time_s == 60.0


def test_records_come_out_in_chronological_order_and_equal_times_in_theirs() -> None:
    records = resolved(
        {"bt": NOW_S, "n": "a", "v": 1, "t": 2},
        {"n": "b", "v": 1},
        {"n": "c", "v": 1, "t": 2},
        {"n": "d", "v": 1, "t": -1},
    )
    assert [one.name for one in records] == ["d", "b", "a", "c"]


@pytest.mark.parametrize(
    ("base", "own", "expected_us"),
    [
        ("1763757018", "0.000001", NOW_US + 1),
        ("1763757018.000001", "0.000001", NOW_US + 2),
        ("1.763757018e9", "-0.25", NOW_US - 250_000),
        ("1763757018.9999995", "0", NOW_US + 1_000_000),
        ("1763757018.0000005", "0", NOW_US),
        ("1763757018.0000015", "0", NOW_US + 2),
        ("1763757018.00000050000000000000000000000000000001", "0", NOW_US + 1),
        ("1763757017", "1.1", NOW_US + 100_000),
        ("0.018", "1763757018", NOW_US + 18_000),
        ("-1000", "1763758018", NOW_US),
        ("1001763757018", "-1e12", NOW_US),
        ("1e-320", "1763757018", NOW_US),
    ],
)
def test_absolute_time_is_exact_to_the_nearest_microsecond(base: str, own: str, expected_us: int) -> None:
    record = resolved_text(f'[{{"bt":{base},"t":{own},"n":"a","v":1}}]')[0]
    assert (record.time_us, record.quality) == (expected_us, 0)


@pytest.mark.parametrize(
    ("base", "own", "expected_us"),
    [
        ("0", "0", 0),
        ("-5", "0.5", -4_500_000),
        ("268435455", "0.5", 268_435_455_500_000),
        ("268435455", "-1", 268435454_000000),
    ],
)
def test_time_below_2_to_28_counts_from_reception(base: str, own: str, expected_us: int) -> None:
    record = resolved_text(f'[{{"bt":{base},"t":{own},"n":"a","v":1}}]')[0]
    assert (record.time_us, record.quality) == (NOW_US + expected_us, Quality.TIME_FROM_SERVER)


def test_the_sum_decides_whether_a_time_is_absolute() -> None:
    just_below = resolved_text('[{"bt":268435455,"t":0.999999999,"n":"a","v":1}]')[0]
    exactly = resolved_text('[{"bt":268435455,"t":1,"n":"a","v":1}]')[0]
    absolute_base_pulled_down = resolved_text('[{"bt":268435457,"t":-2,"n":"a","v":1}]')[0]
    assert just_below.quality == Quality.TIME_FROM_SERVER
    assert (exactly.quality, exactly.time_us) == (0, 268_435_456_000_000)
    assert absolute_base_pulled_down.quality == Quality.TIME_FROM_SERVER


def test_a_record_may_mix_times_from_server_and_its_own() -> None:
    records = resolved({"n": "a", "v": 1}, {"n": "b", "v": 1, "t": NOW_S + 1})
    assert [one.quality for one in records] == [Quality.TIME_FROM_SERVER, 0]


def test_resolve_applies_no_time_policy() -> None:
    assert resolved({"n": "a", "v": 1, "t": 2**28})[0].time_us == 2**28 * 1_000_000


def test_a_backlog_of_thirty_days_is_in_time() -> None:
    oldest = NOW_S - 30 * 86_400
    assert decoded({"n": "a", "v": 1, "t": oldest}).records[0].time_us == oldest * 1_000_000
    with pytest.raises(PackError) as caught:
        decoded({"n": "a", "v": 1, "t": oldest - 0.000001})
    assert caught.value.refusal is Refusal.BAD_TIME


def test_only_records_in_the_future_are_flagged_so() -> None:
    pack = decoded({"bt": NOW_S, "n": "a", "v": 1, "t": 301}, {"n": "b", "v": 1}, {"n": "c", "v": 1, "t": 300})
    assert [one.quality for one in pack.records] == [0, 0, Quality.TIME_IN_FUTURE]


@pytest.mark.parametrize(
    ("unit", "value", "primary", "expected"),
    [
        ("ug/m3", "12.34", "kg/m3", 12.34e-9),
        ("ug/m3", "0.1", "kg/m3", 1e-10),
        ("ppm", "420", "/", 0.00042),
        ("/100", "55", "/", 0.55),
        ("/100", "0.7", "/", 0.007),
        ("Wh", "1", "J", 3600.0),
        ("km/h", "3.6", "m/s", 1.0),
        ("km/h", "100", "m/s", 100 / 3.6),
        ("Wh/km", "1", "J/m", 3.6),
        ("dBm", "-70", "dBW", -100.0),
        ("hPa", "1013.25", "Pa", 101325.0),
        ("mm/h", "3600", "m/s", 0.001),
    ],
)
def test_secondary_unit_is_converted_with_one_rounding(unit: str, value: str, primary: str, expected: float) -> None:
    record = resolved_text(f'[{{"bver":26,"n":"a","u":"{unit}","v":{value}}}]')[0]
    assert (record.unit, record.value) == (primary, expected)
    assert record.quality & Quality.UNIT_CONVERTED


def test_base_value_is_in_the_secondary_unit_too() -> None:
    assert resolved({"bver": 26, "bu": "dBm", "bv": -70, "n": "a", "v": -10})[0].value == -110.0


def test_sum_is_scaled_with_its_unit() -> None:
    record = resolved({"bver": 26, "n": "a", "u": "kW", "s": 1.5})[0]
    assert (record.unit, record.sum, record.value) == ("W", 1500.0, None)
    assert record.quality & Quality.UNIT_CONVERTED


def test_a_boolean_under_a_secondary_base_unit_is_not_called_converted() -> None:
    record = resolved({"bver": 26, "bu": "/100", "bt": NOW_S, "n": "a", "vb": True})[0]
    assert (record.value, record.unit, record.quality) == (True, "/", 0)


def test_unknown_base_unit_matters_only_where_it_applies() -> None:
    assert resolved({"bu": "furlong", "n": "a", "u": "m", "v": 1})[0].unit == "m"


def test_version_10_may_be_told_anywhere() -> None:
    assert len(resolved({"n": "a", "v": 1}, {"bver": 10, "n": "b", "v": 1})) == 2


def test_epoch_and_seq_are_read_from_the_first_record() -> None:
    pack = decoded({"n": "a", "v": 1, "lm-epoch": 0, "lm-seq": 1}, {"n": "b", "v": 1})
    assert (pack.epoch, pack.seq) == (0, 1)


def test_a_plain_device_needs_no_epoch_and_seq() -> None:
    pack = decoded({"n": "a", "v": 1})
    assert (pack.epoch, pack.seq) == (None, None)


def test_first_record_carries_epoch_and_seq_even_where_it_is_not_the_earliest() -> None:
    pack = decoded({"n": "a", "v": 1, "lm-epoch": 3, "lm-seq": 4}, {"n": "b", "v": 1, "t": -5})
    assert (pack.epoch, pack.seq, pack.records[0].name) == (3, 4, "b")


def test_foreign_names_have_no_device_and_keep_their_whole_name() -> None:
    pack = decoded({"bn": "urn:dev:ow:10e2073a01080063:", "n": "temp", "v": 1})
    assert pack.device is None
    assert pack.suffix_of(pack.records[0]) == "urn:dev:ow:10e2073a01080063:temp"


def test_decimal_fractions_of_cbor_are_exact() -> None:
    raw = cbor2.dumps([{0: "a", 2: cbor2.CBORTag(4, [-1, 273]), 6: cbor2.CBORTag(4, [-6, NOW_US + 1])}])
    record = resolve(raw, 112, NOW_US)[0]
    assert (record.value, record.time_us) == (27.3, NOW_US + 1)


def test_float_times_of_cbor_round_to_the_nearest_microsecond() -> None:
    raw = cbor2.dumps([{0: "a", 2: 1, -3: NOW_S + 0.123456, 6: 0.000001}])
    assert resolve(raw, 112, NOW_US)[0].time_us == NOW_US + 123_457


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (b"\x00", 0.0),
        (b"\x38\x63", -100.0),
        (b"\x1b" + b"\xff" * 8, 2.0**64),
        (b"\xf9\x3c\x00", 1.0),
        (b"\xfa\x41\xac\x00\x00", 21.5),
        (b"\xfb\x40\x35\x80\x00\x00\x00\x00\x00", 21.5),
        (b"\xc4\x82\x39\x01\x8f\x01", 0.0),
        (b"\xc4\x82\x20\x20", -0.1),
    ],
)
def test_every_number_of_cbor_is_read(item: bytes, expected: float) -> None:
    record = resolve(b"\x81\xa2\x00\x61a\x02" + item, 112, NOW_US)[0]
    assert (record.value, type(record.value)) == (expected, float)


def test_the_process_wide_decimal_context_changes_nothing() -> None:
    text = '[{"bt":1763757018.123456,"t":0.000001,"n":"a","bv":0.1,"v":0.2}]'
    expected = resolved_text(text)
    with localcontext() as context:
        context.prec = 3
        assert getcontext().prec == 3
        assert resolved_text(text) == expected


def test_json_white_space_and_escapes_are_read() -> None:
    record = resolved_text(' [ { "\\u006e" : "a" ,\r\n "v" : 1.10e1 , "x" : [ "]" , {} ] } ]\t')[0]
    assert (record.name, record.value) == ("a", 11.0)


def test_sniff_tells_cbor_by_its_first_byte() -> None:
    assert [sniff(bytes([first])) for first in range(256)] == [
        112 if 0x80 <= first <= 0x9F else 110 for first in range(256)
    ]
    assert sniff(b"") == 110
