"""The session's cookie, and the two short-lived ones on the way to it.

Over https the names begin with `__Host-`: no other host, path or plain connection can set or see them (RFC 6265bis
section 4.1.3.2). Over http, which there is on loopback alone, browsers would refuse such names.
"""

from enum import StrEnum

from starlette.requests import Request
from starlette.responses import Response


class Jar(StrEnum):
    """Which cookie."""

    SESSION = "lichtmast"
    CODE = "lichtmast-code"
    OPENID = "lichtmast-openid"


def name_of(jar: Jar, *, secure: bool) -> str:
    """The name that the browser knows it by."""
    return f"__Host-{jar.value}" if secure else jar.value


def read(request: Request, jar: Jar, *, secure: bool) -> str | None:
    """What is in it."""
    return request.cookies.get(name_of(jar, secure=secure)) or None


def put(response: Response, jar: Jar, value: str, *, secure: bool, life_s: int | None = None) -> None:
    """Set it: for this site, out of reach of scripts, and not sent along by other sites' forms."""
    response.set_cookie(
        name_of(jar, secure=secure), value, max_age=life_s, path="/", secure=secure, httponly=True, samesite="lax"
    )


def drop(response: Response, jar: Jar, *, secure: bool) -> None:
    """Have the browser forget it."""
    response.delete_cookie(name_of(jar, secure=secure), path="/", secure=secure, httponly=True, samesite="lax")
