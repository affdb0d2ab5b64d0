"""The register: tenants, assets and their versions, devices, deployments, datastreams, imports."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of the first version, and the revision counter at 0."""
    op.create_table(
        "observed_property",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("definition", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observed_property")),
        sa.UniqueConstraint("definition", "name", name=op.f("uq_observed_property_definition_name")),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_revision_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revision")),
    )
    op.create_table(
        "sensor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("profile_version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("encoding_type", sa.String(), nullable=False),
        sa.Column("metadata", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sensor")),
        sa.UniqueConstraint("profile", name=op.f("uq_sensor_profile")),
    )
    op.create_table(
        "tenant",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=6), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("code", name=op.f("uq_tenant_code")),
    )
    op.create_table(
        "asset",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("longitude", sa.Float(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=False),
        sa.Column("source_crs", sa.String(), nullable=False),
        sa.Column("source_x", sa.String(), nullable=False),
        sa.Column("source_y", sa.String(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(length=16), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_asset_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset")),
        sa.UniqueConstraint("tenant_id", "source_id", name=op.f("uq_asset_tenant_id_source_id")),
    )
    op.create_table(
        "capability",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sensor_id", sa.Integer(), nullable=False),
        sa.Column("observed_property_id", sa.Integer(), nullable=False),
        sa.Column("suffix", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("minimum", sa.Float(), nullable=True),
        sa.Column("maximum", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["observed_property_id"], ["observed_property.id"], name=op.f("fk_capability_observed_property_id")
        ),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_capability_sensor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capability")),
        sa.UniqueConstraint(
            "sensor_id",
            "suffix",
            "kind",
            "unit",
            "observed_property_id",
            name=op.f("uq_capability_sensor_id_suffix_kind_unit_observed_property_id"),
        ),
    )
    op.create_index(op.f("ix_capability_observed_property_id"), "capability", ["observed_property_id"], unique=False)
    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("sensor_id", sa.Integer(), nullable=False),
        sa.Column("profile_version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("registered_at_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('registered', 'claimed', 'active', 'suspended', 'retired')", name=op.f("ck_device_status")
        ),
        sa.CheckConstraint("length(name) BETWEEN 3 AND 40", name=op.f("ck_device_name_length")),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_device_sensor_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_device_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device")),
        sa.UniqueConstraint("tenant_id", "name", name=op.f("uq_device_tenant_id_name")),
    )
    op.create_index(op.f("ix_device_sensor_id"), "device", ["sensor_id"], unique=False)
    op.create_table(
        "import_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("started_at_us", sa.BigInteger(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("updated", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_import_run_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
    )
    op.create_index(op.f("ix_import_run_tenant_id"), "import_run", ["tenant_id"], unique=False)
    op.create_table(
        "asset_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("registered_from", sa.String(), nullable=False),
        sa.Column("registered_to", sa.String(), nullable=True),
        sa.Column("published", sa.String(), nullable=False),
        sa.Column("source_crs", sa.String(), nullable=False),
        sa.Column("source_x", sa.String(), nullable=False),
        sa.Column("source_y", sa.String(), nullable=False),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("content_digest", sa.LargeBinary(length=16), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_asset_version_asset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_version")),
        sa.UniqueConstraint(
            "asset_id", "registered_from", "published", name=op.f("uq_asset_version_asset_id_registered_from_published")
        ),
    )
    op.create_table(
        "datastream",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=True),
        sa.Column("device_id", sa.Integer(), nullable=True),
        sa.Column("capability_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint("(asset_id IS NULL) <> (device_id IS NULL)", name=op.f("ck_datastream_one_owner")),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_datastream_asset_id")),
        sa.ForeignKeyConstraint(["capability_id"], ["capability.id"], name=op.f("fk_datastream_capability_id")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_datastream_device_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datastream")),
    )
    op.create_index(op.f("ix_datastream_capability_id"), "datastream", ["capability_id"], unique=False)
    op.create_index(
        "uq_datastream_asset",
        "datastream",
        ["asset_id", "capability_id", "position"],
        unique=True,
        sqlite_where=sa.text("asset_id IS NOT NULL"),
        postgresql_where=sa.text("asset_id IS NOT NULL"),
    )
    op.create_index(
        "uq_datastream_device",
        "datastream",
        ["device_id", "capability_id"],
        unique=True,
        sqlite_where=sa.text("device_id IS NOT NULL"),
        postgresql_where=sa.text("device_id IS NOT NULL"),
    )
    op.create_table(
        "deployment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("sensor_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("to_us", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("to_us IS NULL OR to_us >= from_us", name=op.f("ck_deployment_order")),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_deployment_asset_id")),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], name=op.f("fk_deployment_device_id")),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor.id"], name=op.f("fk_deployment_sensor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.create_index(op.f("ix_deployment_asset_id"), "deployment", ["asset_id"], unique=False)
    op.create_index(op.f("ix_deployment_device_id"), "deployment", ["device_id"], unique=False)
    op.create_index(
        "uq_deployment_open_device",
        "deployment",
        ["device_id"],
        unique=True,
        sqlite_where=sa.text("to_us IS NULL"),
        postgresql_where=sa.text("to_us IS NULL"),
    )
    op.create_index(
        "uq_deployment_open_place",
        "deployment",
        ["asset_id", "sensor_id", "position"],
        unique=True,
        sqlite_where=sa.text("to_us IS NULL"),
        postgresql_where=sa.text("to_us IS NULL"),
    )
    op.execute("INSERT INTO revision (id, value) VALUES (1, 0)")
