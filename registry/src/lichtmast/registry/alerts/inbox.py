"""The inbox and what stands behind an alert: reads, on one open transaction.

`now_us` is the server's clock: a shelf that has ended is shown as ended, whether or not that was written down yet.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from lichtmast.registry.alert_schema import alert_entry, alert_episode
from lichtmast.registry.alerts.episode import OPEN_STATES, Entry, EntryKind, Episode, EpisodeState
from lichtmast.registry.alerts.ledger import entry_of, episode_of
from lichtmast.registry.alerts.life_cycle import as_of
from lichtmast.registry.alerts.limits import EPISODES_PAGE_MAX
from lichtmast.registry.alerts.rule_rows import RuleReader
from lichtmast.registry.alerts.rules import AlertRule, Severity
from lichtmast.registry.alerts.scope import Box

_E: Final = alert_episode.c
_L: Final = alert_entry.c


@dataclass(frozen=True, slots=True)
class InboxQuery:
    """Which alerts, newest first; everything narrows. Alerts that another one speaks for are left out by default."""

    states: Collection[EpisodeState] = OPEN_STATES
    severities: Collection[Severity] = frozenset(Severity)
    tenants: Collection[str] | None = None
    """None: all."""
    rule_id: int | None = None
    area: Box | None = None
    owner: str | None = None
    subject: str | None = None
    asset_id: int | None = None
    cause_id: int | None = None
    """The alerts that this one speaks for, or spoke for when it was open."""
    with_grouped: bool = False
    with_maintenance: bool = True
    before_id: int | None = None
    """Where the page goes on: the id of the last alert of the page before."""
    limit: int = 100


@dataclass(frozen=True, slots=True)
class InboxRow:
    """An alert, and how many open ones it speaks for."""

    episode: Episode
    speaks_for: int


@dataclass(frozen=True, slots=True)
class EpisodeFile:
    """Everything about one alert. `rule` is the version that raised it."""

    episode: Episode
    rule: AlertRule
    entries: tuple[Entry, ...]
    members: tuple[Episode, ...]
    """The alerts that it speaks for, or spoke for, at most a page of them."""


def inbox(connection: Connection, query: InboxQuery, now_us: int) -> list[InboxRow]:
    """A page of alerts, the newest first. Raises ValueError for an impossible page."""
    if not 1 <= query.limit <= EPISODES_PAGE_MAX:
        raise ValueError(f"a page has 1 to {EPISODES_PAGE_MAX} alerts, not {query.limit}")
    rows = connection.execute(
        select(alert_episode).where(*_conditions(query, now_us)).order_by(_E.id.desc()).limit(query.limit)
    )
    found = [as_of(episode_of(row), now_us) for row in rows]
    members = select(_E.cause_id, func.count()).where(_E.grouped, _E.state.in_(_OPEN))
    members = members.where(_E.cause_id.in_([one.id for one in found])).group_by(_E.cause_id)
    counts = {row[0]: row[1] for row in connection.execute(members)}
    return [InboxRow(one, counts.get(one.id, 0)) for one in found]


def counts(connection: Connection, tenants: Collection[str] | None, now_us: int) -> Mapping[EpisodeState, int]:
    """How many alerts are in each state, those that another one speaks for left out; every state is a key."""
    state = case((_shelf_is_over(now_us), EpisodeState.NEW.value), else_=_E.state)
    query = select(state, func.count()).where(or_(~_E.grouped, _E.state == EpisodeState.CLEARED.value)).group_by(state)
    if tenants is not None:
        query = query.where(_E.tenant.in_(sorted(tenants)))
    found = {EpisodeState(name): number for name, number in connection.execute(query)}
    return {one: found.get(one, 0) for one in EpisodeState}


def episode(connection: Connection, episode_id: int, now_us: int) -> Episode | None:
    """One alert."""
    row = connection.execute(select(alert_episode).where(_E.id == episode_id)).one_or_none()
    return None if row is None else as_of(episode_of(row), now_us)


def file_of(connection: Connection, reader: RuleReader, episode_id: int, now_us: int) -> EpisodeFile | None:
    """One alert with its history, its rule and its members."""
    found = episode(connection, episode_id, now_us)
    if found is None:
        return None
    key = (found.rule_id, found.rule_version)
    entries = connection.execute(select(alert_entry).where(_L.episode_id == episode_id).order_by(_L.id))
    members = connection.execute(
        select(alert_episode).where(_E.cause_id == episode_id).order_by(_E.id).limit(EPISODES_PAGE_MAX)
    )
    return EpisodeFile(
        found,
        reader.versions(connection, [key])[key],
        tuple(entry_of(row) for row in entries),
        tuple(as_of(episode_of(row), now_us) for row in members),
    )


def comments_on(connection: Connection, episode_id: int) -> int:
    """How many comments an alert has."""
    query = select(func.count()).where(_L.episode_id == episode_id, _L.kind == EntryKind.COMMENTED.value)
    return int(connection.execute(query).scalar_one())


def last_words(connection: Connection, episode_id: int) -> Entry | None:
    """The newest line of an alert's history."""
    query = select(alert_entry).where(_L.episode_id == episode_id).order_by(_L.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else entry_of(row)


_OPEN: Final = sorted(OPEN_STATES)


def _conditions(query: InboxQuery, now_us: int) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [_E.state.in_(sorted(query.states))]
    if EpisodeState.NEW in query.states:
        wanted = [or_(*wanted, _shelf_is_over(now_us))]
    elif EpisodeState.SHELVED in query.states:
        wanted.append(~_shelf_is_over(now_us))
    wanted.append(_E.severity.in_(sorted(query.severities)))
    if query.tenants is not None:
        wanted.append(_E.tenant.in_(sorted(query.tenants)))
    wanted += [
        column == value
        for column, value in (
            (_E.rule_id, query.rule_id),
            (_E.owner, query.owner),
            (_E.subject, query.subject),
            (_E.asset_id, query.asset_id),
            (_E.cause_id, query.cause_id),
        )
        if value is not None
    ]
    if query.area is not None:
        box = query.area
        wanted += [_E.longitude.between(box.west, box.east), _E.latitude.between(box.south, box.north)]
    if not query.with_grouped and query.cause_id is None:
        wanted.append(or_(~_E.grouped, _E.state == EpisodeState.CLEARED.value))
    if not query.with_maintenance:
        wanted.append(~_E.in_maintenance)
    if query.before_id is not None:
        wanted.append(_E.id < query.before_id)
    return wanted


def _shelf_is_over(now_us: int) -> ColumnElement[bool]:
    return and_(_E.state == EpisodeState.SHELVED.value, _E.shelved_until_us <= now_us)
