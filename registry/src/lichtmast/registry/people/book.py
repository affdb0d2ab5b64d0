"""The book of people: who there is, what they may, and how they get in for the first time.

Opens the register's file beside `Registry`; both may, in one program or in several. Synchronous: call it in a thread.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import delete, insert, select, update

from lichtmast.registry.auditing import Actor
from lichtmast.registry.database import open_engine, writing
from lichtmast.registry.people import accounts, limits, sessions, tickets
from lichtmast.registry.people.credentials import CredentialBook
from lichtmast.registry.people.desk import Desk, Visit
from lichtmast.registry.people.errors import NotAcceptedError, NotNowError, UnknownPersonError
from lichtmast.registry.people.passwords import Passwords, require_good
from lichtmast.registry.people.records import EVERY_TENANT, Account, Bearer, Grant, Role, Strength, TokenRecord
from lichtmast.registry.people.sealing import Seal
from lichtmast.registry.people.sign_in import SignedIn, SignInBook
from lichtmast.registry.people.tickets import LINKS, Purpose, Ticket
from lichtmast.registry.people_schema import account, openid_binding


class PeopleBook:
    """Accounts, grants and links; `sign_in` and `credentials` are its other two parts. Use `PeopleBook.open`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.sign_in = SignInBook(desk)
        self.credentials = CredentialBook(desk)

    @classmethod
    def open(cls, path: Path, seal: Seal, *, passwords: Passwords | None = None) -> Self:
        """Open the register's file, migrated. Raises RegistryUnavailableError."""
        return cls(Desk(open_engine(path), seal, passwords or Passwords()))

    def close(self) -> None:
        """Close the file. What was committed is durable without it."""
        self._desk.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reads.

    def accounts(self) -> list[Account]:
        """All accounts, by login."""
        with self._desk.engine.connect() as connection:
            return accounts.read(connection)

    def account(self, login: str) -> Account:
        """One account. Raises UnknownPersonError."""
        with self._desk.engine.connect() as connection:
            found = accounts.find(connection, login)
        if found is None:
            raise UnknownPersonError(f"there is no account {login[:60]!r}; invite it first")
        return found

    def account_by_id(self, account_id: int) -> Account:
        """One account. Raises UnknownPersonError."""
        with self._desk.engine.connect() as connection:
            return accounts.get(connection, account_id)

    def tokens_of(self, account_id: int, now_us: int) -> list[TokenRecord]:
        """An account's API tokens."""
        return self.credentials.tokens(account_id, now_us)

    # Links: a secret in the part of an address that browsers keep to themselves.

    def first_run(self, *, at_us: int) -> str | None:
        """The secret of the link that makes the first admin; None where there is one. It replaces the one before."""
        with writing(self._desk.engine) as connection:
            if accounts.has_admin(connection, at_us):
                return None
            return tickets.issue(connection, Purpose.FIRST_RUN, account_id=None, now_us=at_us, life_s=limits.LINK_S)

    def invite(self, login: str, name: str, grant: Grant, *, by: Actor, at_us: int) -> tuple[Account, str | None]:
        """Make an account with a grant, and the secret of its link; no link where the account was there already.

        Raises NotAcceptedError, NotNowError or UnknownPersonError.
        """
        with writing(self._desk.engine) as connection:
            known = accounts.find(connection, login)
            of = known or accounts.add(connection, login, name, by=by, at_us=at_us)
            accounts.give(connection, of.id, grant, by=by, at_us=at_us)
            link = None
            if known is None:
                link = tickets.issue(
                    connection, Purpose.INVITATION, account_id=of.id, now_us=at_us, life_s=limits.LINK_S
                )
            return accounts.get(connection, of.id), link

    def reset(self, account_id: int, *, by: Actor, at_us: int) -> str:
        """Take all credentials, sessions and tokens of an account; the secret of the link that leads back in.

        Raises UnknownPersonError.
        """
        with writing(self._desk.engine) as connection:
            of = accounts.strip(connection, account_id, by=by, at_us=at_us)
            return tickets.issue(connection, Purpose.RESET, account_id=of.id, now_us=at_us, life_s=limits.LINK_S)

    def link(self, secret: str, now_us: int) -> Ticket | None:
        """What a link leads to, while it does."""
        with self._desk.engine.connect() as connection:
            return tickets.look(connection, secret, LINKS, now_us)

    def follow(self, secret: str, password: str, visit: Visit, *, login: str = "", name: str = "") -> SignedIn | None:
        """Use a link: set the account's password and sign in. None where the link has ended, or is none.

        The first run's link makes the account too, as admin of everything. Raises NotAcceptedError or NotNowError;
        the link stays good then. Nobody guesses 256 random bits: a try costs no write.
        """
        found = self.link(secret, visit.at_us)
        if found is None:
            return None
        login = login if found.account_id is None else self.account_by_id(found.account_id).login
        require_good(password, login)
        kept = self._desk.passwords.hash(password)
        with writing(self._desk.engine) as connection:
            if tickets.take(connection, secret, (found.purpose,), visit.at_us) is None:
                return None
            if found.account_id is None:
                if accounts.has_admin(connection, visit.at_us):
                    return None
                by = visit.by(accounts.plain_login(login))
                of = accounts.add(connection, login, name, by=by, at_us=visit.at_us)
                accounts.give(connection, of.id, Grant(EVERY_TENANT, Role.ADMIN), by=by, at_us=visit.at_us)
            else:
                of = accounts.get(connection, found.account_id)
                if not of.active:
                    return None
                by = visit.by(of.login)
            connection.execute(update(account).where(account.c.id == of.id).values(password_hash=kept))
            accounts.log(connection, "people.link_used", of.login, by, visit.at_us, after={"link": found.purpose.value})
            secret = sessions.begin(
                connection,
                of,
                Strength.PASSWORD,
                at_us=visit.at_us,
                source=visit.source,
                agent=visit.agent,
                how=f"a link: {found.purpose.value}",
                by=by,
            )
            return SignedIn(secret, of.id, Strength.PASSWORD)

    # Changes by an admin.

    def grant(self, account_id: int, grant: Grant, *, by: Actor, at_us: int) -> int:
        """Give a grant; its id. Raises UnknownPersonError or NotNowError."""
        with writing(self._desk.engine) as connection:
            return accounts.give(connection, account_id, grant, by=by, at_us=at_us)

    def revoke(self, account_id: int, grant_id: int, *, by: Actor, at_us: int) -> None:
        """Take a grant. Raises UnknownPersonError, and NotNowError where it is the last admin's."""
        with writing(self._desk.engine) as connection:
            taken = accounts.take_away(connection, account_id, grant_id, by=by, at_us=at_us)
            if taken.role is Role.ADMIN and not accounts.has_admin(connection, at_us):
                raise NotNowError("nobody could let others in any more; make another admin first")

    def set_active(self, account_id: int, *, active: bool, by: Actor, at_us: int) -> None:
        """Suspend or resume an account. Raises UnknownPersonError, and NotNowError where it is the last admin's."""
        with writing(self._desk.engine) as connection:
            had_admin = accounts.has_admin(connection, at_us)
            accounts.set_active(connection, account_id, active=active, by=by, at_us=at_us)
            if had_admin and not accounts.has_admin(connection, at_us):
                raise NotNowError("nobody could let others in any more; make another admin first")

    def bind_openid(self, account_id: int, issuer: str, subject: str, *, by: Actor, at_us: int) -> None:
        """Say who an account is at an OpenID provider, instead of what was said before.

        Raises UnknownPersonError, NotAcceptedError, and NotNowError where the subject is somebody else's.
        """
        if not issuer.startswith(("https://", "http://[::1]")) or not subject:
            raise NotAcceptedError("a binding needs the provider's issuer, an https address, and a subject")
        b = openid_binding.c
        with writing(self._desk.engine) as connection:
            of = accounts.get(connection, account_id)
            other = select(b.id).where(b.issuer == issuer, b.subject == subject, b.account_id != of.id)
            if connection.execute(other).first():
                raise NotNowError("this subject is bound to another account")
            connection.execute(delete(openid_binding).where(b.account_id == of.id, b.issuer == issuer))
            connection.execute(insert(openid_binding).values(account_id=of.id, issuer=issuer, subject=subject))
            bound = {"issuer": issuer, "subject": subject}
            accounts.log(connection, "people.openid_bound", of.login, by, at_us, after=bound)

    def bearer(self, secret: str, now_us: int) -> Bearer | None:
        """Whom a session or a token stands for; None where it ended, or never was."""
        return self.sign_in.bearer(secret, now_us)

    def tenants_of(self, account_id: int) -> Sequence[str]:
        """Where an account has grants: whoever takes its credentials must be admin in all of them."""
        return sorted({one.tenant for one in self.account_by_id(account_id).grants})
