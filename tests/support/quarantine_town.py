"""A transform on a store in memory, asked as the pipeline's shell asks it, for packs that come back."""

from collections import Counter
from typing import Any

import ingest_town as town

from lichtmast.ingest.pipeline.arrivals import collect
from lichtmast.ingest.pipeline.replays import ask
from lichtmast.ingest.pipeline.sequence import Sequences
from lichtmast.ingest.pipeline.transform import Settled, Transform
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import Outcome, Selection, Transport
from lichtmast.wire.replay import Action, Ordered, write_orders
from lichtmast.wire.topics import REPLAY_SUBJECT

NOW_US = town.NOW_US
Message = tuple[str, bytes]
CLOSING = {Outcome.REPLAYED, Outcome.DUPLICATE, Outcome.DISCARDED}


class Scene:
    """A transform on a store in memory, asked as the pipeline's shell asks it."""

    def __init__(self, devices: int = 8) -> None:
        self.store = MemoryStore()
        self.position = 0
        self.transform = Transform(town.make_roster(devices), Sequences())

    def know(self, devices: int) -> None:
        """As many devices are registered now."""
        self.transform.renew(town.make_roster(devices))

    def restart(self) -> None:
        """What a crash leaves: the store."""
        rows = self.store.progress().to_pylist()
        told = [(row["device"], row["epoch"], row["upto"], row["ranges"]) for row in rows]
        self.transform = Transform(self.transform.roster, Sequences.restored(told))

    def feed(self, *messages: Message, at_us: int = NOW_US, commit: bool = True) -> Settled:
        """Messages as one fetch; each is (device, or a whole subject, and bytes)."""
        held = [
            town.LogMessage(name if "." in name else f"lm.gm0402.{name}.up", raw, self.position + at, at_us)
            for at, (name, raw) in enumerate(messages, 1)
        ]
        prepared = self.transform.prepare(collect(held, self.transform.roster))
        known = self.store.digests(prepared.doubtful_keys())
        existing = self.store.existing(prepared.loose_keys())
        settled = self.transform.settle(prepared, known, existing, "READINGS", ask(prepared, self.store))
        if commit:
            self.position = held[-1].stream_sequence
            self.store.commit(settled.batch)
        return settled

    def entries(self, **narrow: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - of Selection
        """The quarantine, oldest first."""
        found: list[dict[str, Any]] = self.store.quarantine_page(Selection(**narrow), None, 1_000).to_pylist()
        return found

    def order(self, *entries: dict[str, Any], action: Action = Action.REPLAY) -> Message:
        """A message that orders about entries."""
        [message] = write_orders(ordered(one, action) for one in entries)
        return REPLAY_SUBJECT, message

    def books(self) -> tuple[int, int, int, int]:
        """Stored, quarantined, duplicates, discarded; balanced in themselves."""
        totals = self.store.audit_counts()
        assert totals["observations_total"] == totals["readings_by_ledger"]
        assert totals["double_packs"] == totals["positions_unaccounted"] == 0
        counted: Counter[int] = Counter()
        for row in self.store.ledger_counts(0, 2**62).to_pylist():
            counted[row["outcome"]] += row["packs"]
            if row["transport"] == Transport.REPLAY and row["outcome"] in CLOSING:
                counted[Outcome.QUARANTINED] -= row["packs"]
        quarantined = counted[Outcome.QUARANTINED]
        assert quarantined == len(self.entries())
        stored = counted[Outcome.STORED] + counted[Outcome.REPLAYED]
        return stored, quarantined, counted[Outcome.DUPLICATE], counted[Outcome.DISCARDED]


def ordered(entry: dict[str, Any], action: Action = Action.REPLAY) -> Ordered:
    """The order about an entry as the desk writes it."""
    name = entry["log_seq"], entry["part"], entry["received_at"], entry["device"]
    if action is Action.DISCARD:
        return Ordered(action, *name)
    return Ordered(action, *name, entry["content_format"], entry["payload"])


def outcomes(settled: Settled) -> list[Outcome]:
    """Of the packs of a batch."""
    return [Outcome(one) for one in settled.batch.ledger["outcome"].to_pylist()]
