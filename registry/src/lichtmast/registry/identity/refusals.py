"""Why a claim or an enrolment is refused: one reason, one sentence for whoever can mend it.

RegistryError
├── ClaimRefused         an engineer's claim; the text is for the phone
├── EnrolmentRefused     a node's request; the text is for the log, not for the node
└── EnrolmentPending     no refusal: nobody has claimed the node yet, it may ask again
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from lichtmast.registry.errors import RegistryError
from lichtmast.wire.identity import DeviceId


class ClaimReason(StrEnum):
    """Why a claim is refused."""

    OTHER_CITY = "other_city"
    UNKNOWN_DEVICE = "unknown_device"
    OTHER_KEY = "other_key"
    RETIRED = "retired"
    SUSPENDED = "suspended"
    UNKNOWN_ASSET = "unknown_asset"
    ENDED_ASSET = "ended_asset"
    HANGS_ELSEWHERE = "hangs_elsewhere"
    IN_SERVICE = "in_service"
    NO_KEY = "no_key"
    WINDOW_OPEN = "window_open"
    NOT_OPEN = "not_open"


CLAIM_SENTENCES: Final[Mapping[ClaimReason, str]] = {
    ClaimReason.OTHER_CITY: "this label is of another city; its node would not trust this server",
    ClaimReason.UNKNOWN_DEVICE: "the workshop has not staged this device; stage it, or take another",
    ClaimReason.OTHER_KEY: "the key on this label is not the one that was staged; do not hang it, tell the workshop",
    ClaimReason.RETIRED: "this device is retired, which is final; take another",
    ClaimReason.SUSPENDED: "this device is suspended; have it resumed first",
    ClaimReason.UNKNOWN_ASSET: "there is no such lamppost in this municipality; scan or choose it again",
    ClaimReason.ENDED_ASSET: "this lamppost has ended in the register; choose one that stands",
    ClaimReason.HANGS_ELSEWHERE: "this device is in service on another lamppost; move it instead of claiming it",
    ClaimReason.IN_SERVICE: "this device is in service on this lamppost; if it lost its certificate, revoke that first",
    ClaimReason.NO_KEY: "this device is in service and no key is registered for it; the workshop labels it first",
    ClaimReason.WINDOW_OPEN: "this device is being claimed already; wait for that claim, or cancel it",
    ClaimReason.NOT_OPEN: "this claim is not open any more",
}


class EnrolmentReason(StrEnum):
    """Why a node gets no certificate."""

    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_DEVICE = "unknown_device"
    OTHER_KEY = "other_key"
    OTHER_NAME = "other_name"
    RETIRED = "retired"
    SUSPENDED = "suspended"
    NOT_ACTIVE = "not_active"
    CERTIFICATE_REFUSED = "certificate_refused"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"


ENROLMENT_SENTENCES: Final[Mapping[EnrolmentReason, str]] = {
    EnrolmentReason.UNKNOWN_KEY: "no device has this key; print its label in the workshop first",
    EnrolmentReason.UNKNOWN_DEVICE: "the device that the request names is not in the register; stage it first",
    EnrolmentReason.OTHER_KEY: "the key is not the one on the device's label; look whether somebody else's node asks",
    EnrolmentReason.OTHER_NAME: "the request names another device than the one that has this key; mend the node's name",
    EnrolmentReason.RETIRED: "the device is retired, which is final; hang another",
    EnrolmentReason.SUSPENDED: "the device is suspended; resume it",
    EnrolmentReason.NOT_ACTIVE: "the device is not active; claim it",
    EnrolmentReason.CERTIFICATE_REFUSED: "the certificate shown is not one that this register issued",
    EnrolmentReason.CERTIFICATE_EXPIRED: "the certificate shown has ended; an engineer claims the device again",
    EnrolmentReason.CERTIFICATE_REVOKED: "the certificate shown is revoked; an engineer claims the device again",
}


class ClaimRefused(RegistryError):  # noqa: N818 - an expected answer, not a fault
    """A claim that is refused; nothing was changed but the log."""

    def __init__(self, reason: ClaimReason, device: DeviceId) -> None:
        super().__init__(f"{device}: {CLAIM_SENTENCES[reason]}")
        self.reason = reason
        self.device = device


class EnrolmentRefused(RegistryError):  # noqa: N818 - an expected answer, not a fault
    """A node that gets no certificate; `device` is None where the request belongs to none."""

    def __init__(self, reason: EnrolmentReason, device: DeviceId | None) -> None:
        super().__init__(f"{device or 'enrolment'}: {ENROLMENT_SENTENCES[reason]}")
        self.reason = reason
        self.device = device


class EnrolmentPending(RegistryError):  # noqa: N818 - an expected answer, not a fault
    """The node proved its key, and no engineer has opened a claim for it: RFC 7030's 202 with Retry-After."""

    def __init__(self, device: DeviceId, retry_s: int) -> None:
        super().__init__(f"{device}: nobody has claimed it; it may ask again in {retry_s} s")
        self.device = device
        self.retry_s = retry_s
