"""From notices to deliveries, and from deliveries to the next channel and into messages: what one transaction does.

Every function is part of a transaction that the book began; time comes in as an argument.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Select, and_, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore

from lichtmast.registry.alert_schema import alert_notice
from lichtmast.registry.notification_schema import notification_delivery
from lichtmast.registry.notifying import limits
from lichtmast.registry.notifying.channel import Channel
from lichtmast.registry.notifying.quiet import released_at_us
from lichtmast.registry.notifying.records import Notice
from lichtmast.registry.notifying.sources import take, unattended, untaken

_D = notification_delivery.c
_SECOND_US = 1_000_000


def expand(connection: Connection, channels: Mapping[int, Channel], now_us: int) -> bool:
    """Make deliveries of the notices that are due; whether there may be more of them."""
    notices = take(connection, now_us, limits.NOTICES_PER_ROUND_MAX)
    told = _told(connection, {one.episode_id for one in notices if one.event == "cleared"})
    rows = [
        _row(notice, channel, now_us)
        for notice in notices
        for channel in channels.values()
        if channel.takes(notice.tenant, notice.rule, notice.severity) or (notice.episode_id, channel.id) in told
    ]
    if rows:
        connection.execute(insert(notification_delivery), rows)
    return len(notices) == limits.NOTICES_PER_ROUND_MAX


def _told(connection: Connection, episode_ids: Collection[int]) -> set[tuple[int, int]]:
    """Which channels heard of these alerts, perhaps because others did not react: they hear that it is over too."""
    query = select(_D.episode_id, _D.channel_id).where(_D.episode_id.in_(episode_ids)).distinct()
    return {(episode_id, channel_id) for episode_id, channel_id in connection.execute(query)}


def _row(notice: Notice, channel: Channel, now_us: int, escalated_from: int | None = None) -> dict[str, Any]:
    quiet, after_s = channel.draft.quiet, channel.draft.escalate_after_s
    due_at_us = now_us if quiet is None or notice.wakes else released_at_us(quiet, now_us)
    escalates = after_s is not None and notice.event != "cleared"
    return {
        "notice_id": notice.id,
        "episode_id": notice.episode_id,
        "channel_id": channel.id,
        "escalated_from": escalated_from,
        "facts": notice.facts(),
        "state": "waiting",
        "due_at_us": due_at_us,
        "escalate_at_us": due_at_us + (after_s or 0) * _SECOND_US if escalates else None,
        "attempts": 0,
        "answer": "",
    }


def escalation_due(now_us: int) -> ColumnElement[bool]:
    """The deliveries whose channel had its time."""
    return and_(_D.escalate_at_us.is_not(None), _D.escalate_at_us <= now_us)


def escalate(connection: Connection, channels: Mapping[int, Channel], now_us: int) -> None:
    """Hand what nobody has taken up to the next channel, as the alert stands now; each notice goes there once."""
    rows = connection.execute(
        select(_D.id, _D.channel_id, _D.episode_id, _D.facts)
        .where(escalation_due(now_us))
        .order_by(_D.id)
        .limit(limits.NOTICES_PER_ROUND_MAX)
    ).all()
    open_ones = unattended(connection, sorted({row.episode_id for row in rows}))
    for row in rows:
        connection.execute(update(notification_delivery).where(_D.id == row.id).values(escalate_at_us=None))
        here = channels.get(row.channel_id)
        to = channels.get(here.escalate_to or 0) if here is not None else None
        if here is None or to is None or row.episode_id not in open_ones:
            continue
        told = Notice.from_facts(row.facts | {"escalated_from": here.draft.name})
        added = _row(told, to, now_us, escalated_from=here.id)
        connection.execute(insert_or_ignore(notification_delivery).values(added).on_conflict_do_nothing())


def composable(now_us: int) -> ColumnElement[bool]:
    """Due, and not in a message yet."""
    return and_(_D.state == "waiting", _D.message.is_(None), _D.due_at_us <= now_us)


def compose(connection: Connection, channel_ids: Sequence[int], now_us: int) -> None:
    """Put what is due for each of these channels into one message; a channel has one message under way at a time."""
    for channel_id in channel_ids:
        ids = (
            select(_D.id)
            .where(composable(now_us), _D.channel_id == channel_id, _D.channel_id.not_in(_under_way()))
            .order_by(_D.id)
            .limit(limits.NOTICES_PER_MESSAGE_MAX)
        )
        found = connection.execute(ids).scalars().all()
        if found:
            values = {"message": uuid4().hex, "next_try_at_us": now_us}
            connection.execute(update(notification_delivery).where(_D.id.in_(found)).values(values))


def is_idle(connection: Connection, now_us: int) -> bool:
    """Whether a transaction would change nothing: what is asked every second must not write every second."""
    loose = select(_D.id).where(composable(now_us), _D.channel_id.not_in(_under_way()))
    questions = (select(alert_notice.c.id).where(untaken(now_us)), loose, select(_D.id).where(escalation_due(now_us)))
    return all(connection.execute(one.limit(1)).first() is None for one in questions)


def _under_way() -> Select[tuple[int]]:
    return select(_D.channel_id).where(_D.state == "waiting", _D.message.is_not(None))
