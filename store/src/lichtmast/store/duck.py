"""The embedded store: a journal for what was just committed, DuckDB for what is hot, sorted Parquet for closed days.

One process, one writer thread, any number of reader threads. What is valid or new, the pipeline decides.
Days are in days.py, the commit path in journal.py and engine.py, what readers see in view.py, sealing in sealing.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa

from lichtmast.store import audit, entries, export, reading, sealing
from lichtmast.store.absorber import ABSORB_SHARE, Absorber
from lichtmast.store.days import LEDGER, OBSERVATIONS
from lichtmast.store.engine import Engine
from lichtmast.store.errors import OffsetError, StoreError
from lichtmast.store.folder import StoreFolder
from lichtmast.store.migrations import migrate
from lichtmast.store.port import (
    DROPS_SCHEMA,
    LEDGER_SCHEMA,
    OBSERVATION_SCHEMA,
    QUARANTINE_SCHEMA,
    RELEASED_SCHEMA,
    Batch,
    Outcome,
    PackKey,
    Selection,
)
from lichtmast.store.settings import StoreSettings
from lichtmast.store.trimming import Quarantine

FOLD_EVERY_US = 10_000_000
"""How often `maintain` folds progress: often, so that there never are millions of packs to go through at once."""


class DuckStore:
    """An ObservationStore in one folder. Made by `open`; `maintain` has to be called every few seconds in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with engine.view() as view:
            found = view.connection.execute("SELECT log, max(position), max(commit_no) FROM positions GROUP BY log")
            positions = found.fetchall()
            self._offsets: dict[str, int] = {log: position for log, position, _ in positions}
            self._commit_no = max((number for _, _, number in positions), default=0)
            self._latest = reading.restore_latest(view)
        self._late_merge_at_us = engine.clock_us()
        self._folded_at_us = self._late_merge_at_us
        self._quarantine = Quarantine(engine)
        self._absorber = Absorber(engine, self._latest)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock_us: Callable[[], int],
        settings: StoreSettings | None = None,
        at_step: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Open or create the store in a folder; repairs what a crash left behind.

        `at_step` is called with the name of each step of sealing and erasing, so that tests can stop the process there.
        Raises StoreLockedError where another Lichtmast has the folder open, StoreDamagedError where files are missing.
        """
        settings = settings or StoreSettings()
        claimed = StoreFolder.claim(Path(folder))
        try:
            connection = _connect(claimed, settings)
            try:
                migrate(connection)
                return cls(Engine(connection, claimed, clock_us, settings, at_step))
            except BaseException:
                connection.close()
                raise
        except duckdb.Error as error:
            claimed.release()
            raise StoreError(f"cannot open the store in {folder}: the database says why in the cause") from error
        except BaseException:
            claimed.release()
            raise

    def commit(self, batch: Batch) -> None:
        """Make the batch durable as one record. Raises StoreError; then nothing of it is there."""
        observations = _conform(batch.observations, OBSERVATION_SCHEMA, "observations")
        ledger = _conform(batch.ledger, LEDGER_SCHEMA, "ledger")
        refused = _conform(batch.quarantine, QUARANTINE_SCHEMA, "quarantine")
        declared = _conform(batch.drops, DROPS_SCHEMA, "drops")
        released = _conform(batch.released, RELEASED_SCHEMA, "released")
        if self._engine.crowded():
            self._engine.absorb()
        with self._engine.commit_lock:
            held = self.offset(batch.log)
            if batch.offset <= held:
                raise OffsetError(
                    f"offset {batch.offset} of log {batch.log!r} does not advance {held}: the batch is stored already, "
                    "or the log was started anew and needs another name"
                )
            whole = Batch(observations, ledger, refused, batch.log, batch.offset, declared, released)
            commit = self._engine.commit(whole, self._commit_no + 1)
            self._commit_no = commit.number
            self._offsets[batch.log] = batch.offset
            self._latest.add(observations)
            if refused.num_rows:
                self._quarantine.add(refused.nbytes)
        if self._engine.crowded(ABSORB_SHARE):
            self._absorber.wake()

    def absorb(self) -> None:
        """Take what was committed over from the journal into the database. Happens by itself; here for who measures."""
        self._engine.absorb()

    def offset(self, log: str) -> int:
        """The last log position that is on disk; 0 where there is none."""
        return self._offsets.get(log, 0)

    def range(
        self, datastream_ids: Sequence[int], start_us: int, end_us: int, *, limit: int, descending: bool = False
    ) -> pa.Table:
        """Observations with start <= phenomenon time < end, ordered by time then datastream, at most `limit`."""
        with self._engine.view() as view:
            return reading.observations(view, datastream_ids, start_us, end_us, limit=limit, descending=descending)

    def count(self, datastream_id: int, start_us: int, end_us: int) -> int:
        """How many observations of one datastream lie in start <= phenomenon time < end."""
        with self._engine.view() as view:
            return reading.count(view, datastream_id, start_us, end_us)

    def latest(self, datastream_ids: Sequence[int] | None = None) -> pa.Table:
        """The observation with the latest phenomenon time of each datastream, by ascending datastream id."""
        return self._latest.table(datastream_ids)

    def recent(self, window: int, *, without: int = 0) -> pa.Table:
        """RECENT_SCHEMA by datastream then time: the last `window` observations of each with no bit of `without`."""
        with self._engine.view() as view:
            return reading.recent(view, window, without, self._latest.table())

    def aggregate(self, datastream_id: int, start_us: int, end_us: int, bucket_us: int) -> pa.Table:
        """Columns bucket, count, mean, minimum, maximum of the numeric results; buckets at multiples of bucket_us."""
        with self._engine.view() as view:
            return reading.aggregate(view, datastream_id, start_us, end_us, bucket_us)

    def existing(self, keys: pa.Table) -> pa.Table:
        """EXISTING_SCHEMA: of (datastream_id, phenomenon_time) keys those that are stored, each with its result."""
        with self._engine.view() as view:
            return reading.existing(view, keys)

    def digests(self, keys: Sequence[PackKey], *, stored_only: bool = False) -> dict[PackKey, int]:
        """The payload digest of each pack that the ledger holds as stored (replayed too) or quarantined."""
        stored = (Outcome.STORED, Outcome.REPLAYED)
        with self._engine.view() as view:
            return reading.digests(view, keys, stored if stored_only else (*stored, Outcome.QUARANTINED))

    def digests_at(self, log_seq: int) -> list[int]:
        """Digests of the first pack taken from this log position, by any log; empty where the ledger has none."""
        with self._engine.view() as view:
            return reading.digests_at(view, log_seq, self._engine.clock_us())

    def progress(self) -> pa.Table:
        """PROGRESS_SCHEMA: which numbers of each device and epoch have arrived or were declared as dropped."""
        with self._engine.view() as view:
            return reading.progress(view)

    def dropped(self) -> pa.Table:
        """DROPPED_SCHEMA: declared numbers of which no pack arrived, as ascending ranges by device and epoch."""
        with self._engine.view() as view:
            return audit.dropped(view)

    def quarantine(self, limit: int, *, device: str | None = None, reason: str | None = None) -> pa.Table:
        """QUARANTINE_SCHEMA: the newest refused packs first, of one device or for one reason where asked."""
        with self._engine.view() as view:
            return entries.newest(view, limit, device, reason)

    def quarantine_page(self, selection: Selection, after: tuple[int, int, int] | None, limit: int) -> pa.Table:
        """QUARANTINE_SCHEMA: selected packs, oldest first, behind a (received_at, log_seq, part)."""
        with self._engine.view() as view:
            return entries.page(view, selection, after, limit)

    def quarantine_groups(self, selection: Selection, limit: int) -> pa.Table:
        """GROUPS_SCHEMA: selected packs by reason and device, the largest groups first."""
        with self._engine.view() as view:
            return entries.groups(view, selection, limit)

    def open_entries(self, wanted: pa.Table) -> pa.Table:
        """ENTRY_SCHEMA: those of `wanted` that the quarantine holds, with the same device, and payload where given."""
        with self._engine.view() as view:
            return entries.open_entries(view, wanted)

    def released(self, log_seq: int, part: int) -> pa.Table:
        """RELEASED_SCHEMA: how an entry of the quarantine was closed; empty where none was."""
        with self._engine.view() as view:
            return entries.released(view, log_seq, part)

    def ledger_counts(self, start_us: int, end_us: int) -> pa.Table:
        """Columns device, hour_us, outcome, transport, packs, readings, by time of reception."""
        with self._engine.view() as view:
            return audit.ledger_counts(view, start_us, end_us)

    def ledger_range(self, device: str, epoch: int) -> pa.Table:
        """LEDGER_SCHEMA: every arrival of one device and epoch, by sequence number then log position."""
        with self._engine.view() as view:
            return audit.ledger_range(view, device, epoch)

    def audit_counts(self) -> dict[str, int]:
        """observations_total + erased_total = readings_by_ledger; double_packs and positions_unaccounted are 0."""
        with self._engine.view() as view:
            return audit.counts(view, one_log=len(self._offsets) == 1)

    def statistics(self) -> dict[str, int]:
        """Sizes: rows hot and sealed, bytes, files, write-ahead log, open readers, last checkpoint."""
        with self._engine.view() as view:
            found = audit.sizes(view)
        reading_now, waiting = self._engine.readers.counts()
        found.update(
            commits=self._commit_no,
            pending=len(self._engine.pending()),
            journal_bytes=self._engine.folder.journal_bytes(),
            wal_bytes=self._engine.folder.wal_bytes(),
            database_bytes=self._engine.folder.database.stat().st_size,
            readers=reading_now,
            files_to_remove=waiting,
            checkpoint_at_us=self._engine.checkpoint_at_us,
        )
        return found

    def export(self, path: Path, *, form: str, start_us: int, end_us: int, datastream_ids: Sequence[int] | None) -> int:
        """Write observations to `path` as `parquet` or `csv`; returns the rows written."""
        with self._engine.view() as view:
            return export.export(view, path, form, start_us, end_us, datastream_ids)

    def erase(self, datastream_id: int, start_us: int, end_us: int) -> int:
        """Remove observations of one datastream for good, hot and sealed; returns how many rows went."""
        with self._engine.maintenance_lock:
            return sealing.erase(self._engine, self._latest, datastream_id, start_us, end_us)

    def drop_day(self, day: int) -> int:
        """Remove all observations of one UTC day (counted from 1970-01-01) for good; returns how many rows went."""
        with self._engine.maintenance_lock:
            return sealing.drop_day(self._engine, self._latest, day)

    def seal(self, day: int) -> int:
        """Write one UTC day's observations and ledger into sorted files; returns the observations now in its file."""
        with self._engine.maintenance_lock:
            self.fold()
            return sum(sealing.seal(self._engine, kind, day) for kind in (LEDGER, OBSERVATIONS))

    def maintain(self, now_us: int) -> list[int]:
        """Fold, seal closed days, trim the quarantine, write a checkpoint when due. Call it every few seconds.

        In a thread of its own. Returns the days of which something was sealed.
        """
        self._engine.absorb()
        with self._engine.maintenance_lock:
            merge = now_us - self._late_merge_at_us >= self._engine.settings.late_merge_every_us
            with self._engine.view() as view:
                due = sealing.due(view, now_us - self._engine.settings.seal_grace_us, merge=merge)
            if due or now_us - self._folded_at_us >= FOLD_EVERY_US:
                self._folded_at_us = now_us
                self.fold()
            for kind, day in due:
                sealing.seal(self._engine, kind, day)
            if due or merge:
                self._late_merge_at_us = now_us
            self._quarantine.trim_when_due(now_us)
            overdue = now_us - self._engine.checkpoint_at_us >= self._engine.settings.checkpoint_every_us
            if due or overdue or self._engine.folder.wal_bytes() >= self._engine.settings.checkpoint_wal_bytes:
                self.checkpoint()
            return sorted({day for _, day in due})

    def fold(self) -> None:
        """Write the folded state (latest, progress, offsets), so that the next open only reads what came after."""
        with self._engine.maintenance_lock:
            self._engine.absorb()
            sealing.write_folded(self._engine, self._latest)

    def checkpoint(self) -> bool:
        """Absorb pending commits, and move the database's write-ahead log into its file. Commits go on meanwhile.

        False where a long-running reader prevents it: nothing is lost, `maintain` tries again at its next call.
        """
        with self._engine.maintenance_lock:
            self._engine.absorb()
            if not self._engine.checkpoint():
                return False
            # After the checkpoint, not before: its deletions would let every reader of this moment prevent it.
            self.fold()
            return True

    def close(self) -> None:
        """Release files. Committed data is durable without it."""
        self._absorber.stop()
        self._engine.close()


def _connect(folder: StoreFolder, settings: StoreSettings) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        str(folder.database),
        config={
            "memory_limit": f"{settings.memory_limit_mb}MB",
            "threads": settings.threads,
            "temp_directory": str(folder.root / "spill"),
            # Checkpoints happen when the store says so, never inside a transaction.
            "checkpoint_threshold": "1TB",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    connection.execute("SET auto_checkpoint_skip_wal_threshold = 1000000000000")
    connection.execute("SET parquet_metadata_cache = true")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """The table with exactly the port's columns, or StoreError: a programming error that must not reach the journal."""
    try:
        if not table.schema.equals(schema):
            table = table.select(schema.names).cast(schema)
        table = table.combine_chunks()
        table.validate(full=True)  # texts are UTF-8: the journal takes any bytes, the database does not
    except (KeyError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise StoreError(f"{name} of a batch does not have the columns of the port: {table.schema.names}") from error
    for field, column in zip(schema, table.columns, strict=True):
        if column.null_count and not field.nullable:
            raise StoreError(f"{name} of a batch has {column.null_count} nulls in {field.name}, which must have values")
    return table
