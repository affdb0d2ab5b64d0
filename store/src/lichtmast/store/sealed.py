"""Point look-ups in sealed files: the rows of a few datastreams, read from the one or two row groups that hold them.

A sealed file is sorted by datastream, so the ranges of its row groups are an index. Footers are kept for a while,
because reading one takes longer than a look-up. DuckDB reads the same files where much of them is wanted.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from lichtmast.store.port import OBSERVATION_SCHEMA

_FOOTERS_MAX: Final = 12
"""Footers kept: some 0.6 MB each on disk for 30,000 datastreams each five minutes. The first look-up in a file reads
its footer, which takes 10-20 ms."""


@dataclass(frozen=True, slots=True)
class _Footer:
    metadata: pq.FileMetaData
    first_ids: npt.NDArray[np.int64]
    last_ids: npt.NDArray[np.int64]


class SealedFiles:
    """Reads observations of sealed files; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._footers: OrderedDict[Path, _Footer] = OrderedDict()

    def rows(self, path: Path, datastream_ids: Sequence[int], start_us: int, end_us: int) -> pa.Table:
        """The port's rows of these datastreams in start <= phenomenon time < end, by datastream and time."""
        footer = self._footer(path)
        wanted = np.unique(np.asarray(datastream_ids, dtype=np.int64))
        groups: set[int] = set()
        for one in wanted:
            first = int(np.searchsorted(footer.last_ids, one))
            groups.update(range(first, int(np.searchsorted(footer.first_ids, one, side="right"))))
        if not groups:
            return OBSERVATION_SCHEMA.empty_table()
        with pq.ParquetFile(path, metadata=footer.metadata) as file:
            found = file.read_row_groups(sorted(groups), use_threads=False)
        ids = found["datastream_id"].to_numpy()
        lows, highs = np.searchsorted(ids, wanted), np.searchsorted(ids, wanted, side="right")
        parts = [found.slice(low, high - low) for low, high in zip(lows.tolist(), highs.tolist(), strict=True)]
        return within(_as_port(pa.concat_tables(parts)), start_us, end_us)

    def _footer(self, path: Path) -> _Footer:
        with self._lock:
            held = self._footers.get(path)
            if held is not None:
                self._footers.move_to_end(path)
                return held
        metadata = pq.read_metadata(path)
        column = metadata.schema.to_arrow_schema().get_field_index("datastream_id")
        ranges = [metadata.row_group(one).column(column).statistics for one in range(metadata.num_row_groups)]
        footer = _Footer(
            metadata,
            np.array([one.min for one in ranges], dtype=np.int64),
            np.array([one.max for one in ranges], dtype=np.int64),
        )
        with self._lock:
            self._footers[path] = footer
            while len(self._footers) > _FOOTERS_MAX:
                self._footers.popitem(last=False)
        return footer


def within(rows: pa.Table, start_us: int, end_us: int) -> pa.Table:
    """The rows of a table of the port with start <= phenomenon time < end."""
    times = rows["phenomenon_time"].to_numpy()
    inside = (times >= start_us) & (times < end_us)
    return rows if inside.all() else rows.filter(pa.array(inside))


def _as_port(rows: pa.Table) -> pa.Table:
    """Rows of a sealed file with the port's types: times as microseconds."""
    columns = []
    for field in OBSERVATION_SCHEMA:
        column = rows[field.name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=OBSERVATION_SCHEMA)
