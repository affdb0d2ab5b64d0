"""The one table of who may use which route. A route that is not in it is not served; a test proves it total.

What is public is public on purpose: readings, lampposts and the map are open data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.routing import compile_path

from lichtmast.api.access.need import Kind, Need, Needs
from lichtmast.api.problem import Problem
from lichtmast.api.v1.router import V1_NEEDS
from lichtmast.registry.people import Role

_OPEN: Final[Needs] = {
    ("GET", path): Need.PUBLIC
    for path in (
        "/",
        "/things/{thing_id}",
        "/things/{thing_id}/card.json",
        "/map.geojson",
        "/live",
        "/v1.1",
        "/v1.1/{path:path}",
        "/.well-known/security.txt",
        "/static/{path:path}",
    )
}
_OPEN["GET", "/healthz"] = Need.OWN_CHECK  # anybody may ask; who is signed in is told more
_PAGES: Final[Needs] = {
    ("GET", "/sign-in"): Need.PUBLIC,
    ("POST", "/sign-in"): Need.OWN_CHECK,
    ("GET", "/sign-in/code"): Need.PUBLIC,
    ("POST", "/sign-in/code"): Need.OWN_CHECK,
    ("GET", "/sign-in/openid"): Need.OWN_CHECK,
    ("GET", "/sign-in/openid/callback"): Need.OWN_CHECK,
    ("POST", "/sign-out"): Need.OWN_CHECK,
    ("GET", "/first-run"): Need.PUBLIC,
    ("POST", "/first-run"): Need.OWN_CHECK,
    ("GET", "/invitation"): Need.PUBLIC,
    ("POST", "/invitation"): Need.OWN_CHECK,
    ("GET", "/account"): Need.SIGNED_IN,
    ("POST", "/account/password"): Need.SIGNED_IN,
    ("POST", "/account/totp"): Need.SIGNED_IN,
    ("POST", "/account/totp/confirmation"): Need.SIGNED_IN,
    ("POST", "/account/recovery-codes"): Need.SIGNED_IN,
    ("POST", "/account/sessions/end"): Need.SIGNED_IN,
}
_ACCOUNT: Final[Needs] = {
    ("POST", "/v1/session"): Need.OWN_CHECK,
    ("GET", "/v1/session"): Need.SIGNED_IN,
    ("DELETE", "/v1/session"): Need.OWN_CHECK,
    ("POST", "/v1/session/passkey-challenge"): Need.OWN_CHECK,
    ("POST", "/v1/session/passkey"): Need.OWN_CHECK,
    **dict.fromkeys(
        (
            ("GET", "/v1/account"),
            ("PUT", "/v1/account/password"),
            ("POST", "/v1/account/totp"),
            ("POST", "/v1/account/totp/confirmation"),
            ("DELETE", "/v1/account/totp"),
            ("POST", "/v1/account/recovery-codes"),
            ("POST", "/v1/account/passkey-challenge"),
            ("GET", "/v1/account/passkeys"),
            ("POST", "/v1/account/passkeys"),
            ("DELETE", "/v1/account/passkeys/{passkey_id}"),
            ("GET", "/v1/account/sessions"),
            ("DELETE", "/v1/account/sessions"),
            ("DELETE", "/v1/account/sessions/{session_id}"),
            ("GET", "/v1/account/tokens"),
            ("POST", "/v1/account/tokens"),
            ("DELETE", "/v1/account/tokens/{token_id}"),
        ),
        Need.SIGNED_IN,
    ),
}
_ADMIN: Final[Needs] = {
    key: Need.of(Role.ADMIN)
    for key in (
        ("GET", "/v1/users"),
        ("POST", "/v1/users"),
        ("GET", "/v1/users/{user_id}"),
        ("POST", "/v1/users/{user_id}/grants"),
        ("DELETE", "/v1/users/{user_id}/grants/{grant_id}"),
        ("POST", "/v1/users/{user_id}/reset"),
        ("POST", "/v1/users/{user_id}/suspension"),
        ("DELETE", "/v1/users/{user_id}/suspension"),
        ("PUT", "/v1/users/{user_id}/openid-binding"),
    )
}
PEOPLE_NEEDS: Final[Needs] = {**_PAGES, **_ACCOUNT, **_ADMIN}
NEEDS: Final[Needs] = {**_OPEN, **PEOPLE_NEEDS, **V1_NEEDS}


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of one address: a need for each method."""

    path: str
    needs: Mapping[str, Need]

    def need(self, method: str) -> Need | None:
        """The need of a method; HEAD is GET's."""
        return self.needs.get("GET" if method == "HEAD" else method)

    def wrong_method(self) -> Problem:
        """The 405 for any other method."""
        found = sorted(set(self.needs) | ({"HEAD"} if "GET" in self.needs else set()))
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"This address knows {', '.join(found)}.",
            headers={"Allow": ", ".join(found)},
        )


class Table:
    """Finds the row of an address."""

    def __init__(self, needs: Needs) -> None:
        rows: dict[str, dict[str, Need]] = {}
        for (method, path), need in needs.items():
            rows.setdefault(path, {})[method] = need
        # Literal paths before templates, as /v1/users/me would be before /v1/users/{user_id}.
        ordered = sorted(rows, key=lambda path: (":path}" in path, path.count("{")))
        self._rows = [(compile_path(path)[0], Row(path, rows[path])) for path in ordered]

    def find(self, path: str) -> Row | None:
        """The row of an address, None where there is nothing."""
        return next((row for pattern, row in self._rows if pattern.fullmatch(path)), None)


def is_open(need: Need | None) -> bool:
    """Whether anybody may ask, signed in or not."""
    return need is None or need.kind in {Kind.PUBLIC, Kind.OWN_CHECK}
