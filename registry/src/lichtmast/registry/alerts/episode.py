"""An alert as a value: one episode, its history, what people are told of it, and why an action is refused.

One episode runs from the first raising to the last clearing; flaps are counted in it. What may follow what is
decided in `life_cycle`. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lichtmast.registry.alerts.rules import Severity
from lichtmast.registry.alerts.scope import Facts
from lichtmast.registry.auditing import Actor


class EpisodeState(StrEnum):
    """Where people are with an alert."""

    NEW = "new"
    ACKNOWLEDGED = "acknowledged"
    """Somebody has it."""
    SHELVED = "shelved"
    """Looked away from, until a moment and for a reason; then it is new again."""
    CLEARED = "cleared"
    """Over, with evidence."""


OPEN_STATES: Final = frozenset(EpisodeState) - {EpisodeState.CLEARED}


class EntryKind(StrEnum):
    """What a line of an episode's history is about."""

    RAISED = "raised"
    RAISED_AGAIN = "raised_again"
    CLEARED = "cleared"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SHELF_ENDED = "shelf_ended"
    ASSIGNED = "assigned"
    COMMENTED = "commented"
    CAUSE_FOUND = "cause_found"
    CAUSE_ENDED = "cause_ended"
    MAINTENANCE_BEGAN = "maintenance_began"
    MAINTENANCE_ENDED = "maintenance_ended"


class NoticeEvent(StrEnum):
    """What people are told of."""

    RAISED = "raised"
    CLEARED = "cleared"
    RETURNED = "returned"
    """Its time on the shelf is over."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert as it stands. `version` rises with every change."""

    id: int
    rule_id: int
    rule_version: int
    rule_name: str
    severity: Severity
    facts: Facts
    """Of the subject, as they were when it was raised."""
    state: EpisodeState
    reopens_as: EpisodeState
    """The state that a flap brings back; the present one while it is open."""
    raised_at_us: int
    last_raised_at_us: int
    cleared_at_us: int | None
    count: int
    """How often it was raised: 1 and its flaps."""
    value: float | None
    because: str
    """The evidence when it was raised last."""
    ended_because: str | None
    owner: str | None
    acknowledged_by: str | None
    acknowledged_at_us: int | None
    shelved_until_us: int | None
    shelved_because: str | None
    window_id: int | None
    in_maintenance: bool
    cause_id: int | None
    grouped: bool
    """Whether its cause speaks for it now."""
    told: bool
    """Whether people were told that it is raised, and not yet that it is over."""
    version: int

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.state is not EpisodeState.CLEARED

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is told of it now."""
        return self.grouped or self.in_maintenance or self.state in {EpisodeState.SHELVED, EpisodeState.CLEARED}

    @property
    def subject(self) -> str:
        """As in datastream/17, device/gm0402/lm-1 or group/feeder/F12."""
        return self.facts.subject


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an episode's history."""

    at_us: int
    kind: EntryKind
    by: Actor
    words: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """That people are to be told something, not before `due_us`."""

    event: NoticeEvent
    at_us: int
    due_us: int


@dataclass(frozen=True, slots=True)
class Change:
    """What became of an episode. `withdraw` names notices that nobody has taken yet and nobody needs any more."""

    episode: Episode
    entries: tuple[Entry, ...] = ()
    tell: tuple[Notice, ...] = ()
    withdraw: tuple[NoticeEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Around:
    """What an episode is raised into: the group's alert that speaks for it, the maintenance window, and the hold."""

    cause_id: int | None = None
    window_id: int | None = None
    hold_s: int = 0
    """How long its notice waits, where a fleet rule watches its rule."""


class RefusedFor(StrEnum):
    """Why an action on an alert is refused; nothing has changed."""

    CLEARED = "cleared"
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    NOT_SHELVED = "not_shelved"
    BAD_TIME = "bad_time"
    BAD_TEXT = "bad_text"
    FULL = "full"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Refused:
    """That an action was refused: why, in words with the next step, and the alert as it is."""

    reason: RefusedFor
    text: str
    episode: Episode


Untaken = Mapping[NoticeEvent, int]
"""Notices of an episode that nobody has taken yet, and when they are due."""
