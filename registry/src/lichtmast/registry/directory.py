"""Who may send what, and into which series: the whole answer for the ingest pipeline, in memory.

A snapshot, the rules of validation included. Compare `Directory.revision` with `Registry.revision()` and load again
when it moved. 30,000 devices with six series each are about 20 MB. Does not judge readings: a device that is not active
is in here with its status.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Connection, select, union_all

from lichtmast.registry import schema
from lichtmast.registry.catalogue import CatalogueEntry, read_catalogue
from lichtmast.registry.database import revision_of
from lichtmast.registry.records import DeviceStatus
from lichtmast.registry.validation import current_rules
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import Profile
from lichtmast.wire.validation import BY_PROFILE, RuleSet


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """One device. `datastream_ids` line up with `load_profiles()[profile].uplinks`.

    A retired device that hangs on no asset has no series of its own: its `datastream_ids` are empty.
    """

    device_id: int
    device: DeviceId
    status: DeviceStatus
    profile: str
    asset_id: int | None
    datastream_ids: tuple[int, ...]
    longitude: float | None = None
    latitude: float | None = None
    """Where its asset stands, in CRS84 degrees; None where it hangs on none."""


@dataclass(frozen=True, slots=True)
class Directory:
    """All devices by `str(DeviceId)`, such as `gm0402/lm-0001`, as of `revision`.

    Devices of a profile that this version does not have are left out of `entries`: their packs go to quarantine as
    unknown_device, bytes kept, until a version that knows the profile reads them. `missing_profiles` names those.
    """

    revision: int
    entries: Mapping[str, DeviceEntry]
    missing_profiles: tuple[str, ...]
    validation: RuleSet = BY_PROFILE
    """What is believable of each series, as of the same revision."""


def read_directory(connection: Connection, profiles: Mapping[str, Profile]) -> Directory:
    """Read everything in one transaction, with column queries: no object per row but the entries themselves."""
    revision = revision_of(connection)
    catalogue = read_catalogue(connection, profiles)
    by_sensor = {entry.sensor_id: entry for entry in catalogue.values()}
    series = read_series(connection, catalogue.values())
    d, p, a = schema.device.c, schema.deployment.c, schema.asset.c
    rows = connection.execute(
        select(d.id, schema.tenant.c.code, d.name, d.status, d.sensor_id, p.asset_id, a.longitude, a.latitude)
        .join(schema.tenant, schema.tenant.c.id == d.tenant_id)
        .outerjoin(schema.deployment, (p.device_id == d.id) & p.to_us.is_(None))
        .outerjoin(schema.asset, a.id == p.asset_id)
        .order_by(d.id)
    )
    statuses = {status.value: status for status in DeviceStatus}
    entries: dict[str, DeviceEntry] = {}
    missing: set[int] = set()
    for device_id, code, name, status, sensor_id, asset_id, longitude, latitude in rows:
        known = by_sensor.get(sensor_id)
        if known is None:
            missing.add(sensor_id)
            continue
        device = DeviceId(code, name)
        entries[str(device)] = DeviceEntry(
            device_id,
            device,
            statuses[status],
            known.profile.key,
            asset_id,
            series.get(device_id, ()),
            longitude,
            latitude,
        )
    return Directory(revision, entries, _profile_names(connection, missing), current_rules(connection))


def read_series(
    connection: Connection, catalogue: Iterable[CatalogueEntry], device_ids: Sequence[int] | None = None
) -> dict[int, tuple[int, ...]]:
    """By device: the series that it feeds now, in the order of its profile's uplinks.

    A device on an asset feeds the asset's series, any other device its own.
    """
    place = {capability: index for entry in catalogue for index, capability in enumerate(entry.capability_ids)}
    p, s, c = schema.deployment.c, schema.datastream.c, schema.capability.c
    of_assets = (
        select(p.device_id.label("feeder_id"), s.capability_id, s.id)
        .join(schema.datastream, (s.asset_id == p.asset_id) & (s.position == p.position))
        .join(schema.capability, (c.id == s.capability_id) & (c.sensor_id == p.sensor_id))
        .where(p.to_us.is_(None))
    )
    of_devices = (
        select(s.device_id.label("feeder_id"), s.capability_id, s.id)
        .outerjoin(schema.deployment, (p.device_id == s.device_id) & p.to_us.is_(None))
        .where(s.device_id.is_not(None), p.id.is_(None))
    )
    if device_ids is not None:
        of_assets = of_assets.where(p.device_id.in_(device_ids))
        of_devices = of_devices.where(s.device_id.in_(device_ids))
    rows = connection.execute(union_all(of_assets, of_devices).order_by("feeder_id"))
    return {
        device_id: tuple(
            series_id
            for _, series_id in sorted(
                (place[capability], series) for _, capability, series in group if capability in place
            )
        )
        for device_id, group in groupby(rows, key=itemgetter(0))
    }


def _profile_names(connection: Connection, sensor_ids: set[int]) -> tuple[str, ...]:
    if not sensor_ids:
        return ()
    s = schema.sensor.c
    return tuple(connection.execute(select(s.profile).where(s.id.in_(sensor_ids)).order_by(s.profile)).scalars())
