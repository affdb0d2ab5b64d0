"""The `/live` stream (WHATWG HTML section 9.2, server-sent events): snapshot, batches, heartbeat, end."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lichtmast.api import limits
from lichtmast.api.catalogue import Catalogue, CatalogueKeeper
from lichtmast.api.live import Broadcaster, LiveBatch, LiveReading, Subscription, latest_of
from lichtmast.api.problem import Problem, malformed
from lichtmast.api.protection import origin_of
from lichtmast.api.settings import ApiSettings
from lichtmast.api.times import iso
from lichtmast.api.workers import Workers
from lichtmast.store.port import ObservationStore

HEARTBEAT_S = 15.0
_THINGS: Final = re.compile(r"[0-9]{1,18}(?:,[0-9]{1,18})*", re.ASCII)
_RETRY_MS: Final = 3_000


def describe(
    readings: Iterable[LiveReading], catalogue: Catalogue, things: frozenset[int] | None
) -> list[dict[str, Any]]:
    """Readings as clients get them; those of datastreams that hang on no lamppost are left out."""
    rows: list[dict[str, Any]] = []
    for reading in readings:
        datastream = catalogue.datastreams.get(reading.datastream_id)
        if (
            datastream is None
            or datastream.asset_id is None
            or (things is not None and datastream.asset_id not in things)
        ):
            continue
        truth = datastream.kind == "boolean" and isinstance(reading.value, int | float)
        rows.append(
            {
                "datastream": reading.datastream_id,
                "thing": datastream.asset_id,
                "t": iso(reading.time_us),
                "value": bool(reading.value) if truth else reading.value,
                "quality": reading.quality,
            }
        )
    return rows


def event(kind: str, identifier: str, log_seq: int, rows: list[dict[str, Any]], *, truncated: bool = False) -> bytes:
    """One event; JSON without line ends is one data line."""
    data: dict[str, Any] = {"log_seq": log_seq, "readings": rows}
    if truncated:
        data["truncated"] = True
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"event: {kind}\nid: {identifier}\ndata: {text}\n\n".encode("utf-8", "replace")


class LiveStream:
    """Serves `/live`: reads the snapshot, follows the broadcaster, encodes a batch once for all who want everything."""

    def __init__(
        self,
        keeper: CatalogueKeeper,
        store: ObservationStore,
        broadcaster: Broadcaster,
        workers: Workers,
        settings: ApiSettings,
    ) -> None:
        self._keeper = keeper
        self._store = store
        self._broadcaster = broadcaster
        self._workers = workers
        self._settings = settings
        self._encoded: tuple[str, bytes] = ("", b"")

    async def respond(self, request: Request) -> Response:
        """The stream, or a Problem: 400, 403 for pages of other sites, 503 where all places are taken."""
        self._refuse_other_sites(request)
        things = _things(request.scope["query_string"])
        subscription = self._broadcaster.subscribe(request.headers.get("last-event-id"))
        if subscription is None:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "All places for live readings are taken; try again.",
                headers={"Retry-After": "10"},
            )
        return _EventResponse(subscription, self._events(subscription, things))

    def _refuse_other_sites(self, request: Request) -> None:
        # A page elsewhere could hold all of a visitor's and the server's connections open.
        origin = request.headers.get("origin")
        foreign = origin is not None and origin != origin_of(request.scope, self._settings)
        if foreign or request.headers.get("sec-fetch-site") == "cross-site":
            raise Problem(
                HTTPStatus.FORBIDDEN, "Live readings are for this site's own pages; other programs use /v1.1."
            )

    async def _events(self, subscription: Subscription, things: frozenset[int] | None) -> AsyncIterator[bytes]:
        yield f"retry: {_RETRY_MS}\n\n".encode()
        if subscription.missed is None:
            # Subscribed before reading, so nothing falls between; what is in both is the same reading.
            yield await self._workers.run(self._snapshot, things, self._broadcaster.last_id)
        else:
            for batch in subscription.missed:
                yield await self._encode(batch, things)
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    batch_or_end = await subscription.wait_batch()
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if batch_or_end is None:
                return
            yield await self._encode(batch_or_end, things)

    def _snapshot(self, things: frozenset[int] | None, identifier: str) -> bytes:
        catalogue = self._keeper.current()
        if things is None:
            series = list(catalogue.datastreams)
        else:
            series = [one.id for thing in sorted(things) for one in catalogue.datastreams_of(thing)]
        latest = latest_of(self._store.latest(series)) if series else []
        truncated = len(latest) > limits.LIVE_SNAPSHOT_READINGS_MAX
        if truncated:
            latest = sorted(latest, key=lambda one: one.time_us, reverse=True)[: limits.LIVE_SNAPSHOT_READINGS_MAX]
        return event("snapshot", identifier, 0, describe(latest, catalogue, things), truncated=truncated)

    async def _encode(self, batch: LiveBatch, things: frozenset[int] | None) -> bytes:
        if things is None and self._encoded[0] == batch.id:
            return self._encoded[1]
        encoded = await self._workers.run(partial(self._encode_now, batch, things))
        if things is None:
            self._encoded = (batch.id, encoded)
        return encoded

    def _encode_now(self, batch: LiveBatch, things: frozenset[int] | None) -> bytes:
        rows = describe(batch.readings, self._keeper.current(), things)
        return event("readings", batch.id, batch.log_seq, rows)


def _things(query: bytes) -> frozenset[int] | None:
    given = [value for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name == "things"]
    if not given:
        return None
    if len(given) > 1 or not _THINGS.fullmatch(given[0]):
        raise malformed("things is a list of ids, as in things=1,2,3.")
    things = frozenset(int(one) for one in given[0].split(","))
    if len(things) > limits.LIVE_THINGS_MAX:
        raise malformed(f"things names at most {limits.LIVE_THINGS_MAX} lampposts; leave it out to get all.")
    return things


class _EventResponse(Response):
    """Sends events until they end, the client leaves, or it stops reading for LIVE_SEND_TIMEOUT_S."""

    def __init__(self, subscription: Subscription, events: AsyncIterator[bytes]) -> None:
        super().__init__(
            media_type="text/event-stream",
            # Proxies must not gather events: nginx reads X-Accel-Buffering.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        del self.headers["content-length"]
        self._subscription = subscription
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._subscription:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(_wait_gone(receive), name="live client leaves")
                sending = group.create_task(self._send(send), name="live client reads")
                await asyncio.wait((leaving, sending), return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
                sending.cancel()

    async def _send(self, send: Send) -> None:
        try:
            async for part in self._events:
                async with asyncio.timeout(limits.LIVE_SEND_TIMEOUT_S):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            async with asyncio.timeout(limits.LIVE_SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            return  # The client does not read; leaving closes the connection.


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
