"""What the evaluation hands to the register, and finds there again: the contract between the two.

Plain values. One `Step` is one transaction: position, what changed for people, and what must be remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class TransitionKind(StrEnum):
    """Whether the condition of a rule began to hold or ended."""

    RAISED = "raised"
    CLEARED = "cleared"


class StandingState(StrEnum):
    """Where a rule is with a subject. `idle` means that nothing needs to be remembered."""

    IDLE = "idle"
    PENDING = "pending"
    """The condition holds, but not for long enough yet."""
    ACTIVE = "active"
    CLEARING = "clearing"
    """It no longer holds, but not for long enough yet."""


@dataclass(frozen=True, slots=True)
class EnginePosition:
    """How far the evaluation is. `log_name` is the READINGS log's: made anew, its positions start again."""

    log_name: str
    readings_upto: int
    observations_position: int
    watermark_us: int
    """The largest reception time seen."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A rule began or ceased to hold for a subject, at a moment of event time.

    `subject` is `datastream/17`, `device/gm0402/lm-1` or `group/feeder/F12`. `because` is the evidence, a sentence.
    """

    rule_id: int
    rule_version: int
    subject: str
    kind: TransitionKind
    at_us: int
    value: float | None
    because: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What must be remembered of a rule and a subject; an idle one deletes what was."""

    rule_id: int
    subject: str
    state: StandingState
    since_us: int
    last_us: int
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that one piece of the log changed. Saved whole or not at all; the same step twice changes nothing."""

    position: EnginePosition
    transitions: Sequence[Transition] = ()
    standings: Sequence[Standing] = ()


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Where the evaluation goes on: None where it has never begun."""

    position: EnginePosition | None = None
    standings: Sequence[Standing] = field(default_factory=tuple)
