"""What a route needs of its caller before any handler runs: the rows of the table are made of these."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from lichtmast.registry.people import Role


class Kind(StrEnum):
    """How a route finds out who may use it."""

    PUBLIC = "public"
    OWN_CHECK = "own_check"
    SIGNED_IN = "signed_in"
    ROLES = "roles"


@dataclass(frozen=True, slots=True)
class Need:
    """One of: anybody; whom the route itself checks (EST, signing in); anybody who is signed in; one of some roles.

    The gate asks for a role in any tenant; which tenant and which place, the handler asks by `Caller.require`.
    """

    kind: Kind
    roles: frozenset[Role] = frozenset()

    PUBLIC: ClassVar["Need"]
    OWN_CHECK: ClassVar["Need"]
    SIGNED_IN: ClassVar["Need"]

    @classmethod
    def of(cls, *roles: Role) -> "Need":
        """One of these roles, somewhere."""
        return cls(Kind.ROLES, frozenset(roles))


Need.PUBLIC = Need(Kind.PUBLIC)
Need.OWN_CHECK = Need(Kind.OWN_CHECK)
Need.SIGNED_IN = Need(Kind.SIGNED_IN)

Needs = dict[tuple[str, str], Need]
"""By method and path template. A GET's row speaks for HEAD too."""
