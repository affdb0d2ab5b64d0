"""What devices declare as dropped: acknowledged past, told to the store once, and never in the way of what comes."""

import json
from typing import Any

import ingest_town as town
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_bench import Bench, outcomes, reasons

from lichtmast.ingest import decode
from lichtmast.ingest.pipeline.sequence import RANGES_MAX
from lichtmast.ingest.pipeline.transform import Settled
from lichtmast.store.port import Outcome
from lichtmast.wire import Acknowledgement, DeviceId, Quality, Reading, encode, limits

STORED, QUARANTINED, DUPLICATE = Outcome.STORED, Outcome.QUARANTINED, Outcome.DUPLICATE
LM0 = "gm0402/lm-0"


def pack(name: str = "lm-0", seq: int = 1, epoch: int = 7, **labels: Any) -> bytes:  # noqa: ANN401
    """A sound pack with more labels in its first record."""
    first, *others = json.loads(town.pack(name, seq, epoch))
    first |= {label.replace("_", "-"): value for label, value in labels.items()}
    return json.dumps([first, *others], separators=(",", ":")).encode()


def drops(settled: Settled) -> list[tuple[Any, ...]]:
    """What goes to the store, without the moment."""
    return [tuple(row.values())[:4] for row in settled.batch.drops.to_pylist()]


def told(settled: Settled, device: str = LM0) -> Acknowledgement:
    return Acknowledgement(*settled.standings[device])


@pytest.fixture
def bench() -> Bench:
    return Bench(town.make_roster())


def test_declared_numbers_are_acknowledged_and_kept_in_the_same_transaction(bench: Bench) -> None:
    bench.feed(("lm-0", pack(seq=1)))
    settled = bench.feed(("lm-0", pack(seq=10, lm_dropped="2-4,6-9")))
    assert outcomes(settled) == [STORED]
    assert drops(settled) == [(LM0, 7, 2, 4), (LM0, 7, 6, 9)]
    assert settled.batch.drops["declared_at"].to_pylist() == [town.NOW_US] * 2
    assert (told(settled).upto, told(settled).ranges) == (4, ((6, 10),))
    assert told(bench.feed(("lm-0", pack(seq=5)))).upto == 10


def test_a_declared_pack_that_comes_all_the_same_is_stored_once(bench: Bench) -> None:
    bench.feed(("lm-0", pack(seq=5, lm_dropped="1-4")))
    late = pack(seq=3)
    settled = bench.feed(("lm-0", late), ("lm-0", late))
    assert outcomes(settled) == [STORED, DUPLICATE]
    assert settled.batch.observations.num_rows == 2
    assert outcomes(bench.feed(("lm-0", late))) == [DUPLICATE]


def test_a_declared_pack_of_the_same_fetch_is_stored_before_and_after(bench: Bench) -> None:
    settled = bench.feed(("lm-0", pack(seq=2)), ("lm-0", pack(seq=5, lm_dropped="1-4")), ("lm-0", pack(seq=3)))
    assert outcomes(settled) == [STORED, STORED, STORED]
    assert told(settled).upto == 5


def test_what_was_declared_before_is_no_news(bench: Bench) -> None:
    first = pack(seq=5, lm_dropped="2-4")
    bench.feed(("lm-0", first))
    assert drops(bench.feed(("lm-0", pack(seq=6, lm_dropped="2-4")), ("lm-0", first))) == []
    assert drops(bench.feed(("lm-0", pack(seq=9, lm_dropped="2-4,7-8")))) == [(LM0, 7, 7, 8)]


@pytest.mark.parametrize("content_format", [110, 112])
def test_a_pack_whose_time_is_refused_is_named_to_its_device_and_still_declares(
    bench: Bench, content_format: int
) -> None:
    """A clock a month behind: the device lets go of the pack, and with it of what the pack declared."""
    month_ago_us = town.NOW_US - (limits.TIME_PAST_MAX_S + 60) * 1_000_000
    readings = [Reading("/air/0/pm10", 1e-8, None, month_ago_us)]
    device = DeviceId("gm0402", "lm-0")
    raw = encode(device, readings, epoch=7, seq=5, content_format=content_format, dropped=[(1, 4)])
    settled = bench.feed(("lm-0", raw))
    assert (outcomes(settled), reasons(settled)) == ([QUARANTINED], ["bad_time"])
    assert told(settled).upto == 5
    assert [one.seq for one in told(settled).refused] == [5]
    assert drops(settled) == [(LM0, 7, 1, 4)]


def test_an_undecodable_pack_that_names_another_device_declares_nothing(bench: Bench) -> None:
    month_ago_us = town.NOW_US - (limits.TIME_PAST_MAX_S + 60) * 1_000_000
    readings = [Reading("/air/0/pm10", 1e-8, None, month_ago_us)]
    raw = encode(DeviceId("gm0402", "lm-1"), readings, epoch=7, seq=5, dropped=[(1, 4)])
    assert drops(bench.feed(("lm-0", raw))) == []


def test_a_refused_pack_of_the_device_still_declares(bench: Bench) -> None:
    wrong = pack(seq=5, lm_dropped="1-4").replace(b"/air/0/pm10", b"/air/0/none")
    settled = bench.feed(("lm-0", wrong))
    assert outcomes(settled) == [QUARANTINED]
    assert told(settled).upto == 5
    asleep = bench.feed(("asleep-1", pack("asleep-1", seq=5, lm_dropped="1-4")))
    assert (outcomes(asleep), drops(asleep)) == ([QUARANTINED], [("gm0402/asleep-1", 7, 1, 4)])


@pytest.mark.parametrize("transport", ["mqtt", "coap"])
def test_nobody_declares_for_another(bench: Bench, transport: str) -> None:
    settled = bench.feed(("lm-1", pack("lm-0", seq=5, lm_dropped="1-4")), transport=transport)
    assert (reasons(settled), drops(settled)) == (["identity_mismatch"], [])
    unknown = bench.feed(("none-1", pack("none-1", seq=5, lm_dropped="1-4")), transport=transport)
    assert (reasons(unknown), drops(unknown)) == (["unknown_device"], [])


def test_a_declaration_is_of_its_own_epoch(bench: Bench) -> None:
    bench.feed(("lm-0", pack(seq=1)))
    settled = bench.feed(("lm-0", pack(seq=9, epoch=8, lm_dropped="1-8")))
    assert drops(settled) == [(LM0, 8, 1, 8)]
    assert outcomes(bench.feed(("lm-0", pack(seq=2)))) == [STORED]
    assert told(bench.feed(("lm-0", pack(seq=4)))).upto == 2


def test_a_conflicting_pack_declares_nothing(bench: Bench) -> None:
    bench.feed(("lm-0", pack(seq=9)))
    settled = bench.feed(("lm-0", pack(seq=9, lm_dropped="1-8")))
    assert (reasons(settled), drops(settled)) == (["sequence_conflict"], [])


@pytest.mark.parametrize(
    "told_text",
    ["1-9007199254740991", "1-1000002", "5-9,7-12", "30", "20-40", ",".join(str(2 * one) for one in range(1, 10_001))],
    ids=["all", "too-many", "overlapping", "itself", "above", "ten-thousand-ranges"],
)
def test_a_hostile_declaration_goes_to_quarantine_and_is_answered(bench: Bench, told_text: str) -> None:
    seq = 30 if len(told_text) < 10 else limits.SEQ_MAX - 1
    settled = bench.feed(("lm-0", pack(seq=seq, lm_dropped=told_text)))
    assert (reasons(settled), drops(settled)) == (["bad_sequence"], [])
    [refused] = told(settled).refused
    assert (refused.seq, refused.reason) == (seq, "bad_sequence")
    assert "lm-dropped" in refused.detail


def test_a_device_that_declares_ever_more_holes_costs_bounded_memory(bench: Bench) -> None:
    for number in range(1, 40):
        base = number * 1_000
        holes = ",".join(str(base + 2 * one) for one in range(limits.DROPPED_RANGES_MAX))
        settled = bench.feed(("lm-0", pack(seq=base + 500, lm_dropped=holes)))
        assert outcomes(settled) == [STORED]
        assert len(told(settled).ranges) <= limits.ACK_RANGES_MAX
    progress = bench.transform._sequences.of(LM0, 7)
    assert len(progress.ranges) <= RANGES_MAX
    assert outcomes(bench.feed(("lm-0", pack(seq=1_001)))) == [STORED]


def test_packs_in_cbor_declare_and_flag_too(bench: Bench) -> None:
    raw = encode(
        DeviceId("gm0402", "lm-0"),
        [Reading("/air/0/pm10", 1e-8, "kg/m3", town.NOW_US)],
        epoch=7,
        seq=5,
        content_format=112,
        dropped=[(1, 4)],
        time_error_s=30.0,
    )
    settled = bench.feed(("lm-0", raw))
    assert drops(settled) == [(LM0, 7, 1, 4)]
    assert settled.batch.observations["quality"].to_pylist() == [int(Quality.TIME_UNCERTAIN)]


def test_the_fast_way_leaves_both_labels_to_the_strict_one() -> None:
    plain = town.pack()
    for raw, sound in ((plain, True), (pack(lm_dropped="1"), False), (pack(lm_time_error=3), False)):
        columns = decode.read_columns([raw], {"/air/0/pm10": 0, "/air/0/pm25": 1}, {"": 0, "kg/m3": 1})
        assert columns is not None
        assert columns.sound.tolist() == [sound]


numbers = st.integers(2, 40)


@pytest.mark.slow
@given(st.lists(st.tuples(numbers, st.lists(st.tuples(numbers, st.integers(0, 5)), max_size=3)), max_size=25))
@settings(deadline=None, max_examples=60)
def test_every_number_is_arrived_or_dropped_whatever_the_order(
    steps: list[tuple[int, list[tuple[int, int]]]],
) -> None:
    bench = Bench(town.make_roster(1))
    arrived: set[int] = set()
    declared: set[int] = set()
    to_store: set[int] = set()
    for seq, wanted in steps:
        ranges: list[str] = []
        last = 0
        for first, more in sorted(wanted):
            if last < first and first + more < seq:
                last = first + more
                ranges.append(f"{first}-{last}")
        raw = pack(seq=seq, lm_dropped=",".join(ranges)) if ranges else pack(seq=seq)
        known = seq in arrived
        settled = bench.feed(("lm-0", raw))
        assert (outcomes(settled) == [STORED]) is not known
        if not known:
            arrived.add(seq)
            for text in ranges:
                low, high = map(int, text.split("-"))
                declared |= set(range(low, high + 1))
        to_store |= {one for _, _, low, high in drops(settled) for one in range(low, high + 1)}
        assert declared - arrived <= to_store <= declared
        standing = told(settled) if LM0 in settled.standings else None
        if standing is not None:
            assert {one for one in range(1, 60) if standing.covers(one)} == arrived | declared
