"""Requests as values: bodies and queries, strict, with everything that is wrong told at once as one 400."""

from http import HTTPStatus
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from starlette.requests import ClientDisconnect, Request

from lichtmast.api import limits
from lichtmast.api.problem import Problem, absent, malformed
from lichtmast.api.times import instant_us
from lichtmast.wire.identity import DeviceId, IdentityError

NOWHERE: Final = "There is nothing here, or nothing for you."
"""What is not there and what is another's read the same."""
_JSON: Final = "application/json"
_ID_DIGITS_MAX: Final = 18

Text = Annotated[str, Field(min_length=1, max_length=limits.V1_TEXT_CHARACTERS_MAX)]
RecordId = Annotated[int, Field(ge=1, lt=10**_ID_DIGITS_MAX)]


def _instant(value: object) -> int:
    try:
        return instant_us(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("an instant such as 2026-11-21T20:30:00Z") from None


Instant = Annotated[int, BeforeValidator(_instant)]
"""Sent as RFC 3339, held in microseconds since 1970."""


class Asked(BaseModel):
    """Anything that a client sends: camelCase names, and none that we do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


_Asked = TypeVar("_Asked", bound=Asked)


class Page(Asked):
    """The part of a list that is asked for."""

    after: Annotated[int, Field(ge=0, lt=10**_ID_DIGITS_MAX)] = 0
    limit: Annotated[int, Field(ge=1, le=limits.V1_PAGE_MAX)] = limits.V1_PAGE_DEFAULT


async def read_body(request: Request, model: type[_Asked]) -> _Asked:
    """The body as the model says; an empty one is `{}`. Raises a Problem: 400, 413 or 415."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.V1_BODY_BYTES_MAX:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"A body has at most {limits.V1_BODY_BYTES_MAX} bytes here.",
                    headers={"Connection": "close"},
                )
    except ClientDisconnect as error:
        raise malformed("The body was not sent whole.") from error
    if body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send the body as {_JSON}.")
    try:
        return model.model_validate_json(bytes(body) or b"{}", strict=True)
    except ValidationError as error:
        raise malformed(_told(error)) from error


def read_query(request: Request, model: type[_Asked]) -> _Asked:
    """The query as the model says. Raises a 400 Problem."""
    items = request.query_params.multi_items()
    names = [name for name, _ in items]
    if len(set(names)) != len(names):
        raise malformed("A query parameter is given twice.")
    try:
        return model.model_validate(dict(items))
    except ValidationError as error:
        raise malformed(_told(error)) from error


def device_in(request: Request) -> DeviceId:
    """The device that the path names. Raises a 404 Problem where no device can have that name."""
    try:
        return DeviceId(request.path_params["tenant"], request.path_params["name"])
    except IdentityError as error:
        raise absent(NOWHERE) from error


def number_in(request: Request, name: str) -> int:
    """A number that the path names. Raises a 404 Problem."""
    text: str = request.path_params[name]
    if not (text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS_MAX):
        raise absent(NOWHERE)
    return int(text)


def _told(error: ValidationError) -> str:
    """Every flaw by its place, without the value: what was sent is not sent back."""
    flaws = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in flaws)
