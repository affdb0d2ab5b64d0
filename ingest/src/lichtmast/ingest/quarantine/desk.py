"""The desk: rounds of replays and discards, each ordered through the log and waited for. The shell of this room.

A round takes the next entries of a selection, oldest first. Whoever asks goes on behind where it ended: so progress
can be shown, and a round that broke off costs nothing but another one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa

from lichtmast.ingest.errors import LogError
from lichtmast.ingest.pipeline.replays import wanted
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.quarantine.limits import (
    REASON_CHARACTERS_MAX,
    ROUND_ENTRIES_MAX,
    STORED_POLL_S,
    STORED_TIMEOUT_S,
)
from lichtmast.ingest.quarantine.rehearsal import Prospect, orders_of, rehearse
from lichtmast.registry.auditing import Action as Audited
from lichtmast.registry.auditing import Actor, Event
from lichtmast.registry.directory import Directory
from lichtmast.store.port import ObservationStore, Outcome, Selection
from lichtmast.wire import topics
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.replay import Action, Ordered, write_orders

Cursor = tuple[int, int, int]
"""Received time, log position and part of the last entry that was looked at."""
Note = Callable[[Event], None]
_ALL: Final = "all"


class Register(Protocol):
    """What is asked of the registry."""

    def revision(self) -> int:
        """A number that moves with every change."""

    def directory(self) -> Directory:
        """All devices."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the pipeline stands: the register's revision that it judges by, and the last position that it stored."""

    roster_revision: Callable[[], int]
    position: Callable[[], int]


class Desk:
    """One for a running Lichtmast. `note` writes the log of changes; `append` the log of packs, and says where."""

    def __init__(
        self,
        store: ObservationStore,
        register: Register,
        note: Note,
        append: Callable[[str, bytes], Awaitable[int]],
        progress: Progress,
    ) -> None:
        self._store = store
        self._register = register
        self._note = note
        self._append = append
        self._progress = progress
        self._roster: Roster | None = None
        self._one_round = asyncio.Lock()

    async def replay(
        self, selection: Selection, after: Cursor | None, *, by: Actor, at_us: int, dry_run: bool = False
    ) -> dict[str, Any]:
        """Judge the next entries anew and store what passes, or with `dry_run` only say what would.

        Raises TimeoutError where the log has not taken it in time, or the pipeline not stored it.
        """
        async with self._one_round:
            entries, following = await self._next(selection, after)
            roster = await asyncio.to_thread(self._present_roster)
            orders = orders_of(entries, Action.REPLAY)
            prospects = await asyncio.to_thread(lambda: list(rehearse(orders, roster, self._store)))
            passing = [one for one in prospects if one.outcome is not Outcome.KEPT]
            kept = [one for one in prospects if one.outcome is Outcome.KEPT]
            if passing and not dry_run:
                await self._wait(lambda: self._progress.roster_revision() >= roster.revision)
                chosen = [one.order for one in passing]
                event = _event(Audited.QUARANTINE_REPLAYED, selection, chosen, by, at_us)
                left = await self._order(chosen, event)
                changed = [one.order for one in passing if _key(one.order) in left]
                kept += [Prospect(one, Outcome.KEPT, "changed", "it was to pass; ask again") for one in changed]
                passing = [one for one in passing if _key(one.order) not in left]
            return {
                "examined": len(prospects),
                "replayed": sum(one.outcome is Outcome.REPLAYED for one in passing),
                "duplicates": sum(one.outcome is Outcome.DUPLICATE for one in passing),
                "kept": len(kept),
                "still_refused": _why(kept),
                "next": following,
            }

    async def discard(
        self, selection: Selection, after: Cursor | None, *, because: str, by: Actor, at_us: int, dry_run: bool = False
    ) -> dict[str, Any]:
        """Erase the bytes of the next entries, for a reason that the log of changes keeps.

        Raises ValueError where no reason is given, TimeoutError as `replay`.
        """
        if not because.strip() or len(because) > REASON_CHARACTERS_MAX:
            raise ValueError(f"say why in 1 to {REASON_CHARACTERS_MAX} characters: the bytes are gone for good")
        async with self._one_round:
            entries, following = await self._next(selection, after)
            orders = orders_of(entries, Action.DISCARD)
            left: set[Cursor] = set()
            if orders and not dry_run:
                event = _event(Audited.QUARANTINE_DISCARDED, selection, orders, by, at_us, because)
                left = await self._order(orders, event)
            return {"examined": len(orders), "discarded": len(orders) - len(left), "next": following}

    async def _next(self, selection: Selection, after: Cursor | None) -> tuple[pa.Table, Cursor | None]:
        """The next entries, and where to go on; None where these are the last."""
        page = await asyncio.to_thread(self._store.quarantine_page, selection, after, ROUND_ENTRIES_MAX)
        if page.num_rows < ROUND_ENTRIES_MAX:
            return page, None
        last = page.slice(page.num_rows - 1).to_pylist()[0]
        return page, (last["received_at"], last["log_seq"], last["part"])

    def _present_roster(self) -> Roster:
        if self._roster is None or self._roster.revision != self._register.revision():
            self._roster = Roster.build(self._register.directory(), load_profiles())
        return self._roster

    async def _order(self, orders: Sequence[Ordered], event: Event) -> set[Cursor]:
        """Through the log, and wait until it is stored; which entries are open all the same."""
        await asyncio.to_thread(self._note, event)
        position = 0
        try:
            for message in write_orders(orders):
                position = await self._append(topics.REPLAY_SUBJECT, message)
        except LogError as error:
            raise TimeoutError("the log did not take all of it; run it again: nothing is done twice") from error
        await self._wait(lambda: self._progress.position() >= position)
        found = await asyncio.to_thread(self._store.open_entries, wanted(orders))
        return {(one["received_at"], one["log_seq"], one["part"]) for one in found.to_pylist()}

    async def _wait(self, is_so: Callable[[], bool]) -> None:
        until_s = time.monotonic() + STORED_TIMEOUT_S
        while not is_so():
            if time.monotonic() > until_s:
                raise TimeoutError(
                    f"the pipeline has not stored it after {STORED_TIMEOUT_S:.0f} s; the log has it, so it will be: "
                    "see lichtmast audit"
                )
            await asyncio.sleep(STORED_POLL_S)


def _key(order: Ordered) -> Cursor:
    return order.received_us, order.log_seq, order.part


def _why(kept: Iterable[Prospect]) -> list[dict[str, Any]]:
    """By reason and device, the largest groups first, with an example."""
    groups: dict[tuple[str, str], list[Prospect]] = {}
    for one in kept:
        groups.setdefault((one.reason, one.order.sender), []).append(one)
    return [
        {
            "reason": reason,
            "device": device,
            "packs": len(held),
            "detail": held[-1].detail,
            "entry": f"{held[-1].order.log_seq}/{held[-1].order.part}",
        }
        for (reason, device), held in sorted(groups.items(), key=lambda one: (-len(one[1]), one[0]))
    ]


def _event(
    action: Audited, selection: Selection, orders: Sequence[Ordered], by: Actor, at_us: int, because: str = ""
) -> Event:
    """What is about to be done, by whom, and to which entries; not their bytes."""
    tenants = {one.sender.partition("/")[0] for one in orders}
    done: dict[str, Any] = {
        "entries": len(orders),
        "first": f"{orders[0].log_seq}/{orders[0].part}",
        "last": f"{orders[-1].log_seq}/{orders[-1].part}",
    }
    asked = {"reason": selection.reason, "since_us": selection.since_us, "because": because or None}
    done |= {name: value for name, value in asked.items() if value is not None}
    subject = selection.device or selection.tenant or _ALL
    return Event(action, "quarantine", subject, by, at_us, tenants.pop() if len(tenants) == 1 else None, after=done)
