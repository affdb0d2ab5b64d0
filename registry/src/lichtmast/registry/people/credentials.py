"""What an account signs in with, changed by its owner: password, authenticator, passkeys, recovery codes, tokens.

Every change ends the account's sessions; the one who made it gets a new one. The last second factor of somebody who
needs one stays.
"""

import io
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import segno
from sqlalchemy import Connection, delete, insert, select, update

from lichtmast.registry.database import writing
from lichtmast.registry.people import accounts, limits, passkeys, sessions, throttle, tickets
from lichtmast.registry.people.desk import Desk, Visit, about_totp
from lichtmast.registry.people.errors import NotAcceptedError, NotNowError
from lichtmast.registry.people.passkeys import RelyingParty
from lichtmast.registry.people.passwords import require_good
from lichtmast.registry.people.records import (
    Account,
    Bearer,
    Grant,
    PasskeyRecord,
    SessionRecord,
    Strength,
    TokenRecord,
)
from lichtmast.registry.people.second_factor import matching_step, new_seed, otpauth, seed_text
from lichtmast.registry.people.secret_texts import digest, new_recovery_code, plain_code
from lichtmast.registry.people.tickets import Purpose
from lichtmast.registry.people_schema import account, recovery_code

_A: Final = account.c
_CHALLENGE_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class TotpOffer:
    """A seed that is not in force until a code of it came back."""

    ticket: str
    seed: str
    otpauth: str

    def qr_svg(self) -> str:
        """The QR code, dark on light in any colour scheme, as an SVG document."""
        text = io.BytesIO()
        segno.make(self.otpauth, error="m").save(
            text, kind="svg", scale=5, border=4, dark="#000", light="#fff", xmldecl=False, svgclass=None, lineclass=None
        )
        return text.getvalue().decode()


class CredentialBook:
    """Changes by the owner of a session. That they signed in a moment ago is for the caller to see to."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def account(self, account_id: int) -> Account:
        """The owner's account. Raises UnknownPersonError."""
        with self._desk.engine.connect() as connection:
            return accounts.get(connection, account_id)

    def change_password(self, bearer: Bearer, current: str, new: str, visit: Visit) -> str:
        """A new password, for the right current one; the new session. Raises NotAcceptedError or NotNowError."""
        require_good(new, bearer.login)
        with writing(self._desk.engine) as connection:
            keys = throttle.keys_of(connection, bearer.login, visit.source, bearer.account_id, visit.at_us)
            waiting_s = throttle.charge(connection, keys, visit.at_us)
            kept = connection.execute(select(_A.password_hash).where(_A.id == bearer.account_id)).scalar_one()
        if waiting_s:
            raise NotNowError(f"too many wrong attempts; try again in {waiting_s} s")
        if kept is not None and not self._desk.passwords.verify(kept, current):
            raise NotAcceptedError("the current password is another one")
        fresh = self._desk.passwords.hash(new)
        with writing(self._desk.engine) as connection:
            # A reset may have come while this was hashed: what was verified must still be so.
            same = (_A.id == bearer.account_id) & _A.password_hash.is_not_distinct_from(kept)
            if not connection.execute(update(account).where(same).values(password_hash=fresh)).rowcount:
                raise NotNowError("the password was changed meanwhile; sign in again")
            throttle.give_back(connection, keys)
            return self._renewed(connection, bearer, bearer.strength, visit, "people.password_changed")

    # The authenticator.

    def offer_totp(self, bearer: Bearer, visit: Visit) -> TotpOffer:
        """A new seed, to be confirmed by a code of it."""
        seed = new_seed()
        with writing(self._desk.engine) as connection:
            ticket = tickets.issue(
                connection,
                Purpose.TOTP_NEW,
                account_id=bearer.account_id,
                now_us=visit.at_us,
                life_s=limits.RECENT_S,
                content=self._desk.seal.seal(seed, about_totp(bearer.account_id)),
            )
        return self._offer(ticket, seed, bearer)

    def offered_totp(self, bearer: Bearer, ticket: str, visit: Visit) -> TotpOffer | None:
        """The offer again, after a wrong code."""
        with self._desk.engine.connect() as connection:
            found = tickets.look(connection, ticket, (Purpose.TOTP_NEW,), visit.at_us)
        if found is None or found.account_id != bearer.account_id:
            return None
        return self._offer(ticket, self._desk.seal.unseal(found.content, about_totp(bearer.account_id)), bearer)

    def _offer(self, ticket: str, seed: bytes, bearer: Bearer) -> TotpOffer:
        return TotpOffer(ticket, seed_text(seed), otpauth(seed, bearer.login))

    def confirm_totp(self, bearer: Bearer, ticket: str, code: str, visit: Visit) -> str:
        """Put the offered seed in force; the new session, with its second factor. Raises NotAcceptedError."""
        with writing(self._desk.engine) as connection:
            found = tickets.look(connection, ticket, (Purpose.TOTP_NEW,), visit.at_us)
            if found is None or found.account_id != bearer.account_id:
                raise NotAcceptedError("this offer has ended; begin again")
            seed = self._desk.seal.unseal(found.content, about_totp(bearer.account_id))
            step = matching_step(seed, plain_code(code), visit.at_us, None)
            if step is None:
                raise NotAcceptedError(
                    "this is not the code that the authenticator shows now; is the phone's clock right?"
                )
            tickets.take(connection, ticket, (Purpose.TOTP_NEW,), visit.at_us)
            connection.execute(
                update(account).where(_A.id == bearer.account_id).values(totp_sealed=found.content, totp_step=step)
            )
            return self._renewed(connection, bearer, Strength.SECOND_FACTOR, visit, "people.totp_added")

    def remove_totp(self, bearer: Bearer, visit: Visit) -> str:
        """Forget the authenticator; the new session. Raises NotNowError."""
        with writing(self._desk.engine) as connection:
            of = accounts.get(connection, bearer.account_id)
            if not of.has_totp:
                raise NotNowError("there is no authenticator to remove")
            _require_other(of, of.passkeys)
            connection.execute(update(account).where(_A.id == of.id).values(totp_sealed=None, totp_step=None))
            return self._renewed(connection, bearer, bearer.strength, visit, "people.totp_removed")

    def new_recovery_codes(self, bearer: Bearer, visit: Visit) -> list[str]:
        """Ten codes, told this once, instead of all earlier ones. Raises NotNowError."""
        with writing(self._desk.engine) as connection:
            of = _standing(connection, bearer)
            if not of.has_second_factor:
                raise NotNowError("recovery codes stand in for a second factor; add one first")
            connection.execute(delete(recovery_code).where(recovery_code.c.account_id == of.id))
            codes = [new_recovery_code() for _ in range(limits.RECOVERY_CODES)]
            rows = [{"hash": digest(plain_code(one)), "account_id": of.id} for one in codes]
            connection.execute(insert(recovery_code), rows)
            accounts.log(connection, "people.recovery_codes_made", of.login, visit.by(of.login), visit.at_us)
        return codes

    # Passkeys.

    def begin_passkey(self, bearer: Bearer, party: RelyingParty, visit: Visit) -> tuple[str, dict[str, Any]]:
        """A ticket, and the question for the browser. Raises NotNowError."""
        challenge = secrets.token_bytes(_CHALLENGE_BYTES)
        with writing(self._desk.engine) as connection:
            of = accounts.get(connection, bearer.account_id)
            questions = passkeys.questions_new(connection, of, party, challenge)
            ticket = tickets.issue(
                connection,
                Purpose.PASSKEY_NEW,
                account_id=of.id,
                now_us=visit.at_us,
                life_s=limits.CHALLENGE_S,
                content=challenge,
            )
        return ticket, questions

    def add_passkey(
        self,
        bearer: Bearer,
        ticket: str,
        credential: Mapping[str, Any],
        name: str,
        party: RelyingParty,
        visit: Visit,
    ) -> str:
        """Keep the browser's answer; the new session. Raises NotAcceptedError or NotNowError."""
        with writing(self._desk.engine) as connection:
            found = tickets.take(connection, ticket, (Purpose.PASSKEY_NEW,), visit.at_us)
            if found is None or found.account_id != bearer.account_id:
                raise NotAcceptedError("this question has ended; begin again")
            of = accounts.get(connection, bearer.account_id)
            passkeys.add(connection, of, party, found.content, json.dumps(credential), name, visit.at_us)
            return self._renewed(connection, bearer, Strength.SECOND_FACTOR, visit, "people.passkey_added")

    def passkeys(self, account_id: int) -> list[PasskeyRecord]:
        """The account's passkeys."""
        with self._desk.engine.connect() as connection:
            return passkeys.listed(connection, account_id)

    def remove_passkey(self, bearer: Bearer, passkey_id: int, visit: Visit) -> str:
        """Forget one; the new session. Raises UnknownPersonError or NotNowError."""
        with writing(self._desk.engine) as connection:
            of = accounts.get(connection, bearer.account_id)
            passkeys.remove(connection, of.id, passkey_id)
            _require_other(of, of.passkeys - 1 + of.has_totp)
            return self._renewed(connection, bearer, bearer.strength, visit, "people.passkey_removed")

    # Sessions and tokens.

    def sessions(self, account_id: int, now_us: int) -> list[SessionRecord]:
        """Where the account is signed in."""
        with self._desk.engine.connect() as connection:
            return sessions.listed(connection, account_id, now_us)

    def end_session(self, bearer: Bearer, session_id: int, visit: Visit) -> None:
        """End one. Raises UnknownPersonError."""
        with writing(self._desk.engine) as connection:
            sessions.end(connection, bearer.account_id, session_id, by=visit.by(bearer.login), at_us=visit.at_us)

    def end_all_sessions(self, bearer: Bearer, visit: Visit) -> int:
        """End all, this one too; how many."""
        with writing(self._desk.engine) as connection:
            ended = accounts.end_sessions(connection, bearer.account_id)
            by = visit.by(bearer.login)
            accounts.log(connection, "people.all_signed_out", bearer.login, by, visit.at_us, after={"sessions": ended})
        return ended

    def tokens(self, account_id: int, now_us: int) -> list[TokenRecord]:
        """The account's API tokens."""
        with self._desk.engine.connect() as connection:
            return sessions.tokens(connection, account_id, now_us)

    def add_token(
        self, bearer: Bearer, name: str, grants: Sequence[Grant], until_us: int, visit: Visit
    ) -> tuple[str, TokenRecord]:
        """A token of some of the owner's grants, told this once. Raises NotAcceptedError or NotNowError."""
        with writing(self._desk.engine) as connection:
            of = _standing(connection, bearer)
            return sessions.add_token(
                connection, of, name, grants, until_us=until_us, by=visit.by(of.login), at_us=visit.at_us
            )

    def end_token(self, bearer: Bearer, token_id: int, visit: Visit) -> None:
        """End one. Raises UnknownPersonError."""
        with writing(self._desk.engine) as connection:
            sessions.end_token(connection, bearer.account_id, token_id, by=visit.by(bearer.login), at_us=visit.at_us)

    def _renewed(self, connection: Connection, bearer: Bearer, strength: Strength, visit: Visit, what: str) -> str:
        """End all sessions, log the change, and begin the one of whoever made it."""
        of = _standing(connection, bearer)
        accounts.end_sessions(connection, of.id)
        accounts.log(connection, what, of.login, visit.by(of.login), visit.at_us)
        return sessions.begin(
            connection,
            of,
            strength,
            at_us=visit.at_us,
            source=visit.source,
            agent=visit.agent,
            how="a change of credentials",
            by=visit.by(of.login),
        )


def _standing(connection: Connection, bearer: Bearer) -> Account:
    """The owner, whose session still stands: a reset may have come since the request began. Raises NotNowError."""
    if not sessions.stands(connection, bearer.account_id, bearer.session_id):
        raise NotNowError("this session was ended meanwhile; sign in again")
    return accounts.get(connection, bearer.account_id)


def _require_other(of: Account, factors_left: int) -> None:
    if not factors_left and of.needs_second_factor:
        raise NotNowError("your roles need a second factor; add another one before you remove this")
