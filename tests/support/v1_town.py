"""The routes of /v1 on a register with a street in it, asked in process by whoever a test says."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI, Request
from people_town import HERE, NOW_US
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lichtmast.api.access import Caller
from lichtmast.api.catalogue import read_catalogue
from lichtmast.api.problem import Problem, problem_response
from lichtmast.api.v1 import Ground, v1_router
from lichtmast.api.workers import Workers
from lichtmast.registry import AssetRecord, Registry
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.importing import import_source
from lichtmast.registry.people import Grant, Role
from lichtmast.store.memory import MemoryStore


@dataclass
class V1Town:
    """Who asks is put into the request; finding that out is tested with `lichtmast.api.access`."""

    registry: Registry
    app: FastAPI
    assets: Sequence[AssetRecord]
    now_us: int = NOW_US
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def ask(
        self,
        method: str,
        url: str,
        body: Any = None,  # noqa: ANN401 - any JSON
        *grants: Grant,
        login: str = "manager@example.nl",
    ) -> httpx2.Response:
        """By a manager, unless grants are given."""
        held = grants or (Grant(HERE, Role.MANAGER),)
        who = Caller(
            Actor(ActorKind.USER, login, "2001:db8::7"), held, 1, login, "Iemand", 1, recent=True, limited=False
        )

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=_Signed(self.app, who))
            async with httpx2.AsyncClient(transport=transport, base_url="https://[::1]:8443") as client:
                return await client.request(method, url, json=body)

        return asyncio.run(send())

    def told(self, method: str, url: str, body: Any = None, *grants: Grant, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        """The same where it must succeed: the answer."""
        response = self.ask(method, url, body, *grants, **more)
        assert response.is_success, response.text
        answer: dict[str, Any] = response.json()
        return answer


class _Signed:
    """An ASGI layer that says who asks, as the gate does."""

    def __init__(self, app: ASGIApp, who: Caller) -> None:
        self._app = app
        self._who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["lichtmast.caller"] = self._who
        await self._app(scope, receive, send)


@contextmanager
def v1_town(folder: Path, **beside: Any) -> Iterator[V1Town]:  # noqa: ANN401 - fields of Ground
    """Six lampposts in a row, and no devices."""
    lines = [f"P{number},Kerkstraat {number},{5.17 + 0.0007 * number:.6f},52.22" for number in range(6)]
    (folder / "palen.csv").write_text("\n".join(["id,naam,lon,lat", *lines]))
    with Registry.open(folder / "registry.sqlite") as registry:
        registry.ensure_tenant(HERE, "Hilversum")
        registry.import_assets(HERE, import_source("csv", folder / "palen.csv"), dry_run=False)
        store = MemoryStore()
        ground = Ground(
            registry,
            store,
            lambda: read_catalogue(registry),
            Workers(threads=4, waiting_max=64),
            lambda: NOW_US,
            **beside,
        )
        app = FastAPI(openapi_url=None)
        app.include_router(v1_router(ground))

        async def on_problem(_: Request, error: Exception) -> Response:
            assert isinstance(error, Problem)
            return problem_response(error)

        app.add_exception_handler(Problem, on_problem)
        yield V1Town(registry, app, registry.things(HERE, limit=10))
        store.close()
