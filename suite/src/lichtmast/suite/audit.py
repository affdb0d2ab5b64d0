"""The books: sent = stored + quarantined + duplicate + discarded + dropped, and every missing pack by its number.

What arrived is in the ledger, one line a pack. What was sent follows from the numbers that devices give their packs: a
hole below the highest number that came is a pack that was sent and is nowhere (or still on its way: a device repeats
what was not acknowledged). A hole that the device itself declares, because it had to drop those packs, is `dropped`
and no fault; a declared pack that came all the same counts as it came. Packs without numbers count as they arrive. A
pack that comes back from the quarantine moves from one sum to another, in the hour in which it had arrived. What
cannot be seen from here is a pack behind the last that came; for that, hold the device's own count against this one, as
`lichtmast demo` does.

Held against each other are also: the positions of the log and the ledger's, the rows that the ledger says were stored
and those that are there, and the numbers that may occur only once.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from lichtmast.store import DuckStore, Outcome, Transport
from lichtmast.store.port import Selection
from lichtmast.suite.refused import Refused, refused

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EVER_US: Final = (0, 2**62)

ACCOUNT_ROWS_MAX: Final = 50_000
"""Lines of devices, hours and outcomes that are listed, the latest first; the sums are of all."""

MISSING_NAMED_MAX: Final = 10_000
"""Ranges of missing packs, and of dropped ones, that are named; beyond it they are only counted."""

REFUSED_GROUPS_MAX: Final = 400
REFUSED_DEVICES_MAX: Final = 40
"""Devices whose quarantine is read for its reasons: those with most packs there."""

_FATES: Final = {
    Outcome.STORED: 0,
    Outcome.REPLAYED: 0,
    Outcome.QUARANTINED: 1,
    Outcome.DUPLICATE: 2,
    Outcome.DISCARDED: 3,
}
"""Which sum a line of the ledger counts in: stored, quarantined, duplicates, discarded."""


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
    discarded: int
    readings: int


@dataclass(frozen=True, slots=True)
class Audit:
    """The whole account. `sent` counts every pack that was numbered or arrived, repetitions too."""

    sent: int
    stored: int
    quarantined: int
    duplicates: int
    discarded: int
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
    packs = _by_fate(counts.group_by(["outcome", "transport"]).aggregate([("packs", "sum")]).to_pylist())
    stored, quarantined, duplicates, discarded = packs
    readings = _sum(counts, "readings")
    by_transport = {
        transport.name.lower(): _sum(counts.filter(pc.field("transport") == int(transport)), "packs")
        for transport in (Transport.MQTT, Transport.COAP)
    }
    accounts = _accounts(counts)
    # Drops before holes: what is declared in between is then counted in neither, and not in both.
    dropped_by_device, dropped_packs = _dropped(store)
    missing, holes = _missing(store)
    dropped = sum(dropped_by_device.values())
    totals = store.audit_counts()
    return Audit(
        sent=sum(packs) + dropped + missing,
        stored=stored,
        quarantined=quarantined,
        duplicates=duplicates,
        discarded=discarded,
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
        quarantined_by_reason=_refused(store),
        accounts=accounts,
    )


def _by_fate(lines: Iterable[dict[str, Any]]) -> list[int]:
    """Packs that are stored, in quarantine, duplicates and discarded now, by counts of the ledger's lines.

    A line of transport REPLAY is about a pack that the line QUARANTINED of its arrival counts already.
    """
    packs = [0] * len(set(_FATES.values()))
    for line in lines:
        outcome, count = line["outcome"], line["packs_sum"]
        if outcome == Outcome.KEPT:
            continue
        packs[_FATES[outcome]] += count
        if line["transport"] == Transport.REPLAY and outcome != Outcome.QUARANTINED:
            packs[_FATES[Outcome.QUARANTINED]] -= count
    return packs


def _sum(rows: pa.Table, column: str) -> int:
    return pc.sum(rows[column]).as_py() or 0


def _accounts(counts: pa.Table) -> tuple[Account, ...]:
    """The latest hours, by device and hour; at most ACCOUNT_ROWS_MAX lines of the ledger's counts go in."""
    latest = counts.sort_by([("hour_us", "descending"), ("device", "ascending")]).slice(0, ACCOUNT_ROWS_MAX)
    accounts: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in latest.to_pylist():
        accounts.setdefault((row["device"], row["hour_us"]), []).append(row | {"packs_sum": row["packs"]})
    return tuple(_account(device, hour_us, lines) for (device, hour_us), lines in sorted(accounts.items()))


def _account(device: str, hour_us: int, lines: list[dict[str, Any]]) -> Account:
    stored, quarantined, duplicates, discarded = _by_fate(lines)
    readings = sum(line["readings"] for line in lines)
    return Account(device, _hour(hour_us), stored, quarantined, duplicates, discarded, readings)


def _refused(store: DuckStore) -> tuple[Refused, ...]:
    """Why, of the devices with most packs in quarantine."""
    groups = store.quarantine_groups(Selection(), REFUSED_GROUPS_MAX).to_pylist()
    most = list(dict.fromkeys(one["device"] for one in groups))[:REFUSED_DEVICES_MAX]
    return tuple(one for device in most for one in refused(store, device))


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
