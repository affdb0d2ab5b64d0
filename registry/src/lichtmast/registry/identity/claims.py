"""Staging and claiming: which key a device has, and the window in which it may fetch a certificate.

Functions on one open transaction; `IdentityBook` opens it, logs a refusal and bumps the revision. Whether the person
may claim at this place is the caller's rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, select, update

from lichtmast.registry import devices, schema
from lichtmast.registry.auditing import Action, Actor, append
from lichtmast.registry.catalogue import CatalogueEntry
from lichtmast.registry.devices import NewDevice, StoredDevice
from lichtmast.registry.errors import ConflictError, UnknownRecordError
from lichtmast.registry.identity import certificates
from lichtmast.registry.identity.life_cycle import event_of, replace
from lichtmast.registry.identity.records import Claim, ClaimState, Position
from lichtmast.registry.identity.refusals import ClaimReason, ClaimRefused
from lichtmast.registry.identity.windows import close_window, latest_window, open_window, window
from lichtmast.registry.limits import CLAIM_HOURS_MAX
from lichtmast.registry.pki import Authority
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.label import Label, pin_text, spki_pin

HOUR_US: Final = 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class ClaimOrder:
    """What an engineer asks for in front of a lamppost. Raises ValueError for hours that no claim has."""

    label: Label
    asset_id: int
    position: Position | None
    by: Actor
    at_us: int
    hours: float = CLAIM_HOURS_MAX
    profile: str | None = None
    """Stages a device that the workshop has not, under this profile."""
    root_pins: frozenset[bytes] | None = None
    """Of the roots of this city; not compared where None."""

    def __post_init__(self) -> None:
        if not 0 < self.hours <= CLAIM_HOURS_MAX:
            raise ValueError(f"a claim is open for more than 0 and at most {CLAIM_HOURS_MAX} hours, not {self.hours}")


def root_pins(authority: Authority) -> frozenset[bytes]:
    """The pins that may stand on labels of this city: of every root, older ones of a roll-over too."""
    bundle = [x509.load_der_x509_certificate(one) for one in authority.est_bundle_der]
    return frozenset(
        spki_pin(one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        for one in bundle
        if one.subject == one.issuer
    )


def stage(
    connection: Connection,
    catalogue: Mapping[str, CatalogueEntry],
    label: Label,
    profile: str,
    *,
    by: Actor,
    at_us: int,
) -> bool:
    """Register a device with the key of its label; tells whether that changed anything.

    One that was registered and never claimed may get another key: its node was made anew. Raises UnknownRecordError or
    ConflictError.
    """
    stored = devices.find_devices(connection, [label.device]).get(label.device)
    if stored is None:
        devices.register(connection, catalogue, [NewDevice(label.device, profile)], at_us)
        stored = devices.find_device(connection, label.device)
        before = None
    else:
        entry = catalogue.get(profile)
        if entry is None or entry.sensor_id != stored.sensor_id:
            raise ConflictError(f"device {label.device} is registered with another profile than {profile}")
        if stored.status is DeviceStatus.RETIRED:
            raise ConflictError(f"device {label.device} is retired, which is final; give the node another name")
        pin = key_pin(connection, stored)
        if pin == label.key_pin:
            return False
        if pin is not None and stored.status is not DeviceStatus.REGISTERED:
            raise ConflictError(
                f"device {label.device} has another key and is {stored.status.value}; give the node another name and "
                "replace the device by it"
            )
        before = None if pin is None else {"key": pin_text(pin)}
    _pin(connection, stored, label.key_pin)
    after = {"key": pin_text(label.key_pin), "profile": profile}
    append(connection, event_of(Action.DEVICE_STAGED, label.device, by, at_us, before, after))
    return True


def open_claim(
    connection: Connection, catalogue: Mapping[str, CatalogueEntry], order: ClaimOrder
) -> tuple[Claim, bool]:
    """Open the window and hang the device on the asset; the second value tells whether that is new.

    The same claim by the same person, while it is open, is the one that is there. Raises ClaimRefused or ConflictError.
    """
    stored = _claimable(connection, catalogue, order)
    standing = latest_window(connection, stored)
    if standing is not None and standing.closed_as is None:
        if standing.state(order.at_us) is ClaimState.OPEN:
            if (standing.asset_id, standing.opened_by_kind, standing.opened_by) == (
                order.asset_id,
                order.by.kind,
                order.by.name,
            ):
                return standing, False
            raise ClaimRefused(ClaimReason.WINDOW_OPEN, stored.device)
        close_window(connection, standing, ClaimState.EXPIRED, order.at_us)
    return _open(connection, catalogue, stored, order), True


def claim_replacement(
    connection: Connection, catalogue: Mapping[str, CatalogueEntry], old: DeviceId, order: ClaimOrder
) -> Claim:
    """Retire `old` and open the window for the new device in its place, on the same series.

    Raises UnknownRecordError, ClaimRefused or ConflictError.
    """
    stored = devices.find_device(connection, old)
    fresh = _claimable(connection, catalogue, order)
    if fresh.status is not DeviceStatus.REGISTERED:
        raise ConflictError(f"device {fresh.device} is {fresh.status.value}; replace by one that is in stock")
    profile = next(key for key, entry in catalogue.items() if entry.sensor_id == fresh.sensor_id)
    wanted = NewDevice(fresh.device, profile, None, DeviceStatus.CLAIMED)
    replace(connection, catalogue, stored, wanted, by=order.by, at_us=order.at_us)
    return _open(connection, catalogue, devices.find_device(connection, fresh.device), order)


def cancel(
    connection: Connection, catalogue: Mapping[str, CatalogueEntry], claim_id: int, *, by: Actor, at_us: int
) -> Claim:
    """Close a window that nobody used; a device that it hung comes off its asset again.

    Raises UnknownRecordError, or ClaimRefused where it is not open.
    """
    found = window(connection, claim_id)
    if found is None:
        raise UnknownRecordError(f"there is no claim {claim_id}")
    if found.state(at_us) is not ClaimState.OPEN:
        raise ClaimRefused(ClaimReason.NOT_OPEN, found.device)
    close_window(connection, found, ClaimState.CANCELLED, at_us)
    stored = devices.find_device(connection, found.device)
    after: dict[str, object] = {"claim": claim_id}
    if stored.status is DeviceStatus.CLAIMED:
        devices.change_status(connection, stored, DeviceStatus.REGISTERED, at_us)
        devices.move(connection, catalogue, stored, None, at_us)
        after |= {"status": DeviceStatus.REGISTERED.value, "asset": None}
    before = {"status": stored.status.value, "asset": stored.asset_id}
    append(connection, event_of(Action.CLAIM_CANCELLED, found.device, by, at_us, before, after))
    return _again(connection, claim_id)


def key_pin(connection: Connection, device: StoredDevice) -> bytes | None:
    """The pin of the device's key."""
    d = schema.device.c
    pin: bytes | None = connection.execute(select(d.key_pin).where(d.id == device.id)).scalar_one()
    return pin


def device_of_pin(connection: Connection, pin: bytes) -> StoredDevice | None:
    """The device that has this key."""
    d = schema.device.c
    row = connection.execute(
        select(schema.tenant.c.code, d.name)
        .join(schema.tenant, schema.tenant.c.id == d.tenant_id)
        .where(d.key_pin == pin)
    ).one_or_none()
    return None if row is None else devices.find_device(connection, DeviceId(row.code, row.name))


def _claimable(connection: Connection, catalogue: Mapping[str, CatalogueEntry], order: ClaimOrder) -> StoredDevice:
    """The device of the label, its key pinned, staged on the way where the order says so. Raises ClaimRefused."""
    label = order.label
    if order.root_pins is not None and label.root_pin not in order.root_pins:
        raise ClaimRefused(ClaimReason.OTHER_CITY, label.device)
    stored = devices.find_devices(connection, [label.device]).get(label.device)
    if stored is None:
        if order.profile is None:
            raise ClaimRefused(ClaimReason.UNKNOWN_DEVICE, label.device)
        stage(connection, catalogue, label, order.profile, by=order.by, at_us=order.at_us)
        stored = devices.find_device(connection, label.device)
    refused = _refusal(connection, stored, order)
    if refused is not None:
        raise ClaimRefused(refused, label.device)
    if key_pin(connection, stored) is None:
        _pin(connection, stored, label.key_pin)
        told = {"key": pin_text(label.key_pin)}
        append(connection, event_of(Action.DEVICE_STAGED, label.device, order.by, order.at_us, None, told))
    return stored


def _refusal(connection: Connection, device: StoredDevice, order: ClaimOrder) -> ClaimReason | None:
    """What stands against a claim, the device's own standing first."""
    if device.status is DeviceStatus.RETIRED:
        return ClaimReason.RETIRED
    if device.status is DeviceStatus.SUSPENDED:
        return ClaimReason.SUSPENDED
    pinned, holder = key_pin(connection, device), device_of_pin(connection, order.label.key_pin)
    if (pinned is not None and pinned != order.label.key_pin) or (holder is not None and holder.id != device.id):
        return ClaimReason.OTHER_KEY
    if pinned is None and device.status is DeviceStatus.ACTIVE:
        # Somebody's label naming it is no proof: the workshop says which key a device in service has.
        return ClaimReason.NO_KEY
    a = schema.asset.c
    asset = connection.execute(
        select(a.valid_to)
        .join(schema.tenant, schema.tenant.c.id == a.tenant_id)
        .where(a.id == order.asset_id, schema.tenant.c.code == device.device.tenant)
    ).one_or_none()
    if asset is None:
        return ClaimReason.UNKNOWN_ASSET
    if asset.valid_to is not None:
        return ClaimReason.ENDED_ASSET
    if device.status is DeviceStatus.ACTIVE and device.asset_id not in {None, order.asset_id}:
        return ClaimReason.HANGS_ELSEWHERE
    if device.status is DeviceStatus.ACTIVE and certificates.is_certified(connection, device, order.at_us):
        return ClaimReason.IN_SERVICE
    return None


def _open(
    connection: Connection, catalogue: Mapping[str, CatalogueEntry], device: StoredDevice, order: ClaimOrder
) -> Claim:
    expires_at_us = order.at_us + int(order.hours * HOUR_US)
    devices.move(connection, catalogue, device, order.asset_id, order.at_us)
    if device.status is DeviceStatus.REGISTERED:
        devices.change_status(connection, device, DeviceStatus.CLAIMED, order.at_us)
    claim_id = open_window(
        connection,
        device,
        order.label,
        asset_id=order.asset_id,
        position=order.position,
        by=order.by,
        at_us=order.at_us,
        expires_at_us=expires_at_us,
    )
    position = order.position
    place = (
        None
        if position is None
        else {"longitude": position.longitude, "latitude": position.latitude, "accuracy_m": position.accuracy_m}
    )
    before = {"status": device.status.value, "asset": device.asset_id}
    after = {"claim": claim_id, "asset": order.asset_id, "expires_at_us": expires_at_us}
    append(
        connection, event_of(Action.CLAIM_OPENED, device.device, order.by, order.at_us, before, after, sensitive=place)
    )
    return _again(connection, claim_id)


def _again(connection: Connection, claim_id: int) -> Claim:
    found = window(connection, claim_id)
    if found is None:
        raise UnknownRecordError(f"there is no claim {claim_id}")
    return found


def _pin(connection: Connection, device: StoredDevice, pin: bytes) -> None:
    holder = device_of_pin(connection, pin)
    if holder is not None and holder.id != device.id:
        raise ConflictError(f"device {device.device}: {holder.device} has the same key; each node makes its own")
    connection.execute(update(schema.device).where(schema.device.c.id == device.id).values(key_pin=pin))
