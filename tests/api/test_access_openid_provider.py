"""Signing in through a real OpenID provider, over real HTTP and real redirects."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest
from access_town import ORIGIN, AccessTown, Client, access_town
from people_town import HERE

from lichtmast.api.access.openid import OpenIdProvider, OpenIdSettings
from lichtmast.registry.people import Grant, Role

SCRIPT = Path(__file__).parents[2] / "api" / "web" / "test" / "openid-provider.mjs"
NODE = shutil.which("node") or str(Path(__file__).parents[2] / ".venv" / "bin" / "node")
ENGINEER = Grant(HERE, Role.ENGINEER)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    if not (SCRIPT.parents[1] / "node_modules" / "oidc-provider").is_dir():
        pytest.skip("web assets are not built: npm ci && npm run build in api/web")
    command = [NODE, str(SCRIPT), f"{ORIGIN}/sign-in/openid/callback"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def access(tmp_path: Path, issuer: str) -> Iterator[AccessTown]:
    with access_town(tmp_path) as opened:
        settings = OpenIdSettings(issuer, "lichtmast", "a secret of the tests alone", {"tid": ("hilversum",)})
        opened.town.now_us = time.time_ns() // 1_000  # the provider signs with the real time
        provider = OpenIdProvider(settings, lambda: opened.town.now_us)
        yield AccessTown(opened.town, opened.build(openid=provider), opened.build)


def sign_in_there(leaving: str, name: str) -> str:
    """Do what a person does at the provider; the address that it sends the browser back to."""
    with httpx2.Client(trust_env=False, timeout=20) as browser:
        address = leaving
        for _ in range(12):
            response = browser.get(address)
            while response.is_redirect:
                address = urljoin(address, response.headers["location"])
                if address.startswith(ORIGIN):
                    return address
                response = browser.get(address)
            form = re.search(r'<form[^>]*action="([^"]+)"', response.text)
            prompt = re.search(r'name="prompt" value="(\w+)"', response.text)
            assert form is not None, response.text[:500]
            assert prompt is not None
            data = {"prompt": prompt[1]} | ({"login": name, "password": "x"} if prompt[1] == "login" else {})
            address = urljoin(address, form[1])
            response = browser.post(address, data=data)
            address = urljoin(address, response.headers["location"])
    raise AssertionError("the provider goes round in circles")


def leave(client: Client) -> str:
    response = client.get("/sign-in/openid?next=/things/1")
    assert response.status_code == 303, response.text
    return str(response.headers["location"])


def come_back(client: Client, address: str) -> httpx2.Response:
    parts = urlsplit(address)
    return client.get(f"{parts.path}?{parts.query}", headers={"Sec-Fetch-Site": "cross-site"})


def test_somebody_whom_the_provider_knows_gets_their_own_account(access: AccessTown) -> None:
    access.town.person(ENGINEER, login="anna@example.nl", second_factor=False)
    client = access.client()
    assert "/sign-in/openid" in client.get("/sign-in").text
    query = parse_qs(urlsplit(leave(client)).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [f"{ORIGIN}/sign-in/openid/callback"]
    client = access.client()
    back = sign_in_there(leave(client), "anna")
    entered = come_back(client, back)
    assert (entered.status_code, entered.headers["location"]) == (303, "/things/1?lang=nl")
    assert client.get("/v1/session").json()["login"] == "anna@example.nl"
    assert client.get("/v1/session").json()["grants"] == [], "the provider showed no second factor"


def test_a_second_factor_of_ours_is_asked_where_the_provider_showed_none(access: AccessTown) -> None:
    anna = access.town.person(ENGINEER, login="anna@example.nl")
    client = access.client()
    half = come_back(client, sign_in_there(leave(client), "anna"))
    assert half.headers["location"].startswith("/sign-in/code")
    assert client.get("/v1/session").status_code == 401
    client.post("/sign-in/code", data={"code": access.town.next_code(anna)})
    assert len(client.get("/v1/session").json()["grants"]) == 1


@pytest.mark.parametrize("name", ["stranger", "unverified"])
def test_the_provider_makes_no_account(access: AccessTown, name: str) -> None:
    access.town.person(ENGINEER, login="unverified@example.nl")
    client = access.client()
    refused = come_back(client, sign_in_there(leave(client), name))
    assert (refused.status_code, client.get("/v1/session").status_code) == (401, 401)
    assert [one.login for one in access.town.people.accounts()] == ["unverified@example.nl"]


def test_a_code_is_used_once_and_by_the_browser_that_began(access: AccessTown) -> None:
    access.town.person(login="anna@example.nl", second_factor=False)
    client, other = access.client(), access.client()
    leave(other)
    back = sign_in_there(leave(client), "anna")
    trip = dict(client.cookies)
    assert come_back(access.client(), back).status_code == 401, "no trip of this browser"
    assert come_back(other, back).status_code == 401, "another browser's state"
    assert come_back(client, back).status_code == 303
    client.cookies = trip
    assert come_back(client, back).status_code == 401, "the provider gives nothing for a used code"


def test_another_organisation_at_the_same_provider_is_refused(tmp_path: Path, issuer: str) -> None:
    with access_town(tmp_path) as access:
        access.town.person(login="anna@example.nl", second_factor=False)
        settings = OpenIdSettings(issuer, "lichtmast", "a secret of the tests alone", {"tid": ("edam",)})
        access.town.now_us = time.time_ns() // 1_000
        client = Client(access.build(openid=OpenIdProvider(settings, lambda: access.town.now_us)))
        assert come_back(client, sign_in_there(leave(client), "anna")).status_code == 401
