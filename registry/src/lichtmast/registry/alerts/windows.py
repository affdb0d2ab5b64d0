"""Maintenance windows: when alerts are expected because somebody works there. Recorded, and nobody is woken.

Also what time does to alerts by itself: windows begin and end, shelves end. Functions on one open write transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, func, insert, select, update

from lichtmast.registry import schema
from lichtmast.registry.alert_schema import alert_episode, alert_window
from lichtmast.registry.alerts import limits
from lichtmast.registry.alerts.episode import EpisodeState
from lichtmast.registry.alerts.errors import AlertRuleError
from lichtmast.registry.alerts.ledger import IS_OPEN, Ledger
from lichtmast.registry.alerts.life_cycle import (
    is_text,
    maintenance_began,
    maintenance_ended,
    shelf_is_over,
    shelf_over,
)
from lichtmast.registry.alerts.rules import parse_scope, scope_document
from lichtmast.registry.alerts.scope import Facts, Scope
from lichtmast.registry.auditing import Action, Actor, Event, append
from lichtmast.registry.errors import ConflictError, UnknownRecordError

_E: Final = alert_episode.c
_W: Final = alert_window.c


class WindowState(StrEnum):
    """Where a maintenance window is."""

    PLANNED = "planned"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """Work that explains alerts: where, from when until when, and which order it is."""

    id: int
    tenant: str
    scope: Scope
    from_us: int
    until_us: int
    work_order: str
    note: str
    state: WindowState
    made_at_us: int
    made_by: str

    def covers(self, facts: Facts) -> bool:
        """Whether it explains alerts about this subject. Those of a group only where it is the whole municipality."""
        return facts.tenant == self.tenant and (self.scope == Scope() if facts.is_group else self.scope.covers(facts))


@dataclass(frozen=True, slots=True)
class WindowDraft:
    """A maintenance window to be planned. `scope` is a document, as in a rule."""

    tenant: str
    scope: Mapping[str, Any]
    from_us: int
    until_us: int
    work_order: str
    note: str = ""


def plan(connection: Connection, draft: WindowDraft, by: Actor, at_us: int) -> int:
    """Enter a window; its id. Raises AlertRuleError, UnknownRecordError or ConflictError."""
    scope = parse_scope(draft.scope, "scope")
    if not (draft.from_us < draft.until_us and draft.until_us - draft.from_us <= limits.WINDOW_S_MAX * 1_000_000):
        raise AlertRuleError(
            "until", f"a window ends after it begins, and lasts {limits.WINDOW_S_MAX // 86_400} days at most"
        )
    if draft.until_us <= at_us:
        raise AlertRuleError("until", "the window is over already; alerts of the past are not rewritten")
    order = draft.work_order.strip()
    if not (0 < len(order) <= limits.WORK_ORDER_CHARACTERS_MAX and order.isprintable()):
        raise AlertRuleError(
            "work_order", f"name the work order, in 1 to {limits.WORK_ORDER_CHARACTERS_MAX} characters"
        )
    if draft.note and not is_text(draft.note):
        raise AlertRuleError("note", f"at most {limits.TEXT_CHARACTERS_MAX} characters that print")
    t = schema.tenant.c
    tenant_id = connection.execute(select(t.id).where(t.code == draft.tenant)).scalar_one_or_none()
    if tenant_id is None:
        raise UnknownRecordError(f"tenant {draft.tenant[:60]!r} is not in the register; add it first")
    _require_room(connection, tenant_id, draft.tenant)
    document = scope_document(scope)
    row = {
        "tenant_id": tenant_id,
        "scope": document,
        "from_us": draft.from_us,
        "until_us": draft.until_us,
        "work_order": order,
        "note": draft.note.strip(),
        "state": WindowState.PLANNED.value,
        "made_at_us": at_us,
        "made_by": by.name,
    }
    window_id = int(connection.execute(insert(alert_window).values(row).returning(_W.id)).scalar_one())
    after = {"scope": document, "from_us": draft.from_us, "until_us": draft.until_us, "work_order": order}
    what = Action.MAINTENANCE_PLANNED
    append(connection, Event(what, "maintenance_window", str(window_id), by, at_us, draft.tenant, after=after))
    return window_id


def _require_room(connection: Connection, tenant_id: int, tenant: str) -> None:
    live = select(func.count()).where(_W.state != WindowState.ENDED.value)
    for query, whose, most in (
        (live.where(_W.tenant_id == tenant_id), tenant, limits.WINDOWS_LIVE_TENANT_MAX),
        (live, "the register", limits.WINDOWS_LIVE_MAX),
    ):
        count = connection.execute(query).scalar_one()
        if count >= most:
            raise ConflictError(f"{whose} has {count} maintenance windows that have not ended, the most; end one first")


def end_window(connection: Connection, window_id: int, by: Actor, at_us: int) -> None:
    """End a window now; one that has ended is left as it is. Raises UnknownRecordError."""
    window = get(connection, window_id)
    if window.state is WindowState.ENDED:
        return
    # One that never began ends the moment it would have begun: it covers nothing.
    until_us = min(max(at_us, window.from_us), window.until_us)
    values = {"until_us": until_us, "state": WindowState.ENDED.value}
    connection.execute(update(alert_window).where(_W.id == window_id).values(values))
    before, after = {"until_us": window.until_us}, {"until_us": until_us}
    what = Action.MAINTENANCE_ENDED
    append(connection, Event(what, "maintenance_window", str(window_id), by, at_us, window.tenant, before, after))


def get(connection: Connection, window_id: int) -> MaintenanceWindow:
    """One window. Raises UnknownRecordError."""
    row = connection.execute(_windows().where(_W.id == window_id)).one_or_none()
    if row is None:
        raise UnknownRecordError(f"there is no maintenance window {window_id}; see the list of windows")
    return _window(row)


def read(connection: Connection, tenant: str | None, *, live_only: bool, limit: int) -> list[MaintenanceWindow]:
    """Windows, the latest to begin first."""
    query = _windows().order_by(_W.from_us.desc(), _W.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(schema.tenant.c.code == tenant)
    if live_only:
        query = query.where(_W.state != WindowState.ENDED.value)
    return [_window(row) for row in connection.execute(query)]


def windows_over(connection: Connection, from_us: int, until_us: int) -> list[MaintenanceWindow]:
    """The windows that touch a span of event time, whatever the server's clock says of them."""
    query = _windows().where(_W.until_us > from_us, _W.from_us <= until_us).order_by(_W.id)
    return [_window(row) for row in connection.execute(query)]


def wake(connection: Connection, ledger: Ledger, now_us: int) -> None:
    """Do what is due by the server's clock: end shelves, begin and end windows."""
    for one in ledger.read_open(_E.state == EpisodeState.SHELVED.value, _E.shelved_until_us <= now_us):
        if shelf_is_over(one, now_us):
            ledger.apply(shelf_over(one, now_us))
    due = _windows().where(_W.state == WindowState.PLANNED.value, _W.from_us <= now_us)
    for window in [_window(row) for row in connection.execute(due)]:
        _set_state(connection, window, WindowState.RUNNING)
        for one in ledger.read_open(_E.tenant == window.tenant, _E.in_maintenance.is_(False)):
            if not one.in_maintenance and window.covers(one.facts):
                ledger.apply(maintenance_began(one, window.id, now_us))
    over = _windows().where(_W.state == WindowState.RUNNING.value, _W.until_us <= now_us)
    for window in [_window(row) for row in connection.execute(over)]:
        _set_state(connection, window, WindowState.ENDED)
    ended = select(_W.id).where(_W.state == WindowState.ENDED.value)
    gone = set(connection.execute(ended.where(_W.id.in_(_windows_in_use()))).scalars())
    if gone:
        for one in ledger.read_open(_E.in_maintenance, _E.window_id.in_(gone)):
            if one.in_maintenance and one.window_id in gone:
                ledger.apply(maintenance_ended(one, now_us))


def _windows_in_use() -> Select[tuple[int | None]]:
    return select(_E.window_id).where(_E.in_maintenance, IS_OPEN)


def _set_state(connection: Connection, window: MaintenanceWindow, state: WindowState) -> None:
    connection.execute(update(alert_window).where(_W.id == window.id).values(state=state.value))


def _windows() -> Select[Any]:
    return select(alert_window, schema.tenant.c.code).join(schema.tenant, schema.tenant.c.id == _W.tenant_id)


def _window(row: Any) -> MaintenanceWindow:  # noqa: ANN401 - a row of _windows()
    return MaintenanceWindow(
        row.id,
        row.code,
        parse_scope(row.scope, "scope"),
        row.from_us,
        row.until_us,
        row.work_order,
        row.note,
        WindowState(row.state),
        row.made_at_us,
        row.made_by,
    )
