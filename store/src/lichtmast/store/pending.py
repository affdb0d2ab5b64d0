"""Commits that are durable in the journal and not yet in the database: what readers have to see besides its tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from lichtmast.store.port import (
    DROPS_SCHEMA,
    LEDGER_SCHEMA,
    OBSERVATION_SCHEMA,
    QUARANTINE_SCHEMA,
    RELEASED_SCHEMA,
    Batch,
)

SCHEMAS: Final = {
    "observations": OBSERVATION_SCHEMA,
    "ledger": LEDGER_SCHEMA,
    "quarantine": QUARANTINE_SCHEMA,
    "drops": DROPS_SCHEMA,
    "released": RELEASED_SCHEMA,
}
"""A batch's tables, in the order in which the journal writes them."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One batch with its number; numbers count from 1 without a gap."""

    number: int
    batch: Batch

    def table(self, name: str) -> pa.Table:
        """One of its tables, by the name in SCHEMAS."""
        table: pa.Table = getattr(self.batch, name)
        return table


class PendingCommits:
    """A short list in commit order; the caller's lock guards it."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self._commits: list[Commit] = []
        self._sizes: list[tuple[int, int]] = []

    def add(self, commit: Commit, size: int) -> None:
        """Take note of a commit that has just become durable, and of its bytes."""
        rows = sum(commit.table(name).num_rows for name in SCHEMAS)
        self._commits.append(commit)
        self._sizes.append((rows, size))
        self.rows += rows
        self.bytes += size

    def all(self) -> tuple[Commit, ...]:
        """The commits now."""
        return tuple(self._commits)

    def drop(self, count: int) -> None:
        """Forget the first ones: they are in the database."""
        for rows, size in self._sizes[:count]:
            self.rows -= rows
            self.bytes -= size
        del self._commits[:count], self._sizes[:count]


def gathered(commits: Sequence[Commit], name: str) -> pa.Table:
    """The rows of one table of these commits, behind a column commit_no."""
    held = [(one.number, one.table(name)) for one in commits if one.table(name).num_rows]
    if not held:
        rows = SCHEMAS[name].empty_table()
        return rows.add_column(0, "commit_no", pa.array([], pa.int64()))
    numbers = np.repeat([number for number, _ in held], [table.num_rows for _, table in held])
    rows = pa.concat_tables([table for _, table in held])
    return rows.add_column(0, "commit_no", pa.array(numbers, pa.int64()))
