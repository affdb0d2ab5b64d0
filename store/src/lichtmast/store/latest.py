"""The latest observation of every datastream, kept in memory as batches are committed.

Folding is lazy: a commit only appends its table to a list. The list is folded, column by column, when somebody asks,
when the commits are absorbed (on that thread), or when it is long. A later phenomenon time wins; a late one never
replaces it; of two equal times the first stays.
"""

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.store.port import OBSERVATION_SCHEMA

_PENDING_ROWS_MAX: Final = 524_288


class LatestReadings:
    """One row per datastream, sorted by datastream id. Safe to use from several threads; `add` waits for no fold."""

    def __init__(self, table: pa.Table) -> None:
        self._add_lock = threading.Lock()
        self._fold_lock = threading.Lock()
        self._table = table.sort_by("datastream_id").combine_chunks()
        self._pending: list[pa.Table] = []
        self._pending_rows = 0

    def add(self, observations: pa.Table) -> None:
        """Take note of a committed batch."""
        if not observations.num_rows:
            return
        with self._add_lock:
            self._pending.append(observations)
            self._pending_rows += observations.num_rows
            many = self._pending_rows > _PENDING_ROWS_MAX
        if many:
            self.fold()

    def fold(self) -> None:
        """Do now what would be done at the next question."""
        with self._fold_lock:
            self._fold()

    def table(self, datastream_ids: Sequence[int] | None = None) -> pa.Table:
        """The rows of these datastreams, or all, by ascending id."""
        with self._fold_lock:
            self._fold()
            table = self._table
        if datastream_ids is None:
            return table
        wanted = np.unique(np.asarray(datastream_ids, dtype=np.int64))
        at = _positions(table, wanted)
        return table.take(pa.array(at[at >= 0]))

    def replace(self, datastream_ids: Sequence[int], rows: pa.Table) -> None:
        """Forget what is known of these datastreams and take `rows` instead: after an erasure."""
        with self._fold_lock:
            self._fold()
            ids = self._table["datastream_id"].to_numpy()
            kept = self._table.filter(pa.array(~np.isin(ids, np.asarray(datastream_ids, dtype=np.int64))))
            self._table = pa.concat_tables([kept, rows.cast(OBSERVATION_SCHEMA)])
            self._table = self._table.sort_by("datastream_id").combine_chunks()

    def _fold(self) -> None:
        with self._add_lock:
            pending, self._pending, self._pending_rows = self._pending, [], 0
        if not pending:
            return
        news = pa.concat_tables(pending)
        ids = news["datastream_id"].to_numpy()
        times = news["phenomenon_time"].to_numpy()
        # Stable, by id then descending time: the first row of an id is the first that came with its latest time.
        order = np.lexsort((np.bitwise_not(times), ids))
        sorted_ids = ids[order]
        winners = order[np.concatenate(([True], sorted_ids[1:] != sorted_ids[:-1]))]
        ids, times = ids[winners], times[winners]
        at = _positions(self._table, ids)
        known = at >= 0
        held_times = self._table["phenomenon_time"].to_numpy()
        newer = np.zeros(len(ids), dtype=bool)
        newer[known] = times[known] > held_times[at[known]]
        rows = np.arange(self._table.num_rows, dtype=np.int64)
        offset = self._table.num_rows
        rows[at[newer]] = offset + winners[newer]
        if not known.all():
            strange = ~known
            where = np.searchsorted(self._table["datastream_id"].to_numpy(), ids[strange])
            rows = np.insert(rows, where, offset + winners[strange])
        elif not newer.any():
            return
        self._table = pa.concat_tables([self._table, news]).take(pa.array(rows)).combine_chunks()


def _positions(table: pa.Table, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each id stands in the table, or -1."""
    held = table["datastream_id"].to_numpy()
    if not len(held):
        return np.full(len(ids), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(held, ids), len(held) - 1)
    return np.where(held[at] == ids, at, -1)
