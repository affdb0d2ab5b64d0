"""Alerts: rules, what their evaluation remembers, episodes with their history, maintenance windows, notices."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of alerts, empty: a rule is there when somebody puts it."""
    op.create_table(
        "alert_engine",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("log_name", sa.String(), nullable=False),
        sa.Column("readings_upto", sa.BigInteger(), nullable=False),
        sa.Column("observations_position", sa.BigInteger(), nullable=False),
        sa.Column("watermark_us", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_alert_engine_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_engine")),
    )
    op.create_table(
        "alert_rule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("deleted_at_us", sa.BigInteger(), nullable=True),
        sa.Column("watches", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_alert_rule_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_rule")),
    )
    op.create_index(
        "ix_alert_rule_watches",
        "alert_rule",
        ["watches"],
        unique=False,
        sqlite_where=sa.text("watches IS NOT NULL"),
        postgresql_where=sa.text("watches IS NOT NULL"),
    )
    op.create_index(
        "uq_alert_rule_live_name",
        "alert_rule",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at_us IS NULL"),
        postgresql_where=sa.text("deleted_at_us IS NULL"),
    )
    op.create_table(
        "alert_window",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.Column("work_order", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("made_at_us", sa.BigInteger(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.CheckConstraint("state IN ('planned', 'running', 'ended')", name=op.f("ck_alert_window_state")),
        sa.CheckConstraint("from_us <= until_us", name=op.f("ck_alert_window_order")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_alert_window_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_window")),
    )
    op.create_index(op.f("ix_alert_window_state"), "alert_window", ["state"], unique=False)
    op.create_table(
        "alert_episode",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rule_id", sa.Integer(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("rule_name", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(length=6), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_name", sa.String(), nullable=False),
        sa.Column("datastream_id", sa.Integer(), nullable=True),
        sa.Column("device", sa.String(), nullable=True),
        sa.Column("asset_id", sa.Integer(), nullable=True),
        sa.Column("profile", sa.String(), nullable=True),
        sa.Column("capability", sa.String(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("feeder", sa.String(), nullable=True),
        sa.Column("neighbourhood", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reopens_as", sa.String(), nullable=False),
        sa.Column("raised_at_us", sa.BigInteger(), nullable=False),
        sa.Column("last_raised_at_us", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at_us", sa.BigInteger(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("because", sa.String(), nullable=False),
        sa.Column("ended_because", sa.String(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("acknowledged_by", sa.String(), nullable=True),
        sa.Column("acknowledged_at_us", sa.BigInteger(), nullable=True),
        sa.Column("shelved_until_us", sa.BigInteger(), nullable=True),
        sa.Column("shelved_because", sa.String(), nullable=True),
        sa.Column("window_id", sa.Integer(), nullable=True),
        sa.Column("in_maintenance", sa.Boolean(), nullable=False),
        sa.Column("cause_id", sa.Integer(), nullable=True),
        sa.Column("grouped", sa.Boolean(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(state = 'cleared') = (cleared_at_us IS NOT NULL)", name=op.f("ck_alert_episode_cleared_with_time")
        ),
        sa.CheckConstraint(
            "reopens_as IN ('new', 'acknowledged', 'shelved')", name=op.f("ck_alert_episode_reopens_as")
        ),
        sa.CheckConstraint(
            "state <> 'shelved' OR shelved_until_us IS NOT NULL", name=op.f("ck_alert_episode_shelved_until")
        ),
        sa.CheckConstraint(
            "state IN ('new', 'acknowledged', 'shelved', 'cleared')", name=op.f("ck_alert_episode_state")
        ),
        sa.ForeignKeyConstraint(["cause_id"], ["alert_episode.id"], name=op.f("fk_alert_episode_cause_id")),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rule.id"], name=op.f("fk_alert_episode_rule_id")),
        sa.ForeignKeyConstraint(["window_id"], ["alert_window.id"], name=op.f("fk_alert_episode_window_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_episode")),
    )
    op.create_index(op.f("ix_alert_episode_cause_id"), "alert_episode", ["cause_id"], unique=False)
    op.create_index(op.f("ix_alert_episode_rule_id_subject"), "alert_episode", ["rule_id", "subject"], unique=False)
    op.create_index(op.f("ix_alert_episode_state"), "alert_episode", ["state"], unique=False)
    op.create_index(op.f("ix_alert_episode_window_id"), "alert_episode", ["window_id"], unique=False)
    op.create_index(
        "uq_alert_episode_open",
        "alert_episode",
        ["rule_id", "subject"],
        unique=True,
        sqlite_where=sa.text("state <> 'cleared'"),
        postgresql_where=sa.text("state <> 'cleared'"),
    )
    op.create_table(
        "alert_rule_version",
        sa.Column("rule_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rule.id"], name=op.f("fk_alert_rule_version_rule_id")),
        sa.PrimaryKeyConstraint("rule_id", "version", name=op.f("pk_alert_rule_version")),
    )
    op.create_table(
        "alert_standing",
        sa.Column("rule_id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'active', 'clearing')", name=op.f("ck_alert_standing_state")),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rule.id"], name=op.f("fk_alert_standing_rule_id")),
        sa.PrimaryKeyConstraint("rule_id", "subject", name=op.f("pk_alert_standing")),
    )
    op.create_table(
        "alert_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("episode_id", sa.Integer(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["episode_id"], ["alert_episode.id"], name=op.f("fk_alert_entry_episode_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_entry")),
    )
    op.create_index(op.f("ix_alert_entry_episode_id"), "alert_entry", ["episode_id"], unique=False)
    op.create_table(
        "alert_notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("episode_id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("taken_at_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("event IN ('raised', 'cleared', 'returned')", name=op.f("ck_alert_notice_event")),
        sa.ForeignKeyConstraint(["episode_id"], ["alert_episode.id"], name=op.f("fk_alert_notice_episode_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_notice")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_alert_notice_episode_id"), "alert_notice", ["episode_id"], unique=False)
    op.create_index(
        "ix_alert_notice_untaken",
        "alert_notice",
        ["due_us"],
        unique=False,
        sqlite_where=sa.text("taken_at_us IS NULL"),
        postgresql_where=sa.text("taken_at_us IS NULL"),
    )
