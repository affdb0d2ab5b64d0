"""What keepers look after: lampposts near an engineer, the log of changes, and when certificates end."""

import heapq
import re
from typing import Annotated, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api import limits
from lichtmast.api.access import caller_of
from lichtmast.api.problem import malformed
from lichtmast.api.times import iso
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import KEEPERS, OVERSEERS, READERS
from lichtmast.api.v1.reading import Asked, Page, Text, read_query
from lichtmast.api.v1.standing import require_in_tenant
from lichtmast.api.v1.views import View, answer, asset_view, authority_view, distance_m, event_view
from lichtmast.registry.identity import Position
from lichtmast.registry.pki import certificate_times_us

_NEAR: Final = re.compile(r"(-?[0-9]{1,3}(?:\.[0-9]{1,12})?),(-?[0-9]{1,2}(?:\.[0-9]{1,12})?)", re.ASCII)


class AssetsAsked(Asked):
    """Lampposts near a place, the nearest first."""

    tenant: Text
    near: Text
    limit: Annotated[int, Field(ge=1, le=limits.NEAR_MAX)] = limits.NEAR_DEFAULT


class EventsAsked(Page):
    """A page of the log, oldest first; without a tenant all of it, for who may see that."""

    tenant: Text | None = None


class Oversight:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def assets(self, request: Request) -> Response:
        """GET /v1/assets."""
        caller, asked = await caller_of(request), read_query(request, AssetsAsked)
        require_in_tenant(caller, READERS, asked.tenant)
        return answer(await self._ground.workers.run(self._assets_now, asked, _place(asked.near)))

    def _assets_now(self, asked: AssetsAsked, near: Position) -> View:
        standing = [one for one in self._ground.catalogue().standing if one.tenant == asked.tenant]
        nearest = heapq.nsmallest(asked.limit, standing, key=lambda one: distance_m(near, one))
        return {"items": [asset_view(one, near) for one in nearest]}

    async def events(self, request: Request) -> Response:
        """GET /v1/audit-events."""
        caller, asked = await caller_of(request), read_query(request, EventsAsked)
        if asked.tenant is not None:
            require_in_tenant(caller, OVERSEERS, asked.tenant)
        elif caller.tenants(OVERSEERS) == frozenset():
            raise caller.refusal(OVERSEERS)
        elif caller.tenants(OVERSEERS) is not None:
            raise malformed("tenant is the municipality whose changes you may see; without it they are everybody's.")
        return answer(await self._ground.workers.run(self._events_now, asked))

    def _events_now(self, asked: EventsAsked) -> View:
        log = self._ground.registry.audit_log
        head, found = log.head(), log.read(asked.after, asked.limit, asked.tenant)
        return {
            "items": [event_view(one) for one in found],
            "nextAfter": found[-1].seq if len(found) == asked.limit else None,
            "head": {"seq": head.seq, "hash": head.hash},
        }

    async def certificates(self, request: Request) -> Response:
        """GET /v1/certificates: the authority's and this server's own, and when they end."""
        caller = await caller_of(request)
        read_query(request, Asked)
        if caller.tenants(KEEPERS) == frozenset():
            raise caller.refusal(KEEPERS)
        return answer(await self._ground.workers.run(self._certificates_now))

    def _certificates_now(self) -> View:
        authority = self._ground.authority()
        doors = []
        for door, chain in self._ground.server_certificates().items():
            begin_us, end_us = certificate_times_us(chain)
            doors.append({"door": door, "notBefore": iso(begin_us), "notAfter": iso(end_us)})
        return {
            "authority": [] if authority is None else [authority_view(one) for one in authority.certificates()],
            "server": doors,
        }


def _place(text: str) -> Position:
    match = _NEAR.fullmatch(text)
    try:
        if match is not None:
            return Position(float(match[1]), float(match[2]))
    except ValueError:
        pass
    raise malformed("near is a longitude and a latitude in degrees, as in near=5.1697,52.2292.")
