"""What every request must be and every answer must carry: a plain path, a host of ours, and the security headers.

An ASGI layer around the whole application, so that nothing behind it can forget.
"""

import ipaddress
import re
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lichtmast.api import limits
from lichtmast.api.access.limits import BODY_BYTES_MAX
from lichtmast.api.access.table import Table
from lichtmast.api.problem import Problem, malformed, problem_response
from lichtmast.api.refusal_log import RefusalLog, note_attempt
from lichtmast.api.settings import ApiSettings

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%a-z]{2,60}\]|[A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?", re.ASCII)
_PORT_MAX: Final = 65_535
_PLAIN_ESCAPE: Final = re.compile(
    rb"%(?:[01][0-9A-F]|2[5DEF]|3[0-9]|4[1-9A-F]|5[0-9ACF]|6[1-9A-F]|7[0-9AEF])", re.IGNORECASE
)
"""Escapes of characters that need none (RFC 3986 section 2.3), and of /, backslash, % and controls: for tricks only."""
_OPEN_DATA: Final = ("/v1.1", "/map.geojson")

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
API_VERSION: Final = b"1.1.0"


def host_of(scope: Scope, settings: ApiSettings) -> str:
    """The `host[:port]` that the client asked for. Raises a 400 Problem where it is none of ours."""
    hosts: list[str] = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None or int(match[2] or 0) > _PORT_MAX:
        raise malformed("The Host header is missing, doubled or not a host.")
    name = match[1].lower()
    known = {*(one.lower() for one in settings.allowed_hosts), "localhost"}
    if settings.origin is not None:
        known.add(urlsplit(settings.origin).hostname or "")
    # A name that is not ours may be another site's, pointed at this machine (DNS rebinding); an address cannot be.
    if name not in known and not _is_address(name):
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "This server does not serve that host name; the operator can add it to allowed_hosts.",
            attempt="other_host",
        )
    return hosts[0]


def _is_address(name: str) -> bool:
    bracketed = name.startswith("[")
    try:
        return (ipaddress.ip_address(name.strip("[]").replace("%25", "%")).version != 4) is bracketed  # noqa: PLR2004
    except ValueError:
        return False


def origin_of(scope: Scope, settings: ApiSettings) -> str:
    """What links begin with: public_url, or the address the client used. Forwarded headers are not believed."""
    scheme = "https" if scope["scheme"] == "https" else "http"
    return settings.origin or f"{scheme}://{host_of(scope, settings)}"


class Protection:
    """Refuses what no honest client sends, and puts the headers of docs/reference/api.md on every answer."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, table: Table, attempts: RefusalLog) -> None:
        self._app = app
        self._attempts = attempts
        self._settings = settings
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = self._headers(scope, message)
            await send(message)

        try:
            self._check(scope)
        except Problem as problem:
            note_attempt(self._attempts, problem, scope)
            await problem_response(problem)(scope, receive, guarded)
            return
        try:
            await self._app(scope, receive, guarded)
        except Exception:
            # A fault of ours: the client hears that and no more, the server's log gets the rest.
            if not begun:
                fault = Problem(
                    HTTPStatus.INTERNAL_SERVER_ERROR, "Something is wrong on this server; its log says what."
                )
                await problem_response(fault)(scope, receive, guarded)
            raise

    def _check(self, scope: Scope) -> None:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        if len(raw) > limits.PATH_CHARACTERS_MAX or len(scope["query_string"]) > limits.QUERY_CHARACTERS_MAX:
            raise Problem(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > limits.HEADER_BYTES_MAX:
            raise Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request headers are too long.")
        plain = _PLAIN_ESCAPE.search(raw) is None and b"//" not in raw and b"\\" not in raw
        if not plain or any(part in {".", ".."} for part in scope["path"].split("/")):
            raise malformed("The path holds empty or dotted segments, or escapes of characters that need none.")
        try:
            scope["path"].encode("utf-8")
        except UnicodeEncodeError as error:
            raise malformed("The path is not UTF-8.") from error
        host_of(scope, self._settings)
        may_have_body = False
        if scope["method"] not in {"GET", "HEAD", "OPTIONS"}:
            row = self._table.find(scope["path"])
            if row is None or row.need(scope["method"]) is None:
                raise _unknown_method() if row is None else row.wrong_method()
            may_have_body = True
        _check_body(scope, may_have_body=may_have_body)

    def _headers(self, scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
        headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
        given = {name.lower(): value for name, value in headers}
        page = given.get(b"content-type", b"").startswith(b"text/html")
        headers += _ALWAYS
        headers.append((b"content-security-policy", (_PAGE_POLICY if page else _DATA_POLICY).encode()))
        if b"cache-control" not in given:
            headers.append((b"cache-control", b"no-store"))
        if (self._settings.origin or "").startswith("https:"):
            headers.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))
        if scope["path"].startswith(_OPEN_DATA):
            headers.append((b"access-control-allow-origin", b"*"))
            if message["status"] < HTTPStatus.BAD_REQUEST:
                headers.append((b"api-version", API_VERSION))
        else:
            headers.append((b"cross-origin-resource-policy", b"same-origin"))
        return headers


def _check_body(scope: Scope, *, may_have_body: bool) -> None:
    """A body only where the table has one, and its size before a byte of it is read."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    closing = {"Connection": "close"}
    if not may_have_body and (chunked or any(value.strip(b"0") for value in lengths)):
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "A question has no body here.", headers=closing)
    if chunked:
        raise Problem(HTTPStatus.LENGTH_REQUIRED, "Say how long the body is, in Content-Length.", headers=closing)
    if any(not value.isdigit() or len(value) > 9 or int(value) > BODY_BYTES_MAX for value in lengths):  # noqa: PLR2004 - digits
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has at most {BODY_BYTES_MAX} bytes.", headers=closing
        )


def _unknown_method() -> Problem:
    return Problem(
        HTTPStatus.METHOD_NOT_ALLOWED, "There is nothing at this address.", headers={"Allow": "GET, HEAD, OPTIONS"}
    )
