"""The tables of alerts: rules, what the evaluation remembers, episodes with their history, windows, notices.

In the same metadata as `schema`. Times named `_us` are microseconds since 1970 UTC: those of episodes are event times,
those of people's actions and of notices the server's clock.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    text,
)

from lichtmast.registry.schema import metadata

_LIVE: Final = text("deleted_at_us IS NULL")
_WATCHES: Final = text("watches IS NOT NULL")
_OPEN: Final = text("state <> 'cleared'")

alert_rule: Final = Table(
    "alert_rule",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", ForeignKey("tenant.id"), nullable=False),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),  # the newest
    Column("enabled", Boolean, nullable=False),
    Column("deleted_at_us", BigInteger),
    Column("watches", String),  # of a fleet rule: the name of the rule whose alerts it counts
    Index("uq_alert_rule_live_name", "tenant_id", "name", unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE),
    Index("ix_alert_rule_watches", "watches", sqlite_where=_WATCHES, postgresql_where=_WATCHES),
)

alert_rule_version: Final = Table(
    # Every version stays: an episode keeps the one that raised it.
    "alert_rule_version",
    metadata,
    Column("rule_id", ForeignKey("alert_rule.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", JSON, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor_kind", String, nullable=False),
    Column("actor", String, nullable=False),
)

alert_engine: Final = Table(
    # One row: how far the evaluation is. The digest is of the step that was saved last.
    "alert_engine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("log_name", String, nullable=False),
    Column("readings_upto", BigInteger, nullable=False),
    Column("observations_position", BigInteger, nullable=False),
    Column("watermark_us", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    CheckConstraint("id = 1", name="single"),
)

alert_standing: Final = Table(
    # What the evaluation remembers of a rule and a subject; no row: nothing.
    "alert_standing",
    metadata,
    Column("rule_id", ForeignKey("alert_rule.id"), primary_key=True),
    Column("subject", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("value", Float),
    CheckConstraint("state IN ('pending', 'active', 'clearing')", name="state"),
)

alert_window: Final = Table(
    "alert_window",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", ForeignKey("tenant.id"), nullable=False),
    Column("scope", JSON, nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("work_order", String, nullable=False),
    Column("note", String, nullable=False),
    Column("state", String, nullable=False),
    Column("made_at_us", BigInteger, nullable=False),
    Column("made_by", String, nullable=False),
    CheckConstraint("state IN ('planned', 'running', 'ended')", name="state"),
    CheckConstraint("from_us <= until_us", name="order"),
    Index(None, "state"),
)

alert_episode: Final = Table(
    # One row an episode, from the first raising to the last clearing; flaps are in `count`.
    "alert_episode",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rule_id", ForeignKey("alert_rule.id"), nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("rule_name", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("tenant", String(6), nullable=False),
    Column("subject", String, nullable=False),
    # Of the subject when it was raised: episodes are read years after a lamppost got another device.
    Column("subject_name", String, nullable=False),
    Column("datastream_id", Integer),
    Column("device", String),
    Column("asset_id", Integer),
    Column("profile", String),
    Column("capability", String),
    Column("longitude", Float),
    Column("latitude", Float),
    Column("feeder", String),
    Column("neighbourhood", String),
    Column("state", String, nullable=False),
    Column("reopens_as", String, nullable=False),  # the state that a flap brings back
    Column("raised_at_us", BigInteger, nullable=False),
    Column("last_raised_at_us", BigInteger, nullable=False),
    Column("cleared_at_us", BigInteger),
    Column("count", Integer, nullable=False),
    Column("value", Float),
    Column("because", String, nullable=False),
    Column("ended_because", String),
    Column("owner", String),
    Column("acknowledged_by", String),
    Column("acknowledged_at_us", BigInteger),
    Column("shelved_until_us", BigInteger),
    Column("shelved_because", String),
    Column("window_id", ForeignKey("alert_window.id")),
    Column("in_maintenance", Boolean, nullable=False),
    Column("cause_id", ForeignKey("alert_episode.id")),  # the alert of a group that speaks, or spoke, for this one
    Column("grouped", Boolean, nullable=False),  # it speaks for this one now
    Column("told", Boolean, nullable=False),  # people were told that it is raised, and not yet that it is over
    Column("version", Integer, nullable=False),  # raised by every change; what two people compare
    CheckConstraint("state IN ('new', 'acknowledged', 'shelved', 'cleared')", name="state"),
    CheckConstraint("reopens_as IN ('new', 'acknowledged', 'shelved')", name="reopens_as"),
    CheckConstraint("(state = 'cleared') = (cleared_at_us IS NOT NULL)", name="cleared_with_time"),
    CheckConstraint("state <> 'shelved' OR shelved_until_us IS NOT NULL", name="shelved_until"),
    # One alert an episode: no crash, replay or second evaluation can open another beside it.
    Index("uq_alert_episode_open", "rule_id", "subject", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index(None, "rule_id", "subject"),
    Index(None, "state"),
    Index(None, "cause_id"),
    Index(None, "window_id"),
)

alert_entry: Final = Table(
    # The history of an episode: what happened, who did it, what was said.
    "alert_entry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("episode_id", ForeignKey("alert_episode.id"), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("actor_kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("words", String, nullable=False),
    Index(None, "episode_id"),
)

_UNTAKEN: Final = text("taken_at_us IS NULL")

alert_notice: Final = Table(
    # What people should be told, written in the transaction of what happened. Whoever delivers takes those that are
    # due and sets `taken_at_us`; until then a notice may be withdrawn, by deleting it.
    "alert_notice",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("episode_id", ForeignKey("alert_episode.id"), nullable=False),
    Column("event", String, nullable=False),
    Column("at_us", BigInteger, nullable=False),  # event time for raised and cleared
    Column("due_us", BigInteger, nullable=False),  # not before this moment of the server's clock
    Column("taken_at_us", BigInteger),
    CheckConstraint("event IN ('raised', 'cleared', 'returned')", name="event"),
    Index("ix_alert_notice_untaken", "due_us", sqlite_where=_UNTAKEN, postgresql_where=_UNTAKEN),
    Index(None, "episode_id"),
    sqlite_autoincrement=True,  # the id of a withdrawn notice is never another's
)
