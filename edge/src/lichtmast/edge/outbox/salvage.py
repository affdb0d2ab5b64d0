"""What becomes of a damaged file: put aside, and what still reads of it carried over into a new one.

The new file is complete before it takes the place, by renaming; killed in between, the next start finishes the job.
One damaged file is kept for whoever wants to know why, until the next.

Will not: repair. A number of a damaged file is never given again, because the new file begins a new epoch.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lichtmast.edge.outbox.book import PACK, SCHEMA, Meta
from lichtmast.edge.outbox.errors import OutboxBrokenError
from lichtmast.edge.outbox.rows import Row, checksum_of
from lichtmast.edge.outbox.storage import Connect, Connection, broken_by, log_path, sync_folder
from lichtmast.wire.refusal import PackError
from lichtmast.wire.senml import Reading, decode


def fresh_path(path: Path) -> Path:
    """Where the new file is made."""
    return path.with_name(path.name + ".new")


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".damaged")


def take_place(path: Path) -> None:
    """Put the damaged file aside and the new one in its place."""
    log_path(_aside(path)).unlink(missing_ok=True)
    path.replace(_aside(path))
    finish(path)


def finish(path: Path) -> None:
    """Finish an exchange that a crash cut short, or clear away one that never became complete."""
    fresh = fresh_path(path)
    if not path.exists() and fresh.exists():
        if log_path(path).exists():
            log_path(path).replace(log_path(_aside(path)))
        fresh.replace(path)
        sync_folder(path.parent)
    for left in (log_path(fresh), fresh):
        left.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A pack that reads: its readings with their times, or None where it waits for a clock and `payload` is kept."""

    row: Row
    readings: tuple[Reading, ...] | None
    time_error_s: float | None
    epoch: int | None

    @property
    def payload(self) -> bytes:
        """The bytes of the row."""
        return self.row.payload


class Wreck:
    """A damaged file, as far as it reads."""

    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection
        self.meta = self._read_meta()

    def rows(self) -> Iterator[Salvaged]:
        """Every sound pack once: upwards until it reads no further, then from the other end."""
        last = 0
        for row in self._scan(f"{PACK} ORDER BY seq"):
            last = max(last, row.seq)
            yield from _salvaged(row)
        for row in self._scan(f"{PACK} WHERE seq > {last} ORDER BY seq DESC"):
            yield from _salvaged(row)

    def _scan(self, sql: str) -> Iterator[Row]:
        if self._connection is None:
            return
        with contextlib.suppress(OutboxBrokenError), broken_by(Path()):
            for one in self._connection.execute(sql):
                row = Row(*one)
                if row.is_sound():
                    yield row

    def _read_meta(self) -> Meta | None:
        if self._connection is None:
            return None
        with contextlib.suppress(OutboxBrokenError), broken_by(Path()):
            row = self._connection.execute("SELECT body, checksum FROM meta").fetchone()
            if row is not None and checksum_of(row[:1]) == row[1]:
                return Meta.read(row[0])
        return None


@contextlib.contextmanager
def wreck(path: Path, connect: Connect) -> Iterator[Wreck]:
    """Open a damaged file; one that cannot be opened is empty."""
    connection: Connection | None = None
    with contextlib.suppress(OutboxBrokenError), broken_by(path):
        connection = connect(path)
        connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        _mend_schema(connection)
    try:
        yield Wreck(connection)
    finally:
        if connection is not None:
            connection.close()


def _mend_schema(connection: Connection) -> None:
    """The tables' own descriptions are known: a flipped bit there need not cost the packs."""
    connection.execute("PRAGMA writable_schema=ON").fetchall()
    for row, sql in enumerate(SCHEMA, 1):
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE rowid = ? AND sql <> ?", (sql, row, sql))
    connection.execute("PRAGMA writable_schema=RESET").fetchall()


def _salvaged(row: Row) -> Iterator[Salvaged]:
    if row.created_us is None:
        yield Salvaged(row, None, None, None)
        return
    try:
        pack = decode(row.payload, row.content_format, row.created_us)
    except PackError:
        return
    readings = tuple(
        Reading(pack.suffix_of(one), one.value, one.unit, one.time_us) for one in pack.records if one.value is not None
    )
    yield Salvaged(row, readings, pack.time_error_s, pack.epoch)
