"""Profiles in the register: each becomes a sensor, its uplinks become capabilities and observed properties.

Synchronised whenever a register is opened, so a new release's profiles are there before its first device. Nothing is
removed: a capability that left its profile still explains stored observations. Will not
undo what a newer version wrote.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, insert, select, update

from lichtmast.registry import schema
from lichtmast.wire.profile import Capability, Profile

_METADATA_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One profile's rows. `capability_ids` line up with `profile.uplinks`."""

    profile: Profile
    sensor_id: int
    capability_ids: tuple[int, ...]


CapabilityIdentity = tuple[int, str, str, str, int]
"""Sensor, suffix, kind, unit, observed property."""


def read_catalogue(connection: Connection, profiles: Mapping[str, Profile]) -> dict[str, CatalogueEntry]:
    """The rows of every profile that is completely in the register."""
    sensors = {row.profile: row.id for row in connection.execute(select(schema.sensor.c.profile, schema.sensor.c.id))}
    properties = _property_ids(connection)
    c = schema.capability.c
    capabilities: dict[CapabilityIdentity, int] = {
        (row.sensor_id, row.suffix, row.kind, row.unit, row.observed_property_id): row.id
        for row in connection.execute(
            select(c.id, c.sensor_id, c.suffix, c.kind, c.unit, c.observed_property_id).order_by(c.id)
        )
    }
    entries = {}
    for key, profile in profiles.items():
        sensor_id = sensors.get(key)
        if sensor_id is None:
            continue
        found = [
            capabilities.get(_identity(sensor_id, uplink, properties.get((uplink.definition, uplink.quantity), 0)))
            for uplink in profile.uplinks
        ]
        ids = tuple(one for one in found if one is not None)
        if len(ids) == len(profile.uplinks):
            entries[key] = CatalogueEntry(profile, sensor_id, ids)
    return entries


def is_current(connection: Connection, profiles: Mapping[str, Profile]) -> bool:
    """Whether every profile is in the register as it is in the package (or newer)."""
    s, c = schema.sensor.c, schema.capability.c
    stored = {row.profile: row for row in connection.execute(select(schema.sensor))}
    ranges = {
        row.id: (row.key, row.description, row.minimum, row.maximum)
        for row in connection.execute(select(c.id, c.key, c.description, c.minimum, c.maximum))
    }
    entries = read_catalogue(connection, profiles)
    for key, profile in profiles.items():
        row = stored.get(key)
        if row is not None and row.profile_version > profile.version and key in entries:
            continue
        wanted = _sensor_values(profile)
        if row is None or key not in entries or any(getattr(row, s[name].key) != wanted[name] for name in wanted):
            return False
        for uplink, capability_id in zip(profile.uplinks, entries[key].capability_ids, strict=True):
            if ranges[capability_id] != (uplink.key, uplink.description, uplink.minimum, uplink.maximum):
                return False
    return True


def synchronise(connection: Connection, profiles: Mapping[str, Profile]) -> None:
    """Write what `is_current` misses, and give devices that are there already the series of new capabilities."""
    stored = {
        row.profile: row
        for row in connection.execute(
            select(schema.sensor.c.profile, schema.sensor.c.id, schema.sensor.c.profile_version)
        )
    }
    for key, profile in profiles.items():
        row = stored.get(key)
        if row is None:
            sensor_id = _inserted(connection, schema.sensor, _sensor_values(profile))
        else:
            sensor_id = row.id
            if row.profile_version <= profile.version:
                connection.execute(
                    update(schema.sensor).where(schema.sensor.c.id == sensor_id).values(_sensor_values(profile))
                )
        for uplink in profile.uplinks:
            _synchronise_capability(connection, sensor_id, uplink)


def _synchronise_capability(connection: Connection, sensor_id: int, uplink: Capability) -> None:
    property_id = _property_ids(connection).get((uplink.definition, uplink.quantity))
    if property_id is None:
        values = {"name": uplink.quantity, "definition": uplink.definition, "description": uplink.description}
        property_id = _inserted(connection, schema.observed_property, values)
    c = schema.capability.c
    described = {
        "key": uplink.key,
        "description": uplink.description,
        "minimum": uplink.minimum,
        "maximum": uplink.maximum,
    }
    identity = dict(
        zip(
            ("sensor_id", "suffix", "kind", "unit", "observed_property_id"),
            _identity(sensor_id, uplink, property_id),
            strict=True,
        )
    )
    capability_id = connection.execute(
        select(c.id).where(*(c[name] == value for name, value in identity.items()))
    ).scalar_one_or_none()
    if capability_id is not None:
        connection.execute(update(schema.capability).where(c.id == capability_id).values(described))
        return
    capability_id = _inserted(connection, schema.capability, identity | described)
    _extend_devices(connection, sensor_id, capability_id)


def _extend_devices(connection: Connection, sensor_id: int, capability_id: int) -> None:
    """A new capability of a model that is already in use: its devices get a series for it."""
    p, d = schema.deployment.c, schema.device.c
    hanging = [
        {"asset_id": row.asset_id, "position": row.position, "capability_id": capability_id}
        for row in connection.execute(select(p.asset_id, p.position).where(p.sensor_id == sensor_id, p.to_us.is_(None)))
    ]
    deployed = select(p.device_id).where(p.to_us.is_(None))
    loose = [
        {"device_id": row.id, "position": 1, "capability_id": capability_id}
        for row in connection.execute(
            select(d.id).where(d.sensor_id == sensor_id, d.status != "retired", d.id.not_in(deployed))
        )
    ]
    for rows in (hanging, loose):
        if rows:
            connection.execute(insert(schema.datastream), rows)


def _property_ids(connection: Connection) -> dict[tuple[str, str], int]:
    c = schema.observed_property.c
    return {(row.definition, row.name): row.id for row in connection.execute(select(c.id, c.definition, c.name))}


def _identity(sensor_id: int, uplink: Capability, property_id: int) -> CapabilityIdentity:
    return sensor_id, uplink.suffix, uplink.kind.value, uplink.unit or "", property_id


def _sensor_values(profile: Profile) -> dict[str, object]:
    about = {
        "profile": profile.key,
        "version": profile.version,
        "lwm2mObject": profile.model_object,
        "intervalS": profile.interval_s,
    }
    return {
        "profile": profile.key,
        "profile_version": profile.version,
        "name": profile.title,
        "description": profile.description,
        "encoding_type": _METADATA_TYPE,
        "metadata_": json.dumps(about),
    }


def _inserted(connection: Connection, table: Table, values: Mapping[str, object]) -> int:
    key = connection.execute(insert(table).values(**values)).inserted_primary_key
    if key is None:  # Cannot happen for a single-row insert; said for the type checker.
        raise AssertionError(table.name)
    return int(key[0])
