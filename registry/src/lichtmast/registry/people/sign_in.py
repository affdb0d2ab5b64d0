"""Signing in: by password and code, by passkey, by a link, by OpenID Connect. Each answer is a value.

A wrong login, a wrong password, a suspended account and a wrong code all cost the same and are answered the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from lichtmast.registry.database import writing
from lichtmast.registry.people import accounts, limits, passkeys, sessions, throttle, tickets
from lichtmast.registry.people.desk import Desk, Visit, about_totp
from lichtmast.registry.people.passkeys import RelyingParty
from lichtmast.registry.people.questions import Questions
from lichtmast.registry.people.records import Account, Bearer, Strength
from lichtmast.registry.people.second_factor import matching_step
from lichtmast.registry.people.secret_texts import TOKEN_MARK, digest, plain_code
from lichtmast.registry.people.tickets import Purpose
from lichtmast.registry.people_schema import account, openid_binding, recovery_code

_DAY_US: Final = 24 * 3600 * 1_000_000
_A, _B = account.c, openid_binding.c


class SignInReason(StrEnum):
    """Why somebody is not signed in. It never says which part was wrong."""

    WRONG = "wrong"
    WAIT = "wait"
    LINK_ENDED = "link_ended"
    NO_ACCOUNT = "no_account"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session began; `secret` is what the browser keeps."""

    secret: str
    account_id: int
    strength: Strength


@dataclass(frozen=True, slots=True)
class CodeNeeded:
    """The password was right; `ticket` is good for a few minutes, with a code."""

    ticket: str


@dataclass(frozen=True, slots=True)
class SignInRefused:
    """Not signed in. `retry_s` says how long to wait where that is why."""

    reason: SignInReason
    retry_s: int = 0


SignInAnswer = SignedIn | CodeNeeded | SignInRefused
_WRONG: Final = SignInRefused(SignInReason.WRONG)


class SignInBook:
    """Makes sessions, and says whom a session or token stands for. Blocks: a password costs 64 MiB and 0.1 s."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._questions = Questions()

    def with_password(self, login: str, password: str, code: str | None, visit: Visit) -> SignInAnswer:
        """By password, and code where the account has a second factor."""
        login = login.strip().casefold()
        with writing(self._desk.engine) as connection:
            row = connection.execute(select(_A.id, _A.password_hash, _A.active).where(_A.login == login)).one_or_none()
            keys = throttle.keys_of(connection, login, visit.source, None if row is None else row.id, visit.at_us)
            waiting_s = throttle.charge(connection, keys, visit.at_us)
        if waiting_s:
            return SignInRefused(SignInReason.WAIT, waiting_s)
        kept: str | None = None if row is None else row.password_hash
        right = self._desk.passwords.verify(kept, password)
        if row is None or not right or not row.active:
            return _WRONG
        fresh = self._desk.passwords.hash(password) if kept and self._desk.passwords.stale(kept) else None
        with writing(self._desk.engine) as connection:
            # What was verified must still be so: the password may have been changed meanwhile.
            same = (_A.id == row.id) & (_A.password_hash == kept) & _A.active
            if not connection.execute(select(_A.id).where(same)).first():
                return _WRONG
            if fresh is not None:
                connection.execute(update(account).where(same).values(password_hash=fresh))
            of = accounts.get(connection, row.id)
            if not of.has_second_factor:
                throttle.give_back(connection, keys)
                return self._begin(connection, of, Strength.PASSWORD, visit, "password")
            if code is None:
                throttle.give_back_one(connection, keys)
                ticket = tickets.issue(
                    connection, Purpose.CODE, account_id=of.id, now_us=visit.at_us, life_s=limits.HALF_SIGN_IN_S
                )
                return CodeNeeded(ticket)
            if not self._code_holds(connection, of, code, visit):
                return _WRONG
            throttle.give_back(connection, keys)
            return self._begin(connection, of, Strength.SECOND_FACTOR, visit, "password and code")

    def with_code(self, ticket: str, code: str, visit: Visit) -> SignInAnswer:
        """The second half, with the ticket of `CodeNeeded`."""
        with self._desk.engine.connect() as connection:  # a made-up ticket does not keep writers waiting
            if tickets.look(connection, ticket, (Purpose.CODE,), visit.at_us) is None:
                return SignInRefused(SignInReason.LINK_ENDED)
        with writing(self._desk.engine) as connection:
            found = tickets.look(connection, ticket, (Purpose.CODE,), visit.at_us)
            if found is None or found.account_id is None:
                return SignInRefused(SignInReason.LINK_ENDED)
            of = accounts.get(connection, found.account_id)
            keys = throttle.keys_of(connection, of.login, visit.source, of.id, visit.at_us)
            waiting_s = throttle.charge(connection, keys, visit.at_us)
            if waiting_s:
                return SignInRefused(SignInReason.WAIT, waiting_s)
            if not of.active or not self._code_holds(connection, of, code, visit):
                return _WRONG
            tickets.take(connection, ticket, (Purpose.CODE,), visit.at_us)
            throttle.give_back(connection, keys)
            return self._begin(connection, of, Strength.SECOND_FACTOR, visit, "password and code")

    def _code_holds(self, connection: Connection, of: Account, code: str, visit: Visit) -> bool:
        """A code of the authenticator, once; or a recovery code, once."""
        code = plain_code(code)
        row = connection.execute(select(_A.totp_sealed, _A.totp_step).where(_A.id == of.id)).one()
        if row.totp_sealed is not None:
            seed = self._desk.seal.unseal(row.totp_sealed, about_totp(of.id))
            step = matching_step(seed, code, visit.at_us, row.totp_step)
            if step is not None:
                connection.execute(update(account).where(_A.id == of.id).values(totp_step=step))
                return True
        r = recovery_code.c
        used = connection.execute(delete(recovery_code).where(r.hash == digest(code), r.account_id == of.id)).rowcount
        if used:
            accounts.log(connection, "people.recovery_code_used", of.login, visit.by(of.login), visit.at_us)
        return bool(used)

    # Passkeys.

    def begin_passkey(self, party: RelyingParty, visit: Visit) -> tuple[str, dict[str, Any]]:
        """A ticket, and the question for the browser. Does not touch the register: anybody may ask, as often."""
        ticket, challenge = self._questions.ask(visit.at_us)
        return ticket, passkeys.questions_sign_in(party, challenge)

    def with_passkey(
        self, ticket: str, credential: Mapping[str, Any], party: RelyingParty, visit: Visit
    ) -> SignInAnswer:
        """By the browser's answer. Raises NotAcceptedError where it is too long.

        Writes nothing before the answer holds, a throttle's count neither: a signature is not guessed.
        """
        text = json.dumps(credential)
        challenge = self._questions.challenge_of(ticket, visit.at_us)
        if challenge is None:
            return SignInRefused(SignInReason.LINK_ENDED)
        with self._desk.engine.connect() as connection:
            stored = passkeys.account_of(connection, text)
        sign_count = None if stored is None else passkeys.verified(stored, party, challenge, text)
        if stored is None or sign_count is None:
            return _WRONG
        with writing(self._desk.engine) as connection:
            if not self._questions.use(ticket, visit.at_us):
                return SignInRefused(SignInReason.LINK_ENDED)
            of = accounts.get(connection, stored.account_id)
            if not of.active or not passkeys.used(connection, stored, sign_count, visit.at_us):
                return _WRONG
            return self._begin(connection, of, Strength.SECOND_FACTOR, visit, "passkey")

    # OpenID Connect: the caller has verified the identity token.

    def with_openid(self, issuer: str, subject: str, email: str | None, *, strong: bool, visit: Visit) -> SignInAnswer:
        """By a provider's word on who it is; `email` only where the provider verified it.

        The account is the one bound to the subject, else the one whose login is the address, which is bound then.
        A provider makes no accounts and no roles. Without `strong` the account's own second factor is asked too.
        """
        with writing(self._desk.engine) as connection:
            found = connection.execute(
                select(_B.account_id).where(_B.issuer == issuer, _B.subject == subject)
            ).scalar_one_or_none()
            of = None if found is None else accounts.get(connection, found)
            if of is None and email is not None:
                of = accounts.find(connection, email)
                if of is not None and not self._bind(connection, of, issuer, subject, visit):
                    of = None
            if of is None or not of.active:
                return SignInRefused(SignInReason.NO_ACCOUNT)
            if strong:
                return self._begin(connection, of, Strength.SECOND_FACTOR, visit, "OpenID Connect")
            if of.has_second_factor:
                ticket = tickets.issue(
                    connection, Purpose.CODE, account_id=of.id, now_us=visit.at_us, life_s=limits.HALF_SIGN_IN_S
                )
                return CodeNeeded(ticket)
            return self._begin(connection, of, Strength.PASSWORD, visit, "OpenID Connect")

    def _bind(self, connection: Connection, of: Account, issuer: str, subject: str, visit: Visit) -> bool:
        """Bind by address, once: an account that is bound to somebody else there stays theirs."""
        if connection.execute(select(_B.id).where(_B.account_id == of.id, _B.issuer == issuer)).first():
            return False
        connection.execute(insert(openid_binding).values(account_id=of.id, issuer=issuer, subject=subject))
        bound = {"issuer": issuer, "subject": subject}
        accounts.log(connection, "people.openid_bound", of.login, visit.by(of.login), visit.at_us, after=bound)
        return True

    # Whoever has signed in.

    def bearer(self, secret: str, now_us: int) -> Bearer | None:
        """Whom a session or a token stands for; None where it ended, or never was."""
        with self._desk.engine.connect() as connection:
            if secret.startswith(TOKEN_MARK):
                row = sessions.find_token(connection, secret, now_us)
                found = None if row is None else sessions.bearer_of_token(connection, row, now_us)
                stale = row is not None and row.used_day != now_us // _DAY_US
            else:
                row = sessions.find(connection, secret, now_us)
                found = None if row is None else sessions.bearer_of_session(connection, row, now_us)
                stale = row is not None and now_us - row.seen_at_us >= limits.SESSION_SEEN_EVERY_S * 1_000_000
        if row is not None and stale:
            with writing(self._desk.engine) as connection:
                if secret.startswith(TOKEN_MARK):
                    sessions.used(connection, row.id, now_us // _DAY_US)
                else:
                    sessions.seen(connection, row.id, now_us)
        return found

    def _begin(self, connection: Connection, of: Account, strength: Strength, visit: Visit, how: str) -> SignedIn:
        secret = sessions.begin(
            connection,
            of,
            strength,
            at_us=visit.at_us,
            source=visit.source,
            agent=visit.agent,
            how=how,
            by=visit.by(of.login),
        )
        return SignedIn(secret, of.id, strength)
