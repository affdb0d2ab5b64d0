"""From arrivals to one store batch: every pack that arrives is in the ledger, with the right outcome."""

import json

import ingest_town as town
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_bench import NONE_KNOWN, Bench, outcomes, reasons
from xxhash import xxh3_64_intdigest

from lichtmast.ingest.pipeline.arrivals import collect
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.store.port import Outcome, Transport
from lichtmast.wire import Quality, senml
from lichtmast.wire.envelope import SENML_CBOR
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml import Reading
from lichtmast.wire.topics import COAP_DOOR_SUBJECT

NOW_US = town.NOW_US
pack = town.pack


@pytest.fixture
def roster() -> Roster:
    return town.make_roster()


def test_a_pack_becomes_rows_a_ledger_line_and_an_acknowledgement(roster: Roster) -> None:
    raw = pack("lm-2", 1)
    settled = Bench(roster).feed(("lm-2", raw))
    assert settled.batch.observations.to_pylist() == [
        {
            "datastream_id": int(roster.datastreams[2, roster.suffix_codes[suffix]]),
            "phenomenon_time": NOW_US,
            "result": 1e-8,
            "result_text": None,
            "quality": 0,
            "result_time": NOW_US,
        }
        for suffix in ("/air/0/pm10", "/air/0/pm25")
    ]
    assert settled.batch.ledger.to_pylist() == [
        {
            "device": "gm0402/lm-2",
            "epoch": 7,
            "seq": 1,
            "received_at": NOW_US,
            "log_seq": 1,
            "part": 0,
            "outcome": Outcome.STORED,
            "readings": 2,
            "digest": xxh3_64_intdigest(raw),
            "transport": Transport.MQTT,
        }
    ]
    assert settled.batch.quarantine.num_rows == 0
    assert settled.batch.offset == 1
    assert settled.standings == {"gm0402/lm-2": (7, 1, (), ())}


def test_a_repetition_is_a_duplicate_whether_in_the_same_batch_or_later(roster: Roster) -> None:
    bench = Bench(roster)
    first = bench.feed(("lm-0", pack(seq=1)), ("lm-0", pack(seq=1)), ("lm-0", pack(seq=2)))
    again = bench.feed(("lm-0", pack(seq=2)), ("lm-0", pack(seq=1)))
    assert outcomes(first) == [Outcome.STORED, Outcome.DUPLICATE, Outcome.STORED]
    assert outcomes(again) == [Outcome.DUPLICATE, Outcome.DUPLICATE]
    assert again.batch.observations.num_rows == 0
    assert again.standings == {"gm0402/lm-0": (7, 2, (), ())}


def test_a_number_with_other_content_goes_to_quarantine_and_overwrites_nothing(roster: Roster) -> None:
    bench = Bench(roster)
    bench.feed(("lm-0", pack(seq=1)))
    other = pack(seq=1, value=2e-8)
    settled = bench.feed(("lm-0", other))
    assert outcomes(settled) == [Outcome.QUARANTINED]
    assert reasons(settled) == ["sequence_conflict"]
    assert settled.batch.quarantine.column("payload").to_pylist() == [other]
    assert settled.batch.ledger.column("seq").to_pylist() == [None]
    [(epoch, upto, _, refused)] = settled.standings.values()
    assert (epoch, upto) == (7, 1)
    assert [(one.seq, one.reason) for one in refused] == [(1, "sequence_conflict")]


def test_a_late_pack_fills_its_gap(roster: Roster) -> None:
    bench = Bench(roster)
    settled = bench.feed(("lm-0", pack(seq=1)), ("lm-0", pack(seq=3)), ("lm-0", pack(seq=5)))
    assert settled.standings["gm0402/lm-0"] == (7, 1, ((3, 3), (5, 5)), ())
    settled = bench.feed(("lm-0", pack(seq=2)), ("lm-0", pack(seq=4)))
    assert outcomes(settled) == [Outcome.STORED, Outcome.STORED]
    assert settled.standings["gm0402/lm-0"] == (7, 5, (), ())


def test_a_new_outbox_starts_a_new_count(roster: Roster) -> None:
    bench = Bench(roster)
    bench.feed(("lm-0", pack(seq=1)), ("lm-0", pack(seq=2)))
    settled = bench.feed(("lm-0", pack(seq=1, epoch=8)))
    assert outcomes(settled) == [Outcome.STORED]
    assert settled.standings["gm0402/lm-0"] == (8, 1, (), ())


REFUSED: list[tuple[str, str, bytes, str]] = [
    ("another's name", "lm-0", pack("lm-1"), "identity_mismatch"),
    ("unknown device", "lm-99", pack("lm-99"), "unknown_device"),
    ("suspended device", "asleep-1", pack("asleep-1"), "inactive_device"),
    ("no pack at all", "lm-0", b"hello", "undecodable"),
    ("nothing", "lm-0", b"", "empty"),
    ("unknown name", "lm-0", pack().replace(b"/air/0/pm10", b"/air/0/pm99"), "unknown_name"),
    ("another's name in the profile", "lm-0", pack().replace(b"/air/0/pm10", b"/lamp/0/level"), "unknown_name"),
    ("wrong unit", "lm-0", pack().replace(b"kg/m3", b"Cel"), "wrong_unit"),
    ("unknown unit", "lm-0", pack().replace(b"kg/m3", b"kg/m9"), "unknown_unit"),
    ("boolean for a number", "lm-0", pack().replace(b'"v":1e-08}', b'"vb":true}'), "wrong_type"),
    ("text for a number", "lm-0", pack().replace(b'"v":1e-08}', b'"vs":"x"}'), "wrong_type"),
    ("a year ago", "lm-0", pack(time_s=NOW_US / 1e6 - 365 * 86_400), "bad_time"),
    ("epoch without seq", "lm-0", pack().replace(b'"lm-seq":1,', b""), "bad_sequence"),
]


@pytest.mark.parametrize(("device", "raw", "reason"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_cannot_be_a_reading_goes_to_quarantine_with_bytes_and_reason(
    roster: Roster, device: str, raw: bytes, reason: str
) -> None:
    bench = Bench(roster)
    settled = bench.feed(("lm-3", pack("lm-3")), (device, raw), ("lm-4", pack("lm-4")))
    assert outcomes(settled) == [Outcome.STORED, Outcome.QUARANTINED, Outcome.STORED]
    assert settled.batch.quarantine.column("payload").to_pylist() == [raw]
    assert settled.batch.quarantine.column("device").to_pylist() == [f"gm0402/{device}"]
    assert reasons(settled) == [reason]
    assert settled.batch.observations.num_rows == 4


def test_a_refused_pack_is_told_to_its_device_by_number(roster: Roster) -> None:
    settled = Bench(roster).feed(("lm-0", pack(seq=1)), ("lm-0", pack(seq=2).replace(b"pm10", b"pm99")))
    epoch, upto, ranges, refused = settled.standings["gm0402/lm-0"]
    assert (epoch, upto, ranges) == (7, 2, ())
    assert [(one.seq, one.reason) for one in refused] == [(2, "unknown_name")]


def test_the_number_of_a_broken_pack_is_read_where_it_can_be(roster: Roster) -> None:
    settled = Bench(roster).feed(("lm-0", pack(seq=1).replace(b'"v":1e-08}]', b'"v":NaN}]')))
    assert settled.batch.ledger.column("seq").to_pylist() == [1]
    assert settled.standings["gm0402/lm-0"][1] == 1


def test_a_value_outside_the_range_is_stored_as_it_is_and_flagged(roster: Roster) -> None:
    settled = Bench(roster).feed(("lm-0", pack(value=-5.0)))
    assert settled.batch.observations.column("result").to_pylist() == [-5.0, -5.0]
    assert settled.batch.observations.column("quality").to_pylist() == [Quality.OUT_OF_RANGE] * 2


def test_a_future_time_is_stored_and_flagged(roster: Roster) -> None:
    settled = Bench(roster).feed(("lm-0", pack(time_s=NOW_US / 1e6 + 3600)))
    assert settled.batch.observations.column("quality").to_pylist() == [Quality.TIME_IN_FUTURE] * 2


def test_packs_of_coap_come_out_of_their_envelope_in_order_and_get_no_mqtt_ack(roster: Roster) -> None:
    time_us = NOW_US - 5
    cbor = senml.encode(
        DeviceId("gm0402", "lm-1"),
        [Reading("/air/0/pm10", 1e-8, "kg/m3", time_us)],
        epoch=7,
        seq=1,
        content_format=SENML_CBOR,
    )
    settled = Bench(roster).feed(("lm-0", pack("lm-0")), ("lm-1", cbor), ("lm-0", b"junk"), transport="coap")
    assert outcomes(settled) == [Outcome.STORED, Outcome.STORED, Outcome.QUARANTINED]
    assert settled.batch.ledger.column("part").to_pylist() == [0, 1, 2]
    assert settled.batch.ledger.column("log_seq").to_pylist() == [1, 1, 1]
    assert settled.batch.quarantine.column("content_format").to_pylist() == [SENML_CBOR]
    assert settled.standings == {}


def test_a_damaged_envelope_goes_to_quarantine_whole(roster: Roster) -> None:
    bench = Bench(roster)
    message = town.LogMessage(COAP_DOOR_SUBJECT, b"LMB1 but no more", 1)
    prepared = bench.transform.prepare(collect([message], roster))
    settled = bench.transform.settle(prepared, {}, NONE_KNOWN, "READINGS")
    assert outcomes(settled) == [Outcome.QUARANTINED]
    assert settled.batch.quarantine.column("device").to_pylist() == [""]


def test_devices_without_numbers_are_deduped_by_time(roster: Roster) -> None:
    bench = Bench(roster)
    plain = pack(seq=None)
    assert outcomes(bench.feed(("lm-0", plain), ("lm-0", plain))) == [Outcome.STORED, Outcome.DUPLICATE]
    assert outcomes(bench.feed(("lm-0", plain))) == [Outcome.DUPLICATE]
    half_new = json.dumps(
        [*json.loads(plain), {"n": "/air/0/pm1", "u": "kg/m3", "v": 3e-9}], separators=(",", ":")
    ).encode()
    settled = bench.feed(("lm-0", half_new))
    assert outcomes(settled) == [Outcome.STORED]
    assert settled.batch.observations.column("result").to_pylist() == [3e-9]
    assert settled.batch.ledger.column("readings").to_pylist() == [1]
    assert settled.standings == {}


def test_another_value_at_the_same_time_is_no_repetition(roster: Roster) -> None:
    bench = Bench(roster)
    other = pack(seq=None, value=2e-8)
    settled = bench.feed(("lm-0", pack(seq=None)), ("lm-0", other))
    assert outcomes(settled) == [Outcome.STORED, Outcome.QUARANTINED]
    assert reasons(settled) == ["sequence_conflict"]
    later = bench.feed(("lm-0", other))
    assert outcomes(later) == [Outcome.QUARANTINED]
    assert later.batch.quarantine.column("payload").to_pylist() == [other]


def test_readings_without_time_get_their_own_moment_however_close_they_come(roster: Roster) -> None:
    bench = Bench(roster)
    raw = json.dumps([{"bn": "urn:dev:lm:gm0402:lm-0/", "n": "air/0/pm10", "u": "kg/m3", "v": 1e-8}]).encode()
    messages = [
        town.LogMessage("lm.gm0402.lm-0.up", raw.replace(b"1e-08", b"%de-08" % number), number, NOW_US + number * 1_000)
        for number in range(1, 6)
    ]
    prepared = bench.transform.prepare(collect(messages, roster))
    settled = bench.transform.settle(prepared, {}, NONE_KNOWN, "READINGS")
    assert outcomes(settled) == [Outcome.STORED] * 5
    times = [NOW_US + number * 1_000 for number in range(1, 6)]
    assert settled.batch.observations.column("phenomenon_time").to_pylist() == times
    assert settled.batch.observations.column("result_time").to_pylist() == times


def test_a_numbered_and_an_unnumbered_pack_of_the_same_reading_are_stored_once(roster: Roster) -> None:
    settled = Bench(roster).feed(("lm-0", pack(seq=1)), ("lm-0", pack(seq=None)))
    assert outcomes(settled) == [Outcome.STORED, Outcome.DUPLICATE]


def test_junk_behind_a_good_pack_does_not_cost_its_acknowledgement(roster: Roster) -> None:
    settled = Bench(roster).feed(("lm-0", pack(seq=1)), ("lm-0", b"junk"))
    assert settled.standings == {"gm0402/lm-0": (7, 1, (), ())}


def test_a_device_with_hundreds_of_holes_is_acknowledged_when_they_are_filled(roster: Roster) -> None:
    bench = Bench(roster)
    for seq in (*range(1, 400, 2), *range(2, 401, 2)):
        bench.feed(("lm-0", pack(seq=seq)))
    for seq in range(1, 401):  # the device repeats what it was not told of
        told = bench.feed(("lm-0", pack(seq=seq))).standings["gm0402/lm-0"]
    assert told[:3] == (7, 400, ())
    assert len(bench.ledger) == 400


def test_a_device_may_lose_its_outbox_as_often_as_it_likes(roster: Roster) -> None:
    bench = Bench(roster)
    for epoch in range(1, 200):
        settled = bench.feed(("lm-0", pack(seq=1, epoch=epoch)), ("lm-0", pack(seq=2, epoch=epoch)))
        assert outcomes(settled) == [Outcome.STORED, Outcome.STORED]
        assert settled.standings["gm0402/lm-0"][0] == epoch
    assert outcomes(bench.feed(("lm-0", pack(seq=2, epoch=1)))) == [Outcome.DUPLICATE]
    assert outcomes(bench.feed(("lm-0", pack(seq=3, epoch=1)))) == [Outcome.STORED]


def test_text_that_is_not_utf8_goes_to_quarantine(roster: Roster) -> None:
    raw = pack().replace(b"pm10", b"pm\xc31")
    settled = Bench(roster).feed(("lm-1", pack("lm-1")), ("lm-0", raw))
    assert outcomes(settled) == [Outcome.STORED, Outcome.QUARANTINED]
    assert reasons(settled) == ["undecodable"]


def test_a_message_that_cannot_be_prepared_can_be_refused_whole(roster: Roster) -> None:
    bench = Bench(roster)
    arrivals = collect([town.LogMessage("lm.gm0402.lm-0.up", pack(), 1)], roster)
    settled = bench.transform.settle(bench.transform.refuse(arrivals, "a bug"), {}, NONE_KNOWN, "READINGS")
    assert outcomes(settled) == [Outcome.QUARANTINED]
    assert settled.batch.quarantine.column("payload").to_pylist() == [pack()]
    assert settled.standings == {}


def test_booleans_are_stored_as_ones_and_zeros(roster: Roster) -> None:
    raw = pack("parking-1")
    suffix = next(one.suffix for one in roster.profiles[roster.profile_of[8]].uplinks if one.kind.value == "boolean")
    records = json.loads(raw)
    first = {key: value for key, value in records[0].items() if key not in {"n", "u", "v"}}
    for flag in (True, False):
        first["lm-seq"] = 2 - flag
        sent = json.dumps([{**first, "n": suffix, "vb": flag}], separators=(",", ":")).encode()
        settled = Bench(roster).feed(("parking-1", sent))
        assert settled.batch.observations.column("result").to_pylist() == [float(flag)]


arrivals = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(1, 6),
        st.sampled_from(["sound", "sound", "sound", "other", "bad", "spaced", "plain"]),
    ),
    max_size=30,
)


@settings(max_examples=120, deadline=None)
@given(st.lists(arrivals, max_size=5))
def test_whatever_comes_each_pack_is_accounted_for_once(batches: list[list[tuple[int, int, str]]]) -> None:
    bench = Bench(town.make_roster())
    seen: set[tuple[int, int]] = set()
    for batch in batches:
        sent = []
        for device, seq, kind in batch:
            raw = pack(f"lm-{device}", None if kind == "plain" else seq, value=2e-8 if kind == "other" else 1e-8)
            if kind == "bad":
                raw = raw.replace(b"pm25", b"pm99")
            elif kind == "spaced":
                raw = json.dumps(json.loads(raw), indent=1).encode()
            sent.append((f"lm-{device}", raw))
            if kind != "plain":
                seen.add((device, seq))
        if not sent:
            continue
        settled = bench.feed(*sent)
        assert settled.packs == len(sent) == settled.batch.ledger.num_rows
        stored = sum(one is Outcome.STORED for one in outcomes(settled))
        assert len(sent) == stored + settled.quarantined + settled.duplicates
        assert settled.batch.quarantine.num_rows == settled.quarantined
        assert settled.batch.observations.num_rows == sum(settled.batch.ledger.column("readings").to_pylist())
    assert {(int(key.device[-1]), key.seq) for key in bench.ledger} == seen
