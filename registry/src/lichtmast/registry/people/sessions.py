"""Sessions and API tokens: made, looked up at every request, ended. Functions on one open transaction."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from lichtmast.registry.auditing import Actor
from lichtmast.registry.people import accounts, limits
from lichtmast.registry.people.errors import NotAcceptedError, NotNowError, UnknownPersonError
from lichtmast.registry.people.records import (
    Account,
    Bearer,
    Grant,
    SessionRecord,
    Strength,
    TokenRecord,
    effective,
    grant_as_json,
    grant_from_json,
)
from lichtmast.registry.people.secret_texts import digest, new_secret, new_token
from lichtmast.registry.people.throttle import remember_network
from lichtmast.registry.people_schema import account, api_token, session

_DAY_US: Final = 24 * 3600 * 1_000_000
_S, _T = session.c, api_token.c


def begin(
    connection: Connection, of: Account, strength: Strength, *, at_us: int, source: str, agent: str, how: str, by: Actor
) -> str:
    """A new session; returns the secret that the browser keeps."""
    _forget_ended(connection, at_us)
    text = new_secret()
    connection.execute(
        insert(session).values(
            hash=digest(text),
            account_id=of.id,
            strength=strength.value,
            created_at_us=at_us,
            seen_at_us=at_us,
            source=source[:60],
            agent="".join(one for one in agent if one.isprintable())[: limits.AGENT_CHARACTERS_MAX],
        )
    )
    newest = (
        select(_S.id)
        .where(_S.account_id == of.id)
        .order_by(_S.created_at_us.desc(), _S.id.desc())
        .limit(limits.SESSIONS_PER_ACCOUNT_MAX)
    )
    connection.execute(delete(session).where(_S.account_id == of.id, _S.id.not_in(newest)))
    remember_network(connection, of.id, source, at_us)
    accounts.log(connection, "people.signed_in", of.login, by, at_us, after={"how": how, "strength": strength.value})
    return text


def _stale(now_us: int) -> Any:  # noqa: ANN401 - an SQL expression
    idle_us, life_us = limits.SESSION_IDLE_S * 1_000_000, limits.SESSION_LIFE_S * 1_000_000
    return or_(_S.seen_at_us <= now_us - idle_us, _S.created_at_us <= now_us - life_us)


def _forget_ended(connection: Connection, now_us: int) -> None:
    connection.execute(delete(session).where(_stale(now_us)))
    connection.execute(delete(api_token).where(_T.until_us <= now_us))


def find(connection: Connection, text: str, now_us: int) -> Row[*tuple[Any, ...]] | None:
    """The live session of a secret, with its account's state."""
    return connection.execute(
        select(_S.id, _S.account_id, _S.strength, _S.created_at_us, _S.seen_at_us)
        .join(account, account.c.id == _S.account_id)
        .where(_S.hash == digest(text), ~_stale(now_us), account.c.active)
    ).one_or_none()


def stands(connection: Connection, account_id: int, session_id: int | None) -> bool:
    """Whether a session of the account was not ended."""
    return connection.execute(select(_S.id).where(_S.id == session_id, _S.account_id == account_id)).first() is not None


def seen(connection: Connection, session_id: int, now_us: int) -> None:
    """Note that it is in use."""
    connection.execute(update(session).where(_S.id == session_id).values(seen_at_us=now_us))


def bearer_of_session(connection: Connection, row: Row[*tuple[Any, ...]], now_us: int) -> Bearer:
    """Whom it stands for."""
    of, strength = accounts.get(connection, row.account_id), Strength(row.strength)
    grants = effective(of.grants, strength, now_us)
    return Bearer(of.id, of.login, of.name, grants, strength, row.id, row.created_at_us)


def listed(connection: Connection, account_id: int, now_us: int) -> list[SessionRecord]:
    """The account's live sessions, newest first."""
    rows = connection.execute(
        select(_S.id, _S.created_at_us, _S.seen_at_us, _S.strength, _S.source, _S.agent)
        .where(_S.account_id == account_id, ~_stale(now_us))
        .order_by(_S.created_at_us.desc(), _S.id.desc())
    )
    return [
        SessionRecord(one.id, one.created_at_us, one.seen_at_us, Strength(one.strength), one.source, one.agent)
        for one in rows
    ]


def end(connection: Connection, account_id: int, session_id: int, *, by: Actor, at_us: int) -> None:
    """End one of the account's own. Raises UnknownPersonError."""
    ended = connection.execute(delete(session).where(_S.id == session_id, _S.account_id == account_id)).rowcount
    if not ended:
        raise UnknownPersonError("there is no such session")
    accounts.log(connection, "people.signed_out", accounts.get(connection, account_id).login, by, at_us)


# API tokens.


def add_token(
    connection: Connection,
    of: Account,
    name: str,
    grants: Sequence[Grant],
    *,
    until_us: int,
    by: Actor,
    at_us: int,
) -> tuple[str, TokenRecord]:
    """A new token, whose text is told this once. Raises NotAcceptedError or NotNowError."""
    if not (0 < len(name.strip()) <= limits.NAME_CHARACTERS_MAX and name.isprintable()):
        raise NotAcceptedError(f"a token's name has 1 to {limits.NAME_CHARACTERS_MAX} readable characters")
    if not at_us < until_us <= at_us + limits.TOKEN_DAYS_MAX * _DAY_US:
        raise NotAcceptedError(f"a token ends in at most {limits.TOKEN_DAYS_MAX} days")
    if not grants or len(grants) > limits.GRANTS_PER_ACCOUNT_MAX:
        raise NotAcceptedError("a token needs at least one grant, of those that you have")
    for grant in grants:
        if not any(own.covers(_within(grant, until_us)) and own.live(at_us) for own in of.grants):
            raise NotAcceptedError(f"you do not have {grant.role} in {grant.tenant} to give to a token")
    if connection.execute(select(func.count()).where(_T.account_id == of.id)).scalar_one() >= (
        limits.TOKENS_PER_ACCOUNT_MAX
    ):
        raise NotNowError(f"an account has at most {limits.TOKENS_PER_ACCOUNT_MAX} tokens; end some first")
    text, prefix = new_token()
    kept = [grant_as_json(_within(grant, until_us)) for grant in grants]
    connection.execute(
        insert(api_token).values(
            hash=digest(text),
            prefix=prefix,
            account_id=of.id,
            name=name.strip(),
            grants=kept,
            created_at_us=at_us,
            until_us=until_us,
        )
    )
    accounts.log(connection, "people.token_added", of.login, by, at_us, after={"prefix": prefix, "grants": kept})
    return text, next(one for one in tokens(connection, of.id, at_us) if one.prefix == prefix)


def _within(grant: Grant, until_us: int) -> Grant:
    """The grant as it counts through a token that ends."""
    ends = until_us if grant.until_us is None else min(grant.until_us, until_us)
    return Grant(grant.tenant, grant.role, grant.area, ends)


def tokens(connection: Connection, account_id: int, now_us: int) -> list[TokenRecord]:
    """The account's live tokens, oldest first."""
    rows = connection.execute(
        select(_T.id, _T.prefix, _T.name, _T.grants, _T.created_at_us, _T.until_us, _T.used_day)
        .where(_T.account_id == account_id, _T.until_us > now_us)
        .order_by(_T.id)
    )
    return [
        TokenRecord(
            one.id,
            one.prefix,
            one.name,
            tuple(grant_from_json(grant) for grant in one.grants),
            one.created_at_us,
            one.until_us,
            one.used_day,
        )
        for one in rows
    ]


def end_token(connection: Connection, account_id: int, token_id: int, *, by: Actor, at_us: int) -> None:
    """End a token. Raises UnknownPersonError."""
    of = accounts.get(connection, account_id)
    prefix = connection.execute(
        select(_T.prefix).where(_T.id == token_id, _T.account_id == account_id)
    ).scalar_one_or_none()
    if prefix is None:
        raise UnknownPersonError("there is no such token")
    connection.execute(delete(api_token).where(_T.id == token_id))
    accounts.log(connection, "people.token_ended", of.login, by, at_us, before={"prefix": prefix})


def find_token(connection: Connection, text: str, now_us: int) -> Row[*tuple[Any, ...]] | None:
    """The live token of a text, with its account's state."""
    return connection.execute(
        select(_T.id, _T.account_id, _T.prefix, _T.grants, _T.created_at_us, _T.used_day)
        .join(account, account.c.id == _T.account_id)
        .where(_T.hash == digest(text), _T.until_us > now_us, account.c.active)
    ).one_or_none()


def used(connection: Connection, token_id: int, day: int) -> None:
    """Note the day of its last use."""
    connection.execute(update(api_token).where(_T.id == token_id).values(used_day=day))


def bearer_of_token(connection: Connection, row: Row[*tuple[Any, ...]], now_us: int) -> Bearer:
    """Whom it stands for: what it was given and its owner still has."""
    of = accounts.get(connection, row.account_id)
    own = [one for one in of.grants if one.live(now_us)]
    given = [grant_from_json(one) for one in row.grants]
    grants = tuple(
        Grant(one.tenant, one.role, one.area, one.until_us)
        for one in given
        if one.live(now_us) and any(_still(mine, one, now_us) for mine in own)
    )
    return Bearer(of.id, of.login, of.name, grants, Strength.SECOND_FACTOR, None, row.created_at_us, row.prefix)


def _still(mine: Grant, given: Grant, now_us: int) -> bool:
    """Whether the owner's live grant covers the token's now; that it ends sooner matters when it has."""
    timeless = Grant(mine.tenant, mine.role, mine.area, None)
    return mine.live(now_us) and timeless.covers(given)
