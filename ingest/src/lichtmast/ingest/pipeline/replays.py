"""Orders about the quarantine in a batch: what the store is asked about them, and what becomes of each. No I/O.

An entry is closed at most once, whatever comes twice: an order counts only while the quarantine holds the entry, with
the same sender, time and bytes. A pack that came back is stored under its own number, unless that number was stored
meanwhile: with the same bytes the entry is a duplicate, with others it stays where it is (docs/adr/0035).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

from lichtmast.ingest.pipeline.prepared import PENDING, Prepared
from lichtmast.store.port import ENTRY_SCHEMA, RELEASED_SCHEMA, Outcome, PackKey
from lichtmast.wire.refusal import Refusal
from lichtmast.wire.replay import Action, Ordered

_WANTED: Final = pa.schema([*ENTRY_SCHEMA, ("device", pa.string()), ("payload", pa.binary())])
_CLOSING: Final = (Outcome.REPLAYED, Outcome.DUPLICATE, Outcome.DISCARDED)
_NONE_RELEASED: Final = RELEASED_SCHEMA.empty_table()


@dataclass(frozen=True, slots=True)
class Held:
    """The store's answers: entries that are open, digests of numbers that are taken, and which of those are stored."""

    open: frozenset[tuple[int, int, int]] = frozenset()
    known: dict[PackKey, int] | None = None
    stored: frozenset[PackKey] = frozenset()


class Quarantine(Protocol):
    """What is asked of the store."""

    def open_entries(self, wanted: pa.Table) -> pa.Table:
        """Those that are there."""

    def digests(self, keys: Sequence[PackKey], *, stored_only: bool = False) -> dict[PackKey, int]:
        """Of packs that are stored or quarantined."""


def ask(prepared: Prepared, store: Quarantine) -> Held:
    """What only the store knows about the orders of a batch."""
    orders = [order for order, _ in prepared.arrivals.orders.values()]
    keys = [
        prepared.key(row)
        for row in prepared.arrivals.orders
        if prepared.seqs[row] is not None and row not in prepared.refusals
    ]
    return Held(
        frozenset(zip(*store.open_entries(wanted(orders)).to_pydict().values(), strict=True)),
        store.digests(keys),
        frozenset(store.digests(keys, stored_only=True)),
    )


def wanted(orders: Sequence[Ordered]) -> pa.Table:
    """Entries as the store is asked for them: a discard names one without its bytes."""
    return pa.table(
        [
            [one.log_seq for one in orders],
            [one.part for one in orders],
            [one.received_us for one in orders],
            [one.sender for one in orders],
            [one.payload if one.action is Action.REPLAY else None for one in orders],
        ],
        schema=_WANTED,
    )


def settle_orders(prepared: Prepared, held: Held, store_number: Callable[[int, PackKey], None]) -> None:
    """Settle what orders want, behind all that devices sent in this batch; `loose` packs of theirs wait for theirs.

    `store_number` is called for each numbered pack that is stored now.
    """
    arrivals, outcome = prepared.arrivals, prepared.outcome
    known, stored = dict(held.known or {}), set(held.stored)
    senders = {arrivals.sender[row] for row in arrivals.orders}
    for row, sender in enumerate(arrivals.sender):
        if sender in senders and row not in arrivals.orders and prepared.seqs[row] is not None:
            if outcome[row] == Outcome.STORED:
                stored.add(prepared.key(row))
            if outcome[row] in (Outcome.STORED, Outcome.QUARANTINED):
                known[prepared.key(row)] = prepared.digests[row]
    left = set(held.open)
    for row, (order, _) in arrivals.orders.items():
        entry = (order.log_seq, order.part, order.received_us)
        is_open = entry in left
        left.discard(entry)
        if order.action is Action.DISCARD or not is_open or row in prepared.refusals:
            is_discarded = is_open and order.action is Action.DISCARD
            if is_open and not is_discarded:
                prepared.kept[row] = prepared.refusals[row]
            _close(prepared, row, Outcome.DISCARDED if is_discarded else Outcome.KEPT)
        elif prepared.seqs[row] is None:
            continue
        else:
            key, digest = prepared.key(row), prepared.digests[row]
            if known.get(key, digest) != digest:
                detail = f"epoch {key.epoch} seq {key.seq} belongs to another pack; it can only be discarded"
                prepared.kept[row] = Refusal.SEQUENCE_CONFLICT, detail
                _close(prepared, row, Outcome.KEPT)
            elif key in stored:
                _close(prepared, row, Outcome.DUPLICATE)
            else:
                outcome[row] = Outcome.REPLAYED
                known[key] = digest
                stored.add(key)
                store_number(row, key)
    prepared.loose = [row for row in prepared.loose if outcome[row] == PENDING]


def settle_loose_orders(prepared: Prepared) -> None:
    """Packs without a number that came back: they were settled by their times, like any other."""
    for row in prepared.arrivals.orders:
        match prepared.outcome[row]:
            case Outcome.STORED:
                prepared.outcome[row] = Outcome.REPLAYED
            case Outcome.QUARANTINED:
                prepared.kept[row] = prepared.refusals[row]
                _close(prepared, row, Outcome.KEPT)


def released(prepared: Prepared) -> pa.Table:
    """RELEASED_SCHEMA: the entries that this batch closes."""
    rows = [
        (order.log_seq, order.part, order.received_us, ordered_us, int(prepared.outcome[row]))
        for row, (order, ordered_us) in prepared.arrivals.orders.items()
        if prepared.outcome[row] in _CLOSING
    ]
    if not rows:
        return _NONE_RELEASED
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=RELEASED_SCHEMA)


def _close(prepared: Prepared, row: int, outcome: Outcome) -> None:
    """Nothing of this pack is stored, so its number stays with whoever has it, and no device is told."""
    prepared.outcome[row] = outcome
    prepared.refusals.pop(row, None)
    if outcome == Outcome.KEPT:
        prepared.kept.setdefault(row, None)
    prepared.epochs[row] = prepared.seqs[row] = None
