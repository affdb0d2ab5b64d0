"""People for tests: a register with two municipalities, accounts that can sign in, and a clock that one turns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pyotp
from argon2 import Parameters, Type

from lichtmast.registry import Registry
from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.people import Grant, Passwords, PeopleBook, Role, Seal, SignedIn, Visit

NOW_US: Final = 1_795_293_000_000_000  # 2026-11-21T20:30:00Z
SECOND_US: Final = 1_000_000
HOME: Final = "2001:db8:1::1"
ELSEWHERE: Final = "2001:db8:2::1"
PASSWORD: Final = "vier bomen bij de brug"  # noqa: S105 - of tests
HERE: Final = "gm0402"
THERE: Final = "gm0385"
QUICK: Final = Parameters(Type.ID, 19, 16, 32, 1, 8, 1)
"""argon2id that costs nothing, for tests that are not about its cost."""


class CountingPasswords(Passwords):
    """Quick, and counts how often a password was verified: what an attacker could time."""

    def __init__(self) -> None:
        super().__init__(QUICK)
        self.verified = 0

    def verify(self, kept: str | None, password: str) -> bool:
        self.verified += 1
        return super().verify(kept, password)


@dataclass
class Person:
    """Somebody who can sign in; `seed` is of their authenticator, empty where they have none."""

    id: int
    login: str
    seed: str


class PeopleTown:
    """The book, with a clock; every code that a person shows is of a time step of its own."""

    def __init__(self, registry: Registry, people: PeopleBook, passwords: CountingPasswords) -> None:
        self.registry = registry
        self.people = people
        self.passwords = passwords
        self.now_us = NOW_US
        self._numbers = count(1)

    def visit(self, source: str = HOME) -> Visit:
        return Visit(self.now_us, source, "test")

    def later(self, seconds: float) -> None:
        self.now_us += int(seconds * SECOND_US)

    def code(self, person: Person) -> str:
        """The code that the authenticator shows now."""
        return str(pyotp.TOTP(person.seed).at(self.now_us // SECOND_US))

    def next_code(self, person: Person) -> str:
        """A code that was not shown before."""
        self.later(31)
        return self.code(person)

    def person(self, *grants: Grant, second_factor: bool = True, login: str = "") -> Person:
        """Somebody invited, who followed the link and set everything up."""
        login = login or f"person{next(self._numbers)}@example.nl"
        first, *more = grants or (Grant(HERE, Role.VIEWER),)
        account, link = self.people.invite(login, "Iemand", first, by=LOCAL_COMMAND, at_us=self.now_us)
        for one in more:
            self.people.grant(account.id, one, by=LOCAL_COMMAND, at_us=self.now_us)
        assert link is not None
        begun = self.people.follow(link, PASSWORD, self.visit())
        assert begun is not None
        if not second_factor:
            return Person(account.id, login, "")
        bearer = self.people.bearer(begun.secret, self.now_us)
        assert bearer is not None
        offer = self.people.credentials.offer_totp(bearer, self.visit())
        person = Person(account.id, login, offer.seed)
        self.people.credentials.confirm_totp(bearer, offer.ticket, self.code(person), self.visit())
        return person

    def sign_in(self, person: Person, source: str = HOME) -> str:
        """The secret of a new session."""
        code = self.next_code(person) if person.seed else None
        found = self.people.sign_in.with_password(person.login, PASSWORD, code, self.visit(source))
        assert isinstance(found, SignedIn), found
        return found.secret

    def token(self, person: Person, grants: Sequence[Grant], *, days: int = 30) -> str:
        """A new API token."""
        bearer = self.people.bearer(self.sign_in(person), self.now_us)
        assert bearer is not None
        until_us = self.now_us + days * 86_400 * SECOND_US
        return self.people.credentials.add_token(bearer, "robot", grants, until_us, self.visit())[0]


@contextmanager
def people_town(path: Path) -> Iterator[PeopleTown]:
    """A register at the path, with Hilversum and Edam-Volendam in it and nobody yet."""
    passwords = CountingPasswords()
    with (
        Registry.open(path) as registry,
        PeopleBook.open(path, Seal.from_secret(b"k" * 32), passwords=passwords) as people,
    ):
        registry.ensure_tenant(HERE, "Hilversum")
        registry.ensure_tenant(THERE, "Edam-Volendam")
        yield PeopleTown(registry, people, passwords)
