"""The books are only worth something if they can fail: each thing that may go wrong is planted, and must be found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lichtmast.store import Batch, DuckStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA
from lichtmast.suite.audit import audit

NOON_US = 1_795_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckStore]:
    one = DuckStore.open(tmp_path / "store", clock_us=lambda: NOON_US)
    yield one
    one.close()


def commit(store: DuckStore, offset: int, *packs: tuple[int, int], rows: int | None = None, **changes: Any) -> None:  # noqa: ANN401
    """Packs as (seq, outcome) with one reading each; `rows` observations where they shall not fit."""
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
    tables = (
        pa.Table.from_pylist(observations, OBSERVATION_SCHEMA),
        pa.Table.from_pylist(ledger, LEDGER_SCHEMA),
        QUARANTINE_SCHEMA.empty_table(),
    )
    store.commit(Batch(*tables, "READINGS", offset))


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
