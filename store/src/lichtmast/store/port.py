"""The port: what every observation store offers, and the columns that cross it.

One `Batch` is one transaction: observations, pack ledger, quarantine, declared drops and log offset become durable
together or not at all (DESIGN section 2, step 3). Times are microseconds since 1970 UTC, as int64.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa

OBSERVATION_SCHEMA: Final = pa.schema(
    [
        pa.field("datastream_id", pa.int32(), nullable=False),
        pa.field("phenomenon_time", pa.int64(), nullable=False),
        pa.field("result", pa.float64()),  # numbers, and booleans as 0 and 1; null where the result is text
        pa.field("result_text", pa.string()),  # null where the result is a number
        pa.field("quality", pa.int32(), nullable=False),  # bits of lichtmast.wire.quality.Quality
        pa.field("result_time", pa.int64(), nullable=False),  # when the server received it
    ]
)

EXISTING_SCHEMA: Final = pa.schema(
    [OBSERVATION_SCHEMA.field(name) for name in ("datastream_id", "phenomenon_time", "result", "result_text")]
)

RECENT_SCHEMA: Final = pa.schema(
    [
        OBSERVATION_SCHEMA.field(name)
        for name in ("datastream_id", "phenomenon_time", "result", "quality", "result_time")
    ]
)

LEDGER_SCHEMA: Final = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),  # tenant/device, or the empty string where unknown
        pa.field("epoch", pa.int64()),  # null for packs without lm-epoch and lm-seq
        pa.field("seq", pa.int64()),
        pa.field("received_at", pa.int64(), nullable=False),
        pa.field("log_seq", pa.int64(), nullable=False),  # position in the log
        pa.field("part", pa.int32(), nullable=False),  # position inside that log message, 0 where it holds one pack
        pa.field("outcome", pa.int8(), nullable=False),  # Outcome
        pa.field("readings", pa.int32(), nullable=False),  # rows stored from this pack
        pa.field("digest", pa.uint64(), nullable=False),  # xxh3-64 of the payload
        pa.field("transport", pa.int8(), nullable=False),  # Transport
    ]
)

QUARANTINE_SCHEMA: Final = pa.schema(
    [
        pa.field("log_seq", pa.int64(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("received_at", pa.int64(), nullable=False),
        pa.field("transport", pa.int8(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # Refusal value
        pa.field("detail", pa.string(), nullable=False),
        pa.field("content_format", pa.int32(), nullable=False),  # 0 where the transport tells none
        pa.field("payload", pa.binary(), nullable=False),  # exactly what arrived
    ]
)

DROPS_SCHEMA: Final = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("first", pa.int64(), nullable=False),  # the device declares first..last as dropped by itself
        pa.field("last", pa.int64(), nullable=False),
        pa.field("declared_at", pa.int64(), nullable=False),  # when the pack that says so was received
    ]
)

DROPPED_SCHEMA: Final = pa.schema([DROPS_SCHEMA.field(name) for name in ("device", "epoch", "first", "last")])

ENTRY_SCHEMA: Final = pa.schema([QUARANTINE_SCHEMA.field(name) for name in ("log_seq", "part", "received_at")])
"""What names an entry of the quarantine: positions begin anew where the log was made anew, times do not."""

RELEASED_SCHEMA: Final = pa.schema(
    [
        *ENTRY_SCHEMA,
        pa.field("released_at", pa.int64(), nullable=False),  # when the log took the order
        pa.field("outcome", pa.int8(), nullable=False),  # REPLAYED, DISCARDED, or DUPLICATE: it was stored already
    ]
)

GROUPS_SCHEMA: Final = pa.schema(
    [
        pa.field("reason", pa.string(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("packs", pa.int64(), nullable=False),
        pa.field("first_at", pa.int64(), nullable=False),
        pa.field("last_at", pa.int64(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),  # of the last one
    ]
)

PROGRESS_SCHEMA: Final = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("upto", pa.int64(), nullable=False),  # every seq from 1 to here has arrived, or is declared as dropped
        pa.field("ranges", pa.list_(pa.int64()), nullable=False),  # first, last, first, last ... above upto
    ]
)


class Outcome(IntEnum):
    """What became of one pack that arrived, or of one entry of the quarantine about which an order came.

    A line of transport REPLAY is about a pack that has a line already, as QUARANTINED. DUPLICATE closes it there too:
    the same pack had been stored meanwhile. KEPT changes nothing: refused again, or no such entry is open.
    """

    STORED = 0
    QUARANTINED = 1
    DUPLICATE = 2
    REPLAYED = 3
    KEPT = 4
    DISCARDED = 5


class Transport(IntEnum):
    """How a pack came in."""

    MQTT = 0
    COAP = 1
    REPLAY = 2
    """By an order about the quarantine: no device sent this one again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one transaction makes durable. `offset` is the last position of `log` that the batch covers.

    `drops` are numbers that devices declare as dropped (docs/adr/0022): no pack will come for them. `released` closes
    entries of the quarantine (docs/adr/0035): their bytes go.
    """

    observations: pa.Table
    ledger: pa.Table
    quarantine: pa.Table
    log: str
    offset: int
    drops: pa.Table = field(default_factory=DROPS_SCHEMA.empty_table)
    released: pa.Table = field(default_factory=RELEASED_SCHEMA.empty_table)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries of the quarantine; None does not narrow. `tenant` means all devices of one."""

    reason: str | None = None
    device: str | None = None
    tenant: str | None = None
    since_us: int | None = None
    entries: tuple[tuple[int, int], ...] | None = None
    """Log position and part of some."""


@dataclass(frozen=True, slots=True)
class PackKey:
    """The identity of a pack: who sent it, in which life of its outbox, with which number."""

    device: str
    epoch: int
    seq: int


class ObservationStore(Protocol):
    """What the pipeline writes and everyone reads. Methods block: call them in a thread from async code.

    One thread at a time may call the writing methods; readers may run beside it in any number of threads.
    """

    def commit(self, batch: Batch) -> None:
        """Make the batch durable as one transaction, fsync included. Raises StoreError; then nothing of it is there."""

    def offset(self, log: str) -> int:
        """The last log position that is on disk; 0 where there is none."""

    def range(
        self, datastream_ids: Sequence[int], start_us: int, end_us: int, *, limit: int, descending: bool = False
    ) -> pa.Table:
        """Observations with start <= phenomenon time < end, ordered by time then datastream, at most `limit`."""

    def count(self, datastream_id: int, start_us: int, end_us: int) -> int:
        """How many observations of one datastream lie in start <= phenomenon time < end."""

    def latest(self, datastream_ids: Sequence[int] | None = None) -> pa.Table:
        """The observation with the latest phenomenon time of each datastream (all of them where None)."""

    def recent(self, window: int, *, without: int = 0) -> pa.Table:
        """RECENT_SCHEMA by datastream then time: the last `window` observations of each with no bit of `without`.

        Of a datastream that was silent for days before the newest reading of all, it may be the latest alone.
        """

    def aggregate(self, datastream_id: int, start_us: int, end_us: int, bucket_us: int) -> pa.Table:
        """Columns bucket (start, int64), count, mean, minimum, maximum; buckets start at multiples of bucket_us."""

    def existing(self, keys: pa.Table) -> pa.Table:
        """EXISTING_SCHEMA: of (datastream_id, phenomenon_time) keys those that are stored, each with its result."""

    def digests(self, keys: Sequence[PackKey], *, stored_only: bool = False) -> dict[PackKey, int]:
        """The payload digest of each pack that the ledger holds as stored (replayed too) or quarantined."""

    def open_entries(self, wanted: pa.Table) -> pa.Table:
        """ENTRY_SCHEMA: those of `wanted` that the quarantine holds, with the same device, and payload where given."""

    def quarantine_page(self, selection: Selection, after: tuple[int, int, int] | None, limit: int) -> pa.Table:
        """QUARANTINE_SCHEMA: selected packs, oldest first, behind a (received_at, log_seq, part)."""

    def quarantine_groups(self, selection: Selection, limit: int) -> pa.Table:
        """GROUPS_SCHEMA: selected packs by reason and device, the largest groups first."""

    def released(self, log_seq: int, part: int) -> pa.Table:
        """RELEASED_SCHEMA: how an entry of the quarantine was closed; empty where none was."""

    def progress(self) -> pa.Table:
        """PROGRESS_SCHEMA: which numbers of each device and epoch have arrived or were declared as dropped."""

    def dropped(self) -> pa.Table:
        """DROPPED_SCHEMA: declared numbers of which no pack arrived, as ascending ranges by device and epoch."""

    def erase(self, datastream_id: int, start_us: int, end_us: int) -> int:
        """Remove observations for good, from hot and sealed data alike; returns how many rows went."""

    def export(self, path: Path, *, form: str, start_us: int, end_us: int, datastream_ids: Sequence[int] | None) -> int:
        """Write observations to `path` as `parquet` or `csv`; returns the rows written."""

    def close(self) -> None:
        """Release files. Committed data is durable without it."""
