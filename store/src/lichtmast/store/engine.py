"""The engine: journal, pending commits and database of one store, with their locks.

A commit is a record of the journal and a line of the pending list; `absorb` takes the pending commits over into the
database, many at once. What is asked of the store is answered in the modules above. Lock order: maintenance, write,
commit, picture. Commits take the last two and readers the last, for an instant: neither waits for the database, and
readers not for a commit.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lichtmast.store.days import KINDS, Kind, day_of
from lichtmast.store.errors import StoreBrokenError, StoreDamagedError, StoreError, StoreFullError
from lichtmast.store.folder import StoreFolder
from lichtmast.store.journal import Journal, Prepared, read
from lichtmast.store.pending import Commit, PendingCommits, gathered
from lichtmast.store.port import ENTRY_SCHEMA, Batch
from lichtmast.store.sealed import SealedFiles
from lichtmast.store.settings import DAY_US, StoreSettings
from lichtmast.store.view import Readers, View, absorbed_upto, open_view, read_catalogue, read_days

CHECKPOINT_ROOM: Final = 2
CHECKPOINT_ROOM_BYTES: Final = 16 * 1024 * 1024
"""Free disk that a checkpoint or a sealing wants: so many times the write-ahead log, and this."""

_SAME_ENTRY: Final = " AND ".join(f"quarantine.{name} = one.{name}" for name in ENTRY_SCHEMA.names)


@dataclass(slots=True)
class Change:
    """One write transaction, and what has to be true in memory once it is committed."""

    connection: duckdb.DuckDBPyConnection
    days_made: set[tuple[str, int]] = field(default_factory=set)
    days_gone: set[tuple[str, int]] = field(default_factory=set)
    rows_late: bool = False
    """Whether rows went to a table of late rows."""
    effects: list[Callable[[], None]] = field(default_factory=list)
    """Run after the commit and before the next write may begin, so that memory follows the disk in the same order."""
    absorbed: int = 0
    """How many commits of the pending list are in the database once this change is."""
    files_changed: bool = False

    def touches_catalogue(self) -> bool:
        """Whether the catalogue of days has to be read anew."""
        return bool(self.days_made or self.days_gone or self.rows_late or self.files_changed)


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
        self.sealed_files = SealedFiles()
        self.commit_lock = threading.Lock()
        """Held for a record's way to the disk and into memory."""
        self._picture_lock = threading.Lock()
        """Held for the instants in which pending list or catalogue change or are copied."""
        self._write_lock = threading.Lock()
        self._writer = connection.cursor()
        self._generation = max((one.generation for one in days), default=0)
        self._closed = False
        self._pending = PendingCommits()
        self._catalogue = read_catalogue(connection)
        self._take_over_journal()
        self._journal = Journal.begin(folder.journal)

    @contextmanager
    def view(self) -> Iterator[View]:
        """One consistent picture for a reader."""
        with self.readers.reading():
            # Before the transaction: what is absorbed in between is in both, and the view leaves the copy out.
            with self._picture_lock:
                pending, catalogue = self._pending.all(), self._catalogue
            try:
                with open_view(self.connection, self.folder, pending, self.sealed_files, catalogue) as view:
                    yield view
            except duckdb.FatalException as error:
                raise StoreBrokenError(f"{self.folder.root}: the database gave up; restart Lichtmast") from error
            except duckdb.Error as error:
                raise StoreError(f"{self.folder.root} did not answer a question; the cause says why") from error

    def commit(self, batch: Batch, number: int) -> Commit:
        """Make a batch durable and visible. The caller holds the commit lock."""
        commit = Commit(number, batch)
        size = self._journal.append(commit)
        with self._picture_lock:
            self._pending.add(commit, size)
        return commit

    def pending(self) -> Sequence[Commit]:
        """The commits that are not in the database; the caller holds the commit lock."""
        return self._pending.all()

    def crowded(self, share: float = 1.0) -> bool:
        """Whether more commits are pending than this share of what may be."""
        rows, size = self.settings.pending_rows_max, self.settings.pending_bytes_max
        return self._pending.rows >= share * rows or self._pending.bytes >= share * size

    def absorb(self) -> None:
        """Take all pending commits over into the database as one transaction. Commits go on meanwhile."""
        if not self._pending.all():
            return
        prepared: list[Prepared] = []
        try:
            with self.writing() as change:
                prepared.append(self._journal.prepare())
                with self.commit_lock:
                    commits = self._pending.all()
                    self._journal.turn(prepared.pop())
                    turned = self._journal.turned()
                self._insert_commits(change, commits)
                self.at_step("inserted")
                change.absorbed = len(commits)
                change.effects.append(lambda: self._let_go(turned))
        finally:
            for one in prepared:
                one.discard()

    def _let_go(self, turned: Sequence[Path]) -> None:
        self.at_step("absorbed")
        self._journal.remove(turned)

    def _take_over_journal(self) -> None:
        """What the last life committed and did not absorb goes into the database before anything else happens."""
        upto = absorbed_upto(self.connection)
        commits = [one for one in read(self.folder.journal) if one.number > upto]
        if [one.number for one in commits] != list(range(upto + 1, upto + 1 + len(commits))):
            raise StoreDamagedError(f"{self.folder.journal} lacks a commit after {upto}: restore it from a backup")
        if commits:
            with self.writing() as change:
                self._insert_commits(change, commits)

    def _insert_commits(self, change: Change, commits: Sequence[Commit]) -> None:
        for kind in KINDS:
            self._insert(change, kind, gathered(commits, kind.name))
        refused = gathered(commits, "quarantine")
        if refused.num_rows:
            change.connection.execute("INSERT INTO quarantine SELECT * FROM refused")
        declared = gathered(commits, "drops")
        if declared.num_rows:
            change.connection.execute("INSERT INTO drops SELECT * FROM declared")
        released_now = gathered(commits, "released")
        if released_now.num_rows:  # behind the insertion: an entry may come and be closed between two absorptions
            change.connection.execute("INSERT INTO released SELECT * FROM released_now")
            change.connection.execute(f"DELETE FROM quarantine USING released_now AS one WHERE {_SAME_ENTRY}")  # noqa: S608 - names of ours
        for log, last in {one.batch.log: one for one in commits}.items():
            change.connection.execute("INSERT INTO positions VALUES (?, ?, ?)", [last.number, log, last.batch.offset])

    @contextmanager
    def writing(self) -> Iterator[Change]:
        """The one write transaction at a time; durable when the block ends, undone when it raises."""
        with self._write_lock:
            change = Change(self._writer)
            try:
                self._writer.begin()
                yield change
                catalogue = read_catalogue(self._writer) if change.touches_catalogue() else None
                self._writer.commit()
            except duckdb.FatalException as error:
                raise StoreBrokenError(f"{self.folder.root}: the database gave up; restart Lichtmast") from error
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
            with self._picture_lock:  # readers copy the catalogue and the pending list in one instant
                if catalogue is not None:
                    self._catalogue = catalogue
                if change.absorbed:
                    self._pending.drop(change.absorbed)
            for effect in change.effects:
                effect()

    def _insert(self, change: Change, kind: Kind, rows: pa.Table) -> None:
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
            change.connection.execute(f"INSERT INTO {kind.day_table(day)} SELECT * FROM rows{where}")  # noqa: S608 - ints
        if first < today - 1 or last > today + 1:
            change.rows_late = True
            low, high = (today - 1) * DAY_US, (today + 2) * DAY_US
            outside = f"{kind.time_column} < {low} OR {kind.time_column} >= {high}"
            change.connection.execute(f"INSERT INTO {kind.late_table} SELECT * FROM rows WHERE {outside}")  # noqa: S608 - ints

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

        DuckDB cannot while a reader is older than the last committed deletion, and gives up for good where the disk is
        full; the caller tries again later.
        """
        if shutil.disk_usage(self.folder.root).free < CHECKPOINT_ROOM * self.folder.wal_bytes() + CHECKPOINT_ROOM_BYTES:
            return False
        with self._write_lock:
            try:
                self.connection.execute("CHECKPOINT")
            except duckdb.TransactionException:
                return False
            except duckdb.FatalException as error:
                raise StoreBrokenError(f"{self.folder.root}: the database gave up in a checkpoint") from error
            self.checkpoint_at_us = self.clock_us()
            return True

    def close(self) -> None:
        """Release files."""
        with self.maintenance_lock, self._write_lock:
            if self._closed:
                return
            self._closed = True
            self._journal.close()
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
