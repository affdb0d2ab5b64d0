"""Who makes a change, and from where: named in every event of the log."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lichtmast.registry.limits import ACTOR_CHARACTERS_MAX

LOCAL: Final = "local"
"""The source of what happens on the machine itself."""


class ActorKind(StrEnum):
    """What kind of actor."""

    USER = "user"
    """A person who signed in."""
    TOKEN = "token"  # noqa: S105 - a kind, not a token
    """An API token; its name says which."""
    DEVICE = "device"
    """A device that proved its key."""
    COMMAND = "command"
    """The `lichtmast` command, under the name of the account that ran it."""
    SYSTEM = "system"
    """Lichtmast itself."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who, and from where: an IPv6 address as text, or `local`. Of a person the account name and nothing else.

    Raises ValueError for an empty or long text, or one with characters that do not print: the log is read on terminals.
    """

    kind: ActorKind
    name: str
    source: str = LOCAL

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("source", self.source)):
            if not (0 < len(text) <= ACTOR_CHARACTERS_MAX and text.isprintable()):
                raise ValueError(f"the {what} of an actor is 1 to {ACTOR_CHARACTERS_MAX} characters that print")


LOCAL_COMMAND: Final = Actor(ActorKind.COMMAND, LOCAL)
"""A program on this machine that names nobody."""
SYSTEM: Final = Actor(ActorKind.SYSTEM, "lichtmast")
"""Lichtmast by itself."""
