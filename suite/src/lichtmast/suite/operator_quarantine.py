"""What a running Lichtmast does with its quarantine for its own commands: tell, replay, discard; a round at a time."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from lichtmast.ingest.log import Log
from lichtmast.ingest.pipeline.run import Pipeline
from lichtmast.ingest.quarantine import Desk, Progress
from lichtmast.registry import Registry
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.store import DuckStore
from lichtmast.store.port import Selection
from lichtmast.suite.clock import now_us
from lichtmast.suite.quarantine_told import ENTRIES_MAX, entries_told, entry_told, groups_told

if TYPE_CHECKING:
    from lichtmast.suite.service import Service


class Chosen(BaseModel):
    """Which entries; see lichtmast.store.port.Selection."""

    reason: str | None = None
    device: str | None = None
    since_us: int | None = None
    entries: list[tuple[int, int]] | None = None

    def selection(self) -> Selection:
        """As the store takes it."""
        entries = None if self.entries is None else tuple(self.entries)
        return Selection(self.reason, self.device, None, self.since_us, entries)


class Listing(BaseModel):
    """The oldest of them, at most so many."""

    chosen: Chosen
    limit: int = Field(ge=1, le=ENTRIES_MAX)


class Round(BaseModel):
    """What to do with the next of them. `by` is who gave the command, as the log of changes names it."""

    chosen: Chosen
    after: tuple[int, int, int] | None = None
    by: str = Field(min_length=1, max_length=200)
    dry_run: bool = False


class Discarding(Round):
    """The same, for good."""

    because: str


def make_desk(store: DuckStore, registry: Registry, log: Log, pipeline: Pipeline) -> Desk:
    """The desk of a running Lichtmast."""
    progress = Progress(lambda: pipeline.roster_revision, lambda: pipeline.statistics.position)
    return Desk(store, registry, registry.audit_log.note, log.append, progress)


def quarantine_routes(service: "Service") -> APIRouter:
    """The routes below /quarantine."""
    routes = APIRouter(prefix="/quarantine")
    desk = service.desk

    @routes.post("/groups")
    async def read_groups(chosen: Chosen) -> dict[str, Any]:
        return await run_in_threadpool(groups_told, service.store, chosen.selection())

    @routes.post("/entries")
    async def read_entries(asked: Listing) -> dict[str, Any]:
        return await run_in_threadpool(entries_told, service.store, asked.chosen.selection(), asked.limit)

    @routes.get("/entries/{log_seq}/{part}")
    async def read_entry(log_seq: int, part: int) -> dict[str, Any]:
        told = await run_in_threadpool(entry_told, service.store, log_seq, part)
        if told is None:
            raise HTTPException(404, f"{log_seq}/{part} is not in the quarantine and never was, or past its term")
        return told

    @routes.post("/replays")
    async def replay(order: Round) -> dict[str, Any]:
        by = Actor(ActorKind.COMMAND, order.by)
        try:
            return await desk.replay(
                order.chosen.selection(), order.after, by=by, at_us=now_us(), dry_run=order.dry_run
            )
        except (TimeoutError, ValueError) as error:
            raise HTTPException(400, str(error)) from error

    @routes.post("/discards")
    async def discard(order: Discarding) -> dict[str, Any]:
        by = Actor(ActorKind.COMMAND, order.by)
        try:
            return await desk.discard(
                order.chosen.selection(),
                order.after,
                because=order.because,
                by=by,
                at_us=now_us(),
                dry_run=order.dry_run,
            )
        except (TimeoutError, ValueError) as error:
            raise HTTPException(400, str(error)) from error

    return routes
