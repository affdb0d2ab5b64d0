"""Errors as problem details (RFC 9457): the only form in which this API refuses.

A problem never repeats what another part of the program said; it says what is wrong, where, and what to do.
"""

import json
from http import HTTPStatus

from starlette.responses import Response


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A refusal on its way to the client. Raise it anywhere below a route."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        reason: str | None = None,
        attempt: str = "",
    ) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.reason = reason
        """One word of ours for programs, where the status does not say enough."""
        self.attempt = attempt
        """What the log calls it, where no honest client does this and an operator should hear of it."""


def malformed(detail: str) -> Problem:
    """400: the request breaks a rule."""
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def absent(detail: str) -> Problem:
    """404: there is no such thing."""
    return Problem(HTTPStatus.NOT_FOUND, detail)


def unsupported(detail: str) -> Problem:
    """501: the standard allows it, this server does not do it (SensorThings 1.1 section 9.3.3.1)."""
    return Problem(HTTPStatus.NOT_IMPLEMENTED, detail)


def problem_response(problem: Problem) -> Response:
    """As application/problem+json with status, title and detail, and the reason where there is one."""
    title = HTTPStatus(problem.status).phrase
    body = {"type": "about:blank", "status": problem.status, "title": title, "detail": problem.detail}
    if problem.reason is not None:
        body["reason"] = problem.reason
    return Response(
        json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        status_code=problem.status,
        media_type="application/problem+json",
        headers=problem.headers,
    )
