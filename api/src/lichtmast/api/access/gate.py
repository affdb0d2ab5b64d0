"""The gate in front of every route: finds the row of the table, who asks, and refuses before any handler runs.

What a handler is about is the handler's to check (`Caller.require`); that somebody may be here at all is decided here.
"""

import logging
import re
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lichtmast.api.access import cookies, limits
from lichtmast.api.access.caller import Caller, unauthorised
from lichtmast.api.access.cookies import Jar
from lichtmast.api.access.need import Kind, Need
from lichtmast.api.access.parts import Parts, source_of
from lichtmast.api.access.table import Table, is_open
from lichtmast.api.limits import REGISTRY_BUSY_RETRY_S
from lichtmast.api.problem import Problem, malformed, problem_response
from lichtmast.api.protection import origin_of
from lichtmast.api.refusal_log import RefusalLog, note_attempt
from lichtmast.registry import RegistryBusyError
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.people import Bearer, Strength
from lichtmast.registry.people.limits import RECENT_S

_log = logging.getLogger(__name__)

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN_NAMES: Final = frozenset(
    {"access_token", "accesstoken", "token", "api_key", "apikey", "authorization", "bearer"}
)
_TOKEN: Final = re.compile(r"lm_[0-9a-f]{8}_.*", re.DOTALL)


class Gate:
    """An ASGI layer. `parts` is None where nobody can sign in: then only what is public is open."""

    def __init__(self, app: ASGIApp, *, table: Table, parts: Parts | None, attempts: RefusalLog) -> None:
        self._app = app
        self._attempts = attempts
        self._table = table
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._admit(scope)
        except Problem as problem:
            note_attempt(self._attempts, problem, scope)
            _log.info(
                "request_refused status=%d method=%s path=%s source=%s",
                problem.status,
                scope["method"],
                scope["path"][:100],
                source_of(Request(scope)),
            )
            await _answer(problem, scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        request = Request(scope)
        _refuse_token_in_query(request)
        row = self._table.find(scope["path"])
        if row is None:
            raise Problem(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
        need = row.need(scope["method"])
        if need is None:
            raise row.wrong_method()
        caller, by_cookie = await self._caller(request, need)
        scope["lichtmast.caller"] = caller
        if scope["method"] not in _SAFE and (by_cookie or "authorization" not in request.headers):
            self._require_own_site(request, strict=by_cookie or need.kind is Kind.OWN_CHECK)
        if not is_open(need):
            _require(caller, need)

    async def _caller(self, request: Request, need: Need) -> tuple[Caller | None, bool]:
        """Who asks, and whether by cookie. A token that is wrong is a 401 even where anybody may ask.

        Where anybody may, a cookie is not looked at: open data costs no read of the register.
        """
        if self._parts is None:
            return None, False
        given = request.headers.getlist("authorization")
        if given:
            scheme, _, secret = given[0].partition(" ")
            if len(given) > 1 or scheme.lower() != "bearer" or not _TOKEN.fullmatch(secret):
                raise unauthorised("The Authorization header is not one bearer token of this site.")
            bearer = await self._bearer(secret)
            if bearer is None:
                raise unauthorised("This token has ended, or never was.")
            return self._as_caller(bearer, request), False
        if need is Need.PUBLIC:
            return None, False
        secure = self._parts.secure(request)
        secret = cookies.read(request, Jar.SESSION, secure=secure) or ""
        if not secret or _TOKEN.fullmatch(secret):
            return None, False
        bearer = await self._bearer(secret)
        return (None, False) if bearer is None else (self._as_caller(bearer, request), True)

    async def _bearer(self, secret: str) -> Bearer | None:
        if self._parts is None or len(secret) > limits.CREDENTIAL_CHARACTERS_MAX:
            return None
        try:
            return await self._parts.lookups.run(self._parts.people.bearer, secret, self._parts.clock_us())
        except RegistryBusyError as error:
            retry = {"Retry-After": str(REGISTRY_BUSY_RETRY_S)}
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "The register is busy; ask again later.", headers=retry
            ) from error

    def _as_caller(self, bearer: Bearer, request: Request) -> Caller:
        token = bearer.session_id is None
        now_us = 0 if self._parts is None else self._parts.clock_us()
        name = f"{bearer.login} {bearer.token_prefix}" if token else bearer.login
        return Caller(
            actor=Actor(ActorKind.TOKEN if token else ActorKind.USER, name, source_of(request)),
            grants=bearer.grants,
            account_id=bearer.account_id,
            login=bearer.login,
            name=bearer.name,
            session_id=bearer.session_id,
            recent=not token and now_us - bearer.signed_in_at_us < RECENT_S * 1_000_000,
            limited=bearer.strength is Strength.PASSWORD,
        )

    def _require_own_site(self, request: Request, *, strict: bool) -> None:
        """Refuse what another site's page sends with this site's cookie (OWASP: verify origin, fetch metadata).

        Browsers send Sec-Fetch-Site themselves and no script can set it; it decides where it is there, because a form
        of a page without referrer has no usable Origin. Programs send neither, and carry no cookie.
        """
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        if site is not None:
            ours = site == "same-origin"
        elif origin is not None:
            ours = self._parts is not None and origin == origin_of(request.scope, self._parts.settings)
        else:
            ours = not strict or "cookie" not in request.headers
        if not ours:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "This came from another site's page; nothing was done. Open the page on this site and do it there.",
                attempt="other_site",
            )


def _answer(problem: Problem, scope: Scope) -> Response:
    """A problem; to people who have to sign in, the way there."""
    wants_page = "text/html" in Request(scope).headers.get("accept", "")
    if problem.status == HTTPStatus.UNAUTHORIZED and wants_page and scope["method"] == "GET":
        return RedirectResponse("/sign-in?" + urlencode({"next": scope["path"]}), HTTPStatus.SEE_OTHER)
    return problem_response(problem)


def _require(caller: Caller | None, need: Need) -> None:
    if caller is None:
        raise unauthorised("Sign in first, or send an API token in the Authorization header.")
    if need.kind is Kind.ROLES and not any(one.role in need.roles for one in caller.grants):
        raise caller.refusal(need.roles)


def _refuse_token_in_query(request: Request) -> None:
    """Addresses end up in logs and histories: a token there is given away (RFC 6750 section 5.3, OAuth NL)."""
    query = request.scope["query_string"].decode("latin-1")
    if not query:
        return
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _TOKEN_NAMES or _TOKEN.fullmatch(value):
            _log.warning("token_in_query_refused path=%s source=%s", request.scope["path"][:100], source_of(request))
            raise malformed(
                "A token belongs in the Authorization header, never in an address: addresses are logged. "
                "If this one was real, end it now."
            )
