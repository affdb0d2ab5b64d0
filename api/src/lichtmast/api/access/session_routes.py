"""Signing in and out for programs and scripts: `/v1/session`."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import cookies
from lichtmast.api.access.answers import refusal, run
from lichtmast.api.access.caller import Caller, caller_of, found_caller
from lichtmast.api.access.cookies import Jar
from lichtmast.api.access.documents import PasskeyDocument, SignInDocument, answer, document_of, grant_json
from lichtmast.api.access.parts import Parts, bearer_of
from lichtmast.api.access.routes import Routes
from lichtmast.api.problem import Problem
from lichtmast.registry.people import CodeNeeded, SignInAnswer, SignInRefused, Visit
from lichtmast.registry.people.limits import SESSION_LIFE_S


class SessionRoutes:
    """One method an address."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> Routes:
        """What is answered where."""
        return [
            ("POST", "/v1/session", self.begin),
            ("GET", "/v1/session", self.show),
            ("DELETE", "/v1/session", self.end),
            ("POST", "/v1/session/passkey-challenge", self.ask_passkey),
            ("POST", "/v1/session/passkey", self.begin_by_passkey),
        ]

    async def begin(self, request: Request) -> Response:
        """Sign in by password, and code."""
        document = await document_of(request, SignInDocument)
        visit = self._parts.visit(request)
        found = await run(
            self._parts.sign_in,
            self._parts.people.sign_in.with_password,
            document.login,
            document.password,
            document.code,
            visit,
        )
        return self._begun(request, found)

    async def ask_passkey(self, request: Request) -> Response:
        """The question for the browser's passkeys."""
        visit, party = self._parts.visit(request), self._parts.party(request)
        self._knock(visit)
        ticket, question = self._parts.people.sign_in.begin_passkey(party, visit)  # reads and writes nothing
        return answer({"challenge": ticket, "publicKey": question}, HTTPStatus.CREATED)

    async def begin_by_passkey(self, request: Request) -> Response:
        """Sign in by the browser's answer."""
        document = await document_of(request, PasskeyDocument)
        visit = self._parts.visit(request)
        self._knock(visit)
        found = await run(
            self._parts.passkeys,
            self._parts.people.sign_in.with_passkey,
            document.challenge,
            document.credential,
            self._parts.party(request),
            visit,
        )
        return self._begun(request, found)

    def _knock(self, visit: Visit) -> None:
        refused = self._parts.knock(visit)
        if refused is not None:
            raise refusal(refused, visit)

    def _begun(self, request: Request, found: SignInAnswer) -> Response:
        if isinstance(found, SignInRefused):
            raise refusal(found, self._parts.visit(request))
        if isinstance(found, CodeNeeded):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "This account has a second factor: send its code with login and password.",
                headers={"WWW-Authenticate": 'Bearer realm="lichtmast"'},
                reason="code_needed",
            )
        response = answer({"secondFactor": found.strength == "second_factor"}, HTTPStatus.CREATED)
        secure = self._parts.secure(request)
        cookies.put(response, Jar.SESSION, found.secret, secure=secure, life_s=SESSION_LIFE_S)
        return response

    async def show(self, request: Request) -> Response:
        """Who am I."""
        return answer(_caller_json(await caller_of(request)))

    async def end(self, request: Request) -> Response:
        """Sign out; fine where nobody was signed in."""
        caller = found_caller(request)
        if caller is not None and caller.session_id is not None:
            bearer = await bearer_of(request)
            visit = self._parts.visit(request)
            await run(
                self._parts.lookups,
                self._parts.people.credentials.end_session,
                bearer,
                caller.session_id,
                visit,
            )
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        cookies.drop(response, Jar.SESSION, secure=self._parts.secure(request))
        return response


def _caller_json(caller: Caller) -> dict[str, object]:
    return {
        "login": caller.login,
        "name": caller.name,
        "kind": caller.actor.kind,
        "secondFactor": not caller.limited,
        "grants": [grant_json(one) for one in caller.grants],
    }
