"""The quarantine over /v1: a municipality sees its own, its managers order, and nobody reaches another's."""

from typing import Any

import anyio
import httpx2 as httpx
import pyarrow as pa
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from lichtmast.api.access.caller import Caller
from lichtmast.api.problem import Problem, problem_response
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.quarantine import Quarantine
from lichtmast.api.workers import Workers
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.people import Grant, Role
from lichtmast.store import Batch
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Selection

NOW_US = 1_795_000_000_000_000


class Desk:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Selection, Any]] = []
        self.is_late = False

    async def replay(self, selection: Selection, after: Any, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        if self.is_late:
            raise TimeoutError
        self.asked.append((selection, after))
        counts = {"examined": 2, "replayed": 1, "duplicates": 0, "kept": 1}
        return counts | {"still_refused": [], "next": (NOW_US, 3, 0)}

    async def discard(self, selection: Selection, after: Any, *, because: str, **_: Any) -> dict[str, Any]:  # noqa: ANN401
        self.asked.append((selection, after or because))
        return {"examined": 1, "discarded": 1, "next": None}


class Town:
    """The routes on a store with three entries, asked as somebody."""

    def __init__(self, desk: Desk | None) -> None:
        store = MemoryStore()
        entries = [
            {
                "log_seq": at,
                "part": 0,
                "device": device,
                "received_at": NOW_US + at,
                "transport": 1,
                "reason": "wrong_unit",
                "detail": "not in %",
                "content_format": 112,
                "payload": b"\xff",
            }
            for at, device in enumerate(("gm0402/lm-1", "gm0402/lm-2", "gm0344/lm-1", ""), 1)
        ]
        refused = pa.Table.from_pylist(entries, QUARANTINE_SCHEMA)
        store.commit(Batch(OBSERVATION_SCHEMA.empty_table(), LEDGER_SCHEMA.empty_table(), refused, "R", 1))
        workers = Workers(threads=2, waiting_max=5)
        ground = Ground(None, store, lambda: None, workers, lambda: NOW_US, quarantine=desk)  # type: ignore[arg-type,return-value] # not asked here
        routes = [Route(path, endpoint, methods=[method]) for method, path, endpoint in Quarantine(ground).routes()]
        self._app = Starlette(routes=routes, exception_handlers={Problem: _problem})

    def ask(self, role: Role, method: str, path: str, body: Any = None) -> httpx.Response:  # noqa: ANN401
        grant = Grant("gm0402", role)
        actor = Actor(ActorKind.USER, "somebody@example.nl", "2001:db8::7")
        caller = Caller(actor, (grant,), 1, "somebody@example.nl", "Somebody", None, recent=False, limited=False)

        async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
            scope["lichtmast.caller"] = caller
            await self._app(scope, receive, send)

        async def asking() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://[::1]") as client:
                return await client.request(method, f"/v1/quarantine{path}", json=body)

        return anyio.run(asking)


async def _problem(_: Any, problem: Exception) -> Response:  # noqa: ANN401
    assert isinstance(problem, Problem)
    return problem_response(problem)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def town(desk: Desk) -> Town:
    return Town(desk)


def test_groups_and_entries_are_those_of_the_municipality(town: Town) -> None:
    told = town.ask(Role.VIEWER, "GET", "?tenant=gm0402").json()
    assert (told["packs"], sorted(one["device"] for one in told["groups"])) == (2, ["gm0402/lm-1", "gm0402/lm-2"])
    page = town.ask(Role.ENGINEER, "GET", "/entries?tenant=gm0402&limit=1").json()
    assert [one["entry"] for one in page["items"]] == ["1/0"]
    rest = town.ask(Role.ENGINEER, "GET", f"/entries?tenant=gm0402&after={page['nextAfter']}").json()
    assert [one["device"] for one in rest["items"]] == ["gm0402/lm-2"]
    assert town.ask(Role.ENGINEER, "GET", "/entries/1/0").json()["payload"] == "/w=="


@pytest.mark.parametrize("entry", ["3/0", "4/0", "9/0", "x/0"])
def test_another_s_nobody_s_and_no_entry_at_all_read_the_same(town: Town, entry: str) -> None:
    found = town.ask(Role.MANAGER, "GET", f"/entries/{entry}")
    assert (found.status_code, found.json()["detail"]) == (404, "There is nothing here, or nothing for you.")


def test_managers_order_for_their_municipality_alone(town: Town, desk: Desk) -> None:
    asked = {
        "tenant": "gm0402",
        "device": "lm-1",
        "since": "2026-11-18T11:06:40Z",
        "entries": ["1/0"],
        "after": "5/1/0",
    }
    told = town.ask(Role.MANAGER, "POST", "/replays", asked)
    assert (told.json()["replayed"], told.json()["nextAfter"]) == (1, f"{NOW_US}/3/0")
    told = town.ask(Role.MANAGER, "POST", "/discards", {"tenant": "gm0402", "because": "scrap"})
    assert told.json() == {"examined": 1, "discarded": 1, "nextAfter": None}
    narrowed = Selection(None, "gm0402/lm-1", "gm0402", NOW_US, ((1, 0),))
    assert desk.asked == [(narrowed, (5, 1, 0)), (Selection(tenant="gm0402"), "scrap")]


@pytest.mark.parametrize("what", ["replays", "discards"])
def test_who_may_not_orders_nothing(town: Town, desk: Desk, what: str) -> None:
    body = {"tenant": "gm0402", "because": "scrap"} if what == "discards" else {"tenant": "gm0402"}
    assert town.ask(Role.ENGINEER, "POST", f"/{what}", body).status_code == 403
    assert town.ask(Role.MANAGER, "POST", f"/{what}", body | {"tenant": "gm0344"}).status_code == 404
    assert desk.asked == []


@pytest.mark.parametrize(
    "body",
    [
        {"because": "  "},
        {"because": "x", "since": "yesterday"},
        {"because": "x", "entries": ["1"]},
        {"because": "x", "entries": []},
        {"because": "x", "after": "1/2"},
        {},
    ],
)
def test_what_is_not_understood_is_not_ordered(town: Town, desk: Desk, body: dict[str, Any]) -> None:
    assert town.ask(Role.MANAGER, "POST", "/discards", {"tenant": "gm0402"} | body).status_code == 400
    assert desk.asked == []


def test_a_pipeline_that_is_late_or_absent_is_told_as_such(town: Town, desk: Desk) -> None:
    desk.is_late = True
    for one in (town, Town(None)):
        assert one.ask(Role.MANAGER, "POST", "/replays", {"tenant": "gm0402"}).status_code == 503
