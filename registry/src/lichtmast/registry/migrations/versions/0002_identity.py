"""Keys of devices, claims, certificates, and the log of changes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TRIGGERS = {
    "audit_event_update": ("UPDATE ON audit_event", "the log of changes is append-only"),
    "audit_event_delete": ("DELETE ON audit_event", "the log of changes is append-only"),
    "audit_event_insert": (
        "INSERT ON audit_event WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_event)",
        "events are numbered without gaps",
    ),
    "audit_sensitive_update": ("UPDATE ON audit_sensitive", "the log of changes is append-only"),
    "certificate_delete": ("DELETE ON certificate", "the issuance log is append-only"),
    "certificate_update": (
        (
            "UPDATE OF id, serial, device_id, key_pin, issuer_pin, not_before_us, not_after_us, issued_at_us, der,"
            " fingerprint ON certificate"
        ),
        "the issuance log is append-only",
    ),
    "certificate_revoked": (
        "UPDATE OF revoked_at_us, revoked_for ON certificate WHEN OLD.revoked_at_us IS NOT NULL",
        "a revoked certificate stays revoked",
    ),
    "certificate_insert": (
        (
            "INSERT ON certificate WHEN EXISTS (SELECT 1 FROM certificate"
            " WHERE serial = NEW.serial OR id = NEW.id OR fingerprint = NEW.fingerprint)"
        ),
        "a serial number is issued once",
    ),
}


def upgrade() -> None:
    """Make the tables, and the rules that keep two of them append-only. Devices that are there have no key yet."""
    op.add_column("device", sa.Column("key_pin", sa.LargeBinary(length=16), nullable=True))
    op.create_index(
        "uq_device_key_pin",
        "device",
        ["key_pin"],
        unique=True,
        sqlite_where=sa.text("key_pin IS NOT NULL"),
        postgresql_where=sa.text("key_pin IS NOT NULL"),
    )
    op.create_table(
        "claim",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("key_pin", sa.LargeBinary(length=16), nullable=False),
        sa.Column("opened_by_kind", sa.String(), nullable=False),
        sa.Column("opened_by", sa.String(), nullable=False),
        sa.Column("opened_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("accuracy_m", sa.Float(), nullable=True),
        sa.Column("wrong_keys", sa.Integer(), nullable=False),
        sa.Column("closed_at_us", sa.BigInteger(), nullable=True),
        sa.Column("closed_as", sa.String(), nullable=True),
        sa.Column("serial", sa.String(length=40), nullable=True),
        sa.CheckConstraint("closed_as IN ('used', 'cancelled', 'expired')", name=op.f("ck_claim_closed_as")),
        sa.CheckConstraint("(closed_at_us IS NULL) = (closed_as IS NULL)", name=op.f("ck_claim_closed_with_reason")),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_claim_asset_id")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_claim_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claim")),
    )
    op.create_index(op.f("ix_claim_asset_id"), "claim", ["asset_id"], unique=False)
    op.create_index(op.f("ix_claim_device_id"), "claim", ["device_id"], unique=False)
    op.create_index(
        "uq_claim_open_device",
        "claim",
        ["device_id"],
        unique=True,
        sqlite_where=sa.text("closed_at_us IS NULL"),
        postgresql_where=sa.text("closed_at_us IS NULL"),
    )
    op.create_table(
        "certificate",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("key_pin", sa.LargeBinary(length=16), nullable=False),
        sa.Column("issuer_pin", sa.LargeBinary(length=16), nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), nullable=False),
        sa.Column("not_after_us", sa.BigInteger(), nullable=False),
        sa.Column("issued_at_us", sa.BigInteger(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("superseded_at_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_for", sa.String(), nullable=True),
        sa.CheckConstraint(
            "(revoked_at_us IS NULL) = (revoked_for IS NULL)", name=op.f("ck_certificate_revoked_with_reason")
        ),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_certificate_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_certificate_fingerprint")),
        sa.UniqueConstraint("serial", name=op.f("uq_certificate_serial")),
    )
    op.create_index(op.f("ix_certificate_device_id"), "certificate", ["device_id"], unique=False)
    op.create_index(op.f("ix_certificate_not_after_us"), "certificate", ["not_after_us"], unique=False)
    op.create_table(
        "audit_event",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor_kind", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject_kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(length=6), nullable=True),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("after", sa.String(), nullable=True),
        sa.Column("sealed", sa.LargeBinary(length=32), nullable=True),
        sa.Column("prev_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_subject"), "audit_event", ["subject"], unique=False)
    op.create_index(op.f("ix_audit_event_tenant"), "audit_event", ["tenant"], unique=False)
    op.create_table(
        "audit_sensitive",
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["audit_event.seq"], name=op.f("fk_audit_sensitive_seq")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_sensitive")),
    )
    op.create_index(op.f("ix_audit_sensitive_at_us"), "audit_sensitive", ["at_us"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for name, (when, words) in _TRIGGERS.items():
            op.execute(f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{words}'); END")
