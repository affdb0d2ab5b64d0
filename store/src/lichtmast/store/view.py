"""A view: one consistent picture of pending, hot and sealed rows, for as long as one reader needs it.

The catalogue of days is read inside the same database transaction as the hot rows. A sealed file that the picture
names is not removed before the view is closed, so the moment between a rename and a commit cannot be seen. The pending
list was copied before the transaction began; commits that the transaction sees in the database are left out of it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from lichtmast.store.days import OBSERVATIONS, Catalogue, Day, Kind, day_of, quoted
from lichtmast.store.folder import StoreFolder
from lichtmast.store.pending import Commit, gathered
from lichtmast.store.port import ENTRY_SCHEMA
from lichtmast.store.sealed import SealedFiles
from lichtmast.store.settings import DAY_US

TIME_MIN: Final = -(2**63)
TIME_MAX: Final = 2**63 - 1


class Readers:
    """Who is reading, so that replaced files go only when nobody can need them any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._active: set[int] = set()
        self._retired: list[tuple[int, Path]] = []

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold every file that is in the catalogue now."""
        with self._lock:
            number = self._next
            self._next += 1
            self._active.add(number)
        try:
            yield
        finally:
            with self._lock:
                self._active.discard(number)
            self.remove_retired()

    def retire(self, path: Path) -> None:
        """Remove a file that the catalogue no longer names, now or when the last reader that may use it is done."""
        with self._lock:
            self._retired.append((self._next, path))
        self.remove_retired()

    def remove_retired(self) -> None:
        """Remove what nobody can need."""
        with self._lock:
            oldest = min(self._active, default=self._next)
            due = [path for barrier, path in self._retired if barrier <= oldest]
            self._retired = [(barrier, path) for barrier, path in self._retired if barrier > oldest]
        for path in due:
            path.unlink(missing_ok=True)

    def counts(self) -> tuple[int, int]:
        """How many views are open, and how many files wait for removal."""
        with self._lock:
            return len(self._active), len(self._retired)


class View:
    """One transaction's picture; made by `open_view`."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: StoreFolder,
        pending: Sequence[Commit] = (),
        files: SealedFiles | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        self.connection = connection
        self._folder = folder
        self._copied = pending
        self._catalogue = catalogue
        self._files = files or SealedFiles()
        self._pending: dict[str, pa.Table] = {}
        self._absorbed: int | None = None

    def absorbed(self) -> int:
        """The number of the last commit whose rows are in the tables of this picture."""
        if self._absorbed is None:
            self._absorbed = absorbed_upto(self.connection)
        return self._absorbed

    def pending(self, name: str) -> pa.Table:
        """The rows that are not in the tables of this picture, behind a column commit_no."""
        if name not in self._pending:
            # The last copied commit is the newest of this picture: where the tables have it, nothing is pending.
            newer = [one for one in self._copied if one.number > self.absorbed()] if self._copied else []
            self._pending[name] = gathered(newer, name)
            if self._pending[name].num_rows:
                self.connection.register(f"{name}_pending", self._pending[name])
        return self._pending[name]

    def only_sealed(self, start_us: int, end_us: int) -> list[Day] | None:
        """The days of a period of which the database holds no row; None where it may. Asks the database nothing.

        Catalogue and pending list were copied together: with `few_pending` they are a picture of that moment.
        """
        return self._catalogue.only_sealed(start_us, end_us) if self._catalogue else None

    def few_pending(self, datastream_ids: Sequence[int], start_us: int, end_us: int) -> pa.Table:
        """Observations of a few datastreams in the copied pending list."""
        if not self._copied:
            return OBSERVATIONS.schema.empty_table()
        rows = pa.concat_tables([one.batch.observations for one in self._copied])
        times = rows["phenomenon_time"].to_numpy()
        wanted = np.asarray(datastream_ids, dtype=np.int64)
        at = np.flatnonzero((times >= start_us) & (times < end_us))
        return rows.take(pa.array(at[np.isin(rows["datastream_id"].to_numpy()[at], wanted)]))

    def quarantined(self) -> str:
        """SQL for refused packs that no order has closed."""
        held = "quarantine"
        if self.pending("quarantine").num_rows:
            held = "(FROM quarantine UNION ALL FROM quarantine_pending)"
        if self.pending("released").num_rows:
            held = f"(FROM {held} ANTI JOIN released_pending USING ({', '.join(ENTRY_SCHEMA.names)}))"
        return held

    def released(self) -> str:
        """SQL for entries of the quarantine that an order has closed."""
        if self.pending("released").num_rows:
            return "(FROM released UNION ALL FROM released_pending)"
        return "released"

    def drops(self) -> str | None:
        """SQL for what devices declared as dropped; None where none ever did, as is usual."""
        if self.pending("drops").num_rows:
            return "(FROM drops UNION ALL FROM drops_pending)"
        return "drops" if number(self.connection, "SELECT count(*) FROM drops") else None

    def days(self, kind: Kind, start_us: int = TIME_MIN, end_us: int = TIME_MAX) -> list[Day]:
        """The catalogue's lines of the days that touch this period, in ascending order."""
        return read_days(self.connection, kind, day_of(start_us), day_of(end_us - 1))

    def rows(self, kind: Kind, start_us: int, end_us: int, where: str = "TRUE", columns: str | None = None) -> str:
        """SQL for the port's columns of all rows in start <= time < end that satisfy `where`, hot and sealed."""
        days = self.days(kind, start_us, end_us)
        parts = [self.hot_rows(kind, start_us, end_us, where, days), self._sealed(kind, start_us, end_us, where, days)]
        return f"(SELECT {columns or kind.columns()} FROM ({' UNION ALL '.join(part for part in parts if part)}))"  # noqa: S608 - names and numbers of ours

    def hot_rows(
        self, kind: Kind, start_us: int, end_us: int, where: str, days: list[Day], columns: str | None = None
    ) -> str:
        """SQL for the rows that are not sealed; `columns` may ask for commit_no too."""
        period = "TRUE"
        if (start_us, end_us) != (TIME_MIN, TIME_MAX):
            period = f"{kind.time_column} >= {start_us} AND {kind.time_column} < {end_us}"
        tables = [kind.late_table, *(kind.day_table(one.day) for one in days if one.hot)]
        if self.pending(kind.name).num_rows:
            tables.append(f"{kind.name}_pending")
        return " UNION ALL ".join(
            f"SELECT {columns or kind.columns()} FROM {table} WHERE {period} AND ({where})"  # noqa: S608 - names and numbers of ours
            for table in tables
        )

    def few(self, datastream_ids: Sequence[int], day: Day, start_us: int, end_us: int) -> pa.Table:
        """Observations of a few datastreams in one sealed day, without a query."""
        path = self._folder.sealed(OBSERVATIONS, day.day, day.generation)
        return self._files.rows(path, datastream_ids, start_us, end_us)

    def _sealed(self, kind: Kind, start_us: int, end_us: int, where: str, days: list[Day]) -> str:
        whole: list[Day] = []
        parted: list[Day] = []
        for one in days:
            if one.generation:
                inside = start_us <= one.day * DAY_US and (one.day + 1) * DAY_US <= end_us
                (whole if inside else parted).append(one)
        texts = []
        if whole:
            texts.append(self.sealed_rows(kind, whole, where))
        if parted:
            low, high = max(start_us, parted[0].day * DAY_US), min(end_us, (parted[-1].day + 1) * DAY_US)
            period = f"{kind.time_column} >= make_timestamptz({low}) AND {kind.time_column} < make_timestamptz({high})"
            texts.append(self.sealed_rows(kind, parted, f"{period} AND ({where})"))
        return " UNION ALL ".join(texts)

    def sealed_rows(self, kind: Kind, days: list[Day], where: str = "TRUE") -> str:
        """SQL for the port's columns of these sealed days. In `where`, times are UTC timestamps."""
        paths = ", ".join(quoted(str(self._folder.sealed(kind, one.day, one.generation))) for one in days)
        return f"SELECT {kind.sealed_columns()} FROM read_parquet([{paths}]) WHERE {where}"  # noqa: S608 - names and numbers of ours


def read_days(
    connection: duckdb.DuckDBPyConnection, kind: Kind | None = None, first: int = TIME_MIN, last: int = TIME_MAX
) -> list[Day]:
    """The catalogue, or the part of one kind between two days, both included."""
    found = connection.execute(
        "SELECT kind, day, hot, generation, rows, bytes FROM days"
        " WHERE (? IS NULL OR kind = ?) AND day BETWEEN ? AND ? ORDER BY kind, day",
        [kind and kind.name, kind and kind.name, first, last],
    ).fetchall()
    return [Day(*row) for row in found]


def read_catalogue(connection: duckdb.DuckDBPyConnection) -> Catalogue:
    """The catalogue as this transaction sees it."""
    late = connection.execute(
        f"SELECT DISTINCT CAST(floor({OBSERVATIONS.time_column} / {DAY_US}) AS BIGINT) FROM {OBSERVATIONS.late_table}"  # noqa: S608 - names and numbers of ours
    ).fetchall()
    return Catalogue(tuple(read_days(connection)), frozenset(int(day) for (day,) in late))


def absorbed_upto(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of the last commit that is in the database; 0 where there is none."""
    return number(connection, "SELECT max(commit_no) FROM positions")


def number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one number that a query answers; 0 where it answers NULL. Leaves the connection free for the next query."""
    ((value,),) = connection.execute(sql).fetchall()
    return int(value or 0)


@contextmanager
def open_view(
    connection: duckdb.DuckDBPyConnection,
    folder: StoreFolder,
    pending: Sequence[Commit],
    files: SealedFiles,
    catalogue: Catalogue,
) -> Iterator[View]:
    """Open a view on a cursor of its own."""
    cursor = connection.cursor()
    try:
        cursor.begin()
        yield View(cursor, folder, pending, files, catalogue)
    finally:
        cursor.close()
