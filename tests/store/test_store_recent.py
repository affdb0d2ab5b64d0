"""What the store gives back to whoever needs the last few readings of each datastream."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lichtmast.store import Batch, DuckStore, StoreError
from lichtmast.store.port import RECENT_SCHEMA

HOUR_US = 3_600_000_000
NOON_US = 20_000 * 24 * HOUR_US + 12 * HOUR_US
LATE = 64

Store = Any
Make = Callable[..., Batch]


def flagged(batch: Batch, quality: list[int]) -> Batch:
    """The same batch with these qualities."""
    column = batch.observations.schema.get_field_index("quality")
    table = batch.observations.set_column(
        column, batch.observations.schema.field(column), pa.array(np.array(quality, np.int32))
    )
    return Batch(table, batch.ledger, batch.quarantine, batch.log, batch.offset)


def told(table: pa.Table) -> list[tuple[int, float, float]]:
    """(datastream, hours after noon, result)."""
    return [
        (row["datastream_id"], (row["phenomenon_time"] - NOON_US) / HOUR_US, row["result"]) for row in table.to_pylist()
    ]


def test_the_last_readings_of_each_datastream_come_by_time(any_store: Store, batches: Make) -> None:
    any_store.commit(batches([(2, NOON_US, 0.0), (1, NOON_US + HOUR_US, 1.0), (1, NOON_US, 0.0)]))
    any_store.commit(batches([(1, NOON_US + 3 * HOUR_US, 3.0), (1, NOON_US + 2 * HOUR_US, 2.0)]))
    found = any_store.recent(3)
    assert found.schema == RECENT_SCHEMA
    assert told(found) == [(1, 1.0, 1.0), (1, 2.0, 2.0), (1, 3.0, 3.0), (2, 0.0, 0.0)]


def test_readings_with_a_flag_that_is_not_wanted_are_left_out(any_store: Store, batches: Make) -> None:
    rows = [(1, NOON_US + hour * HOUR_US, float(hour)) for hour in range(4)]
    any_store.commit(flagged(batches(rows), [1, LATE, 0, LATE | 1]))
    assert told(any_store.recent(3, without=LATE)) == [(1, 0.0, 0.0), (1, 2.0, 2.0)]
    assert [one for one, *_ in told(any_store.recent(3))] == [1, 1, 1]


def test_an_empty_store_has_nothing_recent(any_store: Store) -> None:
    assert any_store.recent(3).equals(RECENT_SCHEMA.empty_table())


@pytest.mark.slow
def test_a_slow_and_a_silent_datastream_are_looked_for_further_back(store: DuckStore, batches: Make) -> None:
    now_us = NOON_US + 99 * HOUR_US
    fast = [(1, now_us - minute * 60_000_000, float(-minute)) for minute in range(50)]
    slow = [(2, now_us - hour * HOUR_US, float(-hour)) for hour in range(0, 48, 2)]
    silent = [(3, now_us - hour * HOUR_US, float(-hour)) for hour in (90, 91, 92)]
    whole = batches([*fast, *slow, *silent])
    received = whole.observations["phenomenon_time"]
    column = whole.observations.schema.get_field_index("result_time")
    table = whole.observations.set_column(column, whole.observations.schema.field(column), received)
    store.commit(Batch(table, whole.ledger, whole.quarantine, whole.log, whole.offset))
    store.seal(20_003)
    found: dict[int, list[float]] = {}
    for one, _, result in told(store.recent(10)):
        found.setdefault(one, []).append(result)
    assert found == {
        1: [float(-minute) for minute in range(9, -1, -1)],
        2: [float(-hour) for hour in range(18, -2, -2)],
        3: [-90.0],
    }


def test_a_window_has_at_least_one_reading(store: DuckStore) -> None:
    with pytest.raises(StoreError, match="1 or more"):
        store.recent(0)
