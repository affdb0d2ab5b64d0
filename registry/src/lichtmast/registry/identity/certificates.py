"""The issuance log: which certificates were issued to which device, and which of them are revoked.

Functions on one open transaction. A row is written before its certificate is handed out and never goes; what changes is
that it is superseded or revoked, once.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from cryptography.x509 import ReasonFlags
from sqlalchemy import Connection, Select, func, insert, select, update

from lichtmast.registry import schema
from lichtmast.registry.devices import StoredDevice
from lichtmast.registry.identity.records import CertificateRecord, RevocationReason
from lichtmast.registry.limits import PAGE_RECORDS_MAX, REVOKED_SPELLED_MAX
from lichtmast.registry.pki import CertifiedDevice, RevokedSerial
from lichtmast.wire.identity import DeviceId

_C: Final = schema.certificate.c


def log_certificate(
    connection: Connection,
    device: StoredDevice,
    issued: CertifiedDevice,
    der: bytes,
    at_us: int,
    *,
    key_pin: bytes,
    issuer_pin: bytes,
) -> None:
    """Enter a certificate that was just signed; those before it are superseded, and valid to their end."""
    connection.execute(
        update(schema.certificate)
        .where(_C.device_id == device.id, _C.superseded_at_us.is_(None))
        .values(superseded_at_us=at_us)
    )
    connection.execute(
        insert(schema.certificate).values(
            serial=serial_text(issued.serial),
            device_id=device.id,
            key_pin=key_pin,
            issuer_pin=issuer_pin,
            not_before_us=issued.not_before_us,
            not_after_us=issued.not_after_us,
            issued_at_us=at_us,
            der=der,
            fingerprint=sha256(der).digest(),
        )
    )


def newest(connection: Connection, device: StoredDevice) -> CertificateRecord | None:
    """The certificate that was issued last."""
    rows = connection.execute(_records().where(_C.device_id == device.id).order_by(_C.id.desc()).limit(1))
    return next((_record(row) for row in rows), None)


def by_serial(connection: Connection, serial: int) -> CertificateRecord | None:
    """The certificate of this number."""
    row = connection.execute(_records().where(_C.serial == serial_text(serial))).one_or_none()
    return None if row is None else _record(row)


def of_device(connection: Connection, device: DeviceId) -> list[CertificateRecord]:
    """The certificates of a device, newest first."""
    rows = connection.execute(
        _records()
        .where(schema.tenant.c.code == device.tenant, schema.device.c.name == device.device)
        .order_by(_C.id.desc())
        .limit(PAGE_RECORDS_MAX)
    )
    return [_record(row) for row in rows]


def is_certified(connection: Connection, device: StoredDevice, at_us: int) -> bool:
    """Whether the device has a certificate that is neither ended nor revoked."""
    return (
        connection.execute(
            select(_C.id).where(_C.device_id == device.id, _C.not_after_us > at_us, _C.revoked_at_us.is_(None)).limit(1)
        ).one_or_none()
        is not None
    )


def issued_since(connection: Connection, device: StoredDevice, since_us: int) -> int:
    """How many certificates the device got since a moment."""
    wanted = (_C.device_id == device.id, _C.issued_at_us > since_us)
    return int(connection.execute(select(func.count()).select_from(schema.certificate).where(*wanted)).scalar_one())


def live(connection: Connection, device: StoredDevice, at_us: int) -> int:
    """How many certificates of the device have neither ended nor been revoked."""
    wanted = (_C.device_id == device.id, _C.not_after_us > at_us, _C.revoked_at_us.is_(None))
    return int(connection.execute(select(func.count()).select_from(schema.certificate).where(*wanted)).scalar_one())


def revoke(connection: Connection, device: StoredDevice, reason: RevocationReason, at_us: int) -> list[str]:
    """Revoke what has not ended; the serial numbers."""
    wanted = (_C.device_id == device.id, _C.not_after_us > at_us, _C.revoked_at_us.is_(None))
    serials = list(connection.execute(select(_C.serial).where(*wanted).order_by(_C.id)).scalars())
    connection.execute(update(schema.certificate).where(*wanted).values(revoked_at_us=at_us, revoked_for=reason.value))
    return serials


def revoke_of_others(connection: Connection, in_force: Sequence[bytes], at_us: int) -> dict[str, list[str]]:
    """Revoke, as compromised, what no issuer with one of these pins signed; the serial numbers by municipality."""
    wanted = (_C.issuer_pin.not_in(in_force), _C.not_after_us > at_us, _C.revoked_at_us.is_(None))
    rows = connection.execute(
        select(schema.tenant.c.code, _C.serial)
        .join(schema.device, schema.device.c.id == _C.device_id)
        .join(schema.tenant, schema.tenant.c.id == schema.device.c.tenant_id)
        .where(*wanted)
        .order_by(schema.tenant.c.code, _C.id)
    )
    serials: dict[str, list[str]] = {}
    for tenant, serial in rows:
        serials.setdefault(tenant, []).append(serial)
    reason = RevocationReason.KEY_COMPROMISE.value
    connection.execute(update(schema.certificate).where(*wanted).values(revoked_at_us=at_us, revoked_for=reason))
    return serials


def told_serials(serials: Sequence[str]) -> dict[str, object]:
    """What an event says of the certificates it revoked: however many a device got, the event takes it."""
    return {
        "revoked": len(serials),
        "revoked_first": list(serials[:REVOKED_SPELLED_MAX]),
        "revoked_sha256": sha256("\n".join(serials).encode()).hexdigest(),
    }


def revoked(connection: Connection, at_us: int) -> Sequence[RevokedSerial]:
    """What a revocation list has to name: revoked, and not ended."""
    rows = connection.execute(
        select(_C.serial, _C.revoked_at_us, _C.revoked_for)
        .where(_C.revoked_at_us.is_not(None), _C.not_after_us > at_us)
        .order_by(_C.id)
    )
    return [
        RevokedSerial(int(serial, 16), revoked_at_us, ReasonFlags(reason)) for serial, revoked_at_us, reason in rows
    ]


def serial_text(serial: int) -> str:
    """A serial number as the register and messages write it."""
    return f"{serial:x}"


def _records() -> Select[Any]:
    return (
        select(
            schema.tenant.c.code,
            schema.device.c.name,
            _C.serial,
            _C.key_pin,
            _C.issuer_pin,
            _C.not_before_us,
            _C.not_after_us,
            _C.issued_at_us,
            _C.superseded_at_us,
            _C.revoked_at_us,
            _C.revoked_for,
            _C.der,
        )
        .join(schema.device, schema.device.c.id == _C.device_id)
        .join(schema.tenant, schema.tenant.c.id == schema.device.c.tenant_id)
    )


def _record(row: Any) -> CertificateRecord:  # noqa: ANN401 - a row of _records()
    code, name, serial, key_pin, issuer_pin, begin_us, end_us, issued_us, superseded_us, revoked_us, reason, der = row
    return CertificateRecord(
        DeviceId(code, name),
        int(serial, 16),
        key_pin,
        issuer_pin,
        begin_us,
        end_us,
        issued_us,
        superseded_us,
        revoked_us,
        None if reason is None else RevocationReason(reason),
        der,
    )
