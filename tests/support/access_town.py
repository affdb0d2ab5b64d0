"""The whole application with people in it, asked in process: routes, gate and pages, without a socket."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

import httpx2
from fastapi import FastAPI
from people_town import HOME, PASSWORD, PeopleTown, Person, people_town

from lichtmast.api import ApiSettings, Broadcaster, create_app
from lichtmast.api.management import Management
from lichtmast.store.memory import MemoryStore

ORIGIN: Final = "https://lichtmast.example"
OWN_PAGE: Final = {"Sec-Fetch-Site": "same-origin"}
"""What a browser adds to what a page of ours sends."""


@dataclass
class Client:
    """A browser or a program: keeps cookies, comes from one address, sends what a page of ours would."""

    app: FastAPI
    source: str = HOME
    headers: dict[str, str] = field(default_factory=lambda: dict(OWN_PAGE))
    cookies: dict[str, str] = field(default_factory=dict)
    base: str = ORIGIN

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:  # noqa: ANN401 - options of httpx
        headers = {**self.headers, **options.pop("headers", {})}

        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=self.app, client=(self.source, 40_000))
            async with httpx2.AsyncClient(transport=transport, base_url=self.base) as client:
                return await client.request(method, path, headers=headers, **options)

        response = asyncio.run(send())
        for line in response.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies.pop(name, None)
                if morsel.value:
                    self.cookies[name] = morsel.value
        return response

    def get(self, path: str, **options: Any) -> httpx2.Response:  # noqa: ANN401 - options of httpx
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:  # noqa: ANN401 - options of httpx
        return self.ask("POST", path, **options)


@dataclass
class AccessTown:
    """The application and its people."""

    town: PeopleTown
    app: FastAPI
    build: Callable[..., FastAPI]

    def client(self, source: str = HOME, **options: Any) -> Client:  # noqa: ANN401 - fields of Client
        return Client(self.app, source, **options)

    def signed_in(self, person: Person, source: str = HOME) -> Client:
        """A browser in which somebody has signed in."""
        client = self.client(source)
        document = {"login": person.login, "password": PASSWORD}
        if person.seed:
            document["code"] = self.town.next_code(person)
        response = client.post("/v1/session", json=document)
        assert response.status_code == 201, response.text
        return client

    def program(self, token: str) -> Client:
        """A program with a token: no cookies, and nothing that browsers add."""
        return Client(self.app, headers={"Authorization": f"Bearer {token}"})


@contextmanager
def access_town(folder: Path) -> Iterator[AccessTown]:
    """An application on a register in the folder, served by name over https."""
    with people_town(folder / "registry.sqlite") as town:
        store = MemoryStore()

        def build(*, public_url: str | None = ORIGIN, **management: Any) -> FastAPI:  # noqa: ANN401 - fields of Management
            return create_app(
                town.registry,
                store,
                Broadcaster(),
                ApiSettings(public_url=public_url, catalogue_check_interval_s=0.0),
                standing=lambda: {"log_lag": 7},
                clock_us=lambda: town.now_us,
                management=Management(town.people, **management),
            )

        yield AccessTown(town, build(), build)
        store.close()
