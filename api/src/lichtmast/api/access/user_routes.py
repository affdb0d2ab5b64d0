"""Whom an admin lets in: `/v1/users`. An admin of one tenant neither sees nor changes what another tenant gave.

Taking somebody's credentials gives power over all that they may: that needs an admin of every tenant they have a role
in.
"""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access.answers import run
from lichtmast.api.access.caller import Caller, caller_of
from lichtmast.api.access.documents import (
    BindingDocument,
    GrantDocument,
    InvitationDocument,
    account_json,
    answer,
    document_of,
    time_text,
)
from lichtmast.api.access.parts import Parts, recent_bearer_of
from lichtmast.api.access.routes import Routes, number_of
from lichtmast.api.problem import absent
from lichtmast.registry.people import Account, Role
from lichtmast.registry.people.limits import LINK_S

_ADMIN = frozenset({Role.ADMIN})


class UserRoutes:
    """One method an address."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._book = parts.people

    def routes(self) -> Routes:
        """What is answered where."""
        return [
            ("GET", "/v1/users", self.list),
            ("POST", "/v1/users", self.invite),
            ("GET", "/v1/users/{user_id}", self.show),
            ("POST", "/v1/users/{user_id}/grants", self.grant),
            ("DELETE", "/v1/users/{user_id}/grants/{grant_id}", self.revoke),
            ("POST", "/v1/users/{user_id}/reset", self.reset),
            ("POST", "/v1/users/{user_id}/suspension", self.suspend),
            ("DELETE", "/v1/users/{user_id}/suspension", self.resume),
            ("PUT", "/v1/users/{user_id}/openid-binding", self.bind),
        ]

    async def list(self, request: Request) -> Response:
        """Everybody who has a role in a tenant of the caller's."""
        caller = await caller_of(request)
        found = await run(self._parts.lookups, self._book.accounts)
        return answer({"value": [_seen_by(caller, one) for one in found if _knows(caller, one)]})

    async def show(self, request: Request) -> Response:
        """One of them."""
        caller = await caller_of(request)
        return answer(_seen_by(caller, await self._known(request, caller)))

    async def invite(self, request: Request) -> Response:
        """Somebody new, with a first grant; the answer has the secret of their link, told this once."""
        caller = await caller_of(request)
        await recent_or_token(request, caller)
        document = await document_of(request, InvitationDocument)
        grant = document.grant()
        caller.require(_ADMIN, grant.tenant)
        now_us = self._parts.clock_us()

        def work() -> tuple[Account, str | None]:
            return self._book.invite(document.login, document.name, grant, by=caller.actor, at_us=now_us)

        account, link = await run(self._parts.lookups, work)
        return answer({**_seen_by(caller, account), **_link_json(link, now_us)}, HTTPStatus.CREATED)

    async def grant(self, request: Request) -> Response:
        """Another role for somebody."""
        caller = await caller_of(request)
        await recent_or_token(request, caller)
        grant = (await document_of(request, GrantDocument)).grant()
        caller.require(_ADMIN, grant.tenant)
        account = await self._known(request, caller)
        now_us = self._parts.clock_us()

        def work() -> Account:
            self._book.grant(account.id, grant, by=caller.actor, at_us=now_us)
            return self._book.account_by_id(account.id)

        return answer(_seen_by(caller, await run(self._parts.lookups, work)), HTTPStatus.CREATED)

    async def revoke(self, request: Request) -> Response:
        """Take a role; their sessions end."""
        caller = await caller_of(request)
        await recent_or_token(request, caller)
        account, number = await self._known(request, caller), number_of(request, "grant_id")
        held = next((one.grant for one in account.held if one.id == number), None)
        if held is None or not caller.may(_ADMIN, held.tenant):
            raise absent("There is no such grant, or not for you.")
        now_us = self._parts.clock_us()
        await run(self._parts.lookups, lambda: self._book.revoke(account.id, number, by=caller.actor, at_us=now_us))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def reset(self, request: Request) -> Response:
        """Take all of somebody's credentials, sessions and tokens; the answer has the secret of their new link."""
        caller, account = await self._owned(request)
        now_us = self._parts.clock_us()
        link = await run(self._parts.lookups, lambda: self._book.reset(account.id, by=caller.actor, at_us=now_us))
        return answer(_link_json(link, now_us), HTTPStatus.CREATED)

    async def suspend(self, request: Request) -> Response:
        """Let somebody in no longer, at once."""
        return await self._set_active(request, active=False)

    async def resume(self, request: Request) -> Response:
        """Let them in again."""
        return await self._set_active(request, active=True)

    async def _set_active(self, request: Request, *, active: bool) -> Response:
        caller, account = await self._owned(request)
        now_us = self._parts.clock_us()
        await run(
            self._parts.lookups,
            lambda: self._book.set_active(account.id, active=active, by=caller.actor, at_us=now_us),
        )
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def bind(self, request: Request) -> Response:
        """Say who somebody is at an OpenID provider."""
        document = await document_of(request, BindingDocument)
        caller, account = await self._owned(request)
        now_us = self._parts.clock_us()
        await run(
            self._parts.lookups,
            lambda: self._book.bind_openid(
                account.id, document.issuer, document.subject, by=caller.actor, at_us=now_us
            ),
        )
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _known(self, request: Request, caller: Caller) -> Account:
        """Somebody whom the caller may see. Raises a 404 Problem."""
        account = await run(self._parts.lookups, self._book.account_by_id, number_of(request, "user_id"))
        if not _knows(caller, account):
            raise absent("There is no such account.")
        return account

    async def _owned(self, request: Request) -> tuple[Caller, Account]:
        """Somebody all of whose roles the caller could give. Raises a Problem."""
        caller = await caller_of(request)
        await recent_or_token(request, caller)
        account = await self._known(request, caller)
        for tenant in {one.tenant for one in account.grants}:
            if not caller.may(_ADMIN, tenant):
                raise absent(
                    "Another tenant has given this account a role; its admins, or an admin of all, can do this."
                )
        return caller, account


async def recent_or_token(request: Request, caller: Caller) -> None:
    """People sign in again before they let others in; a token was made for it."""
    if caller.session_id is not None:
        await recent_bearer_of(request)


def _knows(caller: Caller, account: Account) -> bool:
    return any(caller.may(_ADMIN, one.tenant) for one in account.grants)


def _seen_by(caller: Caller, account: Account) -> dict[str, object]:
    """An account with those of its grants that the caller could give."""
    seen = account_json(account)
    theirs = {one.id for one in account.held if caller.may(_ADMIN, one.grant.tenant)}
    seen["grants"] = [one for one in seen["grants"] if one["id"] in theirs]
    return seen


def _link_json(link: str | None, now_us: int) -> dict[str, object]:
    if link is None:
        return {}
    return {"link": f"/invitation#{link}", "code": link, "until": time_text(now_us + LINK_S * 1_000_000)}
