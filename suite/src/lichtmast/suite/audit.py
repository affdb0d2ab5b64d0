"""The books: sent = stored + quarantined + duplicate + dropped, and every missing pack by its number.

What arrived is in the ledger, one line a pack. What was sent follows from the numbers that devices give their packs: a
hole below the highest number that came is a pack that was sent and is nowhere (or still on its way: a device repeats
what was not acknowledged). A hole that the device itself declares, because it had to drop those packs, is `dropped`
and no fault; a declared pack that came all the same counts as it came. Packs without numbers count as they arrive. What
cannot be seen from here is a pack behind the last that came; for that, hold the device's own count against this one, as
`lichtmast demo` does.

Held against each other are also: the positions of the log and the ledger's, the rows that the ledger says were stored
and those that are there, and the numbers that may occur only once.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lichtmast.store import DuckStore, Outcome, Transport
from lichtmast.suite.refused import Refused, refused

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EVER_US: Final = (0, 2**62)

ACCOUNT_ROWS_MAX: Final = 50_000
"""Lines of devices, hours and outcomes that are listed, the latest first; the sums are of all."""

MISSING_NAMED_MAX: Final = 10_000
"""Ranges of missing packs, and of dropped ones, that are named; beyond it they are only counted."""

REFUSED_DEVICES_MAX: Final = 40
"""Devices whose quarantine is read for its reasons: those with most packs there."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Packs that a device numbered and that never arrived, or that it declares as dropped: first..last of one epoch."""

    device: str
    epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Account:
    """One device in one hour (of arrival, UTC): packs by what became of them, and readings stored."""

    device: str
    hour: str
    stored: int
    quarantined: int
    duplicates: int
    readings: int


@dataclass(frozen=True, slots=True)
class Audit:
    """The whole account. `sent` counts every pack that was numbered or arrived, repetitions too."""

    sent: int
    stored: int
    quarantined: int
    duplicates: int
    dropped: int
    missing: int
    readings: int
    double_packs: int
    rows_stored: int
    rows_by_ledger: int
    rows_erased: int
    waiting: int | None
    positions_unaccounted: int
    by_transport: dict[str, int]
    missing_packs: tuple[Missing, ...]
    dropped_packs: tuple[Missing, ...]
    dropped_by_device: dict[str, int]
    quarantined_by_reason: tuple[Refused, ...]
    accounts: tuple[Account, ...]

    @property
    def faults(self) -> list[str]:
        """What is wrong, in words; empty where the books balance."""
        found: list[str] = []
        if self.missing:
            found.append(f"{self.missing} packs were sent and have not arrived; they are named in missing_packs")
        if self.waiting:
            found.append(f"{self.waiting} messages of the log are not stored yet; ask again when the pipeline has them")
        if self.positions_unaccounted:
            found.append(f"{self.positions_unaccounted} positions of the log were passed over without a ledger line")
        if self.double_packs:
            found.append(f"{self.double_packs} pack numbers are stored more than once")
        if self.rows_stored + self.rows_erased != self.rows_by_ledger:
            found.append(
                f"the ledger counts {self.rows_by_ledger} readings, but {self.rows_stored} are stored and "
                f"{self.rows_erased} were erased"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self) | {"balanced": not self.faults, "faults": self.faults}


def audit(store: DuckStore, waiting: int | None) -> Audit:
    """Draw up the account. `waiting` is how many log messages are not stored yet, None where nobody can tell."""
    counts = store.ledger_counts(_EVER_US[0], _EVER_US[1])
    packs = {outcome: _sum(counts.filter(pc.field("outcome") == int(outcome)), "packs") for outcome in Outcome}
    stored, quarantined, duplicates = (packs[one] for one in (Outcome.STORED, Outcome.QUARANTINED, Outcome.DUPLICATE))
    readings = _sum(counts, "readings")
    by_transport = {
        transport.name.lower(): _sum(counts.filter(pc.field("transport") == int(transport)), "packs")
        for transport in Transport
    }
    accounts = _accounts(counts)
    # Drops before holes: what is declared in between is then counted in neither, and not in both.
    dropped_by_device, dropped_packs = _dropped(store)
    missing, holes = _missing(store)
    dropped = sum(dropped_by_device.values())
    totals = store.audit_counts()
    return Audit(
        sent=stored + quarantined + duplicates + dropped + missing,
        stored=stored,
        quarantined=quarantined,
        duplicates=duplicates,
        dropped=dropped,
        missing=missing,
        readings=readings,
        double_packs=totals["double_packs"],
        rows_stored=totals["observations_total"],
        rows_by_ledger=totals["readings_by_ledger"],
        rows_erased=totals["erased_total"],
        waiting=waiting,
        positions_unaccounted=totals["positions_unaccounted"],
        by_transport=by_transport,
        missing_packs=holes,
        dropped_packs=dropped_packs,
        dropped_by_device=dropped_by_device,
        quarantined_by_reason=_refused(store, counts),
        accounts=accounts,
    )


def _sum(rows: pa.Table, column: str) -> int:
    return pc.sum(rows[column]).as_py() or 0


def _accounts(counts: pa.Table) -> tuple[Account, ...]:
    """The latest hours, by device and hour; at most ACCOUNT_ROWS_MAX lines of the ledger's counts go in."""
    latest = counts.sort_by([("hour_us", "descending"), ("device", "ascending")]).slice(0, ACCOUNT_ROWS_MAX)
    accounts: dict[tuple[str, int], list[int]] = {}
    for row in latest.to_pylist():
        account = accounts.setdefault((row["device"], row["hour_us"]), [0, 0, 0, 0])
        account[row["outcome"]] += row["packs"]
        account[3] += row["readings"]
    return tuple(Account(device, _hour(hour_us), *account) for (device, hour_us), account in sorted(accounts.items()))


def _refused(store: DuckStore, counts: pa.Table) -> tuple[Refused, ...]:
    """Why, of the devices with most packs in quarantine."""
    packs = (
        counts.filter(pc.field("outcome") == int(Outcome.QUARANTINED)).group_by("device").aggregate([("packs", "sum")])
    )
    most = packs.sort_by([("packs_sum", "descending"), ("device", "ascending")])["device"][:REFUSED_DEVICES_MAX]
    return tuple(one for device in most.to_pylist() for one in refused(store, device))


def _hour(start_us: int) -> str:
    return (_1970 + timedelta(microseconds=start_us)).strftime("%Y-%m-%dT%H:00Z")


def _missing(store: DuckStore) -> tuple[int, tuple[Missing, ...]]:
    """Holes in the numbers, below the highest that came of each device and epoch."""
    count = 0
    holes: list[Missing] = []
    for row in store.progress().to_pylist():
        expected = row["upto"] + 1
        flat = row["ranges"]
        for first, last in zip(flat[::2], flat[1::2], strict=True):
            if first > expected:
                count += first - expected
                if len(holes) < MISSING_NAMED_MAX:
                    holes.append(Missing(row["device"], row["epoch"], expected, first - 1))
            expected = last + 1
    return count, tuple(holes)


def _dropped(store: DuckStore) -> tuple[dict[str, int], tuple[Missing, ...]]:
    """What devices declare as dropped and nobody ever sent: numbers per device, and the ranges."""
    ranges = [Missing(**row) for row in store.dropped().to_pylist()]
    by_device: dict[str, int] = {}
    for one in ranges:
        by_device[one.device] = by_device.get(one.device, 0) + one.last - one.first + 1
    return by_device, tuple(ranges[:MISSING_NAMED_MAX])


assert [Outcome.STORED, Outcome.QUARANTINED, Outcome.DUPLICATE] == [0, 1, 2]  # noqa: S101 - audit() counts by position
