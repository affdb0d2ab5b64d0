"""Sealing: closed days become sorted Parquet files; erasing and retention rewrite or drop them.

Every change of a day has the same shape: write the new file beside the old one, make it durable, give it its name,
then change the catalogue and the hot rows in one transaction. Before that transaction the new file is an orphan that
the next open sweeps away; after it the old file is. A crash at any step loses nothing and doubles nothing.
"""

from dataclasses import dataclass

import duckdb
import pyarrow.parquet as pq

from lichtmast.store.days import KINDS, LEDGER, OBSERVATIONS, Day, Kind, day_of, id_filter, quoted
from lichtmast.store.engine import Change, Engine
from lichtmast.store.errors import StoreError
from lichtmast.store.folder import give_name, make_durable
from lichtmast.store.latest import LatestReadings
from lichtmast.store.progress import spans_sql
from lichtmast.store.reading import newer_rows, newest_of
from lichtmast.store.settings import DAY_US
from lichtmast.store.view import View, number


@dataclass(frozen=True, slots=True)
class _Written:
    """A new sealed file that waits for its catalogue line; generation 0 where no row is left."""

    day: Day
    generation: int
    rows: int
    bytes: int


def due(view: View, closed_before_us: int, *, merge: bool) -> list[tuple[Kind, int]]:
    """Which days are over and have unsealed rows. Late rows of sealed days wait for a newly closed day, or `merge`."""
    found: list[tuple[Kind, int]] = []
    fresh = False
    last_closed = day_of(closed_before_us) - 1
    for kind in KINDS:
        days = {one.day: one for one in view.days(kind)}
        rows = view.connection.execute(
            f"SELECT DISTINCT CAST(floor({kind.time_column} / {DAY_US}) AS BIGINT) FROM {kind.late_table}"  # noqa: S608 - names and numbers of ours
        ).fetchall()
        unsealed = {int(row[0]) for row in rows} | {one.day for one in days.values() if one.hot}
        closed = sorted(day for day in unsealed if day <= last_closed)
        fresh = fresh or any(day not in days or not days[day].generation for day in closed)
        found += [(kind, day) for day in closed]
    return found if fresh or merge else []


def seal(engine: Engine, kind: Kind, day: int) -> int:
    """Merge a day's hot rows up to the fold mark into its file. Returns the observations in it (0 for the ledger)."""
    with engine.view() as view:
        cut = _mark(view.connection)
        line = _line(view, kind, day)
        start, end = day * DAY_US, (day + 1) * DAY_US
        hot = view.hot_rows(kind, start, end, f"commit_no <= {cut}", [line], f"commit_no, {kind.columns()}")
        moved = number(view.connection, f"SELECT count(*) FROM ({hot})")  # noqa: S608 - built from ints
        if not moved:
            return line.rows if kind is OBSERVATIONS else 0
        source = hot
        if line.generation:
            source += f" UNION ALL SELECT 0 AS commit_no, * FROM ({view.sealed_rows(kind, [line])})"  # noqa: S608 - names and numbers of ours
        written = _write(engine, view, kind, line, source, line.rows + moved)
    table = kind.day_table(day)
    with engine.writing() as change:
        if line.hot:
            change.connection.execute(f"INSERT INTO {kind.late_table} FROM {table} WHERE commit_no > {cut}")
            change.connection.execute(f"DROP TABLE {table}")
        inside = f"{kind.time_column} >= {start} AND {kind.time_column} < {end}"
        change.connection.execute(f"DELETE FROM {kind.late_table} WHERE commit_no <= {cut} AND {inside}")  # noqa: S608 - names and numbers of ours
        _catalogue(change, written, hot=False)
        change.days_gone.add((kind.name, day))
    _settle(engine, kind, [written])
    return written.rows if kind is OBSERVATIONS else 0


def erase(engine: Engine, latest: LatestReadings, datastream_id: int, start_us: int, end_us: int) -> int:
    """Rewrite the sealed files that hold the period; then catalogue and hot rows change in one transaction."""
    engine.absorb()
    condition = f"datastream_id = {int(datastream_id)}"
    period = f"phenomenon_time >= {int(start_us)} AND phenomenon_time < {int(end_us)}"
    written: list[_Written] = []
    gone = 0
    with engine.view() as view:
        for line in view.days(OBSERVATIONS, start_us, end_us):
            if not line.generation:
                continue
            rows = view.sealed_rows(OBSERVATIONS, [line])
            hit = number(view.connection, f"SELECT count(*) FROM ({rows}) WHERE {condition} AND {period}")  # noqa: S608 - names and numbers of ours
            if hit:
                kept = f"SELECT 0 AS commit_no, * FROM ({rows}) WHERE NOT ({condition} AND {period})"  # noqa: S608 - names and numbers of ours
                written.append(_write(engine, view, OBSERVATIONS, line, kept, line.rows - hit))
                gone += hit
    with engine.writing() as change:
        for table in engine.hot_tables(OBSERVATIONS):
            gone += number(change.connection, f"DELETE FROM {table} WHERE {condition} AND {period}")  # noqa: S608 - built from ints
        for one in written:
            _catalogue(change, one, hot=None)
        if gone:
            _note_erased(engine, change, "erase", datastream_id, start_us, end_us, gone)
            _renew_latest(engine, change, latest, [datastream_id])
    _settle(engine, OBSERVATIONS, written)
    return gone


def drop_day(engine: Engine, latest: LatestReadings, day: int) -> int:
    """Remove a day's observations, whatever place they are in. The ledger keeps the proof that they had come."""
    engine.absorb()
    start, end = day * DAY_US, (day + 1) * DAY_US
    with engine.view() as view:
        line = _line(view, OBSERVATIONS, day)
    with engine.writing() as change:
        gone = line.rows
        for table in engine.hot_tables(OBSERVATIONS):
            gone += number(
                change.connection,
                f"DELETE FROM {table} WHERE phenomenon_time >= {start} AND phenomenon_time < {end}",  # noqa: S608 - names and numbers of ours
            )
        if gone:
            if (OBSERVATIONS.name, day) in engine.hot_days:
                change.connection.execute(f"DROP TABLE {OBSERVATIONS.day_table(day)}")
            change.connection.execute("DELETE FROM days WHERE kind = ? AND day = ?", [OBSERVATIONS.name, day])
            change.days_gone.add((OBSERVATIONS.name, day))
            _note_erased(engine, change, "retention", None, start, end, gone)
            held = latest.table()
            times = held["phenomenon_time"].to_numpy()
            ids = held["datastream_id"].to_numpy()[(times >= start) & (times < end)]
            _renew_latest(engine, change, latest, [int(one) for one in ids])
    _settle(engine, OBSERVATIONS, [_Written(line, 0, 0, 0)])
    return gone


def write_folded(engine: Engine, latest: LatestReadings) -> None:
    """Write latest readings and arrived ranges, and move the mark: one transaction of its own.

    The mark is what the database holds. Latest readings may be newer than it: the journal will bring them again at
    open, and the same reading twice changes nothing.
    """
    with engine.view() as view:
        run = view.connection.execute
        commit_no = view.absorbed()
        latest_rows = latest.table()  # noqa: F841 - named in SQL
        if commit_no <= _mark(view.connection):
            return
        spans = view.connection.sql(  # noqa: F841 - named in SQL
            spans_sql(newer_rows(view, LEDGER, "device, epoch, seq", commit_no))
        ).to_arrow_table()
        run("DELETE FROM arrived")
        view.connection.execute("INSERT INTO arrived FROM spans")
        run("DELETE FROM latest")
        view.connection.execute("INSERT INTO latest FROM latest_rows")
        run("UPDATE marks SET commit_no = ? WHERE name = 'folded'", [commit_no])
        run("DELETE FROM positions WHERE commit_no NOT IN (SELECT max(commit_no) FROM positions GROUP BY log)")
        view.connection.commit()


def _write(engine: Engine, view: View, kind: Kind, line: Day, source: str, rows: int) -> _Written:
    """Write a day's file under its final name, durably. Checked: it holds exactly the expected rows."""
    if rows == 0:
        return _Written(line, 0, 0, 0)
    generation = engine.next_generation()
    part = engine.folder.part(kind, line.day, generation)
    view.connection.execute(
        f"COPY (SELECT {kind.readable_columns()} FROM (FROM ({source}) ORDER BY {kind.order}))"  # noqa: S608 - names and numbers of ours
        f" TO {quoted(str(part))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {engine.settings.row_group_rows})"
    )
    engine.at_step("written")
    found = pq.read_metadata(part).num_rows
    if found != rows:
        part.unlink()
        raise StoreError(f"{part} was written with {found} rows instead of {rows}; the day stays as it was")
    make_durable(part)
    engine.at_step("durable")
    path = engine.folder.sealed(kind, line.day, generation)
    give_name(part, path)
    engine.at_step("named")
    return _Written(line, generation, rows, path.stat().st_size)


def _settle(engine: Engine, kind: Kind, written: list[_Written]) -> None:
    """After the transaction: let go of replaced files."""
    engine.at_step("committed")
    for one in written:
        if one.day.generation:
            engine.readers.retire(engine.folder.sealed(kind, one.day.day, one.day.generation))
    engine.at_step("removed")


def _catalogue(change: Change, written: _Written, *, hot: bool | None) -> None:
    """Point the catalogue at a day's new file; `hot` None leaves the hot table as it is."""
    change.files_changed = True
    day = written.day
    is_hot = day.hot if hot is None else hot
    change.connection.execute("DELETE FROM days WHERE kind = ? AND day = ?", [day.kind, day.day])
    if written.generation or is_hot:
        values = [day.kind, day.day, is_hot, written.generation, written.rows, written.bytes]
        change.connection.execute("INSERT INTO days VALUES (?, ?, ?, ?, ?, ?)", values)


def _note_erased(
    engine: Engine, change: Change, cause: str, datastream_id: int | None, start_us: int, end_us: int, rows: int
) -> None:
    values = [engine.clock_us(), cause, datastream_id, start_us, end_us, rows]
    change.connection.execute("INSERT INTO erased VALUES (?, ?, ?, ?, ?, ?)", values)


def _renew_latest(engine: Engine, change: Change, latest: LatestReadings, datastream_ids: list[int]) -> None:
    """Look up what is now the latest reading of these datastreams, on disk at once and in memory after the commit."""
    newest = newest_of(View(change.connection, engine.folder), datastream_ids)
    change.connection.execute(f"DELETE FROM latest WHERE {id_filter('datastream_id', datastream_ids)}")  # noqa: S608 - ints
    change.connection.execute("INSERT INTO latest FROM newest")

    def renew() -> None:
        with engine.commit_lock:
            latest.replace(datastream_ids, newest)
            for one in engine.pending():
                latest.add(one.batch.observations)

    change.effects.append(renew)


def _line(view: View, kind: Kind, day: int) -> Day:
    lines = view.days(kind, day * DAY_US, (day + 1) * DAY_US)
    return lines[0] if lines else Day(kind.name, day, hot=False, generation=0, rows=0, bytes=0)


def _mark(connection: duckdb.DuckDBPyConnection) -> int:
    return number(connection, "SELECT commit_no FROM marks WHERE name = 'folded'")
