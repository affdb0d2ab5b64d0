"""Bad input to the HTTP side (security B4 80-87, what concerns reading), and the headers that every answer carries."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import httpx2
import pytest

from lichtmast.api import ApiSettings, Broadcaster, SettingsError, limits
from lichtmast.store.port import ObservationStore

Get = Callable[..., httpx2.Response]
HOSTILE = "<img src=x onerror=alert(1)>"


class Town(Protocol):
    """The part of the fixture that these tests read."""

    store: ObservationStore
    things: Sequence[int]
    series: dict[int, tuple[int, ...]]


@pytest.mark.parametrize(
    "path",
    [
        "/v1.1/%2e%2e/etc/passwd",
        "/static/%2e%2e%2fapp.py",
        "/static/..%2fapp.py",
        "/static/..%5capp.py",
        "/static/%252e%252e/app.py",
        "/v1.1//Things",
        "//v1.1/Things",
        "/v1.1/Things%00",
        "/v1.1/Things(%31)",
        "/v1.1/%54hings",
        "/v1.1/Things(1)%0d%0aX: y",
        "/things/1%2f..%2f2",
        "/v1.1/Things(1",
        "/v1.1/Things(1))",
        "/v1.1/Things(1)(2)",
        "/v1.1/Things('a' or 1=1)",
        "/v1.1/Things(1;2)",
        "/v1.1/" + "/".join(["Things(1)"] * 9),
        "/v1.1/$ref",
        "/v1.1/$value",
        "/v1.1/Things(1)/$value",
        "/v1.1/Things(1)/$ref",
        "/v1.1/Things(1)/Datastreams/$count",
        "/v1.1/Things(1)/Locations(x)",
    ],
)
def test_path_tricks_are_refused_as_problems(get: Get, path: str) -> None:
    response = get(path)
    assert response.status_code in {400, 404, 501}
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/v1.1/", "/v1.1/Things/", "/things/1/", "/healthz/", "/nothing", "/docs", "/openapi.json", "/redoc", "/static/",
     "/static/nothing.js", "/things/x", "/things/-1", "/things/99", "/things/" + "9" * 30, "/?page=99"],
)  # fmt: skip
def test_what_is_not_there_is_404_without_a_redirect(get: Get, path: str) -> None:
    response = get(path)
    assert response.status_code == 404
    assert "location" not in response.headers


@pytest.mark.parametrize(
    "path", ["/?lang=fr", "/?page=0x1", "/?page=-1", "/?search=" + "a" * 101, "/?search=a%00b", "/?page=" + "9" * 12]
)
def test_page_parameters_are_read_strictly(get: Get, path: str) -> None:
    assert get(path).status_code == 400


def test_the_address_has_an_end(get: Get) -> None:
    assert get("/v1.1/Things?$filter=" + "a" * limits.QUERY_CHARACTERS_MAX).status_code == 414
    assert get("/" + "a" * limits.PATH_CHARACTERS_MAX).status_code == 414
    assert get("/healthz", headers={"X": "a" * limits.HEADER_BYTES_MAX}).status_code == 431


@pytest.mark.parametrize("search", ["%", "_", "' OR 1=1 --", "\\", "(.*)+$", "$[*]", "*", '"', "{search}", "%s"])
def test_metacharacters_in_a_search_are_plain_text(get: Get, search: str) -> None:
    response = get("/", params={"search": search, "lang": "en"})
    assert response.status_code == 200
    assert "There is no lamppost with" in response.text


@pytest.mark.parametrize("path", ["/", "/things/2", "/?search=%3Cimg", "/?lang=en&search=onerror"])
def test_a_lamppost_named_like_markup_is_shown_as_text(get: Get, path: str) -> None:
    page = get(path).text
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_the_search_itself_cannot_become_markup(get: Get) -> None:
    page = get("/", params={"search": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("[::1]:8080", 200),
        ("[fe80::1%25eth0]:80", 200),
        ("localhost", 200),
        ("lichtmast.example", 400),
        ("evil.example", 400),
        ("[::1]@evil.example", 400),
        ("[::1]:99999", 400),
        ("::1", 400),
        ("[zz::1]", 400),
        ("", 400),
        ("a b", 400),
        ("evil.example/[::1]", 400),
    ],
)
def test_a_forged_host_is_refused_and_never_gets_into_links(get: Get, host: str, status: int) -> None:
    assert get("/v1.1", headers={"Host": host}).status_code == status


def test_configured_host_names_are_served_and_forwarded_headers_are_not_believed(get_with: Callable[..., Get]) -> None:
    ask = get_with(public_url="https://lichtmast.example", allowed_hosts=("lamp.example",))
    for host in ("lichtmast.example", "LAMP.example:8080"):
        response = ask("/v1.1", headers={"Host": host, "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil"})
        assert response.status_code == 200
        assert response.json()["value"][0]["url"] == "https://lichtmast.example/v1.1/Things"


@pytest.mark.parametrize("path", ["/", "/things/1", "/v1.1", "/v1.1/Things(0)", "/healthz", "/map.geojson", "/nothing"])
def test_every_answer_carries_the_security_headers(get: Get, path: str) -> None:
    headers = get(path).headers
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_open_data_may_be_read_from_any_site_and_pages_may_not(get: Get) -> None:
    assert get("/v1.1/Things").headers["access-control-allow-origin"] == "*"
    assert get("/v1.1/Things").headers["api-version"] == "1.1.0"
    assert "api-version" not in get("/v1.1/Things(0)").headers
    assert "access-control-allow-origin" not in get("/").headers


def test_people_get_a_page_and_programs_a_problem(get: Get) -> None:
    page = get("/things/99", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Deze pagina is er niet" in page.text
    problem = get("/things/99").json()
    assert problem == {
        "type": "about:blank",
        "status": 404,
        "title": "Not Found",
        "detail": "There is no lamppost with this id.",
    }


def test_a_fault_of_ours_says_nothing_about_its_cause(town: Town, get_with: Callable[..., Get]) -> None:
    ask = get_with()
    with pytest.MonkeyPatch.context() as patch:

        def broken(*_: object) -> None:
            raise RuntimeError("secret /path")

        patch.setattr(type(town.store), "offset", broken)
        with pytest.raises(RuntimeError):
            ask("/healthz")
        response = ask("/healthz", quiet=True)
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-frame-options"] == "DENY"
    assert "secret" not in response.text


def test_health_tells_offset_and_lag_and_nothing_about_versions(get: Get) -> None:
    assert get("/healthz").json() == {"status": "ok", "log_offset": 1, "log_lag": 7}


def test_security_txt_has_contact_and_a_future_end_or_is_absent(get: Get, get_with: Callable[..., Get]) -> None:
    assert get("/.well-known/security.txt").status_code == 404
    ask = get_with(security_contact="mailto:security@gemeente.example", public_url="https://lichtmast.example")
    assert ask("/.well-known/security.txt").text.splitlines() == [
        "Contact: mailto:security@gemeente.example",
        "Expires: 2027-02-19T00:00:00Z",
        "Preferred-Languages: nl, en",
        "Canonical: https://lichtmast.example/.well-known/security.txt",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"public_url": "lichtmast.example"},
        {"public_url": "ftp://lichtmast.example"},
        {"public_url": "https://lichtmast.example/lamp"},
        {"public_url": "https://lichtmast.example?x=1"},
        {"worker_threads": 0},
        {"requests_waiting_max": 0},
        {"security_contact": "someone"},
        {"contact_url": "javascript:alert(1)"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ApiSettings(**wrong)


def test_too_many_waiting_requests_get_503_and_the_others_their_answer(make_app: Callable[..., Any]) -> None:
    app = make_app(broadcaster=Broadcaster(), worker_threads=1, requests_waiting_max=2)

    async def ask() -> list[int]:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://[::1]") as client:
            answers = await asyncio.gather(*(client.get("/v1.1/Things") for _ in range(5)))
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(ask()) == [200, 200, 200, 503, 503]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nHost: [::1]\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01\x00\xa5" * 100 + b"\r\n\r\n", b"400"),
        (b"POST /v1.1/Things HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 50000000\r\n\r\n", b"405"),
        (b"GET /v1.1/Things HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 50000000\r\n\r\n", b"413"),
        (b"TRACE / HTTP/1.1\r\nHost: [::1]\r\n\r\n", b"405"),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: [::1]\r\n\r\n", b"400"),
        (b"GET /%ff HTTP/1.1\r\nHost: [::1]\r\n\r\n", b"404"),
    ],
)
def test_what_breaks_http_is_refused_and_the_server_lives(
    make_app: Callable[..., Any],
    serving: Callable[..., contextlib.AbstractAsyncContextManager[str]],
    raw: bytes,
    status: bytes,
) -> None:
    broadcaster = Broadcaster()

    async def both() -> None:
        async with asyncio.timeout(10), serving(make_app(broadcaster=broadcaster), broadcaster) as address:
            reader, writer = await asyncio.open_connection(
                "::1", int(address.rpartition(":")[2]), family=socket.AF_INET6
            )
            writer.write(raw)
            assert (await reader.readline()).split()[1] == status
            writer.close()
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"{address}/healthz")).status_code == 200

    asyncio.run(both())
