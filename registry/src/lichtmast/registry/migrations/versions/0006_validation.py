"""The versions of the rules of validation."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_APPEND_ONLY = "versions of the rules of validation are append-only"
_TRIGGERS = {
    "validation_rules_update": ("UPDATE ON validation_rules", _APPEND_ONLY),
    "validation_rules_delete": ("DELETE ON validation_rules", _APPEND_ONLY),
    "validation_rules_insert": (
        "INSERT ON validation_rules WHEN NEW.version <> (SELECT coalesce(max(version), 0) + 1 FROM validation_rules)",
        "versions of the rules of validation are numbered without gaps",
    ),
}


def upgrade() -> None:
    """Make the table, empty: the profiles alone say what is believable."""
    op.create_table(
        "validation_rules",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_validation_rules")),
    )
    if op.get_context().dialect.name == "sqlite":
        for name, (when, words) in _TRIGGERS.items():
            op.execute(f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{words}'); END")
