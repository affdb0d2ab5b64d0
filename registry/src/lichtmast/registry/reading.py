"""What the register can be asked: pages of records, in a stable order, by id.

Read only. Returns the frozen values of `records`; a page holds at most PAGE_RECORDS_MAX of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, func, or_, select

from lichtmast.registry import schema
from lichtmast.registry.database import revision_of
from lichtmast.registry.devices import chunks
from lichtmast.registry.limits import LOOKUP_IDS_MAX, PAGE_RECORDS_MAX
from lichtmast.registry.records import (
    AssetRecord,
    AssetVersionRecord,
    Counts,
    DatastreamRecord,
    DeploymentRecord,
    DeviceRecord,
    DeviceStatus,
    ImportRunRecord,
    ObservedPropertyRecord,
    SensorRecord,
    TenantRecord,
)
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.units import UNITS

_SOURCE_NAMES: Final = {
    "bgt": "Basisregistratie Grootschalige Topografie (BGT)",
    "geojson": "open data (GeoJSON)",
    "csv": "beheersysteem (CSV)",
}


def tenants(connection: Connection) -> list[TenantRecord]:
    """All tenants, by code."""
    t = schema.tenant.c
    return [TenantRecord(*row) for row in connection.execute(select(t.id, t.code, t.name).order_by(t.code))]


def things(
    connection: Connection,
    tenant: str | None,
    *,
    after_id: int,
    limit: int,
    offset: int,
    active_only: bool,
    search: str | None,
    descending: bool,
) -> list[AssetRecord]:
    """A page of assets by id."""
    query = _assets().where(*_asset_filter(tenant, active_only=active_only, search=search))
    id_ = schema.asset.c.id
    if after_id:
        query = query.where(id_ < after_id if descending else id_ > after_id)
    query = query.order_by(id_.desc() if descending else id_)
    return [_asset(row) for row in connection.execute(_page(query, limit, offset))]


def count_things(connection: Connection, tenant: str | None, *, active_only: bool, search: str | None) -> int:
    """How many assets `things` would go through."""
    query = select(func.count()).select_from(schema.asset).join(schema.tenant)
    return int(
        connection.execute(query.where(*_asset_filter(tenant, active_only=active_only, search=search))).scalar_one()
    )


def thing(connection: Connection, id_: int) -> AssetRecord | None:
    """One asset."""
    row = connection.execute(_assets().where(schema.asset.c.id == id_)).one_or_none()
    return None if row is None else _asset(row)


def thing_by_source_id(connection: Connection, tenant: str, source_id: str) -> AssetRecord | None:
    """The asset that a source knows by this id."""
    query = _assets().where(schema.tenant.c.code == tenant, schema.asset.c.source_id == source_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _asset(row)


def versions_of(connection: Connection, thing_id: int) -> list[AssetVersionRecord]:
    """The source's records about an asset, oldest first."""
    v = schema.asset_version.c
    rows = connection.execute(
        select(schema.asset_version).where(v.asset_id == thing_id).order_by(v.registered_from, v.published)
    )
    return [
        AssetVersionRecord(
            row.id,
            row.asset_id,
            row.registered_from,
            row.registered_to,
            row.published or None,
            row.source_crs,
            row.source_x,
            row.source_y,
            row.properties,
        )
        for row in rows
    ]


def deployments_of(connection: Connection, thing_id: int) -> list[DeploymentRecord]:
    """Which devices hung on an asset, oldest first."""
    p, d, t = schema.deployment.c, schema.device.c, schema.tenant.c
    rows = connection.execute(
        select(p.id, p.asset_id, p.device_id, t.code, d.name, p.from_us, p.to_us, p.position)
        .join(schema.device, d.id == p.device_id)
        .join(schema.tenant, t.id == d.tenant_id)
        .where(p.asset_id == thing_id)
        .order_by(p.from_us, p.id)
    )
    return [
        DeploymentRecord(id_, asset_id, device_id, DeviceId(code, name), from_us, to_us, position)
        for id_, asset_id, device_id, code, name, from_us, to_us, position in rows
    ]


def devices(connection: Connection, tenant: str | None, *, after_id: int, limit: int) -> list[DeviceRecord]:
    """A page of devices by id."""
    d = schema.device.c
    query = _devices().where(d.id > after_id).order_by(d.id)
    if tenant is not None:
        query = query.where(schema.tenant.c.code == tenant)
    return [_device(row) for row in connection.execute(_page(query, limit, 0))]


def device(connection: Connection, device_id: DeviceId) -> DeviceRecord | None:
    """One device."""
    query = _devices().where(schema.tenant.c.code == device_id.tenant, schema.device.c.name == device_id.device)
    row = connection.execute(query).one_or_none()
    return None if row is None else _device(row)


def datastreams(
    connection: Connection, *, after_id: int, limit: int, offset: int, on_assets_only: bool, descending: bool
) -> list[DatastreamRecord]:
    """A page of series by id."""
    id_ = schema.datastream.c.id
    query = _datastreams().order_by(id_.desc() if descending else id_)
    if after_id:
        query = query.where(id_ < after_id if descending else id_ > after_id)
    if on_assets_only:
        query = query.where(schema.datastream.c.asset_id.is_not(None))
    return [_datastream(row) for row in connection.execute(_page(query, limit, offset))]


def datastream(connection: Connection, id_: int) -> DatastreamRecord | None:
    """One series."""
    row = connection.execute(_datastreams().where(schema.datastream.c.id == id_)).one_or_none()
    return None if row is None else _datastream(row)


def datastreams_of(connection: Connection, thing_ids: Sequence[int]) -> Mapping[int, list[DatastreamRecord]]:
    """The series of each asset, by id; every asked id is a key."""
    found: dict[int, list[DatastreamRecord]] = {thing_id: [] for thing_id in thing_ids}
    s = schema.datastream.c
    for chunk in chunks(found, LOOKUP_IDS_MAX):
        for row in connection.execute(_datastreams().where(s.asset_id.in_(chunk)).order_by(s.id)):
            found[row.asset_id].append(_datastream(row))
    return found


def datastreams_where(
    connection: Connection, *, sensor_id: int | None, observed_property_id: int | None, after_id: int, limit: int
) -> list[DatastreamRecord]:
    """A page of the series (on assets) of a sensor, an observed property, or both."""
    s, c = schema.datastream.c, schema.capability.c
    query = _datastreams().where(s.asset_id.is_not(None), s.id > after_id).order_by(s.id)
    if sensor_id is not None:
        query = query.where(c.sensor_id == sensor_id)
    if observed_property_id is not None:
        query = query.where(c.observed_property_id == observed_property_id)
    return [_datastream(row) for row in connection.execute(_page(query, limit, 0))]


def sensors(connection: Connection) -> list[SensorRecord]:
    """All device models, by id; there are as many as profiles."""
    s = schema.sensor.c
    rows = connection.execute(
        select(s.id, s.profile, s.name, s.description, s.encoding_type, s.metadata_).order_by(s.id)
    )
    return [SensorRecord(*row) for row in rows]


def observed_properties(connection: Connection) -> list[ObservedPropertyRecord]:
    """All quantities, by id; there are as many as the profiles name."""
    o = schema.observed_property.c
    rows = connection.execute(select(o.id, o.name, o.definition, o.description).order_by(o.id))
    return [ObservedPropertyRecord(*row) for row in rows]


def import_runs(connection: Connection, tenant: str | None, *, limit: int) -> list[ImportRunRecord]:
    """Committed imports, newest first."""
    r, t = schema.import_run.c, schema.tenant.c
    query = (
        select(r.id, t.code, r.source, r.file_name, r.sha256, r.started_at_us, r.added, r.updated, r.unchanged)
        .join(schema.tenant, t.id == r.tenant_id)
        .order_by(r.id.desc())
    )
    if tenant is not None:
        query = query.where(t.code == tenant)
    return [ImportRunRecord(*row) for row in connection.execute(_page(query, limit, 0))]


def counts(connection: Connection) -> Counts:
    """How much there is."""
    a, d, s = schema.asset, schema.device, schema.datastream

    def count(table: Table, *where: ColumnElement[bool]) -> int:
        return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())

    return Counts(
        tenants=count(schema.tenant),
        assets=count(a),
        assets_active=count(a, a.c.valid_to.is_(None)),
        devices=count(d),
        devices_active=count(d, d.c.status == DeviceStatus.ACTIVE.value),
        datastreams=count(s),
        datastreams_on_assets=count(s, s.c.asset_id.is_not(None)),
        sensors=count(schema.sensor),
        observed_properties=count(schema.observed_property),
        revision=revision_of(connection),
    )


def _page(query: Select[Any], limit: int, offset: int) -> Select[Any]:
    if not 0 < limit <= PAGE_RECORDS_MAX or offset < 0:
        raise ValueError(f"limit {limit} must be 1 to {PAGE_RECORDS_MAX} and offset {offset} not negative")
    return query.limit(limit).offset(offset)


def _asset_filter(tenant: str | None, *, active_only: bool, search: str | None) -> list[ColumnElement[bool]]:
    a = schema.asset.c
    conditions: list[ColumnElement[bool]] = []
    if tenant is not None:
        conditions.append(schema.tenant.c.code == tenant)
    if active_only:
        conditions.append(a.valid_to.is_(None))
    if search:
        conditions.append(
            or_(a.name.icontains(search, autoescape=True), a.source_id.icontains(search, autoescape=True))
        )
    return conditions


def _assets() -> Select[Any]:
    return select(schema.asset, schema.tenant.c.code).join(schema.tenant)


def _asset(row: Row[Any]) -> AssetRecord:
    return AssetRecord(
        id=row.id,
        tenant=row.code,
        source=row.source,
        source_id=row.source_id,
        kind=row.kind,
        name=row.name,
        description=f"Lichtmast in gemeente {row.code.upper()}; bron: {_SOURCE_NAMES.get(row.source, row.source)}",
        longitude=row.longitude,
        latitude=row.latitude,
        source_crs=row.source_crs,
        source_x=row.source_x,
        source_y=row.source_y,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        properties=row.properties,
    )


def _devices() -> Select[Any]:
    d, p = schema.device.c, schema.deployment.c
    return (
        select(
            d.id,
            schema.tenant.c.code,
            d.name,
            schema.sensor.c.profile,
            d.profile_version,
            d.status,
            d.registered_at_us,
            p.asset_id,
        )
        .join(schema.tenant, schema.tenant.c.id == d.tenant_id)
        .join(schema.sensor, schema.sensor.c.id == d.sensor_id)
        .outerjoin(schema.deployment, and_(p.device_id == d.id, p.to_us.is_(None)))
    )


def _device(row: Row[Any]) -> DeviceRecord:
    return DeviceRecord(
        row.id,
        DeviceId(row.code, row.name),
        row.profile,
        row.profile_version,
        DeviceStatus(row.status),
        row.registered_at_us,
        row.asset_id,
    )


def _datastreams() -> Select[Any]:
    """Series with their capability, owner, and the device that feeds them now."""
    s, c, p = schema.datastream.c, schema.capability.c, schema.deployment.c
    feeder = schema.device.alias("feeder")
    open_place = and_(p.asset_id == s.asset_id, p.sensor_id == c.sensor_id, p.position == s.position, p.to_us.is_(None))
    fed_by = feeder.c.id == func.coalesce(p.device_id, s.device_id)
    tenant_id = func.coalesce(schema.asset.c.tenant_id, feeder.c.tenant_id)
    return (
        select(
            s.id,
            s.asset_id,
            s.position,
            s.device_id.label("owner_device_id"),
            feeder.c.id.label("device_id"),
            feeder.c.name.label("device_name"),
            schema.asset.c.name.label("asset_name"),
            schema.tenant.c.code,
            c.sensor_id,
            c.observed_property_id,
            c.suffix,
            c.kind,
            c.unit,
            c.key,
            c.description,
            c.minimum,
            c.maximum,
            schema.observed_property.c.name.label("quantity"),
        )
        .select_from(schema.datastream)
        .join(schema.capability, c.id == s.capability_id)
        .join(schema.observed_property, schema.observed_property.c.id == c.observed_property_id)
        .outerjoin(schema.asset, schema.asset.c.id == s.asset_id)
        .outerjoin(schema.deployment, open_place)
        .outerjoin(feeder, fed_by)
        .join(schema.tenant, schema.tenant.c.id == tenant_id)
    )


def _datastream(row: Row[Any]) -> DatastreamRecord:
    unit = UNITS.get(row.unit)
    owner = row.asset_name if row.asset_id is not None else row.device_name
    ordinal = f" ({row.position})" if row.position > 1 else ""
    return DatastreamRecord(
        id=row.id,
        tenant=row.code,
        asset_id=row.asset_id,
        device_id=row.device_id,
        device_name=row.device_name,
        name=f"{owner}: {row.quantity}{ordinal}",
        description=row.description,
        unit=row.unit or None,
        unit_name=None if unit is None else unit.name,
        kind=row.kind,
        observed_property_id=row.observed_property_id,
        sensor_id=row.sensor_id,
        suffix=row.suffix,
        capability=row.key,
        minimum=row.minimum,
        maximum=row.maximum,
    )
