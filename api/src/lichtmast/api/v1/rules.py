"""Rules of alerts: what is watched, in words; their versions; and what a rule would have done before it is switched on.

A rule is a document, as in docs/reference/alerts.md. Changing one makes a new version, on top of the version that its
writer had before his eyes.
"""

import threading
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api import limits
from lichtmast.api.access import Caller, caller_of
from lichtmast.api.access.need import Need, Needs
from lichtmast.api.access.routes import Routes
from lichtmast.api.problem import Problem, malformed, unsupported
from lichtmast.api.times import iso
from lichtmast.api.v1.alert_views import rule_view, settled
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import MANAGERS, READERS
from lichtmast.api.v1.reading import Asked, Page, Text, number_in, read_body, read_query
from lichtmast.api.v1.standing import require_in_tenant
from lichtmast.api.v1.views import View, answer, etag_of
from lichtmast.registry.alerts import AlertRule, parse_rule
from lichtmast.registry.people import Role

RULES: Final = "/v1/alert-rules"
RULE: Final = f"{RULES}/{{rule_id}}"
NEEDS: Final[Needs] = {
    ("GET", RULES): Need.of(*READERS),
    ("POST", RULES): Need.of(*MANAGERS),
    ("POST", f"{RULES}/trials"): Need.of(*MANAGERS),
    ("GET", RULE): Need.of(*READERS),
    ("PUT", RULE): Need.of(*MANAGERS),
    ("DELETE", RULE): Need.of(*MANAGERS),
    ("POST", f"{RULE}/activation"): Need.of(*MANAGERS),
    ("DELETE", f"{RULE}/activation"): Need.of(*MANAGERS),
}


class RulesAsked(Page):
    """Rules of a municipality, by id."""

    tenant: Text


class RuleAsked(Asked):
    """A rule that is not there yet."""

    document: dict[str, Any]


class ChangeAsked(RuleAsked):
    """A rule as it should be, on top of the version that its writer saw."""

    based_on: Annotated[int, Field(ge=1)]


class TrialAsked(RuleAsked):
    """A rule to hold against what is stored."""

    days: Annotated[float, Field(gt=0, le=limits.TRIAL_DAYS_MAX)] = limits.TRIAL_DAYS_DEFAULT


class Rules:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._book = ground.registry.alerts
        self._trying = threading.Lock()

    def routes(self) -> Routes:
        """Method, path and endpoint of each route."""
        return [
            ("GET", RULES, self.list),
            ("POST", RULES, self.add),
            ("POST", f"{RULES}/trials", self.try_out),
            ("GET", RULE, self.show),
            ("PUT", RULE, self.change),
            ("DELETE", RULE, self.remove),
            ("POST", f"{RULE}/activation", self.switch_on),
            ("DELETE", f"{RULE}/activation", self.switch_off),
        ]

    async def list(self, request: Request) -> Response:
        """GET /v1/alert-rules: each with its sentence."""
        caller, asked = await caller_of(request), read_query(request, RulesAsked)
        require_in_tenant(caller, READERS, asked.tenant)
        return answer(await self._ground.workers.run(self._list_now, asked))

    def _list_now(self, asked: RulesAsked) -> View:
        after = (one for one in self._book.rules(asked.tenant) if one.id > asked.after)
        found = list(islice(after, asked.limit))
        return {
            "items": [rule_view(one) for one in found],
            "nextAfter": found[-1].id if len(found) == asked.limit else None,
        }

    async def add(self, request: Request) -> Response:
        """POST /v1/alert-rules: a new one; 409 where the municipality has one of this name."""
        caller, asked = await caller_of(request), await read_body(request, RuleAsked)
        view = await self._ground.workers.run(self._put_now, caller, asked.document, 0)
        return answer(view, HTTPStatus.CREATED, Location=f"{RULES}/{view['id']}")

    async def show(self, request: Request) -> Response:
        """GET /v1/alert-rules/{rule_id}: with its versions, the newest first."""
        caller, rule_id = await caller_of(request), number_in(request, "rule_id")
        read_query(request, Asked)
        view = await self._ground.workers.run(self._show_now, caller, rule_id)
        return answer(view, ETag=etag_of(view))

    def _show_now(self, caller: Caller, rule_id: int) -> View:
        rule = self._found(caller, READERS, rule_id)
        versions = [
            {
                "version": one.rule.version,
                "at": iso(one.at_us),
                "by": one.by.name,
                "sentence": rule_view(one.rule)["sentence"],
                "document": rule_view(one.rule)["document"],
            }
            for one in self._book.rule_versions(rule_id)[: limits.V1_PAGE_MAX]
        ]
        return rule_view(rule) | {"versions": versions}

    async def change(self, request: Request) -> Response:
        """PUT /v1/alert-rules/{rule_id}: make a document its next version."""
        caller, rule_id = await caller_of(request), number_in(request, "rule_id")
        asked = await read_body(request, ChangeAsked)
        return answer(await self._ground.workers.run(self._change_now, caller, rule_id, asked))

    def _change_now(self, caller: Caller, rule_id: int, asked: ChangeAsked) -> View:
        rule = self._found(caller, MANAGERS, rule_id)
        named = (asked.document.get("tenant"), asked.document.get("name"))
        if named != (rule.tenant, rule.name):
            raise malformed(f"A rule keeps its name and municipality: {rule.name!r} of {rule.tenant}.")
        return self._put_now(caller, asked.document, asked.based_on)

    async def remove(self, request: Request) -> Response:
        """DELETE /v1/alert-rules/{rule_id}: its alerts end, its versions stay."""
        caller, rule_id = await caller_of(request), number_in(request, "rule_id")
        return answer(await self._ground.workers.run(self._remove_now, caller, rule_id))

    def _remove_now(self, caller: Caller, rule_id: int) -> View:
        rule = self._found(caller, MANAGERS, rule_id)
        settled(lambda: self._book.delete_rule(rule_id, by=caller.actor, at_us=self._ground.clock_us()))
        return rule_view(rule)

    async def switch_on(self, request: Request) -> Response:
        """POST …/activation: let it raise alerts."""
        return await self._switch(request, enabled=True)

    async def switch_off(self, request: Request) -> Response:
        """DELETE …/activation: no longer; its alerts end."""
        return await self._switch(request, enabled=False)

    async def _switch(self, request: Request, *, enabled: bool) -> Response:
        caller, rule_id = await caller_of(request), number_in(request, "rule_id")
        return answer(await self._ground.workers.run(self._switch_now, caller, rule_id, enabled))

    def _switch_now(self, caller: Caller, rule_id: int, enabled: bool) -> View:  # noqa: FBT001 - as Workers hand it on
        self._found(caller, MANAGERS, rule_id)
        by, at_us = caller.actor, self._ground.clock_us()
        return rule_view(settled(lambda: self._book.switch_rule(rule_id, enabled=enabled, by=by, at_us=at_us)))

    async def try_out(self, request: Request) -> Response:
        """POST /v1/alert-rules/trials: what a rule would have raised lately, one trial at a time."""
        caller, asked = await caller_of(request), await read_body(request, TrialAsked)
        return answer(await self._ground.workers.run(self._try_now, caller, asked))

    def _try_now(self, caller: Caller, asked: TrialAsked) -> View:
        rule = settled(lambda: parse_rule(asked.document))
        require_in_tenant(caller, MANAGERS, rule.tenant)
        if self._ground.try_alert_rule is None:
            raise unsupported("This server has no history on which a rule could be tried.")
        if not self._trying.acquire(blocking=False):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Another rule is being tried; one trial runs at a time.",
                headers={"Retry-After": "30"},
            )
        try:
            return dict(self._ground.try_alert_rule(rule, asked.days))
        finally:
            self._trying.release()

    def _put_now(self, caller: Caller, document: dict[str, Any], based_on: int) -> View:
        draft = settled(lambda: parse_rule(document))
        require_in_tenant(caller, MANAGERS, draft.tenant)
        by, at_us = caller.actor, self._ground.clock_us()
        return rule_view(settled(lambda: self._book.put_rule(document, by=by, at_us=at_us, based_on=based_on)))

    def _found(self, caller: Caller, roles: tuple[Role, ...], rule_id: int) -> AlertRule:
        rule = settled(lambda: self._book.rule(rule_id))
        require_in_tenant(caller, roles, rule.tenant)
        return rule
