"""The pages on the way in: sign-in, code, first run, invitation. Plain forms; a script only fills and offers more."""

import logging
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import cookies
from lichtmast.api.access.answers import refusal
from lichtmast.api.access.caller import found_caller
from lichtmast.api.access.cookies import Jar
from lichtmast.api.access.pages import PeoplePages, fault_text, form_of, language_of, own_path, to
from lichtmast.api.access.parts import Parts, bearer_of
from lichtmast.api.access.routes import Routes
from lichtmast.api.access.texts import PEOPLE_TEXTS
from lichtmast.registry.people import (
    CodeNeeded,
    PeopleError,
    Purpose,
    SignedIn,
    SignInAnswer,
    SignInReason,
    SignInRefused,
)
from lichtmast.registry.people.limits import HALF_SIGN_IN_S, SESSION_LIFE_S

_log = logging.getLogger(__name__)
ACCOUNT = "/account"


class SignInPages:
    """One method an address."""

    def __init__(self, parts: Parts, pages: PeoplePages, *, openid: bool) -> None:
        self._parts = parts
        self._pages = pages
        self._openid = openid

    def routes(self) -> Routes:
        """What is answered where."""
        return [
            ("GET", "/sign-in", self.show),
            ("POST", "/sign-in", self.sign_in),
            ("GET", "/sign-in/code", self.show_code),
            ("POST", "/sign-in/code", self.enter_code),
            ("POST", "/sign-out", self.sign_out),
            ("GET", "/first-run", self.show_link),
            ("POST", "/first-run", self.follow_link),
            ("GET", "/invitation", self.show_link),
            ("POST", "/invitation", self.follow_link),
        ]

    async def show(self, request: Request) -> Response:
        """Login and password."""
        fault = PEOPLE_TEXTS[language_of(request)]["sign_in_again"] if "again" in request.query_params else ""
        return self._sign_in_page(request, {"next": request.query_params.get("next", "")}, fault)

    def _sign_in_page(
        self, request: Request, form: dict[str, str], fault: str = "", status: int = HTTPStatus.OK
    ) -> Response:
        return self._pages.page(
            "sign-in.html",
            language_of(request, form),
            status=status,
            fault=fault,
            login=form.get("login", ""),
            next=own_path(form.get("next"), ACCOUNT),
            openid=self._openid,
        )

    async def sign_in(self, request: Request) -> Response:
        """Login and password were given."""
        form = await form_of(request)
        work = self._parts.people.sign_in.with_password
        visit = self._parts.visit(request)
        found = await self._parts.sign_in.run(work, form.get("login", ""), form.get("password", ""), None, visit)
        if isinstance(found, SignInRefused):
            refusal(found, visit)
            return self._sign_in_page(request, form, *fault_text(found, language_of(request, form)))
        return self.go_on(request, found, form)

    def go_on(self, request: Request, found: SignedIn | CodeNeeded, form: dict[str, str]) -> Response:
        """To where they wanted, with a session; or to the code, with half of one."""
        language, secure = language_of(request, form), self._parts.secure(request)
        next_path = own_path(form.get("next"), ACCOUNT)
        if isinstance(found, CodeNeeded):
            response = to("/sign-in/code", language, next=next_path)
            cookies.put(response, Jar.CODE, found.ticket, secure=secure, life_s=HALF_SIGN_IN_S)
            return response
        response = to(next_path, language)
        cookies.put(response, Jar.SESSION, found.secret, secure=secure, life_s=SESSION_LIFE_S)
        cookies.drop(response, Jar.CODE, secure=secure)
        return response

    async def show_code(self, request: Request) -> Response:
        """The code."""
        return self._code_page(request, {"next": request.query_params.get("next", "")})

    def _code_page(
        self, request: Request, form: dict[str, str], fault: str = "", status: int = HTTPStatus.OK
    ) -> Response:
        next_path = own_path(form.get("next"), ACCOUNT)
        language = language_of(request, form)
        return self._pages.page("sign-in-code.html", language, status=status, fault=fault, next=next_path)

    async def enter_code(self, request: Request) -> Response:
        """The code was given."""
        form = await form_of(request)
        visit = self._parts.visit(request)
        ticket = cookies.read(request, Jar.CODE, secure=self._parts.secure(request)) or ""
        found: SignInAnswer = await self._parts.sign_in.run(
            self._parts.people.sign_in.with_code, ticket, form.get("code", ""), visit
        )
        if isinstance(found, SignInRefused):
            refusal(found, visit)
            text, status = fault_text(found, language_of(request, form))
            if found.reason is SignInReason.LINK_ENDED:
                return self._sign_in_page(request, form, text, status)
            return self._code_page(request, form, text, status)
        return self.go_on(request, found, form)

    async def sign_out(self, request: Request) -> Response:
        """End this session."""
        form = await form_of(request)
        caller = found_caller(request)
        if caller is not None and caller.session_id is not None:
            bearer, visit = await bearer_of(request), self._parts.visit(request)
            end = self._parts.people.credentials.end_session
            await self._parts.lookups.run(end, bearer, caller.session_id, visit)
        response = to("/", language_of(request, form))
        cookies.drop(response, Jar.SESSION, secure=self._parts.secure(request))
        return response

    # Links.

    async def show_link(self, request: Request) -> Response:
        """What a link opens: the secret is behind the #, where no server and no log sees it."""
        return self._link_page(request, {})

    def _link_page(
        self, request: Request, form: dict[str, str], fault: str = "", status: int = HTTPStatus.OK
    ) -> Response:
        return self._pages.page(
            "link.html",
            language_of(request, form),
            status=status,
            fault=fault,
            first_run=request.scope["path"] == "/first-run",
            action=request.scope["path"],
            form={name: form.get(name, "") for name in ("code", "login", "name")},
        )

    async def follow_link(self, request: Request) -> Response:
        """A password was chosen."""
        form = await form_of(request)
        visit, language = self._parts.visit(request), language_of(request, form)
        people = self._parts.people
        first_run = request.scope["path"] == "/first-run"

        def work() -> SignedIn | SignInRefused:
            link = people.link(form.get("code", ""), visit.at_us)
            if link is None or (link.purpose is Purpose.FIRST_RUN) is not first_run:
                return SignInRefused(SignInReason.LINK_ENDED)
            begun = people.follow(
                form.get("code", ""),
                form.get("password", ""),
                visit,
                login=form.get("login", ""),
                name=form.get("name", ""),
            )
            return begun or SignInRefused(SignInReason.LINK_ENDED)

        try:
            refused = self._parts.knock(visit)
            found = await self._parts.sign_in.run(work) if refused is None else refused
        except PeopleError as error:
            return self._link_page(request, form, str(error), HTTPStatus.BAD_REQUEST)
        if isinstance(found, SignInRefused):
            refusal(found, visit)
            return self._link_page(request, form, *fault_text(found, language))
        return self.go_on(request, found, {"lang": language})
