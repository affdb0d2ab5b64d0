"""Municipalities in the register. Functions on one open transaction; `Registry` opens it and bumps the revision."""

from sqlalchemy import Connection, insert, select, update

from lichtmast.registry import schema
from lichtmast.registry.auditing import Action, Actor, Event, append
from lichtmast.registry.records import TenantRecord
from lichtmast.wire.identity import is_tenant


def require_code(code: str) -> None:
    """Raises ValueError for what is no municipality code."""
    if not is_tenant(code):
        raise ValueError(f"tenant {code[:60]!r} is not gm and four digits, as in gm0402")


def ensure(connection: Connection, code: str, name: str | None, by: Actor, at_us: int) -> tuple[TenantRecord, bool]:
    """Add it where it is missing, rename it where a name is given; the second value tells whether that is a change."""
    t = schema.tenant
    query = select(t.c.id, t.c.code, t.c.name).where(t.c.code == code)
    row = connection.execute(query).one_or_none()
    if row is None:
        connection.execute(insert(t).values(code=code, name=name))
    elif name is not None and row.name != name:
        connection.execute(update(t).where(t.c.id == row.id).values(name=name))
    else:
        return TenantRecord(*row), False
    action = Action.TENANT_ADDED if row is None else Action.TENANT_RENAMED
    before = None if row is None else {"name": row.name}
    append(connection, Event(action, "tenant", code, by, at_us, code, before, {"name": name}))
    return TenantRecord(*connection.execute(query).one()), True
