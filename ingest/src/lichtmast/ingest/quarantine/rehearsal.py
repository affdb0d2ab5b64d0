"""What would become of entries now: the pipeline's own transform, held against the store, and nothing committed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from lichtmast.ingest.pipeline.arrivals import collect
from lichtmast.ingest.pipeline.prepared import Prepared
from lichtmast.ingest.pipeline.replays import ask
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.pipeline.sequence import Sequences
from lichtmast.ingest.pipeline.transform import Transform
from lichtmast.store.port import ObservationStore, Outcome
from lichtmast.wire import limits, topics
from lichtmast.wire.replay import Action, Ordered, write_orders

_NOWHEN: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a replay would make of an entry. `reason` and `detail` are why it is kept; empty where it is not."""

    order: Ordered
    outcome: Outcome
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Message:
    """As the log would give it."""

    payload: bytes
    stream_sequence: int
    subject: str = topics.REPLAY_SUBJECT
    published: datetime = _NOWHEN


def orders_of(entries: pa.Table, action: Action) -> list[Ordered]:
    """Rows of QUARANTINE_SCHEMA as orders."""
    return [_order(one, action) for one in entries.to_pylist()]


def _order(entry: dict[str, Any], action: Action) -> Ordered:
    key = entry["log_seq"], entry["part"], entry["received_at"], entry["device"]
    if action is Action.DISCARD:
        return Ordered(action, *key)
    return Ordered(action, *key, entry["content_format"], entry["payload"])


def rehearse(orders: Sequence[Ordered], roster: Roster, store: ObservationStore) -> Iterator[Prospect]:
    """What would become of each now, in their order. Blocks."""
    fitting = [one for one in orders if len(one.payload) <= limits.PACK_BYTES_MAX]
    for one in orders:
        if len(one.payload) > limits.PACK_BYTES_MAX:  # too large for any pack, and perhaps for a message of the log
            detail = f"{len(one.payload)} bytes, a pack has at most {limits.PACK_BYTES_MAX}; it can only be discarded"
            yield Prospect(one, Outcome.KEPT, "too_large", detail)
    messages = [_Message(raw, at) for at, raw in enumerate(write_orders(fitting), 1)]
    if not messages:
        return
    transform = Transform(roster, Sequences())
    prepared = transform.prepare(collect(messages, roster))
    loose = store.existing(prepared.loose_keys())
    transform.settle(prepared, {}, loose, "", ask(prepared, store))
    for row in range(len(fitting)):
        yield _prospect(prepared, row)


def _prospect(prepared: Prepared, row: int) -> Prospect:
    order, outcome = prepared.arrivals.orders[row][0], Outcome(prepared.outcome[row])
    if outcome is not Outcome.KEPT:
        return Prospect(order, outcome)
    why = prepared.kept[row]
    if why is None:
        return Prospect(order, outcome, "not_there", "it was replayed, discarded or let go of meanwhile")
    return Prospect(order, outcome, why[0].value, why[1])
