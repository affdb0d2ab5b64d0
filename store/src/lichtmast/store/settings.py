"""How much a store may take, and when it tidies up. Values only; the program that opens the store decides."""

from dataclasses import dataclass

MINUTE_US = 60 * 1_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Limits and schedules of one store.

    `threads` is what one query may use. One is the default: a commit of a thousand rows is faster without handing work
    over, every reader runs on its own thread anyway, and sealing leaves the other core to the pipeline.
    """

    memory_limit_mb: int = 128
    threads: int = 1
    seal_grace_us: int = HOUR_US
    """How long after midnight UTC a day stays open, so that most stragglers are in before it is sorted."""
    late_merge_every_us: int = 6 * HOUR_US
    """How often late rows of sealed days are merged into their files where no newly closed day triggers it."""
    pending_rows_max: int = 327_680
    pending_bytes_max: int = 32 * 1024 * 1024
    """What may be committed and not yet in the database's tables: absorbing begins at a quarter, so it runs beside the
    commits; a commit that finds it full waits."""
    checkpoint_every_us: int = MINUTE_US
    checkpoint_wal_bytes: int = 32 * 1024 * 1024
    """A checkpoint is written when this much lies in the database's write-ahead log, or when the time has come."""
    quarantine_days: float = 90.0
    quarantine_bytes_max: int = 256 * 1024 * 1024
    """How long the bytes of refused packs are kept, and how many; the oldest go first. Their ledger lines stay."""
    row_group_rows: int = 8_192
    """Rows of a row group in sealed files: what one look-up of one datastream has to decode."""
