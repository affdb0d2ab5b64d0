"""What a rule watches for, as plain values: one class a kind of condition. Evaluating them is the ingest's business.

Durations are of event time: what the readings say, not what the server's clock says.
"""

from dataclasses import dataclass
from enum import StrEnum

from lichtmast.wire.quality import Quality


class GroupKind(StrEnum):
    """What a fleet rule counts its members by."""

    FEEDER = "feeder"
    """The cabinet that feeds the lampposts."""
    NEIGHBOURHOOD = "neighbourhood"
    """A square of about 500 m."""
    AREA = "area"
    """Everything in the rule's scope, as one group."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The result lies above or below a limit (one of the two is set) for `for_s`.

    It ends when the result has been on the good side of `clear` (of the limit where None) for `clear_for_s`.
    """

    above: float | None
    below: float | None
    clear: float | None = None
    for_s: float = 0.0
    clear_for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """The result changes by more than this a second, up or down, measured over `over_s`."""

    above_per_s: float
    over_s: float
    for_s: float = 0.0
    clear_for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Absence:
    """No reading for `after_s`; where None, for three of the intervals that were observed."""

    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class QualityFlags:
    """At least `count` readings within `within_s` carry one of these quality flags."""

    flags: Quality
    count: int
    within_s: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """More than `share` (0 to 1) of a group, and `at_least` members, have an open alert of the rule with this name."""

    rule: str
    share: float
    of: GroupKind
    at_least: int = 1


@dataclass(frozen=True, slots=True)
class Baseline:
    """The result is more than `sigma` robust deviations from what is usual at this hour (of the week, if `weekly`)."""

    sigma: float
    weekly: bool = False
    for_s: float = 0.0
    clear_for_s: float = 0.0


Condition = Threshold | Rate | Absence | QualityFlags | Fleet | Baseline
