"""A device's life after it hangs: moved, suspended, retired, replaced, with its claim and its certificates.

Functions on one open transaction; `Registry` and `IdentityBook` open it and bump the revision. Which status may follow
which is `lichtmast.registry.records.TRANSITIONS`.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from lichtmast.registry import devices
from lichtmast.registry.auditing import Action, Actor, Event, append
from lichtmast.registry.catalogue import CatalogueEntry
from lichtmast.registry.devices import NewDevice, StoredDevice
from lichtmast.registry.errors import ConflictError
from lichtmast.registry.identity import certificates
from lichtmast.registry.identity.records import ClaimState, RevocationReason
from lichtmast.registry.identity.windows import close_window, latest_window
from lichtmast.registry.records import DeviceStatus, RegisteredDevice
from lichtmast.wire.identity import DeviceId


def change_status(
    connection: Connection,
    device: StoredDevice,
    status: DeviceStatus,
    *,
    by: Actor,
    at_us: int,
    why: str = "",
    reason: RevocationReason = RevocationReason.CESSATION_OF_OPERATION,
) -> bool:
    """Set the status; tells whether that changed anything. Retiring revokes every certificate, for `reason`.

    Suspending and retiring close a claim that is open. Raises ConflictError for a change that TRANSITIONS lacks.
    """
    if not devices.change_status(connection, device, status, at_us):
        return False
    after: dict[str, object] = {"status": status.value}
    if why:
        after["why"] = why
    if status in {DeviceStatus.SUSPENDED, DeviceStatus.RETIRED}:
        claim_id = close_open_claim(connection, device, at_us)
        after |= {} if claim_id is None else {"cancelled_claim": claim_id}
    if status is DeviceStatus.RETIRED:
        revoked = certificates.revoke(connection, device, reason, at_us)
        after |= {"asset": None, "reason": reason.value} | certificates.told_serials(revoked)
    before = {"status": device.status.value, "asset": device.asset_id}
    append(connection, event_of(Action.DEVICE_STATUS, device.device, by, at_us, before, after))
    return True


def move(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    device: StoredDevice,
    asset_id: int | None,
    *,
    by: Actor,
    at_us: int,
) -> bool:
    """Hang the device on another asset, or on none; tells whether that changed anything. Raises ConflictError."""
    if device.asset_id != asset_id:
        window = latest_window(connection, device)
        if window is not None and window.state(at_us) is ClaimState.OPEN:
            raise ConflictError(f"device {device.device} is being claimed; wait for claim {window.id}, or cancel it")
    if not devices.move(connection, catalogue, device, asset_id, at_us):
        return False
    before, after = {"asset": device.asset_id}, {"asset": asset_id}
    append(connection, event_of(Action.DEVICE_MOVED, device.device, by, at_us, before, after))
    return True


def replace(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    old: StoredDevice,
    wanted: NewDevice,
    *,
    by: Actor,
    at_us: int,
) -> RegisteredDevice:
    """Retire `old`, its claim and certificates with it, and hang the wanted device in its place."""
    answer = devices.replace(connection, catalogue, old, wanted, at_us)
    close_open_claim(connection, old, at_us)
    revoked = certificates.revoke(connection, old, RevocationReason.CESSATION_OF_OPERATION, at_us)
    before = {"status": old.status.value, "asset": old.asset_id}
    after = {"status": DeviceStatus.RETIRED.value, "by": str(wanted.device)}
    told = after | certificates.told_serials(revoked)
    append(connection, event_of(Action.DEVICE_REPLACED, old.device, by, at_us, before, told))
    hung = {"asset": answer.asset_id, "status": answer.status.value, "profile": wanted.profile}
    append(
        connection,
        event_of(Action.DEVICE_REGISTERED, wanted.device, by, at_us, None, hung | {"replaces": str(old.device)}),
    )
    return answer


def revoke(
    connection: Connection, device: StoredDevice, reason: RevocationReason, by: Actor, at_us: int
) -> tuple[list[str], bool]:
    """Revoke what certificates the device has and shut an open claim; the serial numbers, and whether it did anything.

    Without the second whoever holds the key would fetch the next certificate by a window from before.
    """
    serials = certificates.revoke(connection, device, reason, at_us)
    claim_id = close_open_claim(connection, device, at_us)
    is_change = bool(serials) or claim_id is not None
    if is_change:
        after = certificates.told_serials(serials) | {"reason": reason.value, "cancelled_claim": claim_id}
        append(connection, event_of(Action.CERTIFICATES_REVOKED, device.device, by, at_us, None, after))
    return serials, is_change


def revoke_of_others(connection: Connection, in_force: Sequence[bytes], by: Actor, at_us: int) -> int:
    """Revoke all that was signed by an authority which is not in force any more; how many. One event a municipality."""
    found = certificates.revoke_of_others(connection, in_force, at_us)
    for tenant, serials in found.items():
        after = certificates.told_serials(serials) | {"reason": RevocationReason.KEY_COMPROMISE.value}
        event = Event(Action.CERTIFICATES_REVOKED, "authority", "devices", by, at_us, tenant, None, after)
        append(connection, event)
    return sum(map(len, found.values()))


def close_open_claim(connection: Connection, device: StoredDevice, at_us: int) -> int | None:
    """Whatever window is open for the device is shut: the device's standing changed under it. Its id if it was open."""
    window = latest_window(connection, device)
    if window is None or window.closed_as is not None:
        return None
    is_open = window.state(at_us) is ClaimState.OPEN
    close_window(connection, window, ClaimState.CANCELLED if is_open else ClaimState.EXPIRED, at_us)
    return window.id if is_open else None


def event_of(
    action: Action,
    device: DeviceId,
    by: Actor,
    at_us: int,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
    sensitive: Mapping[str, object] | None = None,
) -> Event:
    """An event about a device."""
    return Event(action, "device", str(device), by, at_us, device.tenant, before, after, sensitive)
