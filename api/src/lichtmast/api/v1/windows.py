"""Maintenance windows: work that explains alerts, so that nobody is woken for them."""

from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api import limits
from lichtmast.api.access import Caller, caller_of
from lichtmast.api.access.need import Need, Needs
from lichtmast.api.access.routes import Routes
from lichtmast.api.v1.alert_views import settled, window_view
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import MANAGERS, READERS
from lichtmast.api.v1.reading import Asked, Instant, Text, number_in, read_body, read_query
from lichtmast.api.v1.standing import require_in_tenant
from lichtmast.api.v1.views import View, answer
from lichtmast.registry.alerts import MaintenanceWindow, WindowDraft
from lichtmast.registry.alerts.limits import TEXT_CHARACTERS_MAX, WORK_ORDER_CHARACTERS_MAX
from lichtmast.registry.people import Role

WINDOWS: Final = "/v1/maintenance-windows"
WINDOW: Final = f"{WINDOWS}/{{window_id}}"
NEEDS: Final[Needs] = {
    ("GET", WINDOWS): Need.of(*READERS),
    ("POST", WINDOWS): Need.of(*MANAGERS),
    ("GET", WINDOW): Need.of(*READERS),
    ("DELETE", WINDOW): Need.of(*MANAGERS),
}


class WindowsAsked(Asked):
    """Windows of a municipality."""

    tenant: Text
    live: bool = False
    """Only those that have not ended."""
    limit: Annotated[int, Field(ge=1, le=limits.V1_PAGE_MAX)] = limits.V1_PAGE_DEFAULT


class WindowAsked(Asked):
    """Work that is planned. `scope` is a table as in a rule."""

    tenant: Text
    scope: dict[str, Any]
    from_: Annotated[Instant, Field(alias="from")]
    until: Instant
    work_order: Annotated[str, Field(min_length=1, max_length=WORK_ORDER_CHARACTERS_MAX)]
    note: Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX)] = ""


class Windows:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._book = ground.registry.alerts

    def routes(self) -> Routes:
        """Method, path and endpoint of each route."""
        return [
            ("GET", WINDOWS, self.list),
            ("POST", WINDOWS, self.plan),
            ("GET", WINDOW, self.show),
            ("DELETE", WINDOW, self.end),
        ]

    async def list(self, request: Request) -> Response:
        """GET /v1/maintenance-windows: the latest to begin first."""
        caller, asked = await caller_of(request), read_query(request, WindowsAsked)
        require_in_tenant(caller, READERS, asked.tenant)
        return answer(await self._ground.workers.run(self._list_now, asked))

    def _list_now(self, asked: WindowsAsked) -> View:
        found = self._book.windows(asked.tenant, live_only=asked.live, limit=asked.limit)
        return {"items": [window_view(one) for one in found]}

    async def plan(self, request: Request) -> Response:
        """POST /v1/maintenance-windows."""
        caller, asked = await caller_of(request), await read_body(request, WindowAsked)
        view = await self._ground.workers.run(self._plan_now, caller, asked)
        return answer(view, HTTPStatus.CREATED, Location=f"{WINDOWS}/{view['id']}")

    def _plan_now(self, caller: Caller, asked: WindowAsked) -> View:
        require_in_tenant(caller, MANAGERS, asked.tenant)
        draft = WindowDraft(asked.tenant, asked.scope, asked.from_, asked.until, asked.work_order, asked.note)
        by, at_us = caller.actor, self._ground.clock_us()
        return window_view(settled(lambda: self._book.plan_window(draft, by=by, at_us=at_us)))

    async def show(self, request: Request) -> Response:
        """GET /v1/maintenance-windows/{window_id}."""
        caller, window_id = await caller_of(request), number_in(request, "window_id")
        return answer(window_view(await self._ground.workers.run(self._found, caller, READERS, window_id)))

    async def end(self, request: Request) -> Response:
        """DELETE /v1/maintenance-windows/{window_id}: the work is done, or will not be; it ends now."""
        caller, window_id = await caller_of(request), number_in(request, "window_id")
        return answer(await self._ground.workers.run(self._end_now, caller, window_id))

    def _end_now(self, caller: Caller, window_id: int) -> View:
        self._found(caller, MANAGERS, window_id)
        by, at_us = caller.actor, self._ground.clock_us()
        return window_view(settled(lambda: self._book.end_window(window_id, by=by, at_us=at_us)))

    def _found(self, caller: Caller, roles: tuple[Role, ...], window_id: int) -> MaintenanceWindow:
        window = settled(lambda: self._book.window(window_id))
        require_in_tenant(caller, roles, window.tenant)
        return window
