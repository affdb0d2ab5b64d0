"""Entries of the quarantine are closed in the commit that settles them, once, whatever happens in between."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from lichtmast.store import Batch, DuckStore, Outcome, PackKey
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import ENTRY_SCHEMA, QUARANTINE_SCHEMA, RELEASED_SCHEMA, Selection

NOON_US = 20_000 * 86_400_000_000 + 43_200_000_000
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "journal"
ALL = Selection()
Make = Callable[..., Batch]
Open = Callable[..., DuckStore]
Store = DuckStore | MemoryStore
WANTED = pa.schema([*ENTRY_SCHEMA, QUARANTINE_SCHEMA.field("device"), ("payload", pa.binary())])


def fill(store: Store, batches: Make) -> None:
    """Four entries: positions 1/0, 1/1 and 2/0 of two devices, and 3/0 of another municipality."""
    store.commit(batches(quarantine=[{}, {"reason": "wrong_unit", "detail": "first"}]))
    store.commit(batches(quarantine=[{"device": "gm0402/lm-2", "received_at": NOON_US + 5, "payload": b"[2]"}]))
    store.commit(batches(quarantine=[{"device": "gm0344/lm-1", "received_at": NOON_US + 9}]))


def release(*entries: tuple[int, int, int], outcome: Outcome = Outcome.REPLAYED) -> pa.Table:
    """Entries to close."""
    rows = [(*entry, NOON_US + 100, int(outcome)) for entry in entries]
    return pa.Table.from_pylist([dict(zip(RELEASED_SCHEMA.names, row, strict=True)) for row in rows], RELEASED_SCHEMA)


def there(store: Store, selection: Selection = ALL) -> list[tuple[int, int]]:
    """Positions of the open entries, oldest first."""
    found = store.quarantine_page(selection, None, 100)
    return list(zip(found["log_seq"].to_pylist(), found["part"].to_pylist(), strict=True))


def test_a_closed_entry_is_gone_with_its_bytes_and_the_rest_is_not(any_store: Store, batches: Make) -> None:
    fill(any_store, batches)
    any_store.commit(replace(batches(), released=release((1, 1, NOON_US), (2, 0, NOON_US + 5))))
    assert there(any_store) == [(1, 0), (3, 0)]
    assert any_store.quarantine(10)["log_seq"].to_pylist() == [3, 1]
    assert any_store.quarantine_groups(ALL, 10)["packs"].to_pylist() == [1, 1]
    assert any_store.released(1, 1)["outcome"].to_pylist() == [Outcome.REPLAYED]
    assert any_store.released(1, 0).num_rows == 0


def test_an_entry_of_a_log_that_was_made_anew_is_another(any_store: Store, batches: Make) -> None:
    fill(any_store, batches)
    any_store.commit(batches(quarantine=[{"received_at": NOON_US + 50}], log="READINGS#1", offset=1))
    any_store.commit(replace(batches(log="READINGS#1", offset=2), released=release((1, 0, NOON_US))))
    found = any_store.quarantine_page(Selection(entries=((1, 0),)), None, 9)
    assert found["received_at"].to_pylist() == [NOON_US + 50]


def test_entries_are_selected_and_read_page_by_page(any_store: Store, batches: Make) -> None:
    fill(any_store, batches)
    assert there(any_store) == [(1, 0), (1, 1), (2, 0), (3, 0)]
    assert there(any_store, Selection(reason="wrong_unit")) == [(1, 1)]
    assert there(any_store, Selection(device="gm0402/lm-2")) == [(2, 0)]
    assert there(any_store, Selection(tenant="gm0402", since_us=NOON_US + 1)) == [(2, 0)]
    assert there(any_store, Selection(entries=((3, 0), (7, 7)))) == [(3, 0)]
    assert there(any_store, Selection(entries=())) == []
    assert there(any_store, Selection(reason="' OR TRUE --")) == []
    page = any_store.quarantine_page(ALL, (NOON_US, 1, 1), 1)
    assert page.schema == QUARANTINE_SCHEMA
    assert page["log_seq"].to_pylist() == [2]


def test_groups_are_by_reason_and_device_with_the_last_detail(any_store: Store, batches: Make) -> None:
    fill(any_store, batches)
    any_store.commit(
        batches(
            quarantine=[{"reason": "wrong_unit", "received_at": NOON_US + 60 - at, "detail": f"{at}"} for at in (0, 9)]
        )
    )
    first, *others = any_store.quarantine_groups(Selection(tenant="gm0402"), 10).to_pylist()
    assert first == {
        "reason": "wrong_unit",
        "device": "gm0402/lm-1",
        "packs": 3,
        "first_at": NOON_US,
        "last_at": NOON_US + 60,
        "detail": "0",
    }
    assert [(one["reason"], one["device"]) for one in others] == [
        ("bad_value", "gm0402/lm-1"),
        ("bad_value", "gm0402/lm-2"),
    ]
    assert any_store.quarantine_groups(ALL, 1).num_rows == 1


def test_an_entry_is_open_only_as_it_lies_there(any_store: Store, batches: Make) -> None:
    fill(any_store, batches)
    asked = [
        (1, 0, NOON_US, "gm0402/lm-1", b"\x00\xff"),
        (1, 1, NOON_US, "gm0402/lm-1", None),
        (2, 0, NOON_US + 5, "gm0402/lm-2", b"[3]"),
        (2, 0, NOON_US + 5, "gm0402/lm-1", None),
        (3, 0, NOON_US + 8, "gm0344/lm-1", None),
        (9, 0, NOON_US, "gm0402/lm-1", None),
    ]
    table = pa.table([list(column) for column in zip(*asked, strict=True)], schema=WANTED)
    found = any_store.open_entries(table)
    assert found.schema == ENTRY_SCHEMA
    assert sorted(found["part"].to_pylist()) == [0, 1]
    assert set(found["log_seq"].to_pylist()) == {1}
    assert any_store.open_entries(table.slice(0, 0)).num_rows == 0


def test_a_number_is_stored_once_by_arrival_or_by_replay(any_store: Store, batches: Make) -> None:
    device = "gm0402/a-1"
    any_store.commit(batches([], [(device, 1, 1, Outcome.QUARANTINED, 0), (device, 1, 2, Outcome.QUARANTINED, 0)]))
    any_store.commit(
        batches([(1, NOON_US)], [(device, 1, 1, Outcome.REPLAYED, 1), (device, None, None, Outcome.KEPT, 0)])
    )
    keys = [PackKey(device, 1, 1), PackKey(device, 1, 2)]
    assert list(any_store.digests(keys)) == keys
    assert list(any_store.digests(keys, stored_only=True)) == keys[:1]
    assert any_store.progress()["upto"].to_pylist() == [2]
    counts = any_store.audit_counts()
    assert (counts["double_packs"], counts["readings_by_ledger"], counts["observations_total"]) == (0, 1, 1)
    any_store.commit(batches([], [(device, 1, 1, Outcome.REPLAYED, 0)]))
    assert any_store.audit_counts()["double_packs"] == 1


@pytest.mark.parametrize("absorbed", [0, 1, 2], ids=["nothing", "the entries", "everything"])
def test_a_closed_entry_stays_closed_after_a_crash(
    open_store: Open, batches: Make, tmp_path: Path, absorbed: int
) -> None:
    store = open_store()
    fill(store, batches)
    if absorbed == 1:
        store.checkpoint()
    store.commit(replace(batches(), released=release((1, 0, NOON_US), outcome=Outcome.DISCARDED)))
    assert there(store) == [(1, 1), (2, 0), (3, 0)]
    if absorbed:
        store.absorb()
        assert there(store) == [(1, 1), (2, 0), (3, 0)]
    shutil.copytree(tmp_path / "store", tmp_path / "left", ignore=shutil.ignore_patterns("lock"))
    store.close()
    again = DuckStore.open(tmp_path / "left", clock_us=lambda: NOON_US)
    try:
        assert there(again) == [(1, 1), (2, 0), (3, 0)]
        assert again.released(1, 0)["outcome"].to_pylist() == [Outcome.DISCARDED]
        with again._engine.view() as view:
            rows = view.connection.execute("SELECT count(*) FROM quarantine").fetchall()
        assert rows == [(3,)], "the bytes are still in the database"
    finally:
        again.close()


def test_a_journal_and_a_database_of_before_the_replay_are_still_read(
    open_store: Open, batches: Make, tmp_path: Path
) -> None:
    open_store().close()
    with duckdb.connect(str(tmp_path / "store" / "hot.duckdb")) as connection:
        connection.execute("DROP TABLE released")
        connection.execute("DELETE FROM schema_version WHERE version > 2")
    (segment,) = (tmp_path / "store" / "journal").iterdir()
    segment.write_bytes((VECTORS / "lmj2.journal").read_bytes())
    store = open_store()
    assert store.offset("READINGS") == 2
    assert there(store) == [(1, 1)]
    assert store.dropped().num_rows == 1
    store.commit(replace(batches(offset=3), released=release((1, 1, NOON_US))))
    assert there(store) == []
    store.absorb()
    assert there(store) == []
