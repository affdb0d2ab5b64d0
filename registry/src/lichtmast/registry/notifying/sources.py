"""What notifications ask of alerts: which notices are due, and whether anybody has taken an alert up."""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Connection, and_, select, update

from lichtmast.registry.alert_schema import alert_episode, alert_notice
from lichtmast.registry.limits import LOOKUP_IDS_MAX
from lichtmast.registry.notifying.records import Notice

_E, _N = alert_episode.c, alert_notice.c


def untaken(now_us: int) -> ColumnElement[bool]:
    """The notices that are due and nobody has taken yet."""
    return and_(_N.taken_at_us.is_(None), _N.due_us <= now_us)


def take(connection: Connection, now_us: int, limit: int) -> list[Notice]:
    """Take the notices that are due, oldest first: in the transaction that makes deliveries of them."""
    rows = connection.execute(
        select(alert_notice, alert_episode)
        .join_from(alert_notice, alert_episode, _N.episode_id == _E.id)
        .where(untaken(now_us))
        .order_by(_N.id)
        .limit(min(limit, LOOKUP_IDS_MAX))
        .with_only_columns(
            _N.id,
            _N.episode_id,
            _N.event,
            _N.at_us,
            _E.tenant,
            _E.rule_name,
            _E.severity,
            _E.subject,
            _E.subject_name,
            _E.because,
            _E.ended_because,
        )
    ).all()
    ids = [row.id for row in rows]
    connection.execute(update(alert_notice).where(_N.id.in_(ids)).values(taken_at_us=now_us))
    return [
        Notice(
            row.id,
            row.episode_id,
            row.event,
            row.at_us,
            row.tenant,
            row.rule_name,
            row.severity,
            row.subject,
            row.subject_name,
            (row.ended_because or row.because) if row.event == "cleared" else row.because,
        )
        for row in rows
    ]


def unattended(connection: Connection, episode_ids: Collection[int]) -> set[int]:
    """Which of these alerts nobody has taken up: new, no work going on, and no other alert that speaks for it."""
    query = select(_E.id).where(
        _E.id.in_(episode_ids), _E.state == "new", _E.in_maintenance.is_(False), _E.grouped.is_(False)
    )
    return set(connection.execute(query).scalars())
