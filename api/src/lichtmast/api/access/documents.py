"""What JSON requests about people hold, and how answers write accounts, grants, sessions and tokens.

Anything unknown, missing or of another type is a 400 that names every fault (Dutch API design rules): no field is
guessed, and none that is not here is taken.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lichtmast.api.problem import Problem, malformed
from lichtmast.registry.people import Account, Area, Grant, NotAcceptedError, Role, SessionRecord, TokenRecord

_Document = TypeVar("_Document", bound="Document")
_Short = Annotated[str, Field(max_length=400)]


class Document(BaseModel):
    """A request's body: camelCase outside, nothing besides."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=False, str_max_length=20_000)


class SignInDocument(Document):
    """By password, and a code where the account has a second factor."""

    login: _Short
    password: _Short
    code: _Short | None = None


class PasskeyDocument(Document):
    """What the browser made of the question that `challenge` names."""

    challenge: _Short
    credential: dict[str, Any]
    name: _Short = "Passkey"


class PasswordDocument(Document):
    """A new password for the current one."""

    current: _Short = ""
    new: _Short


class CodeDocument(Document):
    """A code of the authenticator that was offered."""

    offer: _Short
    code: _Short


class GrantDocument(Document):
    """A role in a tenant; `area` is west, south, east, north, or a polygon's corners, in CRS84."""

    tenant: _Short
    role: Role
    area: list[float] | list[list[float]] | None = None
    until: AwareDatetime | None = None

    def grant(self) -> Grant:
        """As the register takes it. Raises a Problem."""
        try:
            return Grant(self.tenant, self.role, _area(self.area), None if self.until is None else _us(self.until))
        except NotAcceptedError as error:
            raise malformed(str(error)) from error


class InvitationDocument(GrantDocument):
    """Somebody new, with their first grant."""

    login: _Short
    name: _Short


class TokenDocument(Document):
    """A token with some of the owner's grants."""

    name: _Short
    grants: list[GrantDocument] = Field(max_length=100)
    until: AwareDatetime


class BindingDocument(Document):
    """Who an account is at an OpenID provider."""

    issuer: _Short
    subject: _Short


async def document_of(request: Request, kind: type[_Document]) -> _Document:
    """The body as a document. Raises a Problem: 415 for another media type, 400 for what is wrong in it."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send application/json.")
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}" for one in error.errors()]
        raise malformed("; ".join(faults[:20])) from error


def answer(value: object, status: int = HTTPStatus.OK) -> Response:
    """JSON that nobody keeps."""
    return JSONResponse(value, status)


def time_text(at_us: int | None) -> str | None:
    """RFC 3339 in UTC."""
    if at_us is None:
        return None
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def grant_json(grant: Grant) -> dict[str, Any]:
    """A grant as answers write it."""
    area = None if grant.area is None else [list(one) for one in grant.area.corners]
    return {"tenant": grant.tenant, "role": grant.role, "area": area, "until": time_text(grant.until_us)}


def account_json(account: Account) -> dict[str, Any]:
    """An account as its admins see it, with all of its grants; the caller leaves out those that are not theirs."""
    return {
        "id": account.id,
        "login": account.login,
        "name": account.name,
        "active": account.active,
        "hasPassword": account.has_password,
        "hasSecondFactor": account.has_second_factor,
        "createdAt": time_text(account.created_at_us),
        "grants": [{"id": one.id, **grant_json(one.grant)} for one in account.held],
    }


def session_json(session: SessionRecord, current: int | None) -> dict[str, Any]:
    """A session in the list of its owner."""
    return {
        "id": session.id,
        "current": session.id == current,
        "createdAt": time_text(session.created_at_us),
        "seenAt": time_text(session.seen_at_us),
        "secondFactor": session.strength == "second_factor",
        "source": session.source,
        "agent": session.agent,
    }


def token_json(token: TokenRecord) -> dict[str, Any]:
    """A token in the list of its owner; `usedOn` is the day of its last use."""
    used = None if token.used_day is None else (time_text(token.used_day * 86_400_000_000) or "")[:10]
    return {
        "id": token.id,
        "prefix": token.prefix,
        "name": token.name,
        "grants": [grant_json(one) for one in token.grants],
        "createdAt": time_text(token.created_at_us),
        "until": time_text(token.until_us),
        "usedOn": used,
    }


def _area(given: list[float] | list[list[float]] | None) -> Area | None:
    if given is None:
        return None
    pairs = [tuple(one) if isinstance(one, list) else (one,) for one in given]
    if len(pairs) == 4 and all(len(one) == 1 for one in pairs):  # noqa: PLR2004 - west, south, east, north
        return Area.box(*(one[0] for one in pairs))
    if any(len(one) != 2 for one in pairs):  # noqa: PLR2004 - longitude, latitude
        raise NotAcceptedError("an area is west, south, east, north, or a list of longitude and latitude pairs")
    return Area(tuple((one[0], one[1]) for one in pairs))


def _us(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000
