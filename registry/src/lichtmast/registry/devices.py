"""Devices and where they hang: registering, deploying, replacing, and their status.

Functions on one open transaction; `Registry` opens it and bumps the revision. Series belong to the asset while a device
hangs on one, so that a replacement continues the same history. Does not decide what a device may send.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import Connection, insert, select, update

from lichtmast.registry import schema
from lichtmast.registry.catalogue import CatalogueEntry
from lichtmast.registry.directory import read_series
from lichtmast.registry.errors import ConflictError, UnknownRecordError
from lichtmast.registry.limits import DEVICES_PER_ASSET_MAX, LOOKUP_IDS_MAX
from lichtmast.registry.records import TRANSITIONS, DeviceStatus, RegisteredDevice
from lichtmast.wire.identity import DeviceId

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device to register; `asset_id` is where it hangs, None for in stock or standing alone."""

    device: DeviceId
    profile: str
    asset_id: int | None = None
    status: DeviceStatus = DeviceStatus.REGISTERED


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """A device row with its open deployment."""

    id: int
    device: DeviceId
    sensor_id: int
    status: DeviceStatus
    asset_id: int | None
    deployment_id: int | None
    position: int | None


def register(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    wanted: Sequence[NewDevice],
    at_us: int,
    preferred: Mapping[DeviceId, int] | None = None,
) -> tuple[list[RegisteredDevice], bool]:
    """Register all of them or none; the second value tells whether anything changed.

    A device that is there already with this profile and asset stays as it is. Raises UnknownRecordError
    or ConflictError.
    """
    tenants = _tenant_ids(connection, {one.device.tenant for one in wanted})
    for one in wanted:
        if one.profile not in catalogue:
            raise UnknownRecordError(
                f"device {one.device}: no profile {one.profile!r}; known are {', '.join(catalogue)}"
            )
    _require_unique(wanted)
    stored = find_devices(connection, [one.device for one in wanted])
    fresh = []
    for one in wanted:
        old = stored.get(one.device)
        if old is None:
            fresh.append(one)
        elif (old.sensor_id, old.asset_id) != (catalogue[one.profile].sensor_id, one.asset_id):
            raise ConflictError(_difference(catalogue, old, one))
    if fresh:
        d = schema.device
        rows = [
            {
                "tenant_id": tenants[one.device.tenant],
                "name": one.device.device,
                "sensor_id": catalogue[one.profile].sensor_id,
                "profile_version": catalogue[one.profile].profile.version,
                "status": one.status.value,
                "registered_at_us": at_us,
            }
            for one in fresh
        ]
        connection.execute(insert(d), rows)
        stored |= find_devices(connection, [one.device for one in fresh])
        hanging = [(stored[one.device], one.asset_id) for one in fresh if one.asset_id is not None]
        deploy(connection, catalogue, hanging, at_us, preferred)
        _add_own_series(connection, catalogue, [stored[one.device] for one in fresh if one.asset_id is None])
    created = {one.device for one in fresh}
    return describe(connection, catalogue, [one.device for one in wanted], created), bool(fresh)


def _difference(catalogue: Mapping[str, CatalogueEntry], old: StoredDevice, wanted: NewDevice) -> str:
    """What of a registered device is other than wanted, and the next step."""
    found = []
    if old.sensor_id != catalogue[wanted.profile].sensor_id:
        profile = next((key for key, one in catalogue.items() if one.sensor_id == old.sensor_id), "an unknown profile")
        found.append(f"it is registered as {profile}")
    if old.asset_id != wanted.asset_id:
        found.append("it hangs on no asset" if old.asset_id is None else "it hangs on another asset")
        if wanted.asset_id is None:
            found[-1] = "it hangs on an asset"
    return f"device {wanted.device} is there already and {' and '.join(found)}; choose another name for this one"


def deploy(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    places: Sequence[tuple[StoredDevice, int]],
    at_us: int,
    preferred: Mapping[DeviceId, int] | None = None,
) -> None:
    """Hang devices that hang nowhere on assets, in the first free position, or the preferred one."""
    if not places:
        return
    asset_ids = sorted({asset_id for _, asset_id in places})
    _require_standing(connection, places, asset_ids)
    taken = _taken_positions(connection, asset_ids)
    rows = []
    for device, asset_id in places:
        used = taken.setdefault((asset_id, device.sensor_id), set())
        position = (preferred or {}).get(device.device, 0)
        if position == 0 or position in used:
            position = next(number for number in range(1, len(used) + 2) if number not in used)
        if position > DEVICES_PER_ASSET_MAX:
            raise ConflictError(
                f"device {device.device}: asset {asset_id} carries {DEVICES_PER_ASSET_MAX} devices of its profile"
            )
        used.add(position)
        rows.append(
            {
                "asset_id": asset_id,
                "device_id": device.id,
                "sensor_id": device.sensor_id,
                "position": position,
                "from_us": at_us,
                "to_us": None,
            }
        )
    connection.execute(insert(schema.deployment), rows)
    _add_asset_series(connection, catalogue, rows)


def withdraw(connection: Connection, device: StoredDevice, at_us: int) -> None:
    """Take the device off its asset. Raises ConflictError where `at_us` is before it was hung there."""
    p = schema.deployment.c
    from_us = connection.execute(select(p.from_us).where(p.id == device.deployment_id)).scalar_one()
    if at_us < from_us:
        raise ConflictError(
            f"device {device.device} was hung at {from_us} us, it cannot come off before, at {at_us} us"
        )
    connection.execute(update(schema.deployment).where(p.id == device.deployment_id).values(to_us=at_us))


def move(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    device: StoredDevice,
    asset_id: int | None,
    at_us: int,
) -> bool:
    """Hang a device on another asset, or on none; tells whether anything changed."""
    if device.asset_id == asset_id:
        return False
    if device.status is DeviceStatus.RETIRED:
        raise ConflictError(f"device {device.device} is retired; register a new device instead")
    if device.asset_id is not None:
        withdraw(connection, device, at_us)
    if asset_id is not None:
        deploy(connection, catalogue, [(device, asset_id)], at_us)
    else:
        _add_own_series(connection, catalogue, [device])
    return True


def replace(
    connection: Connection, catalogue: Mapping[str, CatalogueEntry], old: StoredDevice, wanted: NewDevice, at_us: int
) -> RegisteredDevice:
    """Retire `old` and hang the wanted device in its place, on the same series where the profile is the same."""
    if old.asset_id is None:
        raise ConflictError(f"device {old.device} hangs on no asset; retire it and register the new one")
    if old.device == wanted.device:
        raise ConflictError(f"device {old.device} cannot replace itself")
    fresh = find_devices(connection, [wanted.device]).get(wanted.device)
    if fresh is not None and (fresh.asset_id is not None or fresh.status is DeviceStatus.RETIRED):
        raise ConflictError(f"device {wanted.device} hangs elsewhere or is retired; choose one that is in stock")
    withdraw(connection, old, at_us)
    write_status(connection, old, DeviceStatus.RETIRED)
    known = catalogue.get(wanted.profile)
    same_model = known is not None and known.sensor_id == old.sensor_id
    preferred = {wanted.device: old.position} if same_model and old.position is not None else None
    if fresh is None:
        register(
            connection,
            catalogue,
            [NewDevice(wanted.device, wanted.profile, old.asset_id, wanted.status)],
            at_us,
            preferred,
        )
    elif known is None or fresh.sensor_id != known.sensor_id:
        raise ConflictError(f"device {wanted.device} is registered with another profile than {wanted.profile}")
    else:
        write_status(connection, fresh, wanted.status)
        deploy(connection, catalogue, [(fresh, old.asset_id)], at_us, preferred)
    return describe(connection, catalogue, [wanted.device], {wanted.device} if fresh is None else set())[0]


def change_status(connection: Connection, device: StoredDevice, status: DeviceStatus, at_us: int) -> bool:
    """Set the status; tells whether that changed anything. Retired is final and takes the device off its asset."""
    if device.status is status:
        return False
    if device.status is DeviceStatus.RETIRED:
        raise ConflictError(f"device {device.device} is retired, which is final; register a new device instead")
    if status not in TRANSITIONS[device.status]:
        following = ", ".join(sorted(TRANSITIONS[device.status]))
        raise ConflictError(
            f"device {device.device} is {device.status.value}; it can become {following}, not {status.value}"
        )
    if status is DeviceStatus.RETIRED and device.asset_id is not None:
        withdraw(connection, device, at_us)
    write_status(connection, device, status)
    return True


def write_status(connection: Connection, device: StoredDevice, status: DeviceStatus) -> None:
    """Write the status, whatever it was."""
    connection.execute(update(schema.device).where(schema.device.c.id == device.id).values(status=status.value))


def find_devices(connection: Connection, devices: Sequence[DeviceId]) -> dict[DeviceId, StoredDevice]:
    """Those of the devices that are registered."""
    d, p, t = schema.device.c, schema.deployment.c, schema.tenant.c
    names: dict[str, list[str]] = {}
    for one in devices:
        names.setdefault(one.tenant, []).append(one.device)
    found = {}
    for code, wanted in names.items():
        for chunk in chunks(wanted, LOOKUP_IDS_MAX):
            rows = connection.execute(
                select(d.id, d.name, d.sensor_id, d.status, p.asset_id, p.id, p.position)
                .join(schema.tenant, t.id == d.tenant_id)
                .outerjoin(schema.deployment, (p.device_id == d.id) & p.to_us.is_(None))
                .where(t.code == code, d.name.in_(chunk))
            )
            for id_, name, sensor_id, status, asset_id, deployment_id, position in rows:
                device = DeviceId(code, name)
                found[device] = StoredDevice(
                    id_, device, sensor_id, DeviceStatus(status), asset_id, deployment_id, position
                )
    return found


def find_device(connection: Connection, device: DeviceId) -> StoredDevice:
    """The registered device. Raises UnknownRecordError."""
    found = find_devices(connection, [device]).get(device)
    if found is None:
        raise UnknownRecordError(f"device {device} is not in the register; register it first")
    return found


def describe(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    devices: Sequence[DeviceId],
    created: set[DeviceId],
) -> list[RegisteredDevice]:
    """The answers to registering, in the order of `devices`."""
    stored = find_devices(connection, devices)
    series: dict[int, tuple[int, ...]] = {}
    for chunk in chunks([one.id for one in stored.values()], LOOKUP_IDS_MAX):
        series |= read_series(connection, catalogue.values(), chunk)
    return [
        RegisteredDevice(
            stored[device].id,
            device,
            stored[device].asset_id,
            stored[device].status,
            series.get(stored[device].id, ()),
            device in created,
        )
        for device in devices
    ]


def chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """The items in lists of at most `size`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _tenant_ids(connection: Connection, codes: set[str]) -> dict[str, int]:
    t = schema.tenant.c
    found = {row.code: row.id for row in connection.execute(select(t.id, t.code).where(t.code.in_(codes)))}
    for code in codes:
        if code not in found:
            raise UnknownRecordError(f"tenant {code} is not in the register; add it first")
    return found


def _require_unique(wanted: Sequence[NewDevice]) -> None:
    seen: set[DeviceId] = set()
    for one in wanted:
        if one.device in seen:
            raise ConflictError(f"device {one.device} is in the list twice; each device can be registered once")
        seen.add(one.device)


def _require_standing(
    connection: Connection, places: Sequence[tuple[StoredDevice, int]], asset_ids: Sequence[int]
) -> None:
    a = schema.asset.c
    found: dict[int, tuple[str, bool]] = {}
    for chunk in chunks(asset_ids, LOOKUP_IDS_MAX):
        rows = connection.execute(
            select(a.id, schema.tenant.c.code, a.valid_to)
            .join(schema.tenant, schema.tenant.c.id == a.tenant_id)
            .where(a.id.in_(chunk))
        )
        found |= {id_: (code, valid_to is None) for id_, code, valid_to in rows}
    for device, asset_id in places:
        code, standing = found.get(asset_id, ("", False))
        if code != device.device.tenant:
            raise UnknownRecordError(f"device {device.device}: tenant {device.device.tenant} has no asset {asset_id}")
        if not standing:
            raise ConflictError(f"device {device.device}: asset {asset_id} has ended; choose one that stands")


def _taken_positions(connection: Connection, asset_ids: Sequence[int]) -> dict[tuple[int, int], set[int]]:
    p = schema.deployment.c
    taken: dict[tuple[int, int], set[int]] = {}
    for chunk in chunks(asset_ids, LOOKUP_IDS_MAX):
        rows = connection.execute(
            select(p.asset_id, p.sensor_id, p.position).where(p.asset_id.in_(chunk), p.to_us.is_(None))
        )
        for asset_id, sensor_id, position in rows:
            taken.setdefault((asset_id, sensor_id), set()).add(position)
    return taken


_SERIES_OF_PLACE: Final = ("asset_id", "capability_id", "position")


def _add_asset_series(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    deployments: Sequence[Mapping[str, int | None]],
) -> None:
    """Make the series that the assets lack; one that a former device fed is found again, not made anew."""
    s = schema.datastream.c
    capabilities: dict[int | None, tuple[int, ...]] = {
        entry.sensor_id: entry.capability_ids for entry in catalogue.values()
    }
    for chunk in chunks(deployments, LOOKUP_IDS_MAX):
        present = {
            tuple(row)
            for row in connection.execute(
                select(s.asset_id, s.capability_id, s.position).where(
                    s.asset_id.in_([one["asset_id"] for one in chunk])
                )
            )
        }
        rows = [
            dict(zip(_SERIES_OF_PLACE, key, strict=True))
            for one in chunk
            for capability_id in capabilities[one["sensor_id"]]
            if (key := (one["asset_id"], capability_id, one["position"])) not in present
        ]
        if rows:
            connection.execute(insert(schema.datastream), rows)


def _add_own_series(
    connection: Connection, catalogue: Mapping[str, CatalogueEntry], loose: Sequence[StoredDevice]
) -> None:
    capabilities = {entry.sensor_id: entry.capability_ids for entry in catalogue.values()}
    s = schema.datastream.c
    for chunk in chunks(loose, LOOKUP_IDS_MAX):
        present = {
            tuple(row)
            for row in connection.execute(
                select(s.device_id, s.capability_id).where(s.device_id.in_([one.id for one in chunk]))
            )
        }
        rows = [
            {"device_id": one.id, "capability_id": capability_id, "position": 1}
            for one in chunk
            for capability_id in capabilities[one.sensor_id]
            if (one.id, capability_id) not in present
        ]
        if rows:
            connection.execute(insert(schema.datastream), rows)
