"""The tables. One schema for SQLite and PostgreSQL; changes go through `migrations/`, never through `create_all`.

Ids are never reused and no row of an asset, device, capability or datastream is ever deleted: observations refer
to them.
"""

from typing import Final

from sqlalchemy import (
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
    CheckConstraint("length(name) BETWEEN 3 AND 40", name="name_length"),
    CheckConstraint("status IN ('registered', 'claimed', 'active', 'suspended', 'retired')", name="status"),
    UniqueConstraint("tenant_id", "name"),
    Index(None, "sensor_id"),
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
