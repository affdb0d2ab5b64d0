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
    CERTIFICATES_PER_HOUR_MAX,
    CLAIM_WRONG_KEYS_MAX,
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
            if known is not None and known.revoked_at_us is None and known.not_after_us > order.at_us:
                return _answer(order.authority, known)
        case ClaimState.LOCKED:
            return EnrolmentRefused(EnrolmentReason.WINDOW_LOCKED, device.device)
        case _:
            pass
    raise EnrolmentPending(device.device, ENROLMENT_RETRY_S)


def reenrol(connection: Connection, peer_certificate_der: bytes, order: EnrolmentOrder) -> Enrolled | EnrolmentRefused:
    """The next certificate for a device that showed the one it has; both are valid until each ends.

    Where the newest is not the one shown and younger than a hundredth of its life, it is handed out again: its answer
    got lost. So it is for a device that asks more often than CERTIFICATES_PER_HOUR_MAX.
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
    if logged.revoked_at_us is not None:
        return EnrolmentRefused(EnrolmentReason.CERTIFICATE_REVOKED, shown.device)
    device = devices.find_device(connection, shown.device)
    if device.status is not DeviceStatus.ACTIVE:
        return EnrolmentRefused(EnrolmentReason.NOT_ACTIVE, device.device)
    if order.csr.pin != key_pin(connection, device):
        return EnrolmentRefused(EnrolmentReason.OTHER_KEY, device.device)
    if not _is_named(order.csr, device):
        return EnrolmentRefused(EnrolmentReason.OTHER_NAME, device.device)
    last = certificates.newest(connection, device)
    if last is not None and last.revoked_at_us is None:
        is_lost = last.serial != shown.serial and _is_young(last, order.at_us)
        if is_lost or certificates.issued_since(connection, device, order.at_us - HOUR_US) >= CERTIFICATES_PER_HOUR_MAX:
            return _answer(order.authority, last)
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
    certificates.log_certificate(connection, device, order.csr.pin, issued, der, order.at_us)
    return Enrolled(
        device.device, der, (order.authority.device_issuer_der,), issued.serial, issued.not_after_us, is_again=False
    )


def _answer(authority: Authority, known: CertificateRecord) -> Enrolled:
    """A certificate that was handed out before."""
    chain = (authority.device_issuer_der,)
    return Enrolled(known.device, known.der, chain, known.serial, known.not_after_us, is_again=True)


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
    """Count and log a wrong key for the claim of the device that the request names; the last of them locks it.

    Only while there is a claim to attack, and no more often than it bears: nobody fills the log from outside.
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
    if tried == CLAIM_WRONG_KEYS_MAX and claim.closed_as is None:
        close_window(connection, claim, ClaimState.LOCKED, order.at_us)
        append(connection, event_of(Action.CLAIM_LOCKED, device.device, by, order.at_us, None, {"claim": claim.id}))


def _is_named(csr: Csr, device: StoredDevice) -> bool:
    try:
        csr.require_names_of(device.device)
    except CsrRefused:
        return False
    return True


def _is_young(one: CertificateRecord, at_us: int) -> bool:
    return at_us - one.issued_at_us < RENEWAL_AGAIN_LIFE_FRACTION * (one.not_after_us - one.not_before_us)


def _told(one: Enrolled) -> dict[str, object]:
    return {"serial": certificates.serial_text(one.serial), "not_after_us": one.not_after_us}


def _by(order: EnrolmentOrder, device: StoredDevice) -> Actor:
    return Actor(ActorKind.DEVICE, str(device.device), order.source)
