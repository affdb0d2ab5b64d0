"""/v1/validation-rules: who may see, put and try the rules that hold for every municipality."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lichtmast.api.access import Caller
from lichtmast.api.catalogue import read_catalogue
from lichtmast.api.problem import Problem, problem_response
from lichtmast.api.v1 import Ground
from lichtmast.api.v1.validation import NEEDS, RULES, Validation
from lichtmast.api.workers import Workers
from lichtmast.registry import Registry
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.people import EVERY_TENANT, Grant, Role
from lichtmast.store.memory import MemoryStore
from lichtmast.wire.validation import RuleSet

HERE, THERE = "gm0402", "gm0406"
MANAGER = (Grant(EVERY_TENANT, Role.MANAGER),)
DOCUMENT = {"profile": {"lamp-controller": {"level": {"maximum": 0.9}}}}


class _Signed:
    """An ASGI layer that says who asks, as the gate does."""

    def __init__(self, app: ASGIApp, *grants: Grant) -> None:
        self._app = app
        self._who = Caller(
            Actor(ActorKind.USER, "jan@example.nl", "2001:db8::7"),
            grants,
            1,
            "jan",
            "Jan",
            1,
            recent=True,
            limited=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["lichtmast.caller"] = self._who
        await self._app(scope, receive, send)


class Town:
    """The routes on a register of two municipalities; a trial answers what it was asked."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        ground = Ground(
            registry,
            MemoryStore(),
            lambda: read_catalogue(registry),
            Workers(threads=2, waiting_max=8),
            lambda: 7_000_000,
            try_rules=self._try,
        )
        self.app = FastAPI(openapi_url=None)
        self.routes: set[tuple[str, str]] = set()
        for method, path, endpoint in Validation(ground).routes():
            self.app.add_route(path, endpoint, methods=[method])
            self.routes.add((method, path))

        async def on_problem(_: Request, error: Exception) -> Response:
            assert isinstance(error, Problem)
            return problem_response(error)

        self.app.add_exception_handler(Problem, on_problem)

    @staticmethod
    def _try(rules: RuleSet, days: float) -> Mapping[str, Any]:
        return {"version": rules.version, "days": days}

    def ask(self, method: str, url: str, body: object = None, grants: tuple[Grant, ...] = MANAGER) -> httpx2.Response:
        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=_Signed(self.app, *grants))
            async with httpx2.AsyncClient(transport=transport, base_url="https://[::1]:8443") as client:
                return await client.request(method, url, json=body)

        return asyncio.run(send())

    def put(self, based_on: int, document: object = DOCUMENT, grants: tuple[Grant, ...] = MANAGER) -> httpx2.Response:
        return self.ask("PUT", RULES, {"basedOn": based_on, "note": "dimmed", "document": document}, grants)


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A register to copy: migrating takes longer than all tests of this module."""
    path = tmp_path_factory.mktemp("rules") / "register.sqlite"
    with Registry.open(path) as registry:
        for tenant in (HERE, THERE):
            registry.ensure_tenant(tenant)
    return path


@pytest.fixture
def town(tmp_path: Path, register: Path) -> Iterator[Town]:
    with Registry.open(Path(copyfile(register, tmp_path / "register.sqlite"))) as registry:
        yield Town(registry)


def test_every_route_is_in_the_table_of_needs(town: Town) -> None:
    assert town.routes == set(NEEDS)


def test_rules_are_put_and_everybody_who_is_signed_in_sees_what_holds(town: Town) -> None:
    assert town.put(0).json() == {
        "version": 1, "document": DOCUMENT, "note": "dimmed", "by": "jan@example.nl", "at": "1970-01-01T00:00:07Z"
    }  # fmt: skip
    viewer = (Grant(HERE, Role.VIEWER),)
    shown = town.ask("GET", RULES, grants=viewer).json()
    assert (shown["version"], shown["document"]) == (1, DOCUMENT)
    assert shown["profiles"]["lamp-controller"]["level"]["maximum"] == 0.9
    assert town.ask("GET", f"{RULES}/versions/1", grants=viewer).json()["document"] == DOCUMENT
    assert town.ask("GET", f"{RULES}/versions/2", grants=viewer).status_code == 404


def test_two_who_change_the_same_version_do_not_overwrite_each_other(town: Town) -> None:
    town.put(0)
    late = town.put(0, {"profile": {"lamp-controller": {"level": {"maximum": 0.5}}}})
    assert (late.status_code, late.json()["reason"]) == (409, "conflict")
    assert "at version 1, put by jan@example.nl ('dimmed'), not at 0" in late.json()["detail"]
    assert town.ask("GET", RULES).json()["document"] == DOCUMENT


def test_a_wrong_document_is_refused_with_the_field_that_is_wrong(town: Town) -> None:
    wrong = {"profile": {"lamp-controller": {"level": {"maximum": 0}}}}
    for answer in (town.put(0, wrong), town.ask("POST", f"{RULES}/trials", {"document": wrong})):
        assert (answer.status_code, answer.json()["reason"]) == (400, "rules")
        assert answer.json()["detail"].startswith("Profile.lamp-controller.level: minimum 0 is not below maximum 0")


def test_versions_come_newest_first_a_page_at_a_time(town: Town) -> None:
    for number in range(3):
        town.put(number, {"profile": {"lamp-controller": {"level": {"maximum": 0.5 + number / 10}}}})
    first = town.ask("GET", f"{RULES}/versions?limit=2").json()
    rest = town.ask("GET", f"{RULES}/versions?limit=2&after={first['nextAfter']}").json()
    assert [one["version"] for one in first["items"] + rest["items"]] == [3, 2, 1]
    assert (rest["nextAfter"], "document" in first["items"][0]) == (None, False)


def test_who_may_in_one_municipality_alone_changes_nothing_for_the_other(town: Town) -> None:
    one, both = (Grant(HERE, Role.MANAGER),), (Grant(HERE, Role.MANAGER), Grant(THERE, Role.ADMIN))
    assert town.put(0, grants=one).status_code == 403
    assert town.ask("POST", f"{RULES}/trials", {"document": DOCUMENT}, grants=one).status_code == 403
    assert town.put(0, grants=both).status_code == 200


def test_a_trial_is_about_the_draft_and_keeps_nothing(town: Town) -> None:
    assert town.ask("POST", f"{RULES}/trials", {"document": DOCUMENT, "days": 2}).json() == {"version": 1, "days": 2.0}
    assert town.ask("POST", f"{RULES}/trials", {"document": DOCUMENT, "days": 32}).status_code == 400
    assert town.ask("GET", RULES).json()["version"] == 0
