"""What every observation store does, asked of each implementation alike."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lichtmast.store import Batch, DuckStore, Outcome, PackKey, StoreError
from lichtmast.store.port import DROPPED_SCHEMA, LEDGER_SCHEMA, OBSERVATION_SCHEMA, PROGRESS_SCHEMA, QUARANTINE_SCHEMA

DAY_US = 86_400_000_000
TODAY = 20_000
NOON_US = TODAY * DAY_US + DAY_US // 2
ALWAYS = (-(2**62), 2**62)
STORED, REFUSED, DUPLICATE = Outcome.STORED, Outcome.QUARANTINED, Outcome.DUPLICATE

Store = Any
Make = Callable[..., Batch]


def test_empty_store_knows_nothing(any_store: Store) -> None:
    assert any_store.offset("READINGS") == 0
    assert any_store.latest().num_rows == 0
    assert any_store.range([1], *ALWAYS, limit=10).num_rows == 0
    assert any_store.count(1, *ALWAYS) == 0
    assert any_store.progress().num_rows == 0
    assert any_store.digests([PackKey("gm0402/lm-1", 1, 1)]) == {}


def test_commit_moves_the_offset_of_its_log_only(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(1, NOON_US)]))
    assert (any_store.offset("READINGS"), any_store.offset("OTHER")) == (1, 0)


@pytest.mark.parametrize("offset", [3, 2, 0, -1])
def test_offset_that_does_not_advance_is_refused_and_nothing_is_stored(
    any_store: Store, batches: Make, offset: int
) -> None:
    any_store.commit(batches([(1, NOON_US)], [("gm0402/lm-1", 1, 1, STORED, 1)], offset=3))
    with pytest.raises(StoreError):
        any_store.commit(batches([(2, NOON_US)], [("gm0402/lm-1", 1, 2, STORED, 1)], offset=offset))
    assert any_store.latest()["datastream_id"].to_pylist() == [1]
    assert any_store.progress()["upto"].to_pylist() == [1]


def test_range_is_half_open_and_ordered_by_time_then_datastream(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(2, NOON_US + 1), (1, NOON_US + 2), (1, NOON_US + 1), (3, NOON_US + 1)]))
    any_store.commit(batches([(1, NOON_US), (1, NOON_US + 3), (1, NOON_US - DAY_US)]))
    found = any_store.range([1, 2], NOON_US, NOON_US + 3, limit=10)
    assert found.schema == OBSERVATION_SCHEMA
    assert [(r["phenomenon_time"] - NOON_US, r["datastream_id"]) for r in found.to_pylist()] == [
        (0, 1),
        (1, 1),
        (1, 2),
        (2, 1),
    ]
    newest = any_store.range([1, 2], NOON_US - DAY_US, NOON_US + 3, limit=2, descending=True)
    assert [(r["phenomenon_time"] - NOON_US, r["datastream_id"]) for r in newest.to_pylist()] == [(2, 1), (1, 2)]
    assert any_store.range([1, 2], *ALWAYS, limit=0).num_rows == 0
    assert any_store.range([], *ALWAYS, limit=9).num_rows == 0


def test_every_column_comes_back_as_it_went_in(any_store: Store, batches: Make) -> None:
    batch = batches([(7, NOON_US, 0.1 + 0.2), (8, NOON_US, "open'\"\n\U0001f4a1"), (2**31 - 1, -5, -1e308)])
    any_store.commit(batch)
    found = any_store.range([7, 8, 2**31 - 1], *ALWAYS, limit=10)
    assert found.sort_by("datastream_id").to_pylist() == batch.observations.sort_by("datastream_id").to_pylist()


def test_late_readings_are_found_at_once_and_in_their_place(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(1, NOON_US, 5.0)]))
    any_store.commit(batches([(1, NOON_US - 20 * DAY_US, 4.0), (1, NOON_US - DAY_US, 4.5)]))
    assert any_store.range([1], *ALWAYS, limit=9)["result"].to_pylist() == [4.0, 4.5, 5.0]
    assert any_store.count(1, *ALWAYS) == 3
    assert any_store.latest()["result"].to_pylist() == [5.0]


def test_latest_keeps_the_first_of_equal_times(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(1, NOON_US, 1.0), (1, NOON_US, 2.0), (2, NOON_US, 9.0)]))
    any_store.commit(batches([(1, NOON_US, 3.0), (2, NOON_US + 1, 8.0), (2, NOON_US - 1, 7.0)]))
    assert any_store.latest()["result"].to_pylist() == [1.0, 8.0]


def test_latest_of_a_list_answers_only_known_ones_by_id(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(5, NOON_US), (3, NOON_US), (4, NOON_US)]))
    assert any_store.latest([5, 3, 99, 3])["datastream_id"].to_pylist() == [3, 5]
    assert any_store.latest([]).num_rows == 0


def test_aggregate_puts_numbers_in_buckets_of_multiples(any_store: Store, batches: Make) -> None:
    hour = 3_600_000_000
    any_store.commit(batches([(1, NOON_US, 1.0), (1, NOON_US + hour - 1, 3.0), (1, NOON_US + hour, 10.0)]))
    any_store.commit(batches([(1, NOON_US + 5, "text"), (2, NOON_US, 50.0), (1, -1, 7.0)]))
    assert any_store.aggregate(1, *ALWAYS, hour).to_pylist() == [
        {"bucket": -hour, "count": 1, "mean": 7.0, "minimum": 7.0, "maximum": 7.0},
        {"bucket": NOON_US, "count": 2, "mean": 2.0, "minimum": 1.0, "maximum": 3.0},
        {"bucket": NOON_US + hour, "count": 1, "mean": 10.0, "minimum": 10.0, "maximum": 10.0},
    ]
    with pytest.raises(StoreError):
        any_store.aggregate(1, *ALWAYS, 0)


def test_existing_answers_the_stored_keys_and_their_results(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(1, NOON_US), (2, NOON_US - DAY_US)]))
    any_store.commit(batches([(3, NOON_US - 30 * DAY_US)]))
    keys = [(1, NOON_US), (1, NOON_US - DAY_US), (2, NOON_US - DAY_US), (3, NOON_US - 30 * DAY_US), (3, NOON_US)]
    asked = pa.table(
        {
            "datastream_id": pa.array([one for one, _ in keys], pa.int32()),
            "phenomenon_time": pa.array([two for _, two in keys], pa.int64()),
        }
    )
    found = any_store.existing(asked)
    assert {tuple(row.values())[:2] for row in found.to_pylist()} == {keys[0], keys[2], keys[3]}
    held = any_store.range([1, 2, 3], 0, 2**62, limit=10).to_pylist()
    by_key = {(row["datastream_id"], row["phenomenon_time"]): (row["result"], row["result_text"]) for row in held}
    assert all(by_key[tuple(row.values())[:2]] == tuple(row.values())[2:] for row in found.to_pylist())
    assert any_store.existing(asked.slice(0, 0)).num_rows == 0


def test_log_positions_without_a_ledger_line_are_counted(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([], [("gm0402/lm-1", 1, 1, STORED, 0), ("gm0402/lm-1", 1, 2, STORED, 0)]))
    any_store.commit(batches([], [("gm0402/lm-1", 1, 3, STORED, 0)]))
    assert any_store.audit_counts()["positions_unaccounted"] == 0
    for _ in range(3):
        batches([])  # positions of the log that come to nobody
    any_store.commit(batches([], [("gm0402/lm-1", 1, 4, STORED, 0)]))
    assert any_store.audit_counts()["positions_unaccounted"] == 3


def test_digests_are_those_of_the_packs_that_were_kept(any_store: Store, batches: Make) -> None:
    first = batches([], [("gm0402/lm-1", 1, 1, STORED, 1), ("gm0402/lm-1", 1, 2, REFUSED, 0)])
    any_store.commit(first)
    any_store.commit(batches([], [("gm0402/lm-1", 1, 1, DUPLICATE, 0), ("gm0402/lm-2", 1, 1, STORED, 0)]))
    keys = [PackKey("gm0402/lm-1", 1, 1), PackKey("gm0402/lm-1", 1, 2), PackKey("gm0402/lm-1", 2, 1)]
    kept = first.ledger["digest"].to_pylist()
    assert any_store.digests(keys) == {keys[0]: kept[0], keys[1]: kept[1]}


def test_digests_at_a_log_position_are_those_of_its_first_pack(any_store: Store, batches: Make) -> None:
    first = batches([], [("gm0402/a-1", 1, 1, STORED, 1), ("gm0402/a-1", 1, 2, STORED, 1)])
    any_store.commit(first)
    any_store.commit(batches([], [("gm0402/a-1", 1, 3, DUPLICATE, 0)]))
    other = batches([], [("gm0402/b-1", 1, 1, STORED, 1)], log="OTHER", offset=1)
    any_store.commit(other)
    assert set(any_store.digests_at(1)) == {first.ledger["digest"][0].as_py(), other.ledger["digest"][0].as_py()}
    assert len(any_store.digests_at(2)) == 1
    assert any_store.digests_at(3) == []


def test_ledger_counts_are_by_device_hour_outcome_and_transport(any_store: Store, batches: Make) -> None:
    hour = 3_600_000_000
    packs = [
        ("gm0402/a-1", 1, 1, STORED, 6, NOON_US),
        ("gm0402/a-1", 1, 2, STORED, 5, NOON_US + 1),  # the other transport
        ("gm0402/a-1", 1, 3, STORED, 4, NOON_US + hour - 1),
        ("gm0402/a-1", 1, 4, REFUSED, 0, NOON_US + hour),
        ("gm0402/b-1", 1, 1, STORED, 3, NOON_US),
    ]
    any_store.commit(batches([], packs))
    any_store.commit(batches([], [("gm0402/b-1", 1, 1, DUPLICATE, 0, NOON_US), ("", None, None, REFUSED, 0, -1)]))
    found = any_store.ledger_counts(NOON_US, NOON_US + 2 * hour)
    assert found.schema.names == ["device", "hour_us", "outcome", "transport", "packs", "readings"]
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("gm0402/a-1", NOON_US, 0, 0, 2, 10),
        ("gm0402/a-1", NOON_US, 0, 1, 1, 5),
        ("gm0402/a-1", NOON_US + hour, 1, 1, 1, 0),
        ("gm0402/b-1", NOON_US, 0, 0, 1, 3),
        ("gm0402/b-1", NOON_US, 2, 0, 1, 0),
    ]
    assert any_store.ledger_counts(-hour, 0).to_pylist() == [
        {"device": "", "hour_us": -hour, "outcome": 1, "transport": 1, "packs": 1, "readings": 0}
    ]


def test_progress_is_ranges_of_all_that_arrived(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([], [("gm0402/a-1", 1, seq, STORED, 0) for seq in (1, 2, 4, 5, 9)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 3, REFUSED, 0), ("gm0402/b-1", 2, 6, STORED, 0)]))
    any_store.commit(batches([], [("", None, None, REFUSED, 0), ("gm0402/a-1", 1, 9, DUPLICATE, 0)]))
    found = any_store.progress()
    assert found.schema == PROGRESS_SCHEMA
    assert found.to_pylist() == [
        {"device": "gm0402/a-1", "epoch": 1, "upto": 5, "ranges": [9, 9]},
        {"device": "gm0402/b-1", "epoch": 2, "upto": 0, "ranges": [6, 6]},
    ]


def test_declared_numbers_count_as_progress(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([], [("gm0402/a-1", 1, 6, STORED, 0)], drops=[("gm0402/a-1", 1, 1, 4)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 12, STORED, 0)], drops=[("gm0402/a-1", 1, 8, 9)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 5, STORED, 0)], drops=[("gm0402/b-1", 2, 3, 3)]))
    assert any_store.progress().to_pylist() == [
        {"device": "gm0402/a-1", "epoch": 1, "upto": 6, "ranges": [8, 9, 12, 12]},
        {"device": "gm0402/b-1", "epoch": 2, "upto": 0, "ranges": [3, 3]},
    ]


def test_dropped_are_the_declared_numbers_that_never_arrived(any_store: Store, batches: Make) -> None:
    assert any_store.dropped().to_pylist() == []
    any_store.commit(batches([], [("gm0402/a-1", 1, 3, STORED, 0), ("gm0402/a-1", 2, 2, STORED, 0)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 20, STORED, 0)], drops=[("gm0402/a-1", 1, 1, 10)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 7, REFUSED, 0)], drops=[("gm0402/a-1", 1, 5, 12)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 12, STORED, 0)], drops=[("gm0402/b-1", 9, 4, 4)]))
    found = any_store.dropped()
    assert found.schema == DROPPED_SCHEMA
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("gm0402/a-1", 1, 1, 2),
        ("gm0402/a-1", 1, 4, 6),
        ("gm0402/a-1", 1, 8, 11),
        ("gm0402/b-1", 9, 4, 4),
    ]


def test_numbers_that_came_twice_fill_no_hole(any_store: Store, batches: Make) -> None:
    """The smallest that once did: what is never missed is never sent again, and a declared number was not counted."""
    came = [16, 10, 5, 4, 26, 9, 18, 23, 26, 20, 29, 5, 10, 4, 24, 3, 29, 28, 22, 11, 16, 18, 4, 12]
    packs = [
        ("gm0402/a-1", 1, seq, Outcome.DUPLICATE if seq in came[:at] else STORED, 0) for at, seq in enumerate(came)
    ]
    any_store.commit(batches([], packs, drops=[("gm0402/a-1", 2, 1, 1), ("gm0402/a-1", 1, 17, 17)]))
    flat = [3, 5, 9, 12, 16, 18, 20, 20, 22, 24, 26, 26, 28, 29]
    assert any_store.progress().to_pylist()[0] == {"device": "gm0402/a-1", "epoch": 1, "upto": 0, "ranges": flat}
    assert [tuple(row.values()) for row in any_store.dropped().to_pylist()] == [
        ("gm0402/a-1", 1, 17, 17),
        ("gm0402/a-1", 2, 1, 1),
    ]


def test_a_million_declared_numbers_cost_one_line(store: DuckStore, batches: Make) -> None:
    store.commit(batches([], [("gm0402/a-1", 1, 2**53 - 1, STORED, 0)], drops=[("gm0402/a-1", 1, 1, 2**53 - 2)]))
    assert store.progress().to_pylist() == [{"device": "gm0402/a-1", "epoch": 1, "upto": 2**53 - 1, "ranges": []}]
    assert [tuple(row.values()) for row in store.dropped().to_pylist()] == [("gm0402/a-1", 1, 1, 2**53 - 2)]


def test_ledger_of_a_device_is_listed_by_number(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([], [("gm0402/a-1", 1, 2, STORED, 6), ("gm0402/b-1", 1, 1, STORED, 6)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 1, STORED, 6), ("gm0402/a-1", 1, 2, DUPLICATE, 0)]))
    found = any_store.ledger_range("gm0402/a-1", 1)
    assert found.schema == LEDGER_SCHEMA
    assert list(zip(found["seq"].to_pylist(), found["outcome"].to_pylist(), strict=True)) == [(1, 0), (2, 0), (2, 2)]


def test_quarantine_keeps_the_bytes_newest_first(any_store: Store, batches: Make) -> None:
    any_store.commit(batches(quarantine=[{"payload": b"\x00\xff{"}]))
    any_store.commit(batches(quarantine=[{"device": "gm0402/lm-9", "reason": "empty", "payload": b""}]))
    found = any_store.quarantine(10)
    assert found.schema == QUARANTINE_SCHEMA
    assert found["payload"].to_pylist() == [b"", b"\x00\xff{"]
    assert any_store.quarantine(1)["reason"].to_pylist() == ["empty"]
    assert any_store.quarantine(9, device="gm0402/lm-1")["payload"].to_pylist() == [b"\x00\xff{"]
    assert any_store.quarantine(9, reason="' OR 1=1 --").num_rows == 0


def test_erased_readings_are_gone_and_counted(any_store: Store, batches: Make) -> None:
    times = [NOON_US - 2 * DAY_US, NOON_US - DAY_US, NOON_US]
    any_store.commit(batches([(1, t) for t in times] + [(2, NOON_US)], [("gm0402/a-1", 1, 1, STORED, 4)]))
    any_store.commit(batches([(1, NOON_US + 5)], [("gm0402/a-1", 1, 2, STORED, 1)]))
    assert any_store.erase(1, NOON_US - DAY_US, 2**62) == 3
    assert any_store.erase(1, NOON_US - DAY_US, 2**62) == 0
    assert any_store.latest()["phenomenon_time"].to_pylist() == [times[0], NOON_US]
    assert any_store.range([1, 2], *ALWAYS, limit=9).num_rows == 2
    assert any_store.audit_counts() == {
        "observations_total": 2,
        "readings_by_ledger": 5,
        "erased_total": 3,
        "double_packs": 0,
        "positions_unaccounted": 0,
    }


def test_dropped_day_leaves_nothing_of_it(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(1, NOON_US - DAY_US), (1, NOON_US), (2, NOON_US)]))
    any_store.commit(batches([(1, NOON_US + 1)]))
    assert any_store.drop_day(TODAY) == 3
    assert any_store.latest()["phenomenon_time"].to_pylist() == [NOON_US - DAY_US]
    assert any_store.audit_counts()["erased_total"] == 3
    any_store.commit(batches([(1, NOON_US + 2)]))
    assert any_store.count(1, *ALWAYS) == 2


def test_audit_counts_packs_that_were_kept_twice(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([], [("gm0402/a-1", 1, 1, STORED, 0), ("gm0402/a-1", 1, 2, STORED, 0)]))
    any_store.commit(batches([], [("gm0402/a-1", 1, 1, REFUSED, 0), ("gm0402/a-1", 1, 2, DUPLICATE, 0)]))
    assert any_store.audit_counts()["double_packs"] == 1


def test_export_to_parquet_has_utc_timestamps(any_store: Store, batches: Make, tmp_path: Path) -> None:
    any_store.commit(batches([(2, NOON_US, 2.5), (1, NOON_US + 1, "=1+1"), (3, NOON_US)]))
    path = tmp_path / "it's.parquet"
    assert any_store.export(path, form="parquet", start_us=0, end_us=2**62, datastream_ids=[1, 2]) == 2
    found = pq.read_table(path)
    assert found.schema.field("phenomenon_time").type == pa.timestamp("us", tz="UTC")
    assert found["datastream_id"].to_pylist() == [1, 2]
    assert found["result_text"].to_pylist() == ["=1+1", None]


HOSTILE = {
    "=HYPERLINK(1)": "'=HYPERLINK(1)",
    "+1": "'+1",
    "-1": "'-1",
    "@a": "'@a",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    "  =1": "'  =1",
    "a=b": "a=b",
}


def test_export_to_csv_has_iso_times_and_no_formulas(any_store: Store, batches: Make, tmp_path: Path) -> None:

    any_store.commit(batches([(1, NOON_US + at, text) for at, text in enumerate(HOSTILE)] + [(2, NOON_US, -2.5)]))
    path = tmp_path / "out.csv"
    assert any_store.export(path, form="csv", start_us=0, end_us=2**62, datastream_ids=None) == len(HOSTILE) + 1
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["result_text"] for row in rows] == [*HOSTILE.values(), ""]
    assert rows[0]["phenomenon_time"] == "2024-10-04T12:00:00.000000Z"
    assert rows[-1]["result"] == "-2.5"


def test_export_in_an_unknown_form_is_refused(any_store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="parquet or csv"):
        any_store.export(tmp_path / "x", form="xlsx", start_us=0, end_us=1, datastream_ids=None)
    assert list(tmp_path.glob("x*")) == []
