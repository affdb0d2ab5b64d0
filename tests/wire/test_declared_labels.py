"""Numbers that a device declares as dropped, and its bound on its clock error: both ways, and what is refused."""

import json
from typing import Any, Final

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.wire import limits
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import PackError, Refusal
from lichtmast.wire.senml import EncodingError, Reading, decode, encode

LAMP: Final = DeviceId("gm0402", "lm-0001")
NOW_US: Final = 1_763_757_018_000_000
ONE: Final = [Reading("/a", 1.5, "V", NOW_US)]
FORMATS: Final = pytest.mark.parametrize("content_format", [110, 112], ids=["json", "cbor"])


def pack(content_format: int, **labels: Any) -> bytes:  # noqa: ANN401 - whatever a device may send
    """A sound pack but for these labels."""
    fields = {"bn": LAMP.urn, "bt": NOW_US // 1_000_000, "lm-epoch": 7, "lm-seq": 1_000} | {
        name.replace("_", "-"): value for name, value in labels.items()
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if content_format == 110:
        return json.dumps([fields | {"n": "/a", "v": 1}]).encode()
    numbers = {"bn": -2, "bt": -3}
    return cbor2.dumps([{numbers.get(name, name): value for name, value in fields.items()} | {0: "/a", 2: 1}])


@st.composite
def ascending(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Ranges that a pack of number SEQ_MAX may declare."""
    ranges = []
    last = 0
    for _ in range(draw(st.integers(0, limits.DROPPED_RANGES_MAX))):
        first = last + draw(st.integers(1, 2**45))
        last = first + draw(st.integers(0, 50_000))
        ranges.append((first, last))
    return ranges


@given(ascending(), st.one_of(st.none(), st.floats(0, limits.TIME_ERROR_MAX_S)), st.sampled_from([110, 112]))
def test_what_is_declared_is_read_back(
    ranges: list[tuple[int, int]], time_error_s: float | None, content_format: int
) -> None:
    raw = encode(
        LAMP,
        ONE,
        epoch=7,
        seq=limits.SEQ_MAX,
        content_format=content_format,
        dropped=ranges,
        time_error_s=time_error_s,
    )
    found = decode(raw, content_format, NOW_US)
    assert found.dropped == tuple(ranges)
    told = None if time_error_s is None or time_error_s <= limits.TIME_ERROR_TOLD_S else time_error_s
    assert found.time_error_s == told


def test_a_declaration_is_short_text_behind_the_numbers() -> None:
    raw = encode(LAMP, ONE, epoch=7, seq=200, dropped=[(100, 180), (190, 190)], time_error_s=12.0)
    assert b'"lm-epoch":7,"lm-seq":200,"lm-dropped":"100-180,190","lm-time-error":12,"n":"/a"' in raw


@FORMATS
@pytest.mark.parametrize(
    "told",
    [
        *("", ",", "1,", "0", "0-5", "01", "-5", "5-", "5-4", "1-2-3", " 1", "1 ", "1;2", "1, 2", "a", "1.5", "+1"),
        *("5,5", "5,4", "1-5,5-9", "7-9,1-2", "\u0661", "1000", "1-1000", "1-9007199254740991", "99999999999999999999"),
        *(5, 1.5, True, [[1, 2]], {"1": 2}),
        ",".join(str(2 * one) for one in range(1, 18)),
        ",".join(str(one) for one in range(1, 10_001)),
    ],
    ids=lambda told: repr(told)[:30],
)
def test_a_bad_declaration_is_a_bad_sequence(content_format: int, told: object) -> None:
    with pytest.raises(PackError) as caught:
        decode(pack(content_format, lm_dropped=told), content_format, NOW_US)
    assert caught.value.refusal is Refusal.BAD_SEQUENCE
    assert "lm-dropped" in caught.value.detail


@FORMATS
def test_numbers_of_a_pack_without_a_number_cannot_be_declared(content_format: int) -> None:
    raw = pack(content_format, lm_dropped="1", lm_epoch=None, lm_seq=None)
    with pytest.raises(PackError, match="without lm-seq"):
        decode(raw, content_format, NOW_US)


def test_a_million_numbers_and_no_more_are_declared_in_one_pack() -> None:
    most = limits.DROPPED_NUMBERS_MAX
    raw = pack(110, lm_seq=limits.SEQ_MAX, lm_dropped=f"1-{most}")
    assert decode(raw, 110, NOW_US).dropped == ((1, most),)
    with pytest.raises(PackError, match="1000001 numbers"):
        decode(pack(110, lm_seq=limits.SEQ_MAX, lm_dropped=f"1-{most},{most + 2}"), 110, NOW_US)
    with pytest.raises(EncodingError, match="1000001 numbers"):
        encode(LAMP, ONE, epoch=1, seq=limits.SEQ_MAX, dropped=[(1, most), (most + 2, most + 2)])


def test_sixteen_ranges_of_the_longest_numbers_fit() -> None:
    base = limits.SEQ_MAX - 1_000
    ranges = tuple((base + 10 * one, base + 10 * one + 5) for one in range(limits.DROPPED_RANGES_MAX))
    raw = encode(LAMP, ONE, epoch=1, seq=limits.SEQ_MAX, dropped=ranges)
    assert decode(raw, 110, NOW_US).dropped == ranges


@pytest.mark.parametrize(
    ("dropped", "seq"),
    [
        ([(5, 5)], 5),
        ([(5, 4)], 9),
        ([(0, 1)], 9),
        ([(1, 3), (3, 4)], 9),
        ([(2 * one, 2 * one) for one in range(1, 18)], 99),
    ],
)
def test_a_declaration_that_would_be_refused_is_not_written(dropped: list[tuple[int, int]], seq: int) -> None:
    with pytest.raises(EncodingError, match="lm-dropped"):
        encode(LAMP, ONE, epoch=1, seq=seq, dropped=dropped)
    with pytest.raises(EncodingError, match="without lm-seq"):
        encode(LAMP, ONE, dropped=[(1, 1)])


@FORMATS
@pytest.mark.parametrize("told", [-1, -0.5, 1e10, 10**12, True, "5", [5]], ids=repr)
def test_a_bad_time_error_is_a_bad_time(content_format: int, told: object) -> None:
    with pytest.raises(PackError) as caught:
        decode(pack(content_format, lm_time_error=told), content_format, NOW_US)
    assert caught.value.refusal is Refusal.BAD_TIME
    assert "lm-time-error" in caught.value.detail


@pytest.mark.parametrize("told", [float("nan"), float("inf"), 1e10])
def test_a_time_error_that_is_no_bound_is_not_written(told: float) -> None:
    with pytest.raises(EncodingError, match="lm-time-error"):
        encode(LAMP, ONE, time_error_s=told)


@FORMATS
@pytest.mark.parametrize(("told", "uncertain"), [(0, False), (2, False), (2.001, True), (86_400, True)])
def test_readings_of_an_uncertain_clock_are_flagged(content_format: int, told: float, *, uncertain: bool) -> None:
    found = decode(pack(content_format, lm_time_error=told), content_format, NOW_US)
    assert bool(found.records[0].quality & Quality.TIME_UNCERTAIN) is uncertain
    assert found.time_error_s == told


@FORMATS
@pytest.mark.parametrize("label", ["lm-epoch", "lm-seq", "lm-dropped", "lm-time-error"])
def test_labels_of_ours_belong_in_the_first_record(content_format: int, label: str) -> None:
    if content_format == 110:
        raw = json.dumps(
            [{"bn": LAMP.urn, "bt": 1763757018, "n": "/a", "v": 1}, {"n": "/b", "v": 1, label: 1}]
        ).encode()
    else:
        raw = cbor2.dumps([{-2: LAMP.urn, -3: 1763757018, 0: "/a", 2: 1}, {0: "/b", 2: 1, label: 1}])
    with pytest.raises(PackError, match=label) as caught:
        decode(raw, content_format, NOW_US)
    assert caught.value.refusal is Refusal.BAD_SEQUENCE
