"""One's own account over JSON: `/v1/account`. Everything that changes how one signs in needs a recent sign-in."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import cookies
from lichtmast.api.access.answers import run
from lichtmast.api.access.caller import caller_of
from lichtmast.api.access.cookies import Jar
from lichtmast.api.access.documents import (
    CodeDocument,
    PasskeyDocument,
    PasswordDocument,
    TokenDocument,
    account_json,
    answer,
    document_of,
    session_json,
    time_text,
    token_json,
)
from lichtmast.api.access.parts import Parts, bearer_of, recent_bearer_of
from lichtmast.api.access.routes import Routes, number_of
from lichtmast.registry.people.limits import SESSION_LIFE_S


class AccountRoutes:
    """One method an address."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._book = parts.people.credentials

    def routes(self) -> Routes:
        """What is answered where."""
        return [
            ("GET", "/v1/account", self.show),
            ("PUT", "/v1/account/password", self.change_password),
            ("POST", "/v1/account/totp", self.offer_totp),
            ("POST", "/v1/account/totp/confirmation", self.confirm_totp),
            ("DELETE", "/v1/account/totp", self.remove_totp),
            ("POST", "/v1/account/recovery-codes", self.make_recovery_codes),
            ("POST", "/v1/account/passkey-challenge", self.ask_passkey),
            ("GET", "/v1/account/passkeys", self.list_passkeys),
            ("POST", "/v1/account/passkeys", self.add_passkey),
            ("DELETE", "/v1/account/passkeys/{passkey_id}", self.remove_passkey),
            ("GET", "/v1/account/sessions", self.list_sessions),
            ("DELETE", "/v1/account/sessions", self.end_sessions),
            ("DELETE", "/v1/account/sessions/{session_id}", self.end_session),
            ("GET", "/v1/account/tokens", self.list_tokens),
            ("POST", "/v1/account/tokens", self.add_token),
            ("DELETE", "/v1/account/tokens/{token_id}", self.end_token),
        ]

    async def show(self, request: Request) -> Response:
        """The account, and what it signs in with."""
        caller = await caller_of(request)
        found = await run(self._parts.lookups, self._book.account, caller.account_id)
        more = {"hasTotp": found.has_totp, "passkeys": found.passkeys, "recoveryCodes": found.recovery_codes}
        return answer({**account_json(found), **more})

    async def change_password(self, request: Request) -> Response:
        """A new password; all sessions end, and this one begins anew."""
        bearer = await recent_bearer_of(request)
        document = await document_of(request, PasswordDocument)
        visit = self._parts.visit(request)
        secret = await run(
            self._parts.sign_in, self._book.change_password, bearer, document.current, document.new, visit
        )
        return self._renewed(request, secret)

    async def offer_totp(self, request: Request) -> Response:
        """A seed for an authenticator, not in force yet."""
        bearer = await recent_bearer_of(request)
        offer = await run(self._parts.lookups, self._book.offer_totp, bearer, self._parts.visit(request))
        body = {"offer": offer.ticket, "secret": offer.seed, "otpauthUri": offer.otpauth, "qrSvg": offer.qr_svg()}
        return answer(body, HTTPStatus.CREATED)

    async def confirm_totp(self, request: Request) -> Response:
        """A code of the seed puts it in force."""
        bearer = await recent_bearer_of(request)
        document = await document_of(request, CodeDocument)
        visit = self._parts.visit(request)
        secret = await run(self._parts.lookups, self._book.confirm_totp, bearer, document.offer, document.code, visit)
        return self._renewed(request, secret)

    async def remove_totp(self, request: Request) -> Response:
        """Forget the authenticator."""
        bearer = await recent_bearer_of(request)
        return self._renewed(
            request, await run(self._parts.lookups, self._book.remove_totp, bearer, self._parts.visit(request))
        )

    async def make_recovery_codes(self, request: Request) -> Response:
        """New codes; the earlier ones end."""
        bearer = await recent_bearer_of(request)
        codes = await run(self._parts.lookups, self._book.new_recovery_codes, bearer, self._parts.visit(request))
        return answer({"codes": codes}, HTTPStatus.CREATED)

    async def ask_passkey(self, request: Request) -> Response:
        """The question for a new passkey."""
        bearer, party = await recent_bearer_of(request), self._parts.party(request)
        visit = self._parts.visit(request)
        ticket, question = await run(self._parts.lookups, self._book.begin_passkey, bearer, party, visit)
        return answer({"challenge": ticket, "publicKey": question}, HTTPStatus.CREATED)

    async def list_passkeys(self, request: Request) -> Response:
        """One's passkeys."""
        found = await run(self._parts.lookups, self._book.passkeys, (await caller_of(request)).account_id)
        rows = [
            {
                "id": one.id,
                "name": one.name,
                "createdAt": time_text(one.created_at_us),
                "usedAt": time_text(one.used_at_us),
            }
            for one in found
        ]
        return answer({"value": rows})

    async def add_passkey(self, request: Request) -> Response:
        """Keep the browser's answer."""
        bearer = await recent_bearer_of(request)
        document = await document_of(request, PasskeyDocument)
        secret = await run(
            self._parts.lookups,
            self._book.add_passkey,
            bearer,
            document.challenge,
            document.credential,
            document.name,
            self._parts.party(request),
            self._parts.visit(request),
        )
        return self._renewed(request, secret)

    async def remove_passkey(self, request: Request) -> Response:
        """Forget one."""
        bearer, number = await recent_bearer_of(request), number_of(request, "passkey_id")
        visit = self._parts.visit(request)
        return self._renewed(request, await run(self._parts.lookups, self._book.remove_passkey, bearer, number, visit))

    async def list_sessions(self, request: Request) -> Response:
        """Where one is signed in."""
        caller = await caller_of(request)
        found = await run(self._parts.lookups, self._book.sessions, caller.account_id, self._parts.clock_us())
        return answer({"value": [session_json(one, caller.session_id) for one in found]})

    async def end_sessions(self, request: Request) -> Response:
        """Sign out everywhere."""
        bearer = await bearer_of(request)
        await run(self._parts.lookups, self._book.end_all_sessions, bearer, self._parts.visit(request))
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        cookies.drop(response, Jar.SESSION, secure=self._parts.secure(request))
        return response

    async def end_session(self, request: Request) -> Response:
        """Sign out somewhere else."""
        bearer, number = await bearer_of(request), number_of(request, "session_id")
        await run(self._parts.lookups, self._book.end_session, bearer, number, self._parts.visit(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def list_tokens(self, request: Request) -> Response:
        """One's API tokens."""
        caller = await caller_of(request)
        found = await run(self._parts.lookups, self._book.tokens, caller.account_id, self._parts.clock_us())
        return answer({"value": [token_json(one) for one in found]})

    async def add_token(self, request: Request) -> Response:
        """A token, told this once."""
        bearer = await recent_bearer_of(request)
        document = await document_of(request, TokenDocument)
        grants = [one.grant() for one in document.grants]
        until_us = int(document.until.timestamp()) * 1_000_000
        text, token = await run(
            self._parts.lookups,
            self._book.add_token,
            bearer,
            document.name,
            grants,
            until_us,
            self._parts.visit(request),
        )
        return answer({"token": text, **token_json(token)}, HTTPStatus.CREATED)

    async def end_token(self, request: Request) -> Response:
        """End a token: also from an old session, because that must always be possible."""
        bearer, number = await bearer_of(request), number_of(request, "token_id")
        await run(self._parts.lookups, self._book.end_token, bearer, number, self._parts.visit(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _renewed(self, request: Request, secret: str) -> Response:
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        cookies.put(response, Jar.SESSION, secret, secure=self._parts.secure(request), life_s=SESSION_LIFE_S)
        return response
