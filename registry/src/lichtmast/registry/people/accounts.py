"""Accounts and their grants: functions on one open transaction, each change with its event in the log.

Whatever an account's grants or credentials become, its sessions end with it; that is done here and nowhere else.
"""

import re
import secrets
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from lichtmast.registry import schema
from lichtmast.registry.auditing import Actor, Event, append
from lichtmast.registry.people.errors import NotAcceptedError, NotNowError, UnknownPersonError
from lichtmast.registry.people.limits import GRANTS_PER_ACCOUNT_MAX, LOGIN_CHARACTERS_MAX, NAME_CHARACTERS_MAX
from lichtmast.registry.people.records import (
    EVERY_TENANT,
    Account,
    Grant,
    HeldGrant,
    Role,
    area_from_json,
    grant_as_json,
)
from lichtmast.registry.people_schema import (
    account,
    api_token,
    openid_binding,
    passkey,
    recovery_code,
    role_grant,
    session,
    ticket,
)

_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._%+-]{0,63}(@[a-z0-9][a-z0-9.-]*)?")
_HANDLE_BYTES: Final = 32
_A, _G = account.c, role_grant.c


def plain_login(text: str) -> str:
    """A login as it is compared. Raises NotAcceptedError."""
    login = text.strip().casefold()
    if len(login) > LOGIN_CHARACTERS_MAX or not _LOGIN.fullmatch(login):
        raise NotAcceptedError(
            f"a login is an e-mail address or a name of a-z, 0-9 and . _ + -, at most {LOGIN_CHARACTERS_MAX} characters"
        )
    return login


def add(connection: Connection, login: str, name: str, *, by: Actor, at_us: int) -> Account:
    """A new account without any credential. Raises NotAcceptedError or NotNowError."""
    login, name = plain_login(login), name.strip()
    if not (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()):
        raise NotAcceptedError(f"a name has 1 to {NAME_CHARACTERS_MAX} readable characters")
    if find(connection, login) is not None:
        raise NotNowError(f"there is an account {login} already")
    handle = secrets.token_bytes(_HANDLE_BYTES)
    connection.execute(insert(account).values(login=login, name=name, active=True, handle=handle, created_at_us=at_us))
    log(connection, "people.account_added", login, by, at_us)
    found = find(connection, login)
    assert found is not None  # noqa: S101 - written above, in this transaction
    return found


def find(connection: Connection, login: str) -> Account | None:
    """An account by its login."""
    found = connection.execute(select(_A.id).where(_A.login == login.strip().casefold())).scalar_one_or_none()
    return None if found is None else get(connection, found)


def get(connection: Connection, account_id: int) -> Account:
    """An account by its id. Raises UnknownPersonError."""
    found = read(connection, [account_id])
    if not found:
        raise UnknownPersonError("there is no such account")
    return found[0]


def read(connection: Connection, account_ids: list[int] | None = None) -> list[Account]:
    """Accounts by login; all of them where None."""
    passkeys = select(func.count()).where(passkey.c.account_id == _A.id).scalar_subquery()
    codes = select(func.count()).where(recovery_code.c.account_id == _A.id).scalar_subquery()
    query = select(
        _A.id,
        _A.login,
        _A.name,
        _A.active,
        _A.password_hash.is_not(None).label("has_password"),
        _A.totp_sealed.is_not(None).label("has_totp"),
        passkeys.label("passkeys"),
        codes.label("recovery_codes"),
        _A.created_at_us,
    ).order_by(_A.login)
    grants = select(_G.id, _G.account_id, _G.tenant, _G.role, _G.area, _G.until_us).order_by(_G.id)
    if account_ids is not None:
        query, grants = query.where(_A.id.in_(account_ids)), grants.where(_G.account_id.in_(account_ids))
    held: dict[int, list[HeldGrant]] = {}
    for row in connection.execute(grants):
        grant = Grant(row.tenant, Role(row.role), area_from_json(row.area), row.until_us)
        held.setdefault(row.account_id, []).append(HeldGrant(row.id, grant))
    return [
        Account(**row._mapping, held=tuple(held.get(row.id, ())))  # noqa: SLF001 - SQLAlchemy's public name for it
        for row in connection.execute(query)
    ]


def has_admin(connection: Connection, now_us: int) -> bool:
    """Whether anybody can let others in."""
    return (
        connection.execute(
            select(_A.id)
            .join(role_grant, _G.account_id == _A.id)
            .where(_A.active, _G.role == Role.ADMIN.value, or_(_G.until_us.is_(None), _G.until_us > now_us))
            .limit(1)
        ).first()
        is not None
    )


def give(connection: Connection, account_id: int, grant: Grant, *, by: Actor, at_us: int) -> int:
    """Add a grant, and end the account's sessions; the grant's id. Raises UnknownPersonError or NotNowError."""
    of = get(connection, account_id)
    t = schema.tenant.c
    if grant.tenant != EVERY_TENANT and not connection.execute(select(t.id).where(t.code == grant.tenant)).first():
        raise UnknownPersonError(f"tenant {grant.tenant} is not in the register; import its lampposts first")
    same = next((one.id for one in of.held if one.grant == grant), None)
    if same is not None:
        return same
    if len(of.held) >= GRANTS_PER_ACCOUNT_MAX:
        raise NotNowError(f"an account has at most {GRANTS_PER_ACCOUNT_MAX} grants; revoke some first")
    values = grant_as_json(grant)
    new = connection.execute(insert(role_grant).values(account_id=account_id, **values)).inserted_primary_key
    end_sessions(connection, account_id)
    log(connection, "people.granted", of.login, by, at_us, tenant=_tenant(grant), after=values)
    return int(new[0]) if new else 0


def take_away(connection: Connection, account_id: int, grant_id: int, *, by: Actor, at_us: int) -> Grant:
    """Remove a grant, and end the account's sessions. Raises UnknownPersonError."""
    of = get(connection, account_id)
    grant = next((one.grant for one in of.held if one.id == grant_id), None)
    if grant is None:
        raise UnknownPersonError(f"{of.login} has no grant {grant_id}")
    connection.execute(delete(role_grant).where(_G.id == grant_id))
    end_sessions(connection, account_id)
    log(connection, "people.revoked", of.login, by, at_us, tenant=_tenant(grant), before=grant_as_json(grant))
    return grant


def set_active(connection: Connection, account_id: int, *, active: bool, by: Actor, at_us: int) -> None:
    """Let an account sign in, or no longer; its sessions end. Raises UnknownPersonError."""
    of = get(connection, account_id)
    if of.active is active:
        return
    connection.execute(update(account).where(_A.id == account_id).values(active=active))
    end_sessions(connection, account_id)
    change = {"active": of.active}, {"active": active}
    log(connection, "people.activated" if active else "people.suspended", of.login, by, at_us, *change)


def strip(connection: Connection, account_id: int, *, by: Actor, at_us: int) -> Account:
    """Take every credential of an account, so that only a reset link leads back in. Raises UnknownPersonError."""
    of = get(connection, account_id)
    for table in (passkey, recovery_code, api_token, openid_binding, ticket):
        connection.execute(delete(table).where(table.c.account_id == account_id))
    connection.execute(
        update(account).where(_A.id == account_id).values(password_hash=None, totp_sealed=None, totp_step=None)
    )
    end_sessions(connection, account_id)
    log(connection, "people.reset", of.login, by, at_us)
    return of


def end_sessions(connection: Connection, account_id: int, *, but: int | None = None) -> int:
    """End all of them, but perhaps one; how many."""
    s = session.c
    query = delete(session).where(s.account_id == account_id)
    return connection.execute(query if but is None else query.where(s.id != but)).rowcount


def log(
    connection: Connection,
    action: str,
    login: str,
    by: Actor,
    at_us: int,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    *,
    tenant: str | None = None,
) -> None:
    """Write the event of a change, in its transaction."""
    append(connection, Event(action, "account", login, by, at_us, tenant, before, after))


def _tenant(grant: Grant) -> str | None:
    return None if grant.tenant == EVERY_TENANT else grant.tenant
