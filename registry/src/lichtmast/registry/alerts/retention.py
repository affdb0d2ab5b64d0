"""Alerts that ended long ago are deleted, with their history: it holds names of people, and no list grows for ever."""

from typing import Final

from sqlalchemy import Connection, delete, exists, func, select

from lichtmast.registry.alert_schema import alert_entry, alert_episode, alert_notice

PORTION: Final = 500
"""Alerts of one transaction: whoever else writes waits for no more than that."""

_E: Final = alert_episode.c


def forget(connection: Connection, before_us: int) -> int:
    """Delete a portion of the alerts that ended before this moment; how many. Call it until it says 0.

    One that speaks, or spoke, for others goes after them. The newest of all stays, since the next id follows from it.
    """
    member = alert_episode.alias("member")
    old = (
        select(_E.id)
        .where(
            _E.state == "cleared",
            _E.cleared_at_us < before_us,
            ~exists().where(member.c.cause_id == _E.id),
            _E.id < select(func.max(member.c.id)).scalar_subquery(),
        )
        .limit(PORTION)
    )
    ids = [row.id for row in connection.execute(old)]
    for of in (alert_entry.c.episode_id, alert_notice.c.episode_id, _E.id):
        connection.execute(delete(of.table).where(of.in_(ids)))
    return len(ids)
