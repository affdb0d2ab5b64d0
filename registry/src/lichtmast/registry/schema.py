"""The tables. One schema for SQLite and PostgreSQL; changes go through `migrations/`, never through `create_all`.

Ids are never reused and no row of an asset, device, capability or datastream is ever deleted: observations refer
to them. The log of changes and the issuance log are append-only, and triggers keep them so.
"""

from typing import Final

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    event,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

revision: Final = Table(
    # One row. Raised in the same transaction by every change, so that other processes notice a change cheaply.
    "revision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("value", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)

tenant: Final = Table(
    "tenant",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("code", String(6), nullable=False, unique=True),
    Column("name", String),
)

asset: Final = Table(
    "asset",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", ForeignKey("tenant.id"), nullable=False),
    Column("source", String, nullable=False),
    Column("source_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("longitude", Float, nullable=False),
    Column("latitude", Float, nullable=False),
    Column("source_crs", String, nullable=False),
    Column("source_x", String, nullable=False),  # text, exactly as the source wrote it
    Column("source_y", String, nullable=False),
    Column("valid_from", Date),
    Column("valid_to", Date),
    Column("properties", JSON, nullable=False),
    Column("content_digest", LargeBinary(16), nullable=False),  # of all that the source says: equal means unchanged
    UniqueConstraint("tenant_id", "source_id"),
)

asset_version: Final = Table(
    # The source's own history of its records: register history, not movement of the lamppost.
    "asset_version",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("asset_id", ForeignKey("asset.id"), nullable=False),
    Column("registered_from", String, nullable=False),
    Column("registered_to", String),
    Column("published", String, nullable=False),  # empty where the source tells none, so that the key below holds
    Column("source_crs", String, nullable=False),
    Column("source_x", String, nullable=False),
    Column("source_y", String, nullable=False),
    Column("properties", JSON, nullable=False),
    Column("content_digest", LargeBinary(16), nullable=False),
    UniqueConstraint("asset_id", "registered_from", "published"),
)

sensor: Final = Table(
    "sensor",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("profile", String, nullable=False, unique=True),
    Column("profile_version", Integer, nullable=False),
    Column("name", String, nullable=False),
    Column("description", String, nullable=False),
    Column("encoding_type", String, nullable=False),
    Column("metadata", String, nullable=False, key="metadata_"),
)

observed_property: Final = Table(
    "observed_property",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("definition", String, nullable=False),
    Column("description", String, nullable=False),
    UniqueConstraint("definition", "name"),
)

capability: Final = Table(
    # What a datastream means: unit and quantity belong to its identity, so a profile that changes them gets new series.
    "capability",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sensor_id", ForeignKey("sensor.id"), nullable=False),
    Column("observed_property_id", ForeignKey("observed_property.id"), nullable=False),
    Column("suffix", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("unit", String, nullable=False),  # empty: none
    Column("key", String, nullable=False),
    Column("description", String, nullable=False),
    Column("minimum", Float),
    Column("maximum", Float),
    UniqueConstraint("sensor_id", "suffix", "kind", "unit", "observed_property_id"),
    Index(None, "observed_property_id"),
)

device: Final = Table(
    "device",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", ForeignKey("tenant.id"), nullable=False),
    Column("name", String(40), nullable=False),
    Column("sensor_id", ForeignKey("sensor.id"), nullable=False),
    Column("profile_version", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("registered_at_us", BigInteger, nullable=False),
    Column("key_pin", LargeBinary(16)),  # of the key that the node made; null where none is staged
    CheckConstraint("length(name) BETWEEN 3 AND 40", name="name_length"),
    CheckConstraint("status IN ('registered', 'claimed', 'active', 'suspended', 'retired')", name="status"),
    UniqueConstraint("tenant_id", "name"),
    Index(None, "sensor_id"),
    # One key, one device: nobody can be two.
    Index(
        "uq_device_key_pin",
        "key_pin",
        unique=True,
        sqlite_where=text("key_pin IS NOT NULL"),
        postgresql_where=text("key_pin IS NOT NULL"),
    ),
)

_OPEN: Final = text("to_us IS NULL")

deployment: Final = Table(
    "deployment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("asset_id", ForeignKey("asset.id"), nullable=False),
    Column("device_id", ForeignKey("device.id"), nullable=False),
    Column("sensor_id", ForeignKey("sensor.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("to_us", BigInteger),
    CheckConstraint("to_us IS NULL OR to_us >= from_us", name="order"),
    Index("uq_deployment_open_device", "device_id", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    # Two devices may never feed one series: the second one of a profile on an asset takes the next position.
    Index(
        "uq_deployment_open_place",
        "asset_id",
        "sensor_id",
        "position",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    Index(None, "asset_id"),
    Index(None, "device_id"),
)

datastream: Final = Table(
    "datastream",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("asset_id", ForeignKey("asset.id")),
    Column("device_id", ForeignKey("device.id")),
    Column("capability_id", ForeignKey("capability.id"), nullable=False),
    Column("position", Integer, nullable=False),
    CheckConstraint("(asset_id IS NULL) <> (device_id IS NULL)", name="one_owner"),
    Index(
        "uq_datastream_asset",
        "asset_id",
        "capability_id",
        "position",
        unique=True,
        sqlite_where=text("asset_id IS NOT NULL"),
        postgresql_where=text("asset_id IS NOT NULL"),
    ),
    Index(
        "uq_datastream_device",
        "device_id",
        "capability_id",
        unique=True,
        sqlite_where=text("device_id IS NOT NULL"),
        postgresql_where=text("device_id IS NOT NULL"),
    ),
    Index(None, "capability_id"),
)

import_run: Final = Table(
    "import_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", ForeignKey("tenant.id"), nullable=False),
    Column("source", String, nullable=False),
    Column("file_name", String, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("started_at_us", BigInteger, nullable=False),
    Column("added", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Index(None, "tenant_id"),
)

_WINDOW_OPEN: Final = text("closed_at_us IS NULL")

claim: Final = Table(
    # A window in which a device may fetch its certificate; an engineer opened it in front of the lamppost.
    "claim",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("device_id", ForeignKey("device.id"), nullable=False),
    Column("asset_id", ForeignKey("asset.id"), nullable=False),
    Column("key_pin", LargeBinary(16), nullable=False),
    Column("opened_by_kind", String, nullable=False),
    Column("opened_by", String, nullable=False),
    Column("opened_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("longitude", Float),  # where the engineer stood; erased after a year, as are the next two
    Column("latitude", Float),
    Column("accuracy_m", Float),
    Column("wrong_keys", Integer, nullable=False),
    Column("closed_at_us", BigInteger),
    Column("closed_as", String),
    Column("serial", String(40)),  # hex, of the certificate that was fetched
    CheckConstraint("closed_as IN ('used', 'cancelled', 'expired')", name="closed_as"),
    CheckConstraint("(closed_at_us IS NULL) = (closed_as IS NULL)", name="closed_with_reason"),
    Index("uq_claim_open_device", "device_id", unique=True, sqlite_where=_WINDOW_OPEN, postgresql_where=_WINDOW_OPEN),
    Index(None, "device_id"),
    Index(None, "asset_id"),
)

certificate: Final = Table(
    # The issuance log: a row is committed before its certificate is handed out, and never goes.
    "certificate",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("serial", String(40), nullable=False, unique=True),  # hex, lower case, no leading zeros
    Column("device_id", ForeignKey("device.id"), nullable=False),
    Column("key_pin", LargeBinary(16), nullable=False),
    Column("issuer_pin", LargeBinary(16), nullable=False),  # of the authority's key that signed it
    Column("not_before_us", BigInteger, nullable=False),
    Column("not_after_us", BigInteger, nullable=False),
    Column("issued_at_us", BigInteger, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("fingerprint", LargeBinary(32), nullable=False, unique=True),  # SHA-256 of it, by which doors know it
    Column("superseded_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    Column("revoked_for", String),
    CheckConstraint("(revoked_at_us IS NULL) = (revoked_for IS NULL)", name="revoked_with_reason"),
    Index(None, "device_id"),
    Index(None, "not_after_us"),
)

audit_event: Final = Table(
    # The log of changes. `hash` covers the row and the hash before it: docs/adr/0028.
    "audit_event",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor_kind", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("source", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject_kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("tenant", String(6)),
    Column("before", String),  # JSON as it was hashed, so not of a JSON type that might write it anew
    Column("after", String),
    Column("sealed", LargeBinary(32)),
    Column("prev_hash", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Index(None, "subject"),
    Index(None, "tenant"),
)

audit_sensitive: Final = Table(
    # What of an event may have to be erased, with the salt of its digest.
    "audit_sensitive",
    metadata,
    Column("seq", ForeignKey("audit_event.seq"), primary_key=True),
    Column("salt", LargeBinary(16), nullable=False),
    Column("text", String, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index(None, "at_us"),
)


def _trigger(table: Table, name: str, when: str, words: str) -> None:
    """A rule of SQLite's own, which holds for every program that opens the file."""
    rule = f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{words}'); END"
    event.listen(table, "after_create", DDL(rule).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call] # SQLAlchemy leaves DDL untyped


_APPEND_ONLY: Final = "the log of changes is append-only"
_trigger(audit_event, "audit_event_update", "UPDATE ON audit_event", _APPEND_ONLY)
_trigger(audit_event, "audit_event_delete", "DELETE ON audit_event", _APPEND_ONLY)
# Also against INSERT OR REPLACE, which deletes without asking the trigger above.
_trigger(
    audit_event,
    "audit_event_insert",
    "INSERT ON audit_event WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_event)",
    "events are numbered without gaps",
)
_trigger(audit_sensitive, "audit_sensitive_update", "UPDATE ON audit_sensitive", _APPEND_ONLY)
_ISSUED: Final = "the issuance log is append-only"
_trigger(certificate, "certificate_delete", "DELETE ON certificate", _ISSUED)
_trigger(
    certificate,
    "certificate_update",
    "UPDATE OF id, serial, device_id, key_pin, issuer_pin, not_before_us, not_after_us, issued_at_us, der, fingerprint"
    " ON certificate",
    _ISSUED,
)
_trigger(
    certificate,
    "certificate_revoked",
    "UPDATE OF revoked_at_us, revoked_for ON certificate WHEN OLD.revoked_at_us IS NOT NULL",
    "a revoked certificate stays revoked",
)
_trigger(
    certificate,
    "certificate_insert",
    "INSERT ON certificate WHEN EXISTS (SELECT 1 FROM certificate"
    " WHERE serial = NEW.serial OR id = NEW.id OR fingerprint = NEW.fingerprint)",
    "a serial number is issued once",
)

# The other rooms' tables are in the same metadata: whoever has the schema has all of it.
from lichtmast.registry import alert_schema as _alert_schema  # noqa: E402, F401 - it needs `metadata` from above
from lichtmast.registry import contact_schema as _contact_schema  # noqa: E402, F401 - as above
from lichtmast.registry import notification_schema as _notification_schema  # noqa: E402, F401 - as above
from lichtmast.registry import people_schema as _people_schema  # noqa: E402, F401 - as above
from lichtmast.registry import validation_schema as _validation_schema  # noqa: E402, F401 - as above
