"""How the outcome of a sign-in, and what the book of people refuses, become HTTP."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar, TypeVarTuple

from starlette.responses import Response

from lichtmast.api.access.caller import unauthorised
from lichtmast.api.problem import Problem, absent, malformed
from lichtmast.api.workers import Workers
from lichtmast.registry.people import (
    NotAcceptedError,
    NotNowError,
    SignInReason,
    SignInRefused,
    UnknownPersonError,
    Visit,
)

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

NO_CONTENT = Response(status_code=HTTPStatus.NO_CONTENT)


async def run(workers: Workers, work: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
    """Call the book in a thread; what it refuses becomes a Problem: 404, 400 or 409."""
    try:
        return await workers.run(work, *arguments)
    except UnknownPersonError as error:
        raise absent(_sentence(error)) from error
    except NotAcceptedError as error:
        raise malformed(_sentence(error)) from error
    except NotNowError as error:
        raise Problem(HTTPStatus.CONFLICT, _sentence(error)) from error


def refusal(refused: SignInRefused, visit: Visit) -> Problem:
    """The Problem of a refused sign-in, which is logged too; never with what was typed."""
    _log.warning("sign_in_refused reason=%s source=%s retry_s=%d", refused.reason.value, visit.source, refused.retry_s)
    match refused.reason:
        case SignInReason.WAIT:
            return Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"Too many wrong attempts; try again in {refused.retry_s} s.",
                headers={"Retry-After": str(refused.retry_s)},
            )
        case SignInReason.LINK_ENDED:
            return unauthorised("This sign-in took too long, or was used; begin again.")
        case SignInReason.NO_ACCOUNT:
            return unauthorised("Your organisation knows you, but there is no account here for you; ask an admin.")
        case SignInReason.WRONG:
            return unauthorised("Login, password or code is wrong.")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('?') else '.'}"
