"""What the books about people share: the database, the seal, the passwords, and who stands before them."""

from dataclasses import dataclass

from sqlalchemy import Engine

from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.people.passwords import Passwords
from lichtmast.registry.people.sealing import Seal


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that every book works with."""

    engine: Engine
    seal: Seal
    passwords: Passwords


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of somebody: when, from which address, with which browser."""

    at_us: int
    source: str
    agent: str = ""

    def by(self, login: str) -> Actor:
        """Them as an actor, once they are known."""
        return Actor(ActorKind.USER, login, self.source or "unknown")


def about_totp(account_id: int) -> bytes:
    """What a TOTP seed is sealed for: another account cannot use it."""
    return f"totp {account_id}".encode()
