"""An event of the log of changes, and the hash that ties it to the one before it.

Pure: no database, no clock. What is hashed is one line of JSON, so that another program can follow it
(docs/reference/audit-log.md). What must be erasable, such as where an engineer stood, is in the hash as a salted
digest only: the text can go and the chain still holds (docs/adr/0028).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from lichtmast.registry.auditing.actor import Actor
from lichtmast.registry.limits import EVENT_BYTES_MAX

GENESIS: Final = bytes(32)
"""What stands in the place of a hash before the first event."""
FORMAT: Final = "lichtmast-audit-1"
SALT_BYTES: Final = 16


class Action(StrEnum):
    """What the register itself logs. People's and sign-in events are named by their own rooms."""

    CATALOGUE_UPDATED = "catalogue.updated"
    TENANT_ADDED = "tenant.added"
    TENANT_RENAMED = "tenant.renamed"
    ASSETS_IMPORTED = "assets.imported"
    DEVICE_REGISTERED = "device.registered"
    DEVICE_STAGED = "device.staged"
    DEVICE_MOVED = "device.moved"
    DEVICE_REPLACED = "device.replaced"
    DEVICE_STATUS = "device.status"
    DEVICE_ENROLLED = "device.enrolled"
    DEVICE_RENEWED = "device.renewed"
    CLAIM_OPENED = "claim.opened"
    CLAIM_CANCELLED = "claim.cancelled"
    CLAIM_REFUSED = "claim.refused"
    CLAIM_WRONG_KEY = "claim.wrong_key"
    CLAIM_ATTACKED = "claim.attacked"
    CERTIFICATES_REVOKED = "certificates.revoked"
    POSITIONS_ERASED = "positions.erased"
    VALIDATION_PUT = "validation.put"
    ALERT_RULE_PUT = "alert_rule.put"
    ALERT_RULES_PUT = "alert_rule.put_many"
    ALERT_RULE_DELETED = "alert_rule.deleted"
    ALERT_ACKNOWLEDGED = "alert.acknowledged"
    ALERT_SHELVED = "alert.shelved"
    ALERT_UNSHELVED = "alert.unshelved"
    ALERT_CLEARED = "alert.cleared"
    ALERT_ASSIGNED = "alert.assigned"
    ALERT_COMMENTED = "alert.commented"
    MAINTENANCE_PLANNED = "maintenance.planned"
    MAINTENANCE_ENDED = "maintenance.ended"
    CHANNEL_MADE = "notification.channel_made"
    CHANNEL_CHANGED = "notification.channel_changed"
    CHANNEL_REMOVED = "notification.channel_removed"
    DELIVERY_FAILED = "notification.delivery_failed"
    DELIVERY_RETRIED = "notification.delivery_retried"
    QUARANTINE_REPLAYED = "quarantine.replayed"
    QUARANTINE_DISCARDED = "quarantine.discarded"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, to be appended. `before` and `after` hold what changed, never a secret.

    `sensitive` is what may have to be erased later. Raises ValueError for names that are none, or too much.
    """

    action: str
    subject_kind: str
    subject: str
    by: Actor
    at_us: int
    tenant: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    sensitive: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        room, dot, what = self.action.partition(".")
        if not (dot and room.replace("_", "").isalnum() and what.replace("_", "").isalnum()):
            raise ValueError(f"action {self.action[:60]!r} is not of the form room.what")
        if not self.subject.isprintable():
            raise ValueError("the subject of an event holds characters that do not print")
        if len(self.subject) + sum(len(one or "") for one in self.texts) > EVENT_BYTES_MAX:
            raise ValueError(f"an event of {self.action} has more than {EVENT_BYTES_MAX} bytes; log a digest instead")

    @property
    def texts(self) -> tuple[str | None, str | None]:
        """`before` and `after` as they are kept."""
        return text_of(self.before), text_of(self.after)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it stands in the log. `sensitive` is None where there was none, and where it is erased."""

    seq: int
    at_us: int
    actor_kind: str
    actor: str
    source: str
    action: str
    subject_kind: str
    subject: str
    tenant: str | None
    before: str | None
    after: str | None
    sealed: str | None
    """Hex of the salted digest of what may be erased."""
    prev_hash: str
    hash: str
    salt: str | None = None
    sensitive: str | None = None

    @property
    def expected_hash(self) -> str:
        """The hash that the other fields lead to."""
        line = [FORMAT, *(getattr(self, name) for name in HASHED)]
        # repr: whoever tampered may have left bytes where text was; that is altered, not a crash.
        return sha256(json.dumps(line, separators=(",", ":"), default=repr).encode("ascii")).hexdigest()

    @property
    def is_seal_whole(self) -> bool:
        """Whether the erasable part is as it was sealed; an erased one is."""
        if self.salt is None or self.sensitive is None:
            return True
        try:
            return self.sealed == seal(bytes.fromhex(self.salt), self.sensitive).hex()
        except (ValueError, AttributeError):  # no hex, no ASCII, no text: written by somebody else
            return False


HASHED: Final = (
    "seq",
    "at_us",
    "actor_kind",
    "actor",
    "source",
    "action",
    "subject_kind",
    "subject",
    "tenant",
    "before",
    "after",
    "sealed",
    "prev_hash",
)
"""The fields of an event in the order in which they are hashed, after FORMAT."""


def text_of(value: Mapping[str, Any] | None) -> str | None:
    """Canonical JSON, ASCII alone; None stays None."""
    if value is None:
        return None
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seal(salt: bytes, sensitive: str) -> bytes:
    """The digest by which an erasable text is tied to its event. The salt is erased with the text."""
    return sha256(salt + sensitive.encode("ascii")).digest()
