"""Who people are and what they may: plain frozen values, and the rules about them that need no database.

Grants say where a role counts: in which tenant, within which area, until when. What a role may do is decided where it
is done, by the table of the API.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, Final, Protocol

from lichtmast.registry.people.errors import NotAcceptedError
from lichtmast.registry.people.limits import AREA_POINTS_MAX
from lichtmast.wire.identity import is_tenant

EVERY_TENANT: Final = "*"
"""The tenant of a grant that counts in all of them: who runs the installation."""
_LONGITUDE_MAX: Final = 180.0
_LATITUDE_MAX: Final = 90.0
_RING_POINTS_MIN: Final = 3


class Role(StrEnum):
    """What somebody may be. Roles do not contain each other: a route names all that may use it."""

    VIEWER = "viewer"
    ENGINEER = "engineer"
    MANAGER = "manager"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Strength(StrEnum):
    """How sure a session is that it is its owner's."""

    PASSWORD = "password"  # noqa: S105 - what was shown, not the thing itself
    SECOND_FACTOR = "second_factor"


class Place(Protocol):
    """Anything with a position in CRS84 degrees."""

    @property
    def longitude(self) -> float:
        """East."""

    @property
    def latitude(self) -> float:
        """North."""


@dataclass(frozen=True, slots=True)
class Area:
    """A simple polygon in CRS84, as its corners. Raises NotAcceptedError."""

    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not _RING_POINTS_MIN <= len(self.corners) <= AREA_POINTS_MAX:
            raise NotAcceptedError(f"an area has {_RING_POINTS_MIN} to {AREA_POINTS_MAX} corners")
        for longitude, latitude in self.corners:
            if not (isfinite(longitude) and isfinite(latitude)):
                raise NotAcceptedError("an area's corners are numbers")
            if abs(longitude) > _LONGITUDE_MAX or abs(latitude) > _LATITUDE_MAX:
                raise NotAcceptedError("an area's corners are longitude and latitude in degrees, in this order")

    @classmethod
    def box(cls, west: float, south: float, east: float, north: float) -> "Area":
        """What lies between two meridians and two parallels."""
        if not (west < east and south < north):
            raise NotAcceptedError("a box is west, south, east, north, and the first two are the smaller ones")
        return cls(((west, south), (east, south), (east, north), (west, north)))

    def contains(self, place: Place) -> bool:
        """Whether a place lies inside, by the even-odd rule."""
        x, y = place.longitude, place.latitude
        inside = False
        x1, y1 = self.corners[-1]
        for x2, y2 in self.corners:
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
            x1, y1 = x2, y2
        return inside


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in a tenant, for an area and a time where these are set. Raises NotAcceptedError."""

    tenant: str
    role: Role
    area: Area | None = None
    until_us: int | None = None

    def __post_init__(self) -> None:
        if self.tenant != EVERY_TENANT and not is_tenant(self.tenant):
            raise NotAcceptedError(f"tenant {self.tenant[:60]!r} is neither gm and four digits, as in gm0402, nor *")
        if self.area is not None and self.role is not Role.ENGINEER:
            raise NotAcceptedError("only an engineer's grant can have an area")

    def live(self, now_us: int) -> bool:
        """Whether its time has not passed."""
        return self.until_us is None or now_us < self.until_us

    def reaches(self, tenant: str) -> bool:
        """Whether it counts in a tenant."""
        return self.tenant in {tenant, EVERY_TENANT}

    def covers(self, other: "Grant") -> bool:
        """Whether whoever has this one may hand the other one on."""
        return (
            self.reaches(other.tenant)
            and self.role is other.role
            and self.area in {None, other.area}
            and (self.until_us is None or (other.until_us is not None and other.until_us <= self.until_us))
        )


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant of an account, by its id."""

    id: int
    grant: Grant


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can sign in."""

    id: int
    login: str
    name: str
    active: bool
    has_password: bool
    has_totp: bool
    passkeys: int
    recovery_codes: int
    created_at_us: int
    held: tuple[HeldGrant, ...]

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What the account may, ended ones too."""
        return tuple(one.grant for one in self.held)

    @property
    def has_second_factor(self) -> bool:
        """Whether more than a password stands before it."""
        return self.has_totp or self.passkeys > 0

    @property
    def needs_second_factor(self) -> bool:
        """Whether a role of it counts only with a second factor."""
        return any(needs_second_factor(one) for one in self.grants)


@dataclass(frozen=True, slots=True)
class PasskeyRecord:
    """A passkey, as its owner knows it."""

    id: int
    name: str
    created_at_us: int
    used_at_us: int | None


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A standing session; `seen_at_us` is true to a few minutes."""

    id: int
    created_at_us: int
    seen_at_us: int
    strength: Strength
    source: str
    agent: str


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """An API token without its secret; `used_day` counts days since 1970."""

    id: int
    prefix: str
    name: str
    grants: tuple[Grant, ...]
    created_at_us: int
    until_us: int
    used_day: int | None


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a session or a token stands for, and what it may do now."""

    account_id: int
    login: str
    name: str
    grants: tuple[Grant, ...]
    strength: Strength
    session_id: int | None
    """None where it is a token."""
    signed_in_at_us: int
    token_prefix: str = ""


def needs_second_factor(grant: Grant) -> bool:
    """Whoever can change something, or read who changed what, shows more than a password."""
    return grant.role is not Role.VIEWER


def effective(grants: Iterable[Grant], strength: Strength, now_us: int) -> tuple[Grant, ...]:
    """What counts now, and by what was shown at sign-in."""
    sure = strength is Strength.SECOND_FACTOR
    return tuple(one for one in grants if one.live(now_us) and (sure or not needs_second_factor(one)))


def grant_as_json(grant: Grant) -> dict[str, Any]:
    """For the database and the log of changes."""
    area = None if grant.area is None else [list(corner) for corner in grant.area.corners]
    return {"tenant": grant.tenant, "role": grant.role.value, "area": area, "until_us": grant.until_us}


def grant_from_json(document: Mapping[str, Any]) -> Grant:
    """What `grant_as_json` wrote."""
    return Grant(document["tenant"], Role(document["role"]), area_from_json(document["area"]), document["until_us"])


def area_from_json(corners: Sequence[Sequence[float]] | None) -> Area | None:
    """An area from its corners. Raises NotAcceptedError."""
    return None if corners is None else Area(tuple((one[0], one[1]) for one in corners))
