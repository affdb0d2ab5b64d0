"""Handing out certificates: the first by a claim and the pinned key, the next by the one before.

Functions on one open transaction; `IdentityBook` opens it. The request's signature is verified before it comes here
(`read_csr`): what arrives is a key that its holder proved, and perhaps a name. Nothing is copied from a request but
the key.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from lichtmast.registry import devices
from lichtmast.registry.auditing import Action, Actor, ActorKind, append
from lichtmast.registry.devices import StoredDevice
from lichtmast.registry.identity import certificates
from lichtmast.registry.identity.claims import HOUR_US, device_of_pin, key_pin
from lichtmast.registry.identity.life_cycle import event_of
from lichtmast.registry.identity.records import CertificateRecord, Claim, ClaimState, Enrolled
from lichtmast.registry.identity.refusals import EnrolmentPending, EnrolmentReason, EnrolmentRefused
from lichtmast.registry.identity.windows import close_window, count_wrong_key, latest_window
from lichtmast.registry.limits import (
    CERTIFICATES_LIVE_MAX,
    CERTIFICATES_PER_HOUR_MAX,
    CLAIM_WRONG_KEYS_MAX,
    ENOUGH_LIFE_FRACTION,
    ENROLMENT_RETRY_S,
    RENEWAL_AGAIN_LIFE_FRACTION,
)
from lichtmast.registry.pki import (
    Authority,
    CertificateRefused,
    Csr,
    CsrRefused,
    device_of_certificate,
    new_serial,
)
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire.label import pin_text


@dataclass(frozen=True, slots=True)
class EnrolmentOrder:
    """A request for a certificate, who signs, when, and from where it came."""

    csr: Csr
    authority: Authority
    at_us: int
    source: str


def enrol(connection: Connection, order: EnrolmentOrder) -> Enrolled | EnrolmentRefused:
    """The certificate for a device whose claim is open. Raises EnrolmentPending.

    A refusal is returned, because what it wrote (wrong keys are counted and logged) has to be committed.
    """
    device = device_of_pin(connection, order.csr.pin)
    if device is None:
        return _stranger(connection, order)
    if not _is_named(order.csr, device):
        _count(connection, order)
        return EnrolmentRefused(EnrolmentReason.OTHER_NAME, device.device)
    if device.status is DeviceStatus.RETIRED:
        return EnrolmentRefused(EnrolmentReason.RETIRED, device.device)
    if device.status is DeviceStatus.SUSPENDED:
        return EnrolmentRefused(EnrolmentReason.SUSPENDED, device.device)
    claim = latest_window(connection, device)
    if claim is None or order.at_us >= claim.expires_at_us or claim.key_pin != order.csr.pin:
        raise EnrolmentPending(device.device, ENROLMENT_RETRY_S)
    match claim.closed_as:
        case None:
            return _use(connection, order, device, claim)
        case ClaimState.USED:
            known = certificates.by_serial(connection, claim.serial or 0)
            again = None if known is None else _again(order, known)
            if again is not None:
                return again
        case _:
            pass
    raise EnrolmentPending(device.device, ENROLMENT_RETRY_S)


def reenrol(connection: Connection, peer_certificate_der: bytes, order: EnrolmentOrder) -> Enrolled | EnrolmentRefused:
    """The next certificate for a device that showed the one it has; both are valid until each ends.

    Where the newest is not the one shown and younger than a hundredth of its life, it is handed out again: its answer
    got lost. So it is for a device that asks too often.
    """
    try:
        shown = device_of_certificate(peer_certificate_der)
    except CertificateRefused:
        return EnrolmentRefused(EnrolmentReason.CERTIFICATE_REFUSED, None)
    logged = certificates.by_serial(connection, shown.serial)
    if logged is None or logged.device != shown.device or logged.der != peer_certificate_der:
        return EnrolmentRefused(EnrolmentReason.CERTIFICATE_REFUSED, shown.device)
    if not logged.not_before_us <= order.at_us < logged.not_after_us:
        return EnrolmentRefused(EnrolmentReason.CERTIFICATE_EXPIRED, shown.device)
    if logged.revoked_at_us is not None or order.authority.device_issuer_of(logged.issuer_pin) is None:
        return EnrolmentRefused(EnrolmentReason.CERTIFICATE_REVOKED, shown.device)
    device = devices.find_device(connection, shown.device)
    if device.status is not DeviceStatus.ACTIVE:
        return EnrolmentRefused(EnrolmentReason.NOT_ACTIVE, device.device)
    if order.csr.pin != key_pin(connection, device):
        return EnrolmentRefused(EnrolmentReason.OTHER_KEY, device.device)
    if not _is_named(order.csr, device):
        return EnrolmentRefused(EnrolmentReason.OTHER_NAME, device.device)
    last = certificates.newest(connection, device)
    again = None if last is None else _again(order, last)
    if last is not None and again is not None:
        is_lost = last.serial != shown.serial and _age(last, order.at_us) < RENEWAL_AGAIN_LIFE_FRACTION
        if is_lost or _has_enough(connection, order, device, last):
            return again
    fresh = _issue(connection, order, device)
    before, after = {"serial": certificates.serial_text(shown.serial)}, _told(fresh)
    append(connection, event_of(Action.DEVICE_RENEWED, device.device, _by(order, device), order.at_us, before, after))
    return fresh


def _use(connection: Connection, order: EnrolmentOrder, device: StoredDevice, claim: Claim) -> Enrolled:
    """Issue by an open claim, which is used with it."""
    fresh = _issue(connection, order, device)
    close_window(connection, claim, ClaimState.USED, order.at_us, certificates.serial_text(fresh.serial))
    devices.change_status(connection, device, DeviceStatus.ACTIVE, order.at_us)
    before, after = {"status": device.status.value}, _told(fresh) | {"claim": claim.id, "status": "active"}
    append(connection, event_of(Action.DEVICE_ENROLLED, device.device, _by(order, device), order.at_us, before, after))
    return fresh


def _issue(connection: Connection, order: EnrolmentOrder, device: StoredDevice) -> Enrolled:
    der = order.authority.issue_device(device.device, order.csr.spki_der, serial=new_serial(), now_us=order.at_us)
    issued = device_of_certificate(der)
    issuer_pin = order.authority.device_issuer_pins[-1]
    certificates.log_certificate(
        connection, device, issued, der, order.at_us, key_pin=order.csr.pin, issuer_pin=issuer_pin
    )
    return Enrolled(
        device.device, der, (order.authority.device_issuer_der,), issued.serial, issued.not_after_us, is_again=False
    )


def _again(order: EnrolmentOrder, known: CertificateRecord) -> Enrolled | None:
    """A certificate that was handed out before, with the authority that signed it, where both are still good."""
    issuer = order.authority.device_issuer_of(known.issuer_pin)
    if issuer is None or known.revoked_at_us is not None or known.not_after_us <= order.at_us:
        return None
    return Enrolled(known.device, known.der, (issuer,), known.serial, known.not_after_us, is_again=True)


def _has_enough(connection: Connection, order: EnrolmentOrder, device: StoredDevice, last: CertificateRecord) -> bool:
    """Whether the device has got so many that it need not have another: no device fills the issuance log."""
    if certificates.issued_since(connection, device, order.at_us - HOUR_US) >= CERTIFICATES_PER_HOUR_MAX:
        return True
    is_fresh = _age(last, order.at_us) < ENOUGH_LIFE_FRACTION
    return is_fresh and certificates.live(connection, device, order.at_us) >= CERTIFICATES_LIVE_MAX


def _stranger(connection: Connection, order: EnrolmentOrder) -> EnrolmentRefused:
    """A key that no device has: a node that nobody staged, or somebody who wants to be another."""
    named = order.csr.device
    if named is None:
        return EnrolmentRefused(EnrolmentReason.UNKNOWN_KEY, None)
    if named not in devices.find_devices(connection, [named]):
        return EnrolmentRefused(EnrolmentReason.UNKNOWN_DEVICE, named)
    _count(connection, order)
    return EnrolmentRefused(EnrolmentReason.OTHER_KEY, named)


def _count(connection: Connection, order: EnrolmentOrder) -> None:
    """Count and log a wrong key for the claim of the device that the request names; the last is told as an attack.

    The window stays open: it opens to the pinned key alone, and who could shut it by asking could keep a device from
    its pole. Only while there is a claim to attack, and no more often than it bears: nobody fills the log from outside.
    """
    named = order.csr.device
    device = None if named is None else devices.find_devices(connection, [named]).get(named)
    claim = None if device is None else latest_window(connection, device)
    if (
        device is None
        or claim is None
        or claim.closed_as not in {None, ClaimState.USED}
        or order.at_us >= claim.expires_at_us
        or claim.wrong_keys >= CLAIM_WRONG_KEYS_MAX
    ):
        return
    tried = count_wrong_key(connection, claim)
    by = Actor(ActorKind.SYSTEM, "enrolment", order.source)
    told = {"claim": claim.id, "key": pin_text(order.csr.pin), "wrong_keys": tried}
    append(connection, event_of(Action.CLAIM_WRONG_KEY, device.device, by, order.at_us, None, told))
    if tried == CLAIM_WRONG_KEYS_MAX:
        append(connection, event_of(Action.CLAIM_ATTACKED, device.device, by, order.at_us, None, {"claim": claim.id}))


def _is_named(csr: Csr, device: StoredDevice) -> bool:
    try:
        csr.require_names_of(device.device)
    except CsrRefused:
        return False
    return True


def _age(one: CertificateRecord, at_us: int) -> float:
    """As a part of its life."""
    return (at_us - one.issued_at_us) / (one.not_after_us - one.not_before_us)


def _told(one: Enrolled) -> dict[str, object]:
    return {"serial": certificates.serial_text(one.serial), "not_after_us": one.not_after_us}


def _by(order: EnrolmentOrder, device: StoredDevice) -> Actor:
    return Actor(ActorKind.DEVICE, str(device.device), order.source)
