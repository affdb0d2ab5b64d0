"""What the server shows: rows by every path that there is to read them, its ledger, its quarantine, its counted drops.

Only values: where they come from is for `sources` and for tests that open a store themselves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from lichtmast.firmware_sim.checker.books import PackKey


class Fate(Enum):
    """What the server's ledger says of one arrival."""

    STORED = "stored"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicate"
    REPLAYED = "replayed"
    """It lay in quarantine, and is stored now."""


class Arrival(NamedTuple):
    """One numbered line of the ledger. `digest` is the server's own fingerprint of the bytes, None where not known."""

    key: PackKey
    fate: Fate
    digest: object = None


Value = float | bool | str
"""What a reading says."""


class Row(NamedTuple):
    """One stored reading. A truth value may come as 1.0 or 0.0: files have one column for both."""

    datastream: int
    time_us: int
    value: Value


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything read from the server after the run.

    `paths` holds the rows by the way they were read ("export", "sensorthings"): each is held against the devices'
    books, and against the others; those in `partial` show only some series (the public pages: those of lampposts).
    None means: not looked at. `quarantine` are the bytes that lie there; `dropped` the numbers that the server counts
    as declared drops; `outbox` what devices still hold. `series` says which datastream belongs to (device, suffix);
    without it that is learned from the rows. `shown` are readings that somebody saw while the run went on. `audit` is
    the answer of `lichtmast audit --json`.
    """

    paths: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    partial: Collection[str] = ()
    arrivals: Sequence[Arrival] | None = None
    quarantine: Sequence[bytes] | None = None
    dropped: Collection[PackKey] | None = None
    outbox: Collection[PackKey] | None = None
    series: Mapping[tuple[str, str], int] | None = None
    shown: Collection[Row] = ()
    audit: Mapping[str, object] | None = None
