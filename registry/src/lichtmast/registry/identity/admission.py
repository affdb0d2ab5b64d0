"""Who is admitted: the answer for every door, in memory, as of one revision of the register.

Verifying the chain is the TLS library's work, and comes first. This judges what only the register knows: that we issued
the certificate, that it is not revoked, and that its device is in service. A snapshot: compare `revision` with
`Registry.revision()` and load again when it moved. Holds no connection and may be shared between threads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection, select

from lichtmast.registry import schema
from lichtmast.registry.database import revision_of
from lichtmast.registry.limits import ENDED_KEPT_US
from lichtmast.registry.pki import CertificateRefused, device_of_certificate
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire.identity import DeviceId


class AdmissionReason(StrEnum):
    """Why a certificate does not open a door. The sentence for whoever can mend it is in SENTENCES."""

    NOT_A_DEVICE_CERTIFICATE = "not_a_device_certificate"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNKNOWN_SERIAL = "unknown_serial"
    REVOKED = "revoked"
    UNKNOWN_DEVICE = "unknown_device"
    NOT_ACTIVE = "not_active"


SENTENCES: Mapping[AdmissionReason, str] = {
    AdmissionReason.NOT_A_DEVICE_CERTIFICATE: "the certificate is not one that this register issues to devices",
    AdmissionReason.EXPIRED: "the certificate has ended; an engineer claims the device again",
    AdmissionReason.NOT_YET_VALID: "the certificate is not valid yet; look at the clock of this server",
    AdmissionReason.UNKNOWN_SERIAL: "the certificate is not in the issuance log; revoke its issuer if it is a forgery",
    AdmissionReason.REVOKED: "the certificate was revoked; an engineer claims the device again",
    AdmissionReason.UNKNOWN_DEVICE: "the device is not in the register",
    AdmissionReason.NOT_ACTIVE: "the device is not active; resume it, or claim it",
}


@dataclass(frozen=True, slots=True)
class Admitted:
    """A device may speak, as itself, until its certificate ends."""

    device: DeviceId
    serial: int
    not_after_us: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody may speak; `device` is whom the certificate names, where it names one."""

    reason: AdmissionReason
    device: DeviceId | None


class IssuedCertificate(NamedTuple):
    """A line of the issuance log, as far as doors need it. A tuple: there are tens of thousands of them."""

    device: DeviceId
    not_before_us: int
    not_after_us: int
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """All certificates that we issued and the status of all devices that have one, as of `revision`."""

    revision: int
    certificates: Mapping[int, IssuedCertificate]
    """By serial number."""
    statuses: Mapping[DeviceId, DeviceStatus]
    fingerprints: Mapping[bytes, int] = field(default_factory=dict)
    """Serial numbers by SHA-256 of the certificate: one that we issued is known by its bytes, and by nothing else."""

    def judge(self, certificate_der: bytes, now_us: int) -> Admitted | Refused:
        """Whether the holder of this certificate may speak now, and as which device."""
        serial = self.fingerprints.get(sha256(certificate_der).digest())
        if serial is not None:
            issued = self.certificates[serial]
            reason = self._reason(issued.device, serial, now_us)
            return (
                Admitted(issued.device, serial, issued.not_after_us)
                if reason is None
                else Refused(reason, issued.device)
            )
        try:
            shown = device_of_certificate(certificate_der)
        except CertificateRefused:
            return Refused(AdmissionReason.NOT_A_DEVICE_CERTIFICATE, None)
        # What it says itself comes first: of what ended long ago, the register has no answer here.
        if now_us < shown.not_before_us:
            return Refused(AdmissionReason.NOT_YET_VALID, shown.device)
        if now_us >= shown.not_after_us:
            return Refused(AdmissionReason.EXPIRED, shown.device)
        # Not by its bytes one of ours: a known serial number makes it a forgery, not a certificate that we issued.
        reason = self._reason(shown.device, shown.serial, now_us)
        return Refused(reason or AdmissionReason.UNKNOWN_SERIAL, shown.device)

    def admits(self, device: DeviceId, serial: int, now_us: int) -> bool:
        """Whether a session that stands on this certificate may go on."""
        return self._reason(device, serial, now_us) is None

    def _reason(self, device: DeviceId, serial: int, now_us: int) -> AdmissionReason | None:
        issued = self.certificates.get(serial)
        status = self.statuses.get(device)
        if issued is None or issued.device != device:
            return AdmissionReason.UNKNOWN_SERIAL if status is not None else AdmissionReason.UNKNOWN_DEVICE
        if now_us < issued.not_before_us:
            return AdmissionReason.NOT_YET_VALID
        if now_us >= issued.not_after_us:
            return AdmissionReason.EXPIRED
        if issued.is_revoked:
            return AdmissionReason.REVOKED
        return None if status is DeviceStatus.ACTIVE else AdmissionReason.NOT_ACTIVE


def read_admission(connection: Connection, at_us: int) -> Admission:
    """Read everything in one transaction, with column queries; certificates that ended long before are left out."""
    revision = revision_of(connection)
    d, c = schema.device.c, schema.certificate.c
    devices: dict[int, DeviceId] = {}
    statuses: dict[DeviceId, DeviceStatus] = {}
    known = {status.value: status for status in DeviceStatus}
    for device_id, code, name, status in connection.execute(
        select(d.id, schema.tenant.c.code, d.name, d.status).join(schema.tenant, schema.tenant.c.id == d.tenant_id)
    ):
        device = devices[device_id] = DeviceId(code, name)
        statuses[device] = known[status]
    certificates: dict[int, IssuedCertificate] = {}
    fingerprints: dict[bytes, int] = {}
    for serial_text, device_id, not_before_us, not_after_us, revoked_at_us, fingerprint in connection.execute(
        select(c.serial, c.device_id, c.not_before_us, c.not_after_us, c.revoked_at_us, c.fingerprint).where(
            c.not_after_us > at_us - ENDED_KEPT_US
        )
    ):
        serial = fingerprints[fingerprint] = int(serial_text, 16)
        certificates[serial] = IssuedCertificate(
            devices[device_id], not_before_us, not_after_us, revoked_at_us is not None
        )
    return Admission(revision, certificates, statuses, fingerprints)
