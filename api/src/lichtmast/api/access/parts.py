"""What the routes of people share: the book, pools of threads, the clock, and how a request becomes a visit."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from lichtmast.api.access import limits
from lichtmast.api.access.caller import Caller, caller_of
from lichtmast.api.problem import Problem
from lichtmast.api.protection import origin_of
from lichtmast.api.settings import ApiSettings
from lichtmast.api.sources import network_of, site_of
from lichtmast.api.throttle import Rate, Throttle
from lichtmast.api.workers import Workers
from lichtmast.registry.auditing import ActorKind
from lichtmast.registry.people import Bearer, PeopleBook, RelyingParty, SignInReason, SignInRefused, Strength, Visit

_NAME: Final = re.compile(r"(?=.{1,253}$)([a-z0-9-]+\.)*[a-z][a-z0-9-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parts:
    """One for the whole application."""

    people: PeopleBook
    settings: ApiSettings
    clock_us: Callable[[], int]
    sign_in: Workers = field(
        default_factory=lambda: Workers(threads=limits.SIGN_IN_THREADS, waiting_max=limits.SIGN_IN_WAITING_MAX)
    )
    """For whatever hashes a password."""
    passkeys: Workers = field(
        default_factory=lambda: Workers(threads=limits.PASSKEY_THREADS, waiting_max=limits.PASSKEY_WAITING_MAX)
    )
    """For passkeys of people who are not signed in: strangers must not hold up `lookups`."""
    knocks: Throttle = field(
        default_factory=lambda: Throttle(
            Rate(limits.KNOCK_NETWORK_BURST, limits.KNOCK_NETWORK_PER_S),
            Rate(limits.KNOCK_SITE_BURST, limits.KNOCK_SITE_PER_S),
            kept_max=limits.KNOCKERS_MAX,
        )
    )
    """For what strangers may ask and cannot guess: it costs no write."""
    lookups: Workers = field(
        default_factory=lambda: Workers(threads=limits.LOOKUP_THREADS, waiting_max=limits.LOOKUP_WAITING_MAX)
    )

    def visit(self, request: Request) -> Visit:
        """Who stands there, as far as one can see."""
        return Visit(self.clock_us(), source_of(request), request.headers.get("user-agent", ""))

    def knock(self, visit: Visit) -> SignInRefused | None:
        """Count a question of somebody who is not signed in; a refusal where their network asks too often."""
        wait_s = self.knocks.wait_s((network_of(visit.source), site_of(visit.source)), visit.at_us / 1e6)
        return SignInRefused(SignInReason.WAIT, math.ceil(wait_s)) if wait_s else None

    def party(self, request: Request) -> RelyingParty:
        """The site as passkeys know it. Raises a Problem where it is visited by an address: they belong to names."""
        origin = origin_of(request.scope, self.settings)
        host = urlsplit(origin).hostname or ""
        if not _NAME.fullmatch(host):
            raise Problem(
                HTTPStatus.CONFLICT,
                "Passkeys belong to a host name, and this is an address; visit this site by its name.",
            )
        return RelyingParty(host, origin)

    def secure(self, request: Request) -> bool:
        """Whether people reach this over https, perhaps through somebody in front of it."""
        return origin_of(request.scope, self.settings).startswith("https:")


def source_of(request: Request) -> str:
    """The address that the request came from; forwarded headers are not believed."""
    return "unknown" if request.client is None else request.client.host


async def bearer_of(request: Request) -> Bearer:
    """The session behind a request. Raises a Problem: 401 without one, 403 where it is a token."""
    caller = await caller_of(request)
    if caller.actor.kind is not ActorKind.USER or caller.session_id is None:
        raise Problem(HTTPStatus.FORBIDDEN, "Only a person who signed in can do this, not an API token.")
    strength = Strength.PASSWORD if caller.limited else Strength.SECOND_FACTOR
    return Bearer(caller.account_id, caller.login, caller.name, caller.grants, strength, caller.session_id, 0)


async def recent_bearer_of(request: Request) -> Bearer:
    """The same, signed in a moment ago: whoever finds an open browser cannot change what is signed in with."""
    caller: Caller = await caller_of(request)
    if not caller.recent:
        raise Problem(HTTPStatus.FORBIDDEN, "This needs a recent sign-in; sign in again, then go on.")
    return await bearer_of(request)
