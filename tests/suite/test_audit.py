"""The books are only worth something if they can fail: each thing that may go wrong is planted, and must be found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from running_lichtmast import lichtmast

from lichtmast.store import Batch, DuckStore
from lichtmast.store.port import DROPS_SCHEMA, LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA
from lichtmast.suite import refused as reasons
from lichtmast.suite.audit import audit
from lichtmast.suite.folder import Folder

NOON_US = 1_795_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckStore]:
    one = DuckStore.open(tmp_path / "store", clock_us=lambda: NOON_US)
    yield one
    one.close()


def commit(
    store: DuckStore,
    offset: int,
    *packs: tuple[int, int],
    rows: int | None = None,
    drops: tuple[tuple[int, int], ...] = (),
    refusal: tuple[str, str] = ("undecodable", ""),
    **changes: Any,  # noqa: ANN401
) -> None:
    """Packs as (seq, outcome) with one reading each, ranges of drops; `rows` observations where they shall not fit."""
    ledger = [
        {
            "device": "gm0402/lm-1",
            "epoch": 7,
            "seq": seq,
            "received_at": NOON_US,
            "log_seq": offset,
            "part": part,
            "outcome": outcome,
            "readings": int(outcome == 0),
            "digest": seq,
            "transport": 0,
            **changes,
        }
        for part, (seq, outcome) in enumerate(packs)
    ]
    stored = sum(outcome == 0 for _, outcome in packs) if rows is None else rows
    observations = [
        {"datastream_id": at, "phenomenon_time": NOON_US + offset, "result": 1.0, "quality": 0, "result_time": NOON_US}
        for at in range(stored)
    ]
    quarantine = [
        {name: row[name] for name in ("device", "log_seq", "part", "received_at", "transport")}
        | {"reason": refusal[0], "detail": refusal[1], "content_format": 0, "payload": b""}
        for row in ledger
        if row["outcome"] == 1
    ]
    tables = (
        pa.Table.from_pylist(observations, OBSERVATION_SCHEMA),
        pa.Table.from_pylist(ledger, LEDGER_SCHEMA),
        pa.Table.from_pylist(quarantine, QUARANTINE_SCHEMA),
    )
    declared = [
        {"device": "gm0402/lm-1", "epoch": 7, "first": first, "last": last, "declared_at": NOON_US} | changes
        for first, last in drops
    ]
    store.commit(Batch(*tables, "READINGS", offset, pa.Table.from_pylist(declared, DROPS_SCHEMA)))


def test_sound_books_balance(store: DuckStore) -> None:
    commit(store, 1, (1, 0), (2, 1), (1, 2))
    commit(store, 2, (3, 0))
    account = audit(store, 0)
    assert account.faults == []
    assert (account.sent, account.stored, account.quarantined, account.duplicates) == (4, 2, 1, 1)
    [line] = account.accounts
    assert (line.device, line.stored, line.quarantined, line.duplicates, line.readings) == ("gm0402/lm-1", 2, 1, 1, 2)


def test_a_pack_that_is_missing_is_named(store: DuckStore) -> None:
    commit(store, 1, (1, 0), (4, 0))
    account = audit(store, 0)
    assert [(one.device, one.epoch, one.first, one.last) for one in account.missing_packs] == [("gm0402/lm-1", 7, 2, 3)]
    assert (account.missing, account.sent) == (2, 4)
    assert len(account.faults) == 1


def test_declared_drops_balance_and_are_named(store: DuckStore) -> None:
    commit(store, 1, (1, 0), (9, 0), drops=((2, 8),))
    account = audit(store, 0)
    assert account.faults == []
    assert (account.sent, account.stored, account.dropped, account.missing) == (9, 2, 7, 0)
    assert account.dropped_by_device == {"gm0402/lm-1": 7}
    assert [(one.epoch, one.first, one.last) for one in account.dropped_packs] == [(7, 2, 8)]


def test_a_declared_pack_that_came_is_counted_once(store: DuckStore) -> None:
    commit(store, 1, (9, 0), drops=((1, 8),))
    commit(store, 2, (3, 0), (4, 1), (4, 2))
    account = audit(store, 0)
    assert account.faults == []
    assert (account.stored, account.quarantined, account.duplicates, account.dropped) == (2, 1, 1, 6)
    assert account.sent == 10


@pytest.mark.parametrize(
    ("drops", "changes", "named"),
    [
        (((2, 4), (6, 8)), {}, [(5, 5)]),
        (((2, 7),), {}, [(8, 8)]),
        (((1, 8),), {"epoch": 6}, [(2, 8)]),
        (((1, 8),), {"device": "gm0402/lm-2"}, [(2, 8)]),
    ],
    ids=["hole", "short", "other-epoch", "other-device"],
)
def test_a_declaration_covers_no_more_than_it_says(
    store: DuckStore, drops: tuple[tuple[int, int], ...], changes: dict[str, Any], named: list[tuple[int, int]]
) -> None:
    commit(store, 1, (1, 0), (9, 0))
    commit(store, 2, drops=drops, **changes)
    account = audit(store, 0)
    assert [(one.first, one.last) for one in account.missing_packs] == named
    assert len(account.faults) == 1


def test_a_pack_that_is_stored_twice_is_found(store: DuckStore) -> None:
    commit(store, 1, (1, 0))
    commit(store, 2, (1, 0))
    assert ["more than once" in fault for fault in audit(store, 0).faults] == [True]


@pytest.mark.parametrize("rows", [0, 3])
def test_a_row_that_is_lost_or_invented_is_found(store: DuckStore, rows: int) -> None:
    commit(store, 1, (1, 0), (2, 0), rows=rows)
    assert ["2 readings" in fault for fault in audit(store, 0).faults] == [True]


def test_a_log_position_that_nobody_accounts_for_is_found(store: DuckStore) -> None:
    commit(store, 1, (1, 0))
    commit(store, 4, (2, 0))
    account = audit(store, 0)
    assert account.positions_unaccounted == 2
    assert len(account.faults) == 1


def test_books_with_messages_still_to_be_stored_do_not_balance(store: DuckStore) -> None:
    commit(store, 1, (1, 0))
    assert len(audit(store, 5).faults) == 1
    assert audit(store, None).faults == []


def test_what_was_erased_on_purpose_is_no_fault(store: DuckStore) -> None:
    commit(store, 1, (1, 0))
    assert store.erase(0, 0, 2**62) == 1
    account = audit(store, 0)
    assert (account.rows_erased, account.faults) == (1, [])


def wrong_profile(store: DuckStore) -> None:
    """A device whose packs are refused, the last for another reason, and one that is sound."""
    commit(store, 1, (1, 1), (2, 1), refusal=("unknown_name", "profile noise has no name /weather/0/rain"))
    commit(store, 2, (3, 1), refusal=("unknown_name", "profile noise has no name /weather/0/temperature"))
    commit(store, 3, (4, 1), refusal=("time_future", ""))
    commit(store, 4, (1, 0), device="gm0402/lm-sound")


def test_what_is_in_quarantine_is_told_by_reason_with_the_last_detail(store: DuckStore) -> None:
    wrong_profile(store)
    account = audit(store, 0)
    assert [(one.device, one.reason, one.packs, one.last) for one in account.quarantined_by_reason] == [
        ("gm0402/lm-1", "time_future", 1, ""),
        ("gm0402/lm-1", "unknown_name", 3, "profile noise has no name /weather/0/temperature"),
    ]


def test_reasons_of_a_long_quarantine_are_of_its_newest_packs(
    store: DuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong_profile(store)
    monkeypatch.setattr(reasons, "READ_MAX", 2)
    assert [(one.reason, one.packs) for one in audit(store, 0).quarantined_by_reason] == [
        ("time_future", 1),
        ("unknown_name", 1),
    ]


@pytest.mark.slow
def test_the_audit_in_words_starts_with_the_sums_and_lists_who_has_trouble(tmp_path: Path) -> None:
    store = DuckStore.open(Folder.choose(tmp_path).store, clock_us=lambda: NOON_US)
    wrong_profile(store)
    commit(store, 5, (1, 0), (4, 0), drops=((2, 2),), device="gm0402/lm-with-a-rather-long-one")
    store.close()
    told = lichtmast("audit", data=tmp_path)  # into a pipe, which Rich takes for 80 columns
    lines = told.stdout.splitlines()
    assert lines[0] == "sent 9 = stored 3 + quarantined 4 + duplicates 0 + dropped 1 + missing 1"
    assert lines[1].split() == ["device", "stored", "quarantined", "duplicates", "dropped", "missing"]
    assert any(line.split() == ["gm0402/lm-1", "0", "4", "0", "0", "0"] for line in lines)
    assert any(line.split() == ["gm0402/lm-with-a-rather-long-one", "2", "0", "0", "1", "1"] for line in lines)
    assert "gm0402/lm-1: 3 refused: unknown_name, last: profile noise has no name /weather/0/temperature" in lines
    assert "lm-sound" not in told.stdout
    assert told.returncode == 1
