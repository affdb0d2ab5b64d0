"""How the rooms of the API say what they answer: method, path template, handler."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Request], Awaitable[Response]]
Routes = list[tuple[str, str, Handler]]


def number_of(request: Request, name: str) -> int:
    """A whole number of the path; 0, which nothing has, where it is none."""
    text: str = request.path_params[name]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0  # noqa: PLR2004 - no id is longer
