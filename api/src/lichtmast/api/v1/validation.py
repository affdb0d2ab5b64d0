"""The rules of validation: what is believable, who said so, and what other rules would have flagged.

They hold for every municipality of the register, so whoever changes them needs the role in each.
"""

import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lichtmast.api.access import Caller, caller_of
from lichtmast.api.access.need import Need, Needs
from lichtmast.api.problem import Problem, absent, unsupported
from lichtmast.api.times import iso
from lichtmast.api.v1.ground import Ground
from lichtmast.api.v1.needs import READERS, STEWARDS
from lichtmast.api.v1.reading import NOWHERE, Asked, Page, number_in, read_body, read_query
from lichtmast.api.v1.views import View, answer, etag_of
from lichtmast.registry import ConflictError, UnknownRecordError
from lichtmast.registry.limits import (
    VALIDATION_NOTE_CHARACTERS_MAX,
    VALIDATION_TRIAL_DAYS_DEFAULT,
    VALIDATION_TRIAL_DAYS_MAX,
)
from lichtmast.registry.people import Role
from lichtmast.registry.validation import RulesVersion
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.validation import ValidationRulesError, spelled

RULES: Final = "/v1/validation-rules"
TRIERS: Final = (Role.MANAGER,)

NEEDS: Final[Needs] = {
    ("GET", RULES): Need.of(*READERS),
    ("PUT", RULES): Need.of(*STEWARDS),
    ("GET", f"{RULES}/versions"): Need.of(*READERS),
    ("GET", f"{RULES}/versions/{{version}}"): Need.of(*READERS),
    ("POST", f"{RULES}/trials"): Need.of(*TRIERS),
}

Document = dict[str, Any]
"""As in a file of rules: docs/reference/validation.md."""


class RulesAsked(Asked):
    """A whole document, on top of the version that its writer had before his eyes."""

    based_on: Annotated[int, Field(ge=0)]
    note: Annotated[str, Field(min_length=1, max_length=VALIDATION_NOTE_CHARACTERS_MAX)]
    document: Document


class TrialAsked(Asked):
    """A document to hold against what is stored."""

    document: Document
    days: Annotated[float, Field(gt=0, le=VALIDATION_TRIAL_DAYS_MAX)] = VALIDATION_TRIAL_DAYS_DEFAULT


class Validation:
    """One method a route."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._book = ground.registry.validation
        self._trying = threading.Lock()

    async def show(self, request: Request) -> Response:
        """GET /v1/validation-rules: the document that holds, and what it makes of each profile."""
        await caller_of(request)
        read_query(request, Asked)
        view = await self._ground.workers.run(self._show_now)
        return answer(view, ETag=etag_of(view))

    def _show_now(self) -> View:
        rules = self._book.current()
        newest = self._book.version(rules.version)
        told: View = {"version": 0, "document": {}} if newest is None else _view(newest)
        return told | {"profiles": {key: spelled(rules, profile) for key, profile in load_profiles().items()}}

    async def put(self, request: Request) -> Response:
        """PUT /v1/validation-rules: make a document the next version. It holds within a second."""
        caller, asked = await caller_of(request), await read_body(request, RulesAsked)
        return answer(await self._ground.workers.run(self._put_now, caller, asked))

    def _put_now(self, caller: Caller, asked: RulesAsked) -> View:
        self._require_everywhere(caller, STEWARDS)
        try:
            rules = self._book.put(
                asked.document,
                asked.note,
                by=caller.actor,
                at_us=self._ground.clock_us(),
                based_on=asked.based_on,
            )
        except (ConflictError, UnknownRecordError) as error:
            raise Problem(HTTPStatus.CONFLICT, _sentence(error), reason="conflict") from error
        except ValueError as error:
            raise _refused(error) from error
        put = self._book.version(rules.version)
        return {"version": 0, "document": {}} if put is None else _view(put)

    async def versions(self, request: Request) -> Response:
        """GET /v1/validation-rules/versions: the newest first, without their documents."""
        await caller_of(request)
        asked = read_query(request, Page)
        found = await self._ground.workers.run(self._book.history, asked.limit, asked.after)
        items = [{name: value for name, value in _view(one).items() if name != "document"} for one in found]
        return answer({"items": items, "nextAfter": found[-1].version if len(found) == asked.limit else None})

    async def version(self, request: Request) -> Response:
        """GET /v1/validation-rules/versions/{version}."""
        await caller_of(request)
        found = await self._ground.workers.run(self._book.version, number_in(request, "version"))
        if found is None:
            raise absent(NOWHERE)
        return answer(_view(found))

    async def try_out(self, request: Request) -> Response:
        """POST /v1/validation-rules/trials: what a document would have flagged, one trial at a time."""
        caller, asked = await caller_of(request), await read_body(request, TrialAsked)
        return answer(await self._ground.workers.run(self._try_now, caller, asked))

    def _try_now(self, caller: Caller, asked: TrialAsked) -> View:
        self._require_everywhere(caller, TRIERS)
        if not self._trying.acquire(blocking=False):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Other rules are being tried; one trial runs at a time.",
                headers={"Retry-After": "30"},
            )
        try:
            if self._ground.try_rules is None:
                raise unsupported("This server has no history on which rules could be tried.")
            return dict(self._ground.try_rules(self._book.draft(asked.document), asked.days))
        except ValidationRulesError as error:
            raise _refused(error) from error
        finally:
            self._trying.release()

    def routes(self) -> list[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Method, path and endpoint of each route."""
        return [
            ("GET", RULES, self.show),
            ("PUT", RULES, self.put),
            ("GET", f"{RULES}/versions", self.versions),
            ("GET", f"{RULES}/versions/{{version}}", self.version),
            ("POST", f"{RULES}/trials", self.try_out),
        ]

    def _require_everywhere(self, caller: Caller, roles: tuple[Role, ...]) -> None:
        """One of the roles in every municipality of the register. Raises a 403 Problem."""
        where = caller.tenants(roles)
        if where is not None and not where.issuperset(one.code for one in self._ground.registry.tenants()):
            wanted = " or ".join(sorted(roles))
            raise Problem(
                HTTPStatus.FORBIDDEN, f"These rules hold for every municipality here: be {wanted} in each of them."
            )


def _view(one: RulesVersion) -> View:
    return {
        "version": one.version,
        "document": one.document,
        "note": one.note,
        "by": one.by.name,
        "at": iso(one.at_us),
    }


def _refused(error: ValueError) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, _sentence(error), reason="rules")


def _sentence(error: Exception) -> str:
    """Our own errors alone: their words are made to be read."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
