"""The identity book: staging, claiming, enrolling, renewing, revoking and admitting, each as one transaction.

Synchronous, like `Registry`, whose `identity` it is; call it in a thread from async code. A refused claim changes
nothing but the log of changes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Engine

from lichtmast.registry import catalogue, devices, schema
from lichtmast.registry.auditing import LOCAL, LOCAL_COMMAND, SYSTEM, Action, Actor, Event, append
from lichtmast.registry.auditing.log import erase_sensitive
from lichtmast.registry.catalogue import CatalogueEntry
from lichtmast.registry.database import bump, writing
from lichtmast.registry.errors import ConflictError
from lichtmast.registry.identity import certificates, claims, enrolment, life_cycle, windows
from lichtmast.registry.identity.admission import Admission, read_admission
from lichtmast.registry.identity.claims import ClaimOrder, root_pins
from lichtmast.registry.identity.enrolment import EnrolmentOrder
from lichtmast.registry.identity.life_cycle import event_of
from lichtmast.registry.identity.records import (
    CertificateRecord,
    Claim,
    Enrolled,
    Position,
    RevocationReason,
)
from lichtmast.registry.identity.refusals import ClaimRefused, EnrolmentRefused
from lichtmast.registry.limits import CLAIM_HOURS_MAX, PAGE_RECORDS_MAX, POSITION_RETENTION_US
from lichtmast.registry.pki import Authority, Csr, RevokedSerial
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.label import Label
from lichtmast.wire.profile import Profile

_Answer = TypeVar("_Answer")


class IdentityBook:
    """Who a device is, which key it has, and what it was issued. Use `Registry.identity`."""

    def __init__(self, engine: Engine, profiles: Mapping[str, Profile]) -> None:
        self._engine = engine
        self._profiles = profiles

    # Staging and claims.

    def stage(self, label: Label, profile: str, *, by: Actor = LOCAL_COMMAND, at_us: int) -> bool:
        """Register a device with its key; tells whether that is new. Raises UnknownRecordError or ConflictError."""
        return self.stage_all([(label, profile)], by=by, at_us=at_us) == 1

    def stage_all(self, wanted: Sequence[tuple[Label, str]], *, by: Actor = LOCAL_COMMAND, at_us: int) -> int:
        """Stage all of them or none; how many were new or changed."""

        def change(connection: Connection) -> int:
            known = self._catalogue(connection)
            return sum(claims.stage(connection, known, label, profile, by=by, at_us=at_us) for label, profile in wanted)

        return self._write(change)

    def open_claim(
        self,
        label: Label,
        *,
        asset_id: int,
        position: Position | None = None,
        by: Actor,
        at_us: int,
        hours: float = CLAIM_HOURS_MAX,
        profile: str | None = None,
        authority: Authority | None = None,
    ) -> Claim:
        """Open the window in which the labelled device may fetch its certificate, and hang it on the asset.

        `profile` stages a device that is unknown; `authority` lets a label of another city be told. Raises
        ClaimRefused, ConflictError, UnknownRecordError, ValueError.
        """
        pins = None if authority is None else root_pins(authority)
        order = ClaimOrder(label, asset_id, position, by, at_us, hours, profile, pins)
        return self._claim(order, lambda one, known: claims.open_claim(one, known, order))

    def replace(
        self,
        old: DeviceId,
        label: Label,
        *,
        position: Position | None = None,
        by: Actor,
        at_us: int,
        hours: float = CLAIM_HOURS_MAX,
        profile: str | None = None,
        authority: Authority | None = None,
    ) -> Claim:
        """Retire `old` and open the claim for the labelled device in its place; the asset's history goes on.

        Raises ClaimRefused, ConflictError, UnknownRecordError, ValueError.
        """
        pins = None if authority is None else root_pins(authority)
        with self._engine.connect() as connection:
            asset_id = devices.find_device(connection, old).asset_id
        if asset_id is None:
            raise ConflictError(f"device {old} hangs on no asset; retire it and claim the new one")
        order = ClaimOrder(label, asset_id, position, by, at_us, hours, profile, pins)
        return self._claim(order, lambda one, known: (claims.claim_replacement(one, known, old, order), True))

    def cancel_claim(self, claim_id: int, *, by: Actor, at_us: int) -> Claim:
        """Close a window that nobody used. Raises UnknownRecordError or ClaimRefused."""
        return self._write(lambda one: claims.cancel(one, self._catalogue(one), claim_id, by=by, at_us=at_us))

    def claim(self, claim_id: int) -> Claim | None:
        """One claim."""
        with self._engine.connect() as connection:
            return windows.window(connection, claim_id)

    def claims(
        self,
        tenant: str | None = None,
        *,
        device: DeviceId | None = None,
        open_at_us: int | None = None,
        after_id: int = 0,
        limit: int = 100,
    ) -> list[Claim]:
        """A page of claims by id; `open_at_us` leaves those that are open then. Raises ValueError."""
        if not 1 <= limit <= PAGE_RECORDS_MAX:
            raise ValueError(f"a page has 1 to {PAGE_RECORDS_MAX} claims, not {limit}")
        w = schema.claim.c
        query = windows.select_claims().where(w.id > after_id).order_by(w.id).limit(limit)
        if tenant is not None:
            query = query.where(schema.tenant.c.code == tenant)
        if device is not None:
            query = query.where(schema.tenant.c.code == device.tenant, schema.device.c.name == device.device)
        if open_at_us is not None:
            query = query.where(w.closed_at_us.is_(None), w.expires_at_us > open_at_us)
        with self._engine.connect() as connection:
            return [windows.claim_of(row) for row in connection.execute(query)]

    # Certificates.

    def enrol(self, csr: Csr, authority: Authority, *, at_us: int, source: str = LOCAL) -> Enrolled:
        """A certificate for a claimed device that proved its key. It is on disk before this returns.

        Raises EnrolmentRefused or EnrolmentPending.
        """
        order = EnrolmentOrder(csr, authority, at_us, source)
        return self._enrolled(lambda connection: enrolment.enrol(connection, order))

    def reenrol(
        self, peer_certificate_der: bytes, csr: Csr, authority: Authority, *, at_us: int, source: str = LOCAL
    ) -> Enrolled:
        """The next certificate for a device that showed its current one in the handshake. Raises EnrolmentRefused."""
        order = EnrolmentOrder(csr, authority, at_us, source)
        return self._enrolled(lambda connection: enrolment.reenrol(connection, peer_certificate_der, order))

    def revoke_certificates(
        self,
        device: DeviceId,
        reason: RevocationReason = RevocationReason.UNSPECIFIED,
        *,
        by: Actor = LOCAL_COMMAND,
        at_us: int,
    ) -> list[str]:
        """Revoke what the device has and shut its open claim; the serial numbers in hex. It can be claimed again.

        Raises UnknownRecordError.
        """

        def change(connection: Connection) -> tuple[list[str], bool]:
            return life_cycle.revoke(connection, devices.find_device(connection, device), reason, by, at_us)

        return self._write(change, lambda answer: answer[1])[0]

    def revoke_distrusted(self, authority: Authority, *, by: Actor = LOCAL_COMMAND, at_us: int) -> int:
        """Revoke all that no device authority in force signed, after one was stolen; how many."""
        in_force = authority.device_issuer_pins
        return self._write(lambda one: life_cycle.revoke_of_others(one, in_force, by, at_us))

    def certificates(self, device: DeviceId) -> list[CertificateRecord]:
        """All that the device was issued, newest first."""
        with self._engine.connect() as connection:
            return certificates.of_device(connection, device)

    def revoked(self, at_us: int | None = None) -> Sequence[RevokedSerial]:
        """What a revocation list has to name at this moment; now where None."""
        with self._engine.connect() as connection:
            return certificates.revoked(connection, _now_us() if at_us is None else at_us)

    def admission(self, at_us: int | None = None) -> Admission:
        """Who is admitted, as of one revision; `at_us` is now where None."""
        with self._engine.connect() as connection:
            return read_admission(connection, _now_us() if at_us is None else at_us)

    # Life cycle.

    def suspend(self, device: DeviceId, *, by: Actor = LOCAL_COMMAND, at_us: int, why: str = "") -> bool:
        """Shut every door to the device until it is resumed. Raises UnknownRecordError or ConflictError."""
        return self._to_status(device, DeviceStatus.SUSPENDED, by, at_us, why)

    def resume(self, device: DeviceId, *, by: Actor = LOCAL_COMMAND, at_us: int, why: str = "") -> bool:
        """Let a suspended device in again. Raises UnknownRecordError or ConflictError."""

        def change(connection: Connection) -> bool:
            stored = devices.find_device(connection, device)
            if stored.status not in {DeviceStatus.SUSPENDED, DeviceStatus.ACTIVE}:
                raise ConflictError(f"device {device} is {stored.status.value}; only a suspended device is resumed")
            return life_cycle.change_status(connection, stored, DeviceStatus.ACTIVE, by=by, at_us=at_us, why=why)

        return self._write(change)

    def retire(
        self,
        device: DeviceId,
        *,
        by: Actor = LOCAL_COMMAND,
        at_us: int,
        why: str = "",
        reason: RevocationReason = RevocationReason.CESSATION_OF_OPERATION,
    ) -> bool:
        """Take the device off its asset for good and revoke its certificates. Raises UnknownRecordError."""
        return self._to_status(device, DeviceStatus.RETIRED, by, at_us, why, reason)

    def move(self, device: DeviceId, asset_id: int | None, *, by: Actor = LOCAL_COMMAND, at_us: int) -> bool:
        """Hang the device on another asset, or on none. Raises UnknownRecordError or ConflictError."""

        def change(connection: Connection) -> bool:
            stored = devices.find_device(connection, device)
            return life_cycle.move(connection, self._catalogue(connection), stored, asset_id, by=by, at_us=at_us)

        return self._write(change)

    def erase_positions(self, *, at_us: int, by: Actor = SYSTEM) -> int:
        """Forget where engineers stood more than a year ago; how many places. Opening a claim does it too."""
        with writing(self._engine) as connection:
            return _erase_positions(connection, at_us, by)

    # Inside.

    def _to_status(
        self,
        device: DeviceId,
        status: DeviceStatus,
        by: Actor,
        at_us: int,
        why: str,
        reason: RevocationReason = RevocationReason.CESSATION_OF_OPERATION,
    ) -> bool:

        def change(connection: Connection) -> bool:
            stored = devices.find_device(connection, device)
            return life_cycle.change_status(connection, stored, status, by=by, at_us=at_us, why=why, reason=reason)

        return self._write(change)

    def _claim(
        self,
        order: ClaimOrder,
        change: Callable[[Connection, Mapping[str, CatalogueEntry]], tuple[Claim, bool]],
    ) -> Claim:
        """Do it, or log that it was refused: the log is all that a refusal leaves."""
        device = order.label.device

        def change_or_log(connection: Connection) -> tuple[Claim, bool] | ClaimRefused:
            try:
                with connection.begin_nested():
                    done = change(connection, self._catalogue(connection))
            except ClaimRefused as error:
                told = {"reason": error.reason.value, "asset": order.asset_id}
                append(connection, event_of(Action.CLAIM_REFUSED, device, order.by, order.at_us, None, told))
                return error
            _erase_positions(connection, order.at_us, SYSTEM)
            return done

        answer = self._write(change_or_log, lambda one: isinstance(one, tuple) and one[1])
        if isinstance(answer, ClaimRefused):
            raise answer
        return answer[0]

    def _enrolled(self, change: Callable[[Connection], Enrolled | EnrolmentRefused]) -> Enrolled:
        answer = self._write(change, lambda one: isinstance(one, Enrolled) and not one.is_again)
        if isinstance(answer, EnrolmentRefused):
            raise answer
        return answer

    def _write(self, change: Callable[[Connection], _Answer], is_change: Callable[[_Answer], bool] = bool) -> _Answer:
        """One write transaction, which raises the revision where its answer says that something changed."""
        with writing(self._engine) as connection:
            answer = change(connection)
            if is_change(answer):
                bump(connection)
        return answer

    def _catalogue(self, connection: Connection) -> dict[str, CatalogueEntry]:
        return catalogue.read_catalogue(connection, self._profiles)


def _erase_positions(connection: Connection, at_us: int, by: Actor) -> int:
    before_us = at_us - POSITION_RETENTION_US
    count = windows.erase_positions(connection, before_us)
    erase_sensitive(connection, before_us)
    if count:
        append(connection, Event(Action.POSITIONS_ERASED, "claim", "all", by, at_us, None, None, {"claims": count}))
    return count


def _now_us() -> int:
    return time.time_ns() // 1_000
