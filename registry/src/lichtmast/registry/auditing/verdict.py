"""Whether the log is whole, and where it first is not. Pure: events in, a verdict out."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lichtmast.registry.auditing.event import GENESIS, LoggedEvent


class AuditFault(StrEnum):
    """What is wrong with the log, in words."""

    REMOVED = "events are missing before this one"
    ALTERED = "this event is not as it was written"
    ERASABLE_ALTERED = "the erasable part of this event is not as it was written"
    OUT_OF_PLACE = "this event does not follow the one before it: one was put in, taken out or moved"
    CUT = "no event has the hash that was kept elsewhere: the end was cut off, or the log was written anew"


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest event. Who keeps its hash elsewhere can tell later that nothing before it was changed or cut off."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class BadEvent:
    """The first event that is wrong; `seq` is the newest one's where the end is missing."""

    seq: int
    fault: AuditFault


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """What verifying found. `erased` counts events whose erasable part is gone, as it should be after a year."""

    events: int
    first_bad: BadEvent | None
    erased: int
    head: AuditHead

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.first_bad is None


def verify(events: Iterable[LoggedEvent], expect: str | None = None) -> AuditVerdict:
    """Follow the chain from its beginning; `expect` is a hash, kept elsewhere, that an event must have."""
    head = AuditHead(0, GENESIS.hex())
    count = erased = 0
    bad: BadEvent | None = None
    is_found = expect is None or expect == head.hash
    for event in events:
        count += 1
        fault = _fault(head, event) if bad is None else None
        if fault is not None:
            bad = BadEvent(event.seq, fault)
        erased += event.sealed is not None and event.sensitive is None
        is_found = is_found or event.hash == expect
        head = AuditHead(event.seq, event.hash)
    if bad is None and not is_found:
        bad = BadEvent(head.seq, AuditFault.CUT)
    return AuditVerdict(count, bad, erased, head)


def _fault(head: AuditHead, event: LoggedEvent) -> AuditFault | None:
    """What is wrong with the event after `head`. A number that was changed shows as altered, not as removed."""
    if event.hash != event.expected_hash:
        return AuditFault.ALTERED
    if event.seq != head.seq + 1:
        return AuditFault.REMOVED
    if event.prev_hash != head.hash:
        return AuditFault.OUT_OF_PLACE
    if not event.is_seal_whole:
        return AuditFault.ERASABLE_ALTERED
    return None
