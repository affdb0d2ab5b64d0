"""The way to an OpenID provider and back: what must come back travels sealed in the browser's own cookie.

No row is written for whoever only begins.
"""

import json
import logging
import secrets
from dataclasses import asdict
from http import HTTPStatus
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from lichtmast.api.access import cookies, limits
from lichtmast.api.access.answers import refusal
from lichtmast.api.access.cookies import Jar
from lichtmast.api.access.openid import Identity, OpenIdError, OpenIdProvider, Round, new_round
from lichtmast.api.access.pages import PeoplePages, fault_text, language_of, own_path
from lichtmast.api.access.parts import Parts, source_of
from lichtmast.api.access.routes import Routes
from lichtmast.api.access.sign_in_pages import ACCOUNT, SignInPages
from lichtmast.api.access.texts import PEOPLE_TEXTS
from lichtmast.api.problem import absent
from lichtmast.api.protection import origin_of
from lichtmast.registry.people import SignInAnswer, SignInRefused

_log = logging.getLogger(__name__)

CALLBACK: Final = "/sign-in/openid/callback"
_NONCE_BYTES: Final = 12


class OpenIdPages:
    """One method an address. `provider` is None where the operator has none."""

    def __init__(self, parts: Parts, pages: PeoplePages, sign_in: SignInPages, provider: OpenIdProvider | None) -> None:
        self._parts = parts
        self._pages = pages
        self._sign_in = sign_in
        self._provider = provider
        # Of this process alone: a restart ends the trips that are under way.
        self._cipher = AESGCM(AESGCM.generate_key(256))

    def routes(self) -> Routes:
        """What is answered where."""
        return [("GET", "/sign-in/openid", self.leave), ("GET", CALLBACK, self.come_back)]

    async def leave(self, request: Request) -> Response:
        """To the provider."""
        provider = self._required()
        trip = new_round(own_path(request.query_params.get("next"), ACCOUNT), self._parts.clock_us())
        try:
            address = await provider.address(trip, self._redirect_uri(request))
        except OpenIdError as error:
            return self._failed(request, error)
        response = RedirectResponse(address, HTTPStatus.SEE_OTHER)
        secure = self._parts.secure(request)
        cookies.put(response, Jar.OPENID, self._sealed(trip), secure=secure, life_s=limits.OPENID_ROUND_S)
        return response

    async def come_back(self, request: Request) -> Response:
        """From the provider, with a code or an error."""
        provider, secure = self._required(), self._parts.secure(request)
        trip = self._unsealed(cookies.read(request, Jar.OPENID, secure=secure) or "")
        if trip is None:
            return self._failed(request, OpenIdError("this browser has no trip under way"))
        try:
            identity = await provider.identity(dict(request.query_params), trip, self._redirect_uri(request))
        except OpenIdError as error:
            return self._failed(request, error)
        visit = self._parts.visit(request)

        def work(found: Identity = identity) -> SignInAnswer:
            return self._parts.people.sign_in.with_openid(
                found.issuer, found.subject, found.email, strong=found.strong, visit=visit
            )

        answer = await self._parts.lookups.run(work)
        if isinstance(answer, SignInRefused):
            refusal(answer, visit)
            response = self._told(request, *fault_text(answer, language_of(request)))
        else:
            response = self._sign_in.go_on(request, answer, {"next": trip.next})
        cookies.drop(response, Jar.OPENID, secure=secure)
        return response

    def _required(self) -> OpenIdProvider:
        if self._provider is None:
            raise absent("Signing in through an organisation is not set up here.")
        return self._provider

    def _redirect_uri(self, request: Request) -> str:
        return origin_of(request.scope, self._parts.settings) + CALLBACK

    def _failed(self, request: Request, error: OpenIdError) -> Response:
        _log.warning("openid_sign_in_refused reason=%s source=%s", error, source_of(request))
        text = PEOPLE_TEXTS[language_of(request)]["openid_failed"]
        response = self._told(request, text, HTTPStatus.UNAUTHORIZED)
        cookies.drop(response, Jar.OPENID, secure=self._parts.secure(request))
        return response

    def _told(self, request: Request, text: str, status: int) -> Response:
        return self._pages.page(
            "sign-in.html",
            language_of(request),
            status=status,
            fault=text,
            login="",
            next=ACCOUNT,
            openid=True,
        )

    def _sealed(self, trip: Round) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return (nonce + self._cipher.encrypt(nonce, json.dumps(asdict(trip)).encode(), b"trip")).hex()

    def _unsealed(self, text: str) -> Round | None:
        try:
            sealed = bytes.fromhex(text)
            return Round(**json.loads(self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], b"trip")))
        except (InvalidTag, ValueError):
            return None
