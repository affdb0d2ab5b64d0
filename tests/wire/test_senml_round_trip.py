"""What `encode` writes, `decode` reads back to the bit, in JSON and in CBOR."""

import json
from typing import Final

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.wire import limits
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml import EncodingError, Reading, decode, encode, sniff
from lichtmast.wire.units import UNITS

LAMP: Final = DeviceId("gm0402", "lm-0001")
NOW_US: Final = 1_763_757_018_123_456

NAME_CHARACTERS: Final = "ABCXYZabcxyz0189-:./_"
FORBIDDEN: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

devices = st.builds(
    DeviceId, st.from_regex(r"gm[0-9]{4}", fullmatch=True), st.from_regex(r"[a-z0-9-]{3,40}", fullmatch=True)
)
texts = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=FORBIDDEN), max_size=limits.TEXT_VALUE_LENGTH_MAX
)
values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53), 2**53),
    st.booleans(),
    texts,
    st.binary(max_size=limits.TEXT_VALUE_LENGTH_MAX),
)
readings = st.builds(
    Reading,
    suffix=st.text(NAME_CHARACTERS, min_size=1, max_size=limits.SUFFIX_LENGTH_MAX - 1).map("/".__add__),
    value=values,
    unit=st.sampled_from([None, *UNITS]),
    time_us=st.integers(NOW_US - limits.TIME_PAST_MAX_S * 1_000_000, NOW_US + limits.TIME_FUTURE_MAX_S * 1_000_000),
)
counts = st.one_of(st.none(), st.tuples(st.integers(0, limits.EPOCH_MAX), st.integers(1, limits.SEQ_MAX)))


@pytest.mark.slow
@given(devices, st.lists(readings, min_size=1, max_size=12), counts, st.sampled_from([110, 112]))
@settings(deadline=None, max_examples=60)
def test_what_is_encoded_is_decoded_to_the_bit(
    device: DeviceId, sent: list[Reading], numbers: tuple[int, int] | None, content_format: int
) -> None:
    epoch, seq = numbers or (None, None)
    raw = encode(device, sent, epoch=epoch, seq=seq, content_format=content_format)
    assert sniff(raw) == content_format
    pack = decode(raw, content_format, NOW_US)
    assert (pack.device, pack.epoch, pack.seq) == (device, epoch, seq)
    got = [(pack.suffix_of(one), one.unit, one.value, type(one.value), one.time_us) for one in pack.records]
    in_order = sorted(sent, key=lambda one: one.time_us)
    expected = [
        (one.suffix, one.unit, one.value, float if type(one.value) is int else type(one.value), one.time_us)
        for one in in_order
    ]
    assert got == expected
    assert [str(one.value) for one in pack.records if type(one.value) is float] == [
        str(float(one.value)) for one in in_order if type(one.value) in (int, float)
    ]


@pytest.mark.slow
@given(
    st.integers(limits.SENML_RELATIVE_BELOW * 1_000_000, limits.TIME_BELOW_S * 1_000_000 - 1),
    st.integers(-(10**12), 10**12),
)
@settings(deadline=None, max_examples=300)
def test_every_microsecond_survives(base_us: int, apart_us: int) -> None:
    other_us = min(
        max(base_us + apart_us, limits.SENML_RELATIVE_BELOW * 1_000_000), limits.TIME_BELOW_S * 1_000_000 - 1
    )
    sent = [Reading("/a", 1.0, None, base_us), Reading("/b", 1.0, None, other_us)]
    for content_format in (110, 112):
        pack = decode(encode(LAMP, sent, content_format=content_format), content_format, max(base_us, other_us))
        assert {pack.suffix_of(one): one.time_us for one in pack.records} == {"/a": base_us, "/b": other_us}


def test_a_pack_of_one_unit_names_it_once() -> None:
    raw = encode(LAMP, [Reading("/a", 1.5, "V", NOW_US), Reading("/b", 2.0, "V", NOW_US + 1)], epoch=7, seq=41)
    assert raw == (
        b'[{"bn":"urn:dev:lm:gm0402:lm-0001","bt":1763757018.123456,"bu":"V","lm-epoch":7,"lm-seq":41,'
        b'"n":"/a","v":1.5},{"n":"/b","v":2,"t":1e-06}]'
    )


def test_labels_come_in_the_promised_order() -> None:
    raw = encode(
        LAMP,
        [Reading("/a", 1.5, "V", NOW_US), Reading("/b", value=False, unit=None, time_us=NOW_US + 1)],
        epoch=7,
        seq=41,
    )
    assert [list(record) for record in json.loads(raw)] == [
        ["bn", "bt", "lm-epoch", "lm-seq", "n", "u", "v"],
        ["n", "vb", "t"],
    ]


@pytest.mark.parametrize("content_format", [110, 112])
def test_a_negative_zero_keeps_its_sign(content_format: int) -> None:
    raw = encode(LAMP, [Reading("/a", -0.0, None, NOW_US)], content_format=content_format)
    assert str(decode(raw, content_format, NOW_US).records[0].value) == "-0.0"


@pytest.mark.parametrize("content_format", [110, 112])
def test_a_reading_from_before_the_first_keeps_its_time(content_format: int) -> None:
    sent = [Reading("/a", 1.0, None, NOW_US), Reading("/b", 2.0, None, NOW_US - 1)]
    pack = decode(encode(LAMP, sent, content_format=content_format), content_format, NOW_US)
    assert [(pack.suffix_of(one), one.time_us) for one in pack.records] == [("/b", NOW_US - 1), ("/a", NOW_US)]


def test_cbor_has_numbers_for_labels_and_short_floats() -> None:
    raw = encode(LAMP, [Reading("/a", 1.5, "V", 1_763_757_018_000_000)], epoch=7, seq=41, content_format=112)
    assert cbor2.loads(raw) == [{-2: LAMP.urn, -3: 1763757018, -4: "V", "lm-epoch": 7, "lm-seq": 41, 0: "/a", 2: 1.5}]
    assert b"\x02\xf9\x3e\x00" in raw


def test_six_readings_fit_a_datagram() -> None:
    six = [Reading(f"/lamp/0/quantity-{index}", 123.456 + index, "V", NOW_US) for index in range(6)]
    assert len(encode(LAMP, six, epoch=2**40, seq=2**40)) < 400
    assert len(encode(LAMP, six, epoch=2**40, seq=2**40, content_format=112)) < 300


SOUND: Final = Reading("/a", 1.0, None, NOW_US)


@pytest.mark.parametrize(
    "reading",
    [
        Reading("a", 1.0, None, NOW_US),
        Reading("/", 1.0, None, NOW_US),
        Reading("/a b", 1.0, None, NOW_US),
        Reading("/" + "a" * limits.SUFFIX_LENGTH_MAX, 1.0, None, NOW_US),
        Reading("/a", float("nan"), None, NOW_US),
        Reading("/a", float("-inf"), None, NOW_US),
        Reading("/a", 2**53 + 1, None, NOW_US),
        Reading("/a", "line\nbreak", None, NOW_US),
        Reading("/a", "\ud800", None, NOW_US),
        Reading("/a", "a" * (limits.TEXT_VALUE_LENGTH_MAX + 1), None, NOW_US),
        Reading("/a", bytes(limits.TEXT_VALUE_LENGTH_MAX + 1), None, NOW_US),
        Reading("/a", 1.0, "ug/m3", NOW_US),
        Reading("/a", 1.0, "cel", NOW_US),
        Reading("/a", 1.0, None, 0),
        Reading("/a", 1.0, None, limits.SENML_RELATIVE_BELOW * 1_000_000 - 1),
        Reading("/a", 1.0, None, limits.TIME_BELOW_S * 1_000_000),
        Reading("/a", None, None, NOW_US),  # type: ignore[arg-type]  # what a careless driver hands over
    ],
    ids=lambda reading: repr(reading)[:60],
)
def test_what_could_not_be_read_back_is_not_written(reading: Reading) -> None:
    for place in ([reading], [SOUND, reading]):
        with pytest.raises(EncodingError):
            encode(LAMP, place)


@pytest.mark.parametrize(("epoch", "seq"), [(1, None), (None, 1), (-1, 1), (1, 0), (2**53, 1), (1, 2**53)], ids=str)
def test_sequence_numbers_that_would_be_refused_are_not_written(epoch: int | None, seq: int | None) -> None:
    with pytest.raises(EncodingError):
        encode(LAMP, [SOUND], epoch=epoch, seq=seq)


def test_other_formats_and_empty_packs_are_not_written() -> None:
    with pytest.raises(EncodingError, match="content format 50"):
        encode(LAMP, [SOUND], content_format=50)
    with pytest.raises(EncodingError, match="0 readings"):
        encode(LAMP, [])


def test_packs_over_the_limits_are_not_written() -> None:
    assert encode(LAMP, [SOUND] * limits.PACK_RECORDS_MAX)
    with pytest.raises(EncodingError, match="1001 readings"):
        encode(LAMP, [SOUND] * (limits.PACK_RECORDS_MAX + 1))
    with pytest.raises(EncodingError, match="send fewer readings"):
        encode(LAMP, [Reading("/a", "a" * 1000, None, NOW_US)] * 70)


def test_the_longest_device_and_suffix_fit_a_name() -> None:
    device = DeviceId("gm0402", "d" * limits.DEVICE_LENGTH_MAX)
    reading = Reading("/" + "s" * (limits.SUFFIX_LENGTH_MAX - 1), 1.0, None, NOW_US)
    assert decode(encode(device, [reading]), 110, NOW_US).device == device
