"""Secrets that lead somewhere once, for a short time: links of first run and invitation, half sign-ins, passkeys.

Each belongs to an account, but the first run's: strangers can have none written.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, insert, select

from lichtmast.registry.people.secret_texts import digest, new_secret
from lichtmast.registry.people_schema import ticket


class Purpose(StrEnum):
    """What a ticket is good for, and for nothing else."""

    FIRST_RUN = "first_run"
    INVITATION = "invitation"
    RESET = "reset"
    CODE = "code"
    PASSKEY_NEW = "passkey_new"
    TOTP_NEW = "totp_new"


LINKS = (Purpose.FIRST_RUN, Purpose.INVITATION, Purpose.RESET)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket leads to."""

    purpose: Purpose
    account_id: int | None
    content: bytes
    until_us: int


def issue(
    connection: Connection,
    purpose: Purpose,
    *,
    account_id: int | None,
    now_us: int,
    life_s: int,
    content: bytes = b"",
) -> str:
    """A new ticket; links replace their predecessors."""
    t = ticket.c
    connection.execute(delete(ticket).where(t.until_us <= now_us))
    if purpose in LINKS:
        connection.execute(delete(ticket).where(t.purpose.in_(LINKS), t.account_id.is_not_distinct_from(account_id)))
    else:
        connection.execute(delete(ticket).where(t.purpose == purpose, t.account_id == account_id))
    text = new_secret()
    connection.execute(
        insert(ticket).values(
            hash=digest(text),
            purpose=purpose.value,
            account_id=account_id,
            content=content,
            until_us=now_us + life_s * 1_000_000,
        )
    )
    return text


def look(connection: Connection, text: str, purposes: tuple[Purpose, ...], now_us: int) -> Ticket | None:
    """What a ticket leads to, while it does; it stays good."""
    t = ticket.c
    row = connection.execute(
        select(t.purpose, t.account_id, t.content, t.until_us).where(
            t.hash == digest(text), t.purpose.in_(purposes), t.until_us > now_us
        )
    ).one_or_none()
    return None if row is None else Ticket(Purpose(row.purpose), row.account_id, row.content, row.until_us)


def take(connection: Connection, text: str, purposes: tuple[Purpose, ...], now_us: int) -> Ticket | None:
    """The same, and it is used up."""
    found = look(connection, text, purposes, now_us)
    if found is not None:
        connection.execute(delete(ticket).where(ticket.c.hash == digest(text)))
    return found
