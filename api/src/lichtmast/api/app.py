"""The application: which address is answered by what. Rules live in the modules this one puts together."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import HTMLResponse, Response

from lichtmast.api import limits
from lichtmast.api.access.caller import found_caller
from lichtmast.api.access.gate import Gate
from lichtmast.api.access.parts import Parts
from lichtmast.api.access.people_routes import people_routes
from lichtmast.api.access.table import NEEDS, Table
from lichtmast.api.catalogue import CatalogueKeeper
from lichtmast.api.clock import wall_clock_us
from lichtmast.api.live import Broadcaster
from lichtmast.api.live_stream import LiveStream
from lichtmast.api.management import Management
from lichtmast.api.overview import OverviewKeeper
from lichtmast.api.pages import Pages
from lichtmast.api.problem import Problem, absent, malformed, problem_response
from lichtmast.api.protection import Protection, origin_of
from lichtmast.api.refusal_log import RefusalLog, note_attempt
from lichtmast.api.settings import ApiSettings
from lichtmast.api.sta import SensorThings
from lichtmast.api.static_files import STATIC_FOLDER, KeptFiles, find_assets
from lichtmast.api.texts import Language
from lichtmast.api.times import EPOCH
from lichtmast.api.town_map import TownMap
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.router import v1_router
from lichtmast.api.workers import Workers
from lichtmast.registry import Registry, RegistryBusyError
from lichtmast.store.port import ObservationStore
from lichtmast.wire.topics import READINGS_STREAM

_log = logging.getLogger(__name__)

_READ: Final = ["GET", "HEAD"]
_SECURITY_TXT_VALID: Final = timedelta(days=90)
_GZIP_BYTES_MIN: Final = 1_000


def create_app(
    registry: Registry,
    store: ObservationStore,
    broadcaster: Broadcaster,
    settings: ApiSettings,
    *,
    standing: Callable[[], Mapping[str, int | None]] = dict,
    clock_us: Callable[[], int] = wall_clock_us,
    management: Management | None = None,
) -> FastAPI:
    """The pages, SensorThings, live stream and health of one register and store; signing in and /v1 by `management`.

    `standing` is what `/healthz` tells those who may know, such as how many messages of the log the store is behind
    (None: not known); it must not block.
    The application runs the broadcaster while it serves; whoever stops the server calls `broadcaster.close()` first
    (`lichtmast.api.serve` does).
    """
    routes = _Routes(
        registry, store, broadcaster, settings, standing=standing, clock_us=clock_us, is_open=management is None
    )
    table, attempts = Table(NEEDS), RefusalLog("request_refused", _log)
    parts = None if management is None else Parts(management.people, settings, clock_us)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(broadcaster.run(), name="live broadcaster")
            yield
            broadcaster.close()
            sending.cancel()

    # FastAPI's own documentation pages load scripts from a CDN; the OpenAPI document comes with the management API.
    app = FastAPI(title="Lichtmast", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False
    for path, endpoint in (
        ("/", routes.home),
        ("/things/{thing_id}", routes.thing),
        ("/things/{thing_id}/card.json", routes.card),
        ("/map.geojson", routes.map),
        ("/live", routes.live),
        ("/v1.1", routes.landing_page),
        ("/v1.1/{path:path}", routes.sensor_things),
        ("/healthz", routes.health),
        ("/.well-known/security.txt", routes.security_txt),
    ):
        app.add_route(path, endpoint, methods=_READ, include_in_schema=False)
    if management is not None and parts is not None:
        for method, path, handler in people_routes(parts, management.openid):
            app.add_route(path, handler, methods=[method], include_in_schema=False)
        app.include_router(v1_router(routes.ground(registry, management)))
    if STATIC_FOLDER.is_dir():
        app.mount("/static", KeptFiles(directory=STATIC_FOLDER), name="static")

    async def on_problem(request: Request, error: Exception) -> Response:
        caller = found_caller(request)
        if isinstance(error, Problem):
            note_attempt(attempts, error, request.scope, "" if caller is None else caller.login)
        return await routes.on_problem(request, error)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RegistryBusyError, routes.on_busy)
    app.add_exception_handler(HTTPException, routes.on_http_error)
    app.add_middleware(Gate, table=table, parts=parts, attempts=attempts)
    app.add_middleware(GZipMiddleware, minimum_size=_GZIP_BYTES_MIN)
    app.add_middleware(Protection, settings=settings, table=table, attempts=attempts)
    return app


class _Routes:
    """One method an address: read the request, do the work in a thread, write the response."""

    def __init__(
        self,
        registry: Registry,
        store: ObservationStore,
        broadcaster: Broadcaster,
        settings: ApiSettings,
        *,
        standing: Callable[[], Mapping[str, int | None]],
        clock_us: Callable[[], int],
        is_open: bool,
    ) -> None:
        self._store = store
        self._settings = settings
        self._standing = standing
        self._clock_us = clock_us
        self._is_open = is_open
        self._workers = Workers(threads=settings.worker_threads, waiting_max=settings.requests_waiting_max)
        self._keeper = CatalogueKeeper(registry, check_interval_s=settings.catalogue_check_interval_s)
        self._overviews = OverviewKeeper(store, clock_us)
        self._pages = Pages(store, settings, find_assets())
        self._map = TownMap()
        self._live = LiveStream(self._keeper, store, broadcaster, self._workers, settings)

    def ground(self, registry: Registry, management: Management) -> Ground:
        """What the management routes stand on; they share the catalogue and the threads."""
        return Ground(
            registry,
            self._store,
            self._keeper.current,
            self._workers,
            self._clock_us,
            management.authority,
            management.server_certificates,
            management.refusals,
            management.try_rules,
            management.quarantine,
            management.try_alert_rule,
            management.test_channel,
            management.seal,
            management.why_silent,
        )

    # Pages.

    async def home(self, request: Request) -> Response:
        """List and map."""
        search = request.query_params.get("search", "").strip()
        if len(search) > limits.SEARCH_CHARACTERS_MAX or not search.isprintable():
            raise malformed(f"A search is at most {limits.SEARCH_CHARACTERS_MAX} readable characters.")
        page = _whole_number(request.query_params.get("page", "1"), "page")
        return HTMLResponse(await self._workers.run(self._home_now, _language(request), search, page))

    def _home_now(self, language: Language, search: str, page: int) -> str:
        catalogue = self._keeper.current()
        return self._pages.home(catalogue, self._overviews.current(catalogue), language, search, page)

    async def thing(self, request: Request) -> Response:
        """One lamppost."""
        thing_id = _thing_id(request)
        return HTMLResponse(await self._workers.run(self._thing_now, _language(request), thing_id))

    def _thing_now(self, language: Language, thing_id: int) -> str:
        catalogue = self._keeper.current()
        return self._pages.thing(catalogue, self._overviews.current(catalogue), language, thing_id)

    async def card(self, request: Request) -> Response:
        """One lamppost in a few words, for the map."""
        thing_id = _thing_id(request)
        return _json_response(await self._workers.run(self._card_now, _language(request), thing_id))

    def _card_now(self, language: Language, thing_id: int) -> object:
        catalogue = self._keeper.current()
        return self._pages.card(catalogue, self._overviews.current(catalogue), language, thing_id)

    async def map(self, _: Request) -> Response:
        """All lampposts that stand, as GeoJSON (RFC 7946)."""
        return Response(await self._workers.run(self._map_now), media_type="application/geo+json")

    def _map_now(self) -> bytes:
        catalogue = self._keeper.current()
        return self._map.geojson(catalogue, self._overviews.current(catalogue))

    async def live(self, request: Request) -> Response:
        """Live readings."""
        return await self._live.respond(request)

    # SensorThings.

    async def landing_page(self, request: Request) -> Response:
        """The entity sets and the conformance."""
        return await self._sensor_things(request, None)

    async def sensor_things(self, request: Request) -> Response:
        """Everything below /v1.1/."""
        path: str = request.path_params["path"]
        if not path or path.endswith("/"):
            raise absent("Addresses do not end with a slash here.")
        return await self._sensor_things(request, path)

    async def _sensor_things(self, request: Request, path: str | None) -> Response:
        root = f"{origin_of(request.scope, self._settings)}/v1.1"
        query = request.scope["query_string"].decode("latin-1")
        return await self._workers.run(partial(self._sensor_things_now, root, path, query))

    def _sensor_things_now(self, root: str, path: str | None, query: str) -> Response:
        things = SensorThings(self._keeper.current(), self._store, root)
        answer = things.landing_page() if path is None else things.answer(path, query)
        return Response(answer.body, answer.status, media_type=answer.media_type)

    # The server itself.

    async def health(self, request: Request) -> Response:
        """Whether register and store answer; to whoever is signed in, how far everything is.

        Where nobody can sign in, which is on loopback alone, everybody is told.
        """
        await self._workers.run(self._health_now)
        if not self._is_open and found_caller(request) is None:
            return _json_response({"status": "ok"})
        return _json_response({"status": "ok", **self._standing()})

    def _health_now(self) -> None:
        self._keeper.current()
        self._store.offset(READINGS_STREAM)

    async def security_txt(self, request: Request) -> Response:
        """RFC 9116, where the operator gave a contact."""
        if self._settings.security_contact is None:
            raise absent("The operator has given no security contact (setting security_contact).")
        expires = EPOCH + timedelta(microseconds=self._clock_us()) + _SECURITY_TXT_VALID
        lines = [
            f"Contact: {self._settings.security_contact}",
            f"Expires: {expires:%Y-%m-%dT00:00:00Z}",
            "Preferred-Languages: nl, en",
        ]
        if self._settings.origin is not None:
            lines.append(f"Canonical: {self._settings.origin}{request.url.path}")
        return Response("\n".join(lines) + "\n", media_type="text/plain; charset=utf-8")

    # Refusals.

    async def on_problem(self, request: Request, error: Exception) -> Response:
        """A Problem as a page for people, as problem details for programs."""
        problem = error if isinstance(error, Problem) else Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "")
        path = request.scope["path"]
        wants_page = "text/html" in request.headers.get("accept", "") and (path == "/" or path.startswith("/things/"))
        if not wants_page or path.endswith(".json"):
            return problem_response(problem)
        page = self._pages.failure(problem.status, _language_or_dutch(request), problem.detail)
        return HTMLResponse(page, problem.status, headers=problem.headers)

    async def on_busy(self, request: Request, _error: Exception) -> Response:
        """Another process writes to the register for longer than anybody waits for it."""
        detail = "The register is busy, for example with an import; nothing was changed. Try again in a minute."
        retry = {"Retry-After": str(limits.REGISTRY_BUSY_RETRY_S)}
        return await self.on_problem(request, Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=retry))

    async def on_http_error(self, request: Request, error: Exception) -> Response:
        """What the framework refuses by itself, in the same form."""
        status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
        detail = "There is nothing at this address." if status == HTTPStatus.NOT_FOUND else HTTPStatus(status).phrase
        return await self.on_problem(request, Problem(status, detail))


def _language(request: Request) -> Language:
    given = request.query_params.get("lang", "nl")
    if given not in {"nl", "en"}:
        raise malformed("lang is nl or en.")
    return "en" if given == "en" else "nl"


def _language_or_dutch(request: Request) -> Language:
    return "en" if request.query_params.get("lang") == "en" else "nl"


def _whole_number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):  # noqa: PLR2004 - a thousand million pages
        raise malformed(f"{name} is a whole number.")
    return int(text)


def _thing_id(request: Request) -> int:
    text: str = request.path_params["thing_id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):  # noqa: PLR2004 - fits in 64 bits
        raise absent("There is no lamppost with this id.")
    return int(text)


def _json_response(value: object) -> Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(text.encode("utf-8", "replace"), media_type="application/json")
