"""The tables of notifications: channels and deliveries; in the same metadata as `schema`.

A delivery holds a copy of what is to be said (`facts`): it can be sent, and read years later, whatever becomes of the
episode. A webhook's secret is sealed with a key that is not in the database.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)

from lichtmast.registry.schema import metadata

_IN_USE: Final = text("removed_at_us IS NULL")
_WAITING: Final = text("state = 'waiting'")
_ESCALATES: Final = text("escalate_at_us IS NOT NULL")

notification_channel: Final = Table(
    # Never deleted: deliveries refer to it. A removed one keeps its row and loses its secret.
    "notification_channel",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant", String(6), nullable=False),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("target", String, nullable=False),  # empty for MQTT: the subject follows from the tenant
    Column("language", String(2), nullable=False),
    Column("severity", String, nullable=False),
    Column("rules", JSON, nullable=False),  # names; empty: all
    Column("quiet_from", Integer),  # minutes after midnight in Europe/Amsterdam
    Column("quiet_until", Integer),
    Column("escalate_after_s", Integer),
    Column("escalate_to", ForeignKey("notification_channel.id")),
    Column("secret_sealed", LargeBinary),
    Column("made_at_us", BigInteger, nullable=False),
    Column("removed_at_us", BigInteger),
    CheckConstraint("kind IN ('email', 'webhook', 'mqtt')", name="kind"),
    CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_whole"),
    CheckConstraint("(escalate_after_s IS NULL) = (escalate_to IS NULL)", name="escalation_whole"),
    Index(
        "uq_notification_channel_in_use", "tenant", "name", unique=True, sqlite_where=_IN_USE, postgresql_where=_IN_USE
    ),
    Index(None, "escalate_to"),
)

notification_delivery: Final = Table(
    # One notice on one channel. What goes out in one message has the same `message`, which is the id that the
    # receiver sees; it is given before the first attempt and never changes.
    "notification_delivery",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("notice_id", Integer, nullable=False),
    Column("episode_id", Integer, nullable=False),
    Column("channel_id", ForeignKey("notification_channel.id"), nullable=False),
    Column("escalated_from", ForeignKey("notification_channel.id")),
    Column("facts", JSON, nullable=False),
    Column("state", String, nullable=False),
    Column("due_at_us", BigInteger, nullable=False),
    Column("escalate_at_us", BigInteger),  # null: never, or decided
    Column("message", String(32)),
    Column("attempts", Integer, nullable=False),
    Column("first_tried_at_us", BigInteger),
    Column("next_try_at_us", BigInteger),
    Column("answer", String, nullable=False),  # what the other side said last, in words
    Column("ended_at_us", BigInteger),
    CheckConstraint("state IN ('waiting', 'sent', 'failed', 'dropped')", name="state"),
    CheckConstraint("(state = 'waiting') = (ended_at_us IS NULL)", name="ended"),
    UniqueConstraint("notice_id", "channel_id"),
    Index(
        "ix_notification_delivery_waiting",
        "channel_id",
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    ),
    Index("ix_notification_delivery_escalates", "escalate_at_us", sqlite_where=_ESCALATES, postgresql_where=_ESCALATES),
    Index(None, "episode_id"),
    Index(None, "message"),
    Index(None, "ended_at_us"),
)
