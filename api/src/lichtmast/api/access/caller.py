"""Who asks, and what they may: what handlers use to check the object that they are about to show or change."""

from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from lichtmast.api.problem import Problem
from lichtmast.registry.auditing import Actor
from lichtmast.registry.people import EVERY_TENANT, Grant, Place, Role

_CALLER = "lichtmast.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody signed in, with the grants that count now: live, and by what was shown at sign-in."""

    actor: Actor
    grants: tuple[Grant, ...]
    account_id: int
    login: str
    name: str
    session_id: int | None
    """None where it is an API token."""
    recent: bool
    """Whether they signed in a moment ago, and may change what they sign in with."""
    limited: bool
    """Whether grants do not count because no second factor was shown."""

    def may(self, roles: Collection[Role], tenant: str, position: Place | None = None) -> bool:
        """Whether one of the roles counts in the tenant, at this position.

        A grant for an area counts only at a position inside it: no position, no such grant.
        """
        return any(
            one.role in roles
            and one.reaches(tenant)
            and (one.area is None or (position is not None and one.area.contains(position)))
            for one in self.grants
        )

    def may_somewhere(self, roles: Collection[Role], tenant: str) -> bool:
        """The same wherever in the tenant: for lists, and for what is at no place."""
        return any(one.role in roles and one.reaches(tenant) for one in self.grants)

    def require(self, roles: Collection[Role], tenant: str, position: Place | None = None) -> None:
        """Raise a Problem unless they may: 404 for what is another tenant's, 403 for what is their own's."""
        if self.may(roles, tenant, position):
            return
        if not any(one.reaches(tenant) for one in self.grants):
            raise Problem(HTTPStatus.NOT_FOUND, "There is nothing here, or nothing for you.", attempt="other_tenant")
        raise self.refusal(roles)

    def refusal(self, roles: Collection[Role]) -> Problem:
        """The 403 that says what is missing."""
        wanted = ", ".join(sorted(roles))
        if self.limited:
            return Problem(
                HTTPStatus.FORBIDDEN, "Your roles count once you sign in with a second factor: see /account."
            )
        return Problem(HTTPStatus.FORBIDDEN, f"This needs one of these roles, here and now: {wanted}.")

    def tenants(self, roles: Collection[Role]) -> frozenset[str] | None:
        """Where one of the roles counts somewhere; None for everywhere."""
        found = frozenset(one.tenant for one in self.grants if one.role in roles)
        return None if EVERY_TENANT in found else found


async def caller_of(request: Request) -> Caller:
    """Who asks. Raises a 401 Problem where nobody is signed in. A route that calls this is in the table of needs."""
    caller = found_caller(request)
    if caller is None:
        raise unauthorised("Sign in first, or send an API token in the Authorization header.")
    return caller


def found_caller(request: Request) -> Caller | None:
    """Who asks, None where nobody is signed in."""
    caller = request.scope.get(_CALLER)
    return caller if isinstance(caller, Caller) else None


def unauthorised(detail: str) -> Problem:
    """401, with the way to do it (RFC 9110 section 15.5.2)."""
    return Problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="lichtmast"'})
