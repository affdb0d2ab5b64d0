"""When and from where each device was last heard."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "device_contact",
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("transport", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("heard_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("transport IN ('mqtt', 'coap')", name=op.f("ck_device_contact_transport")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_device_contact_device_id")),
        sa.PrimaryKeyConstraint("device_id", "transport", name=op.f("pk_device_contact")),
    )
    op.create_index("ix_device_contact_heard_us", "device_contact", ["heard_us"])
