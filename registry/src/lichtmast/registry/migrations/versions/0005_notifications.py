"""Notification channels and deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables; nobody is told anything before there is a channel."""
    _channel()
    _delivery()


def _channel() -> None:
    op.create_table(
        "notification_channel",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.String(length=6), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("quiet_from", sa.Integer(), nullable=True),
        sa.Column("quiet_until", sa.Integer(), nullable=True),
        sa.Column("escalate_after_s", sa.Integer(), nullable=True),
        sa.Column("escalate_to", sa.Integer(), nullable=True),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("made_at_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_at_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('email', 'webhook', 'mqtt')", name=op.f("ck_notification_channel_kind")),
        sa.CheckConstraint(
            "(quiet_from IS NULL) = (quiet_until IS NULL)", name=op.f("ck_notification_channel_quiet_whole")
        ),
        sa.CheckConstraint(
            "(escalate_after_s IS NULL) = (escalate_to IS NULL)", name=op.f("ck_notification_channel_escalation_whole")
        ),
        sa.ForeignKeyConstraint(
            ["escalate_to"], ["notification_channel.id"], name=op.f("fk_notification_channel_escalate_to")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_channel")),
    )
    op.create_index(
        "uq_notification_channel_in_use",
        "notification_channel",
        ["tenant", "name"],
        unique=True,
        sqlite_where=sa.text("removed_at_us IS NULL"),
        postgresql_where=sa.text("removed_at_us IS NULL"),
    )
    op.create_index(op.f("ix_notification_channel_escalate_to"), "notification_channel", ["escalate_to"])


def _delivery() -> None:
    op.create_table(
        "notification_delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("notice_id", sa.Integer(), nullable=False),
        sa.Column("episode_id", sa.Integer(), nullable=False),
        sa.Column("channel_id", sa.Integer(), nullable=False),
        sa.Column("escalated_from", sa.Integer(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at_us", sa.BigInteger(), nullable=False),
        sa.Column("escalate_at_us", sa.BigInteger(), nullable=True),
        sa.Column("message", sa.String(length=32), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_tried_at_us", sa.BigInteger(), nullable=True),
        sa.Column("next_try_at_us", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("ended_at_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'sent', 'failed', 'dropped')", name=op.f("ck_notification_delivery_state")
        ),
        sa.CheckConstraint("(state = 'waiting') = (ended_at_us IS NULL)", name=op.f("ck_notification_delivery_ended")),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["notification_channel.id"], name=op.f("fk_notification_delivery_channel_id")
        ),
        sa.ForeignKeyConstraint(
            ["escalated_from"], ["notification_channel.id"], name=op.f("fk_notification_delivery_escalated_from")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification_delivery")),
        sa.UniqueConstraint("notice_id", "channel_id", name=op.f("uq_notification_delivery_notice_id_channel_id")),
    )
    op.create_index(
        "ix_notification_delivery_waiting",
        "notification_delivery",
        ["channel_id"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_notification_delivery_escalates",
        "notification_delivery",
        ["escalate_at_us"],
        sqlite_where=sa.text("escalate_at_us IS NOT NULL"),
        postgresql_where=sa.text("escalate_at_us IS NOT NULL"),
    )
    op.create_index(op.f("ix_notification_delivery_episode_id"), "notification_delivery", ["episode_id"])
    op.create_index(op.f("ix_notification_delivery_message"), "notification_delivery", ["message"])
    op.create_index(op.f("ix_notification_delivery_ended_at_us"), "notification_delivery", ["ended_at_us"])
