"""What the identity book tells its readers: claims, certificates and answers, as plain frozen values."""

from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite

from lichtmast.registry.auditing.actor import ActorKind
from lichtmast.registry.limits import ACCURACY_MAX_M
from lichtmast.wire.identity import DeviceId

LONGITUDE_MAX, LATITUDE_MAX = 180.0, 90.0


@dataclass(frozen=True, slots=True)
class Position:
    """Where an engineer stood, in CRS84 degrees, as the phone told it. Raises ValueError for a place that is none."""

    longitude: float
    latitude: float
    accuracy_m: float | None = None

    def __post_init__(self) -> None:
        if not (
            isfinite(self.longitude)
            and isfinite(self.latitude)
            and abs(self.longitude) <= LONGITUDE_MAX
            and abs(self.latitude) <= LATITUDE_MAX
        ):
            raise ValueError("a position is a longitude of -180 to 180 and a latitude of -90 to 90 degrees")
        if self.accuracy_m is not None and not 0 <= self.accuracy_m <= ACCURACY_MAX_M:
            raise ValueError(f"the accuracy of a position is 0 to {ACCURACY_MAX_M:g} metres")


class ClaimState(StrEnum):
    """How a claim stands."""

    OPEN = "open"
    USED = "used"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Claim:
    """A window in which one device may fetch one certificate, for the key on its label."""

    id: int
    device: DeviceId
    asset_id: int
    key_pin: bytes
    opened_by_kind: ActorKind
    opened_by: str
    opened_at_us: int
    expires_at_us: int
    position: Position | None = field(repr=False)
    """Where the engineer stood; erased after a year."""
    wrong_keys: int
    closed_at_us: int | None
    closed_as: ClaimState | None
    serial: int | None
    """Of the certificate that was fetched."""

    def state(self, now_us: int) -> ClaimState:
        """How it stands now; an expired one is closed when the next is opened."""
        if self.closed_as is not None:
            return self.closed_as
        return ClaimState.OPEN if now_us < self.expires_at_us else ClaimState.EXPIRED


class RevocationReason(StrEnum):
    """Why certificates are revoked, in RFC 5280's words (section 5.3.1)."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A line of the issuance log."""

    device: DeviceId
    serial: int
    key_pin: bytes
    issuer_pin: bytes
    """Of the authority that signed it."""
    not_before_us: int
    not_after_us: int
    issued_at_us: int
    superseded_at_us: int | None
    """When the next one was issued; it stays valid to its end."""
    revoked_at_us: int | None
    revoked_for: RevocationReason | None
    der: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A certificate for a device. It is in the issuance log, on disk, before anybody sees this."""

    device: DeviceId
    certificate_der: bytes
    chain: tuple[bytes, ...]
    """DER of the authority that signed it."""
    serial: int
    not_after_us: int
    is_again: bool
    """True where this certificate was handed out before and the answer may have got lost."""
