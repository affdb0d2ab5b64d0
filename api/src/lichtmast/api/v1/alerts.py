"""Alerts: the inbox, one alert with its history, and what people do with it.

Where two people may act on one alert, each sends the `version` that he saw: whoever comes second is told what the first
one did, and nothing happens.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api import limits
from lichtmast.api.access import Caller, caller_of
from lichtmast.api.access.need import Need, Needs
from lichtmast.api.access.routes import Routes
from lichtmast.api.problem import absent, malformed
from lichtmast.api.v1.alert_views import alert_view, box_of, done, entry_view, rule_view, settled
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import FIELD, MANAGERS, READERS
from lichtmast.api.v1.reading import NOWHERE, Asked, Instant, RecordId, Text, number_in, read_body, read_query
from lichtmast.api.v1.standing import require_in_tenant
from lichtmast.api.v1.views import View, answer, etag_of
from lichtmast.registry.alerts import OPEN_STATES, Episode, EpisodeState, InboxQuery, Refused, Severity
from lichtmast.registry.alerts.limits import TEXT_CHARACTERS_MAX
from lichtmast.registry.alerts.rules import SEVERITIES
from lichtmast.registry.auditing import Actor
from lichtmast.registry.identity import Position
from lichtmast.registry.people import Role

ALERT: Final = "/v1/alerts/{alert_id}"
NEEDS: Final[Needs] = {
    ("GET", "/v1/alerts"): Need.of(*READERS),
    ("GET", ALERT): Need.of(*READERS),
    ("POST", f"{ALERT}/acknowledgement"): Need.of(*FIELD),
    ("POST", f"{ALERT}/comments"): Need.of(*FIELD),
    ("PUT", f"{ALERT}/owner"): Need.of(*FIELD),
    ("POST", f"{ALERT}/shelf"): Need.of(*MANAGERS),
    ("DELETE", f"{ALERT}/shelf"): Need.of(*MANAGERS),
    ("POST", f"{ALERT}/clearing"): Need.of(*MANAGERS),
}

Words = Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
Deed = Callable[[int, Actor, int], Episode | Refused]
"""Alert, who, when."""


class AlertsAsked(Asked):
    """Which alerts; everything narrows."""

    tenant: Text
    state: EpisodeState | Literal["open", "all"] = "open"
    severity: Severity = Severity.INFO
    """This one and worse."""
    rule: RecordId | None = None
    asset: RecordId | None = None
    cause: RecordId | None = None
    owner: Text | None = None
    mine: bool = False
    area: Text | None = None
    grouped: bool = False
    maintenance: bool = True
    before: RecordId | None = None
    limit: Annotated[int, Field(ge=1, le=limits.V1_PAGE_MAX)] = limits.V1_PAGE_DEFAULT


class VersionAsked(Asked):
    """The version that the person saw; left out, whatever there is."""

    version: RecordId | None = None


class ShelfAsked(VersionAsked):
    """Until when nobody looks, and why."""

    until: Instant
    reason: Words


class ClearingAsked(VersionAsked):
    """How somebody knows that it is over."""

    evidence: Words


class OwnerAsked(VersionAsked):
    """Whose it is; null: nobody's."""

    owner: Text | None


class CommentAsked(Asked):
    """What is said about it."""

    words: Words


class Alerts:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._book = ground.registry.alerts

    def routes(self) -> Routes:
        """Method, path and endpoint of each route."""
        return [
            ("GET", "/v1/alerts", self.list),
            ("GET", ALERT, self.show),
            ("POST", f"{ALERT}/acknowledgement", self.acknowledge),
            ("POST", f"{ALERT}/comments", self.comment),
            ("PUT", f"{ALERT}/owner", self.assign),
            ("POST", f"{ALERT}/shelf", self.shelve),
            ("DELETE", f"{ALERT}/shelf", self.unshelve),
            ("POST", f"{ALERT}/clearing", self.clear),
        ]

    async def list(self, request: Request) -> Response:
        """GET /v1/alerts: the newest first, and how many there are in each state."""
        caller, asked = await caller_of(request), read_query(request, AlertsAsked)
        require_in_tenant(caller, READERS, asked.tenant)
        return answer(await self._ground.workers.run(self._list_now, caller, asked))

    def _list_now(self, caller: Caller, asked: AlertsAsked) -> View:
        area = None if asked.area is None else box_of(asked.area)
        if asked.area is not None and area is None:
            raise malformed("area is west,south,east,north in degrees, as in area=5.1,52.2,5.2,52.3.")
        if asked.mine and asked.owner is not None:
            raise malformed("Give mine or owner, one of them.")
        query = InboxQuery(
            states=_states(asked.state),
            severities=SEVERITIES[SEVERITIES.index(asked.severity) :],
            tenants=(asked.tenant,),
            rule_id=asked.rule,
            area=area,
            owner=caller.login if asked.mine else asked.owner,
            asset_id=asked.asset,
            cause_id=asked.cause,
            with_grouped=asked.grouped,
            with_maintenance=asked.maintenance,
            before_id=asked.before,
            limit=asked.limit,
        )
        now_us = self._ground.clock_us()
        found = self._book.inbox(query, now_us=now_us)
        counts = self._book.counts((asked.tenant,), now_us=now_us)
        return {
            "items": [alert_view(one.episode) | {"speaksFor": one.speaks_for} for one in found],
            "nextBefore": found[-1].episode.id if len(found) == asked.limit else None,
            "counts": {state.value: count for state, count in counts.items()},
        }

    async def show(self, request: Request) -> Response:
        """GET /v1/alerts/{alert_id}: with its history, its rule in words, and the alerts that it speaks for."""
        caller, alert_id = await caller_of(request), number_in(request, "alert_id")
        read_query(request, Asked)
        view = await self._ground.workers.run(self._show_now, caller, alert_id)
        return answer(view, ETag=etag_of(view))

    def _show_now(self, caller: Caller, alert_id: int) -> View:
        found = self._book.file(alert_id, now_us=self._ground.clock_us())
        if found is None:
            raise absent(NOWHERE)
        require_in_tenant(caller, READERS, found.episode.facts.tenant)
        return alert_view(found.episode) | {
            "raisedBy": rule_view(found.rule),
            "history": [entry_view(one) for one in found.entries],
            "members": [alert_view(one) for one in found.members],
        }

    async def acknowledge(self, request: Request) -> Response:
        """POST …/acknowledgement: somebody has it."""
        asked = await read_body(request, VersionAsked)

        def deed(alert_id: int, by: Actor, at_us: int) -> Episode | Refused:
            return self._book.acknowledge(alert_id, by=by, at_us=at_us, version=asked.version)

        return await self._act(request, FIELD, deed)

    async def comment(self, request: Request) -> Response:
        """POST …/comments: say something about it."""
        asked = await read_body(request, CommentAsked)

        def deed(alert_id: int, by: Actor, at_us: int) -> Episode | Refused:
            return self._book.comment(alert_id, asked.words, by=by, at_us=at_us)

        return await self._act(request, FIELD, deed)

    async def assign(self, request: Request) -> Response:
        """PUT …/owner: whose it is. Taking it oneself is for everybody who works there, giving it for managers."""
        caller, asked = await caller_of(request), await read_body(request, OwnerAsked)

        def deed(alert_id: int, by: Actor, at_us: int) -> Episode | Refused:
            return self._book.assign(alert_id, asked.owner, by=by, at_us=at_us, version=asked.version)

        return await self._act(request, FIELD if asked.owner == caller.login else MANAGERS, deed)

    async def shelve(self, request: Request) -> Response:
        """POST …/shelf: look away until a moment, for a reason."""
        asked = await read_body(request, ShelfAsked)

        def deed(alert_id: int, by: Actor, at_us: int) -> Episode | Refused:
            return self._book.shelve(alert_id, asked.until, asked.reason, by=by, at_us=at_us, version=asked.version)

        return await self._act(request, MANAGERS, deed)

    async def unshelve(self, request: Request) -> Response:
        """DELETE …/shelf: back into the inbox before its time."""
        asked = read_query(request, VersionAsked)

        def deed(alert_id: int, by: Actor, at_us: int) -> Episode | Refused:
            return self._book.unshelve(alert_id, by=by, at_us=at_us, version=asked.version)

        return await self._act(request, MANAGERS, deed)

    async def clear(self, request: Request) -> Response:
        """POST …/clearing: somebody says that it is over, and how he knows."""
        asked = await read_body(request, ClearingAsked)

        def deed(alert_id: int, by: Actor, at_us: int) -> Episode | Refused:
            return self._book.clear(alert_id, asked.evidence, by=by, at_us=at_us, version=asked.version)

        return await self._act(request, MANAGERS, deed)

    async def _act(self, request: Request, roles: tuple[Role, ...], deed: Deed) -> Response:
        """Ask for the object, do it, answer with the alert as it is then."""
        caller, alert_id = await caller_of(request), number_in(request, "alert_id")
        return answer(await self._ground.workers.run(self._act_now, caller, alert_id, roles, deed))

    def _act_now(self, caller: Caller, alert_id: int, roles: tuple[Role, ...], deed: Deed) -> View:
        at_us = self._ground.clock_us()
        found = self._book.episode(alert_id, now_us=at_us)
        if found is None:
            raise absent(NOWHERE)
        require_in_tenant(caller, roles, found.facts.tenant)
        caller.require(roles, found.facts.tenant, place_of(found))
        return alert_view(done(settled(lambda: deed(alert_id, caller.actor, at_us))))


def place_of(alert: Episode) -> Position | None:
    """Where it is; None for a group, and for what hangs nowhere: that is in nobody's area."""
    longitude, latitude = alert.facts.longitude, alert.facts.latitude
    return None if longitude is None or latitude is None else Position(longitude, latitude)


def _states(asked: EpisodeState | Literal["open", "all"]) -> frozenset[EpisodeState]:
    if isinstance(asked, EpisodeState):
        return frozenset({asked})
    return OPEN_STATES if asked == "open" else frozenset(EpisodeState)
