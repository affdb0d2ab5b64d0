"""What the application needs besides readings where people sign in and manage: handed in once, by whoever runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lichtmast.api.access.openid import OpenIdProvider
from lichtmast.api.v1.refusals import RefusalBook
from lichtmast.registry.people import PeopleBook
from lichtmast.registry.pki import Authority


@dataclass(frozen=True, slots=True)
class Management:
    """People, and what they manage devices with. `authority` is None in development, where nothing is encrypted."""

    people: PeopleBook
    authority: Callable[[], Authority | None] = lambda: None
    server_certificates: Callable[[], Mapping[str, bytes]] = dict
    """The PEM chains that this server shows, by the name of the door."""
    refusals: RefusalBook = field(default_factory=RefusalBook)
    openid: OpenIdProvider | None = None
    """Where people of the operator's organisation sign in too; None for nowhere."""
