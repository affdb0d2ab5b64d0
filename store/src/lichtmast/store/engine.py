"""The engine: the open database of one store with its locks, its writer and its folder.

It knows transactions and days; what is asked of the store is answered in the modules above it. Lock order: maintenance,
then write. Readers take neither.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lichtmast.store.days import Kind, day_of
from lichtmast.store.errors import StoreError, StoreFullError
from lichtmast.store.folder import StoreFolder
from lichtmast.store.settings import DAY_US, StoreSettings
from lichtmast.store.view import Readers, View, open_view, read_days


@dataclass(slots=True)
class Change:
    """One write transaction, and what has to be true in memory once it is committed."""

    connection: duckdb.DuckDBPyConnection
    days_made: set[tuple[str, int]] = field(default_factory=set)
    days_gone: set[tuple[str, int]] = field(default_factory=set)
    effects: list[Callable[[], None]] = field(default_factory=list)
    """Run after the commit and before the next write may begin, so that memory follows the disk in the same order."""


class Engine:
    """Shared by all parts of one open store."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: StoreFolder,
        clock_us: Callable[[], int],
        settings: StoreSettings,
        at_step: Callable[[str], None],
    ) -> None:
        days = read_days(connection)
        folder.check(days)
        folder.sweep(days)
        self.connection = connection
        self.folder = folder
        self.clock_us = clock_us
        self.settings = settings
        self.at_step = at_step
        self.readers = Readers()
        self.hot_days = {(one.kind, one.day) for one in days if one.hot}
        self.maintenance_lock = threading.RLock()
        """Held by what rewrites days: seal, erase, drop_day, fold, checkpoint."""
        self.checkpoint_at_us = clock_us()
        self._write_lock = threading.Lock()
        self._writer = connection.cursor()
        self._generation = max((one.generation for one in days), default=0)

    def view(self) -> AbstractContextManager[View]:
        """One consistent picture for a reader."""
        return open_view(self.connection, self.folder, self.readers)

    @contextmanager
    def writing(self) -> Iterator[Change]:
        """The one write transaction at a time; durable when the block ends, undone when it raises."""
        with self._write_lock:
            change = Change(self._writer)
            try:
                self._writer.begin()
                yield change
                self._writer.commit()
            except duckdb.Error as error:
                self._undo()
                where = self.folder.root
                if isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException)):
                    raise StoreFullError(f"{where} took nothing of a write: free disk or memory, then retry") from error
                raise StoreError(f"{where} refused a write and took nothing of it; the cause says why") from error
            except BaseException:
                self._undo()
                raise
            if change.days_made or change.days_gone:
                self.hot_days = (self.hot_days | change.days_made) - change.days_gone
            for effect in change.effects:
                effect()

    def insert(self, change: Change, kind: Kind, rows: pa.Table, commit_no: int) -> None:
        """Insert rows into the tables of their days; days far from now share the late table."""
        if not rows.num_rows:
            return
        span = pc.min_max(rows[kind.time_column]).as_py()
        first, last = day_of(span["min"]), day_of(span["max"])
        today = day_of(self.clock_us())
        near = [day for day in (today - 1, today, today + 1) if first <= day <= last]
        for day in near:
            if (kind.name, day) not in self.hot_days:
                _make_day(change, kind, day)
            inside = f"{kind.time_column} >= {day * DAY_US} AND {kind.time_column} < {(day + 1) * DAY_US}"
            where = "" if first == last else f" WHERE {inside}"
            change.connection.execute(f"INSERT INTO {kind.day_table(day)} SELECT {commit_no}, * FROM rows{where}")  # noqa: S608 - ints
        if first < today - 1 or last > today + 1:
            low, high = (today - 1) * DAY_US, (today + 2) * DAY_US
            outside = f"{kind.time_column} < {low} OR {kind.time_column} >= {high}"
            change.connection.execute(f"INSERT INTO {kind.late_table} SELECT {commit_no}, * FROM rows WHERE {outside}")  # noqa: S608 - ints

    def hot_tables(self, kind: Kind) -> list[str]:
        """The tables that hold unsealed rows."""
        days = sorted(day for name, day in self.hot_days if name == kind.name)
        return [kind.late_table, *(kind.day_table(day) for day in days)]

    def next_generation(self) -> int:
        """A number that no file of the catalogue has. Files of earlier lives are swept at open, so it can be theirs."""
        self._generation += 1
        return self._generation

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the database file; commits wait meanwhile. False where a reader prevents it.

        DuckDB cannot while a reader is older than the last committed deletion; the caller tries again later.
        """
        with self._write_lock:
            try:
                self.connection.execute("CHECKPOINT")
            except duckdb.TransactionException:
                return False
            self.checkpoint_at_us = self.clock_us()
            return True

    def close(self) -> None:
        """Release files."""
        with self.maintenance_lock, self._write_lock:
            self._writer.close()
            self.connection.close()
            self.folder.release()

    def _undo(self) -> None:
        try:
            self._writer.rollback()
        except duckdb.Error:
            # The failed statement has ended the transaction already, or the connection is closed: nothing to undo.
            return


def _make_day(change: Change, kind: Kind, day: int) -> None:
    run = change.connection.execute
    key = [kind.name, day]
    run(f"CREATE TABLE {kind.day_table(day)} AS FROM {kind.late_table} LIMIT 0")
    run(
        "INSERT INTO days SELECT ?, ?, false, 0, 0, 0 WHERE NOT EXISTS (FROM days WHERE kind = ? AND day = ?)",
        key + key,
    )
    run("UPDATE days SET hot = true WHERE kind = ? AND day = ?", key)
    change.days_made.add((kind.name, day))
