"""The fast way never accepts what the strict decoder refuses, and reads the same values where both accept."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.ingest.decode import read_columns
from lichtmast.wire import DeviceId, PackError, Reading, senml
from lichtmast.wire.envelope import SENML_JSON

NOW_US = 1_795_000_000_000_000
URN = "urn:dev:lm:gm0402:lm-0"

SUFFIXES = {"/air/0/pm10": 0, "/air/0/pm25": 1, "/a": 2, "/x": 3}
UNITS = {"": 0, "kg/m3": 1, "lx": 2}
BASE: dict[str, Any] = {"bn": URN, "bt": 1_795_000_000, "lm-epoch": 7, "lm-seq": 1}


def compact(records: list[dict[str, Any]]) -> bytes:
    return json.dumps(records, separators=(",", ":")).encode()


def assert_same(raw: bytes) -> bool:
    """Hold the two decoders against each other; whether the fast one was certain.

    Names, units and the window of time are the roster's and the transform's part of the fast way: given here.
    """
    columns = read_columns([raw], SUFFIXES, UNITS)
    if columns is None or not columns.sound[0] or columns.base_name[0] != URN:
        return False
    if any(not -30 * 86_400 <= (one - NOW_US) / 1e6 <= 300 for one in columns.time_us.tolist()):
        return False
    strict = senml.decode(raw, SENML_JSON, NOW_US)
    assert (strict.epoch, strict.seq) == (columns.epoch[0], columns.seq[0])
    fast = sorted(
        zip(
            columns.time_us.tolist(),
            [URN + list(SUFFIXES)[code] for code in columns.suffix.tolist()],
            [list(UNITS)[code] or None for code in columns.unit.tolist()],
            columns.value.tolist(),
            columns.is_boolean.tolist(),
            strict=True,
        ),
        key=repr,
    )
    slow = sorted(
        (
            (one.time_us, one.name, one.unit, float(one.value), isinstance(one.value, bool))
            for one in strict.records
            if isinstance(one.value, int | float)
        ),
        key=repr,
    )
    assert slow == fast
    return True


values: st.SearchStrategy[dict[str, object]] = st.one_of(
    st.fixed_dictionaries({"v": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)}),
    st.fixed_dictionaries({"vb": st.booleans()}),
    st.fixed_dictionaries({"vs": st.text(max_size=5)}),
    st.fixed_dictionaries({"v": st.just(1.0), "vb": st.booleans()}),
    st.just({}),
)
offsets = st.integers(-2_000_000, 200).map(lambda one: one / 1000)
extras = st.dictionaries(
    st.sampled_from(
        ["foo", "must_", "bn", "bt", "bu", "bv", "bs", "bver", "s", "ut", "lm-seq", "lm-epoch", "lm-dropped"]
    ),
    st.sampled_from([1, 10, 0, -1, "", "x", "lx", None, True]),
    max_size=1,
)
records = st.builds(
    lambda name, value, unit, time, extra: {**name, **value, **unit, **time, **extra},
    st.sampled_from([{"n": "/air/0/pm10"}, {"n": "/a"}, {"n": ""}, {}]),
    values,
    st.sampled_from([{}, {"u": "kg/m3"}, {"u": "lx"}, {"u": ""}]),
    st.one_of(st.just({}), offsets.map(lambda one: {"t": one})),
    st.one_of(st.just({}), st.just({}), extras),
)
bases = st.builds(
    lambda drop, change: {key: value for key, value in {**BASE, **change}.items() if key != drop},
    st.sampled_from(["", "", "", "bn", "bt", "lm-epoch", "lm-seq"]),
    st.sampled_from(
        [
            {},
            {},
            {"bt": 5},
            {"bt": 1_795_000_000.123456},
            {"lm-seq": 0},
            {"lm-epoch": 2**53},
            {"bn": ""},
            {"bu": "kg/m3"},
            {"bu": "lx"},
            {"bu": ""},
            {"bu": "furlong"},
        ]
    ),
)


@settings(max_examples=600, deadline=None)
@given(bases, st.lists(records, min_size=1, max_size=4))
def test_what_the_fast_way_accepts_the_strict_decoder_reads_alike(
    base: dict[str, Any], rest: list[dict[str, Any]]
) -> None:
    assert_same(compact([{**base, **rest[0]}, *rest[1:]]))


def test_a_pack_whose_readings_share_their_unit_takes_the_fast_way() -> None:
    device = DeviceId.parse("gm0402/lm-0")
    readings = [Reading(suffix, 2.5, "kg/m3", NOW_US) for suffix in ("/air/0/pm10", "/air/0/pm25")]
    raw = senml.encode(device, readings, epoch=7, seq=1)
    assert b'"bu":"kg/m3"' in raw
    assert assert_same(raw)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_bytes_altered_at_random_never_pass_the_fast_way_alone(data: st.DataObject) -> None:
    raw = bytearray(
        compact([{**BASE, "n": "/air/0/pm10", "v": 2.5}, {"n": "/air/0/pm25", "u": "kg/m3", "v": 1, "t": -3}])
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b'"', b":", b",", b" ", b"1", b"\\", b"{}"])
        )
    try:
        assert_same(bytes(raw))
    except PackError as error:
        pytest.fail(f"the fast way accepted {bytes(raw)!r}, but {error}")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            b'[{"bn":"u","bt":1795000000,"lm-epoch":1,"lm-seq":1,"n":"/a","v" :1,"v":2}]', id="hidden double key"
        ),
        pytest.param(b'[{"bn":"u","bt":1795000000,"lm-epoch":1,"lm-seq":1,"n":"/a","v":1,"v":2}]', id="double key"),
        pytest.param(
            b'[{"bn":"u","bt":1795000000,"lm-epoch":1,"lm-seq":1,"n":"/a","v":1,"x_":2}]', id="must understand"
        ),
        pytest.param(
            b'[{"bn":"u","bt":1795000000,"lm-epoch":1,"lm-seq":1,"n":"/a","v":1},{"bn":"w","n":"/b","v":1}]',
            id="later base",
        ),
        pytest.param(b'[{"bn":"u","bt":5,"lm-epoch":1,"lm-seq":1,"n":"/a","v":1}]', id="relative time"),
        pytest.param(b'[{"bn":"u","bt":1795000000,"lm-epoch":1,"lm-seq":1,"n":"/a","v":true}]', id="boolean as number"),
        pytest.param(b'[{"bn":"u","bt":1795000000,"lm-epoch":1,"lm-seq":1,"n":"/a","v":"1"}]', id="text as number"),
        pytest.param(b'[{"bn":"u","bt":1795000000,"lm-epoch":1,"lm-seq":1,"n":"/a","v":NaN}]', id="NaN"),
        pytest.param(b"[]", id="empty"),
        pytest.param(b"\x81\xa0", id="CBOR"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_the_fast_way_leaves_what_is_unusual_to_the_strict_decoder(raw: bytes) -> None:
    columns = read_columns([raw], SUFFIXES, UNITS)
    assert columns is None or not columns.sound[0]


def test_a_sound_pack_takes_the_fast_way() -> None:
    assert assert_same(
        compact([{**BASE, "n": "/air/0/pm10", "u": "kg/m3", "v": 2.5}, {"n": "/x", "vb": True, "t": -0.25}])
    )


def test_one_bad_pack_among_good_ones_harms_none() -> None:
    good = [compact([{**BASE, "lm-seq": seq, "n": "/a", "v": seq}]) for seq in range(1, 6)]
    columns = read_columns([*good[:2], b'[{"n":', *good[2:], b'[{"n":"/a","v":1}]'], SUFFIXES, UNITS)
    assert columns is not None
    sound = [row for row, one in zip(columns.rows.tolist(), columns.sound.tolist(), strict=True) if one]
    assert sound == [0, 1, 3, 4, 5]
    assert [
        value for value, at in zip(columns.value.tolist(), columns.pack.tolist(), strict=True) if columns.sound[at]
    ] == [1, 2, 3, 4, 5]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=6, unique=True))
def test_times_with_microseconds_survive_exactly(offsets_us: list[int]) -> None:
    times = [1_795_000_000_000_000 - one for one in offsets_us]
    columns = read_columns([compact([{**BASE, "bt": one / 1e6, "n": "/a", "v": 1}]) for one in times], SUFFIXES, UNITS)
    assert columns is not None
    assert columns.time_us.tolist() == times
