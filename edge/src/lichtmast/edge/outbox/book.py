"""The tables of the outbox: packs, what is gone and has to be said, and one row of counters.

Everything in memory here is a copy of the file as of the last commit; after a failed one the whole object is thrown
away and made anew. Will not: decide what is dropped, or when.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Final, NamedTuple

from lichtmast.edge.outbox.errors import OutboxDamagedError, OutboxForeignError
from lichtmast.edge.outbox.rows import Row, checksum_of
from lichtmast.edge.outbox.storage import Storage, broken_by
from lichtmast.wire import limits as wire_limits
from lichtmast.wire.numbers import Numbers

SCHEMA: Final = (
    # A row a pack; `created_us` is wall time, null while the pack waits for a trusted clock.
    """CREATE TABLE pack (
        seq INTEGER PRIMARY KEY, boot TEXT, created_s REAL, created_us INTEGER, content_format INTEGER,
        readings INTEGER, payload BLOB, checksum INTEGER
    )""",
    "CREATE INDEX waiting ON pack (seq) WHERE created_us IS NULL",
    # Numbers that will never come, and the pack that says so; null while none does.
    "CREATE TABLE gone (first INTEGER, last INTEGER, carrier INTEGER, checksum INTEGER)",
    "CREATE INDEX carried ON gone (carrier)",
    "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT, checksum INTEGER)",
)
PACK: Final = "SELECT seq, boot, created_s, created_us, content_format, readings, payload, checksum FROM pack"
_SETTLE: Final = "DELETE FROM pack WHERE seq BETWEEN ? AND ? RETURNING seq, readings, length(payload), created_us"
_DROP: Final = "DELETE FROM pack WHERE seq = ? RETURNING seq, readings, length(payload), created_us"
_DROP_OLDEST: Final = """DELETE FROM pack WHERE seq IN (SELECT seq FROM pack ORDER BY seq LIMIT ?)
    RETURNING seq, readings, length(payload), created_us"""


@dataclass(frozen=True, slots=True)
class Meta:
    """The one row of counters. `puts` counts commits of puts, so that one whose commit failed can be looked for."""

    device: str
    epoch: int
    next_seq: int = 1
    floor_us: int = 0
    puts: int = 0
    dropped_packs: int = 0
    dropped_readings: int = 0
    turned_away_drafts: int = 0
    turned_away_readings: int = 0
    damaged_packs: int = 0
    salvaged_packs: int = 0
    files_replaced: int = 0
    lost_drafts: int = 0

    @classmethod
    def read(cls, body: str) -> "Meta":
        """From the row's text. A newer agent may have written more than this one knows."""
        told = json.loads(body)
        return cls(**{one.name: told[one.name] for one in fields(cls) if one.name in told})


class Boot(NamedTuple):
    """An earlier boot whose packs still wait for a time: its id, and the last moment of it that is known."""

    boot: str
    last_s: float


class Book:
    """The tables of one file, checked row by row. Raises OutboxBrokenError and OutboxForeignError."""

    def __init__(self, storage: Storage, new: Meta) -> None:
        self._storage = storage
        self._execute = storage.connection.execute
        self.packs = 0
        self.payload_bytes = 0
        self.waiting = 0
        self.damaged = 0
        self._undeclared = Numbers()
        with broken_by(storage.path):
            self.meta = self._read_meta(new)
            self._read_gone()
            self._verify()

    def _read_meta(self, new: Meta) -> Meta:
        schema = [sql for (sql,) in self._execute("SELECT sql FROM sqlite_schema ORDER BY rowid")]
        if not schema:
            with self._storage.transaction():
                for statement in SCHEMA:
                    self._execute(statement)
                self.write(new)
            return new
        if schema != list(SCHEMA):
            raise self._damage("its tables are not those that were made")
        row = self._execute("SELECT body, checksum FROM meta").fetchone()
        if row is None or checksum_of(row[:1]) != row[1]:
            raise self._damage("its counters are damaged, so no number can be given")
        meta = Meta.read(row[0])
        if meta.device != new.device:
            raise OutboxForeignError(
                f"{self._storage.path} is the outbox of {meta.device}, not of {new.device}; "
                "give this device a state folder of its own"
            )
        return meta

    def _read_gone(self) -> None:
        damaged = []
        for row, first, last, carrier, checksum in self._execute("SELECT rowid, * FROM gone"):
            if checksum_of((first, last, carrier)) != checksum:
                damaged.append(row)
            elif carrier is None:
                self._undeclared.add_range(first, last)
        # What it said is lost, and the server's audit will miss those numbers: never silent, only not explained.
        for row in damaged:
            with self._storage.transaction():
                self._execute("DELETE FROM gone WHERE rowid = ?", (row,))

    def _verify(self) -> None:
        """Count what is there and take out what is not as it was written.

        A damaged row may have lost its own number. So all numbers between its sound neighbours are declared: those of
        them that were delivered before are on the server, which keeps what it has.
        """
        unsound: list[int] = []
        lost = Numbers()
        before, suspicious = 0, False
        for row in self._rows(f"{PACK} ORDER BY seq"):
            if not row.is_sound() or not before < row.seq < self.meta.next_seq:
                unsound.append(row.seq)
                suspicious = True
                continue
            if suspicious:
                lost.add_range(before + 1, row.seq - 1)
            before, suspicious = row.seq, False
            self._count(1, len(row.payload), 1 if row.created_us is None else 0)
        if suspicious:
            lost.add_range(before + 1, self.meta.next_seq - 1)
        self.damaged = len(unsound)
        if unsound:
            with self._storage.transaction():
                for seq in unsound:
                    self._execute("DELETE FROM pack WHERE seq = ?", (seq,))
                    self.take_back(seq)
                for first, last in lost.ranges:
                    self._undeclared.add_range(first, last)
                self.write(replace(self.meta, damaged_packs=self.meta.damaged_packs + len(unsound)))

    # Within a transaction -------------------------------------------------------------------------------------------

    def insert(self, row: Row) -> None:
        """Keep a pack under a new number."""
        self._execute("INSERT INTO pack VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._count(1, len(row.payload), 1 if row.created_us is None else 0)

    def stamp(self, row: Row) -> None:
        """Replace a pack that waited by the one that can be sent."""
        before = self._execute("SELECT length(payload) FROM pack WHERE seq = ?", (row.seq,)).fetchone()[0]
        self._execute("REPLACE INTO pack VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        self._count(0, len(row.payload) - before, -1)

    def settle(self, first: int, last: int) -> None:
        """Forget packs that were delivered, and what they said."""
        self._removed(self._execute(_SETTLE, (first, last)).fetchall())
        self._execute("DELETE FROM gone WHERE carrier BETWEEN ? AND ?", (first, last))

    def drop_oldest(self, packs: int) -> tuple[int, int]:
        """Delete undelivered packs; their numbers, and those they would have declared, have to be declared now.

        Returns how many packs and how many readings went.
        """
        return self._dropped(self._execute(_DROP_OLDEST, (packs,)).fetchall())

    def drop(self, seq: int) -> tuple[int, int]:
        """The same for one pack."""
        return self._dropped(self._execute(_DROP, (seq,)).fetchall())

    def declare(self, seq: int, room: int = wire_limits.DROPPED_RANGES_MAX) -> tuple[tuple[int, int], ...]:
        """What the pack of this number shall declare: up to `room` ranges below it. From now on it is its carrier."""
        taken: list[tuple[int, int]] = []
        left = Numbers()
        numbers = wire_limits.DROPPED_NUMBERS_MAX
        for first, last in self._undeclared.ranges:
            end = min(last, seq - 1, first + numbers - 1) if len(taken) < room else first - 1
            if end >= first:
                taken.append((first, end))
                numbers -= end - first + 1
            left.add_range(max(first, end + 1), last)
        for first, last in taken:
            self._say(first, last, seq)
        self._undeclared = left
        return tuple(taken)

    def take_back(self, carrier: int) -> None:
        """What this pack would have declared has no carrier any more."""
        found = self._execute("DELETE FROM gone WHERE carrier = ? RETURNING first, last, carrier, checksum", (carrier,))
        for *said, checksum in found.fetchall():
            if checksum_of(said) != checksum:
                raise self._damage(f"what pack {carrier} declares is not as it was written")
            self._undeclared.add_range(*said[:2])

    def write(self, meta: Meta) -> None:
        """Write the counters, and what nobody declares yet."""
        body = json.dumps(asdict(meta), separators=(",", ":"))
        self._execute("REPLACE INTO meta VALUES (1, ?, ?)", (body, checksum_of((body,))))
        self._execute("DELETE FROM gone WHERE carrier IS NULL")
        for first, last in self._undeclared.ranges:
            self._say(first, last, None)
        self.meta = meta

    # Reading --------------------------------------------------------------------------------------------------------

    # A row that is damaged ends these with OutboxDamagedError: opening anew takes it out and declares it.

    def rows(self, seqs: Iterable[int]) -> Iterator[Row]:
        """The packs of these numbers that are there."""
        for seq in seqs:
            yield from self._sound_rows(f"{PACK} WHERE seq = ?", seq)

    def oldest(self, packs: int) -> list[Row]:
        """The oldest packs, at most so many."""
        return list(self._sound_rows(f"{PACK} ORDER BY seq LIMIT ?", packs))

    def waiting_rows(self, batch: int) -> list[Row]:
        """The oldest packs that wait for a trusted clock; there are some."""
        found = list(self._sound_rows(f"{PACK} WHERE created_us IS NULL ORDER BY seq LIMIT ?", batch))
        if not found:
            raise self._damage("packs that wait for a clock are not where they were")
        return found

    def waiting_boots(self, boot: str) -> list[Boot]:
        """Earlier boots than this one whose packs wait, in their order."""
        last_s: dict[str, float] = {}
        for row in self._sound_rows(f"{PACK} WHERE created_us IS NULL AND boot <> ? ORDER BY seq", boot):
            last_s[row.boot] = max(row.created_s, last_s.get(row.boot, 0.0))
        return [Boot(*one) for one in last_s.items()]

    def numbers(self, *, stamped: bool) -> Numbers:
        """The numbers of all packs that are stamped, or of all that wait."""
        found = Numbers()
        for (seq,) in self._execute("SELECT seq FROM pack WHERE (created_us IS NULL) <> ? ORDER BY seq", (stamped,)):
            found.add(seq)
        return found

    # Below ----------------------------------------------------------------------------------------------------------

    def _rows(self, sql: str, *parameters: object) -> Iterator[Row]:
        return (Row(*one) for one in self._execute(sql, parameters))

    def _sound_rows(self, sql: str, *parameters: object) -> Iterator[Row]:
        for row in self._rows(sql, *parameters):
            if not row.is_sound():
                raise self._damage(f"pack {row.seq} is not as it was written")
            yield row

    def _damage(self, what: str) -> OutboxDamagedError:
        return OutboxDamagedError(f"{self._storage.path} is damaged: {what}")

    def _say(self, first: int, last: int, carrier: int | None) -> None:
        fields = (first, last, carrier)
        self._execute("INSERT INTO gone VALUES (?, ?, ?, ?)", (*fields, checksum_of(fields)))

    def _dropped(self, removed: list[tuple[int, int, int, int | None]]) -> tuple[int, int]:
        self._removed(removed)
        for seq, *_ in removed:
            self._undeclared.add(seq)
            self.take_back(seq)
        return len(removed), sum(readings for _, readings, _, _ in removed)

    def _removed(self, removed: list[tuple[int, int, int, int | None]]) -> None:
        for seq, readings, payload_bytes, created_us in removed:
            if not isinstance(readings, int) or not isinstance(payload_bytes, int):
                raise self._damage(f"pack {seq} is not as it was written")
            self._count(-1, -payload_bytes, -1 if created_us is None else 0)

    def _count(self, packs: int, payload_bytes: int, waiting: int) -> None:
        self.packs += packs
        self.payload_bytes += payload_bytes
        self.waiting += waiting
