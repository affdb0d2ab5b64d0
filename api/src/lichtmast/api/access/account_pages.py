"""The page of one's own account, and the forms on it."""

from base64 import b64encode
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import cookies
from lichtmast.api.access.caller import Caller, caller_of
from lichtmast.api.access.cookies import Jar
from lichtmast.api.access.pages import PeoplePages, form_of, language_of, to
from lichtmast.api.access.parts import Parts, bearer_of
from lichtmast.api.access.routes import Routes
from lichtmast.api.access.texts import PEOPLE_TEXTS
from lichtmast.api.presentation import moment
from lichtmast.registry.people import Account, Grant, PeopleError, TotpOffer
from lichtmast.registry.people.limits import SESSION_LIFE_S
from lichtmast.registry.people.records import EVERY_TENANT


class AccountPages:
    """One method an address."""

    def __init__(self, parts: Parts, pages: PeoplePages) -> None:
        self._parts = parts
        self._pages = pages
        self._book = parts.people.credentials

    def routes(self) -> Routes:
        """What is answered where."""
        return [
            ("GET", "/account", self.show),
            ("POST", "/account/password", self.change_password),
            ("POST", "/account/totp", self.offer_totp),
            ("POST", "/account/totp/confirmation", self.confirm_totp),
            ("POST", "/account/recovery-codes", self.make_recovery_codes),
            ("POST", "/account/sessions/end", self.end_sessions),
        ]

    async def show(self, request: Request) -> Response:
        """The account."""
        done = request.query_params.get("done", "")
        return await self._page(request, {}, done=done if done in {"password_changed", "totp_added"} else "")

    async def _page(
        self,
        request: Request,
        form: dict[str, str],
        *,
        fault: str = "",
        done: str = "",
        offer: TotpOffer | None = None,
        codes: list[str] | None = None,
    ) -> Response:
        caller, language = await caller_of(request), language_of(request, form)
        now_us = self._parts.clock_us()

        def read() -> tuple[Account, list[dict[str, object]], list[str]]:
            account = self._book.account(caller.account_id)
            sessions: list[dict[str, object]] = [
                {
                    "created": moment(one.created_at_us, language).full,
                    "seen": moment(one.seen_at_us, language).full,
                    "source": one.source,
                    "here": one.id == caller.session_id,
                }
                for one in self._book.sessions(caller.account_id, now_us)
            ]
            return account, sessions, [one.name for one in self._book.passkeys(caller.account_id)]

        account, sessions, passkeys = await self._parts.lookups.run(read)
        qr = "" if offer is None else b64encode(offer.qr_svg().encode()).decode()
        return self._pages.page(
            "account.html",
            language,
            status=HTTPStatus.BAD_REQUEST if fault else HTTPStatus.OK,
            fault=fault,
            done=PEOPLE_TEXTS[language][done] if done else "",
            account=account,
            roles=[_role_text(one, caller, language) for one in account.grants],
            limited=caller.limited and account.needs_second_factor,
            sessions=sessions,
            passkeys=passkeys,
            offer=offer,
            qr=qr,
            codes=codes or [],
        )

    async def change_password(self, request: Request) -> Response:
        """The form with the new password."""
        form = await form_of(request)
        caller, visit = await caller_of(request), self._parts.visit(request)
        if not caller.recent:
            return _again(request, form)
        bearer = await bearer_of(request)
        current, new = form.get("current", ""), form.get("new", "")
        try:
            secret = await self._parts.sign_in.run(self._book.change_password, bearer, current, new, visit)
        except PeopleError as error:
            return await self._page(request, form, fault=str(error))
        return self._renewed(request, form, secret, "password_changed")

    async def offer_totp(self, request: Request) -> Response:
        """A new seed, shown with its QR code."""
        form = await form_of(request)
        if not (await caller_of(request)).recent:
            return _again(request, form)
        bearer, visit = await bearer_of(request), self._parts.visit(request)
        offer = await self._parts.lookups.run(self._book.offer_totp, bearer, visit)
        return await self._page(request, form, offer=offer)

    async def confirm_totp(self, request: Request) -> Response:
        """The code of the new seed."""
        form = await form_of(request)
        if not (await caller_of(request)).recent:
            return _again(request, form)
        bearer, visit = await bearer_of(request), self._parts.visit(request)
        ticket, code = form.get("offer", ""), form.get("code", "")
        try:
            secret = await self._parts.lookups.run(self._book.confirm_totp, bearer, ticket, code, visit)
        except PeopleError as error:
            offer = await self._parts.lookups.run(self._book.offered_totp, bearer, ticket, visit)
            return await self._page(request, form, fault=str(error), offer=offer)
        return self._renewed(request, form, secret, "totp_added")

    async def make_recovery_codes(self, request: Request) -> Response:
        """New codes, shown this once."""
        form = await form_of(request)
        if not (await caller_of(request)).recent:
            return _again(request, form)
        bearer, visit = await bearer_of(request), self._parts.visit(request)
        try:
            codes = await self._parts.lookups.run(self._book.new_recovery_codes, bearer, visit)
        except PeopleError as error:
            return await self._page(request, form, fault=str(error))
        return await self._page(request, form, codes=codes)

    async def end_sessions(self, request: Request) -> Response:
        """Sign out everywhere."""
        form = await form_of(request)
        bearer, visit = await bearer_of(request), self._parts.visit(request)
        await self._parts.lookups.run(self._book.end_all_sessions, bearer, visit)
        response = to("/sign-in", language_of(request, form))
        cookies.drop(response, Jar.SESSION, secure=self._parts.secure(request))
        return response

    def _renewed(self, request: Request, form: dict[str, str], secret: str, done: str) -> Response:
        response = to("/account", language_of(request, form), done=done)
        cookies.put(response, Jar.SESSION, secret, secure=self._parts.secure(request), life_s=SESSION_LIFE_S)
        return response


def _again(request: Request, form: dict[str, str]) -> Response:
    """To the sign-in page, and back here."""
    return to("/sign-in", language_of(request, form), next="/account", again="1")


def _role_text(grant: Grant, caller: Caller, language: str) -> dict[str, object]:
    texts = PEOPLE_TEXTS["en" if language == "en" else "nl"]
    parts = [texts["everywhere"] if grant.tenant == EVERY_TENANT else grant.tenant]
    if grant.area is not None:
        parts.append(texts["in_an_area"])
    if grant.until_us is not None:
        until = datetime.fromtimestamp(grant.until_us // 1_000_000, UTC)
        parts.append(texts["role_until"].format(time=f"{until:%Y-%m-%d %H:%M} UTC"))
    return {"name": texts[f"role_{grant.role.value}"], "where": ", ".join(parts), "counts": grant in caller.grants}
