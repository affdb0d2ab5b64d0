"""A rule as a plain English sentence: what people read before they switch it on, and in every alert. Pure."""

from collections.abc import Mapping
from typing import Final

from lichtmast.registry.alerts.conditions import (
    Absence,
    Baseline,
    Condition,
    Fleet,
    GroupKind,
    QualityFlags,
    Rate,
    Threshold,
)
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.scope import Scope

_GROUPS: Final[Mapping[GroupKind, str]] = {
    GroupKind.FEEDER: "of the members on one feeder",
    GroupKind.NEIGHBOURHOOD: "of the members in one neighbourhood (a square of 500 m)",
    GroupKind.AREA: "of all members in scope",
}
_NAMED_MAX: Final = 3


def sentence(rule: AlertRule) -> str:
    """As in "Warns when the result of lamp-power of lamp-controller in gm0402 is above 70 for 5 minutes."."""
    verb = {"info": "Notes", "warning": "Warns", "critical": "Alarms"}[rule.severity.value]
    place = _place(rule.scope, rule.tenant)
    text = f"{verb} when {_condition(rule.condition, place)}."
    return text if rule.enabled else f"{text} Switched off."


def span(seconds: float) -> str:
    """A duration in the largest unit that fits whole: 90 seconds, 5 minutes, 2 hours."""
    for unit_s, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit_s and seconds % unit_s == 0:
            count = int(seconds // unit_s)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


def _condition(condition: Condition, place: str) -> str:
    match condition:
        case Threshold():
            side = f"above {condition.above:g}" if condition.above is not None else f"below {condition.below:g}"
            text = f"the result of {place} is {side}{_for(condition.for_s)}"
            if condition.clear is not None:
                back = "at or below" if condition.above is not None else "at or above"
                text += f"; it ends {back} {condition.clear:g}"
            return text + _ends(condition.clear_for_s)
        case Rate():
            return (
                f"the result of {place} changes by more than {condition.above_per_s:g} a second"
                f" over {span(condition.over_s)}{_for(condition.for_s)}{_ends(condition.clear_for_s)}"
            )
        case Absence(after_s=None):
            return f"{place} sends nothing for three of its usual intervals"
        case Absence():
            return f"{place} sends nothing for {span(condition.after_s or 0)}"
        case QualityFlags():
            flags = " or ".join(str(flag.name) for flag in condition.flags)
            readings = "a reading" if condition.count == 1 else f"{condition.count} readings"
            carry = "carries" if condition.count == 1 else "carry"
            return f"{readings} of {place} within {span(condition.within_s)} {carry} {flags}"
        case Fleet():
            least = f", and at least {condition.at_least}," if condition.at_least > 1 else ""
            return (
                f"more than {condition.share * 100:g} % {_GROUPS[condition.of]}{least}"
                f" have an open alert of {condition.rule!r} ({place})"
            )
        case Baseline():
            usual = "this hour of the week" if condition.weekly else "this hour of the day"
            return (
                f"the result of {place} is more than {condition.sigma:g} deviations from what is usual"
                f" at {usual}{_for(condition.for_s)}{_ends(condition.clear_for_s)}"
            )


def _for(seconds: float) -> str:
    return f" for {span(seconds)}" if seconds else ""


def _ends(seconds: float) -> str:
    return f"; it ends after {span(seconds)} without" if seconds else ""


def _place(scope: Scope, tenant: str) -> str:
    parts = [scope.capability or "any datastream"]
    if scope.profile is not None:
        parts.append(f"of {scope.profile}")
    parts += [
        f"of {_named(what, [str(one) for one in items])}"
        for what, items in (
            ("datastream", scope.datastream_ids),
            ("device", scope.devices),
            ("asset", scope.asset_ids),
        )
        if items
    ]
    if scope.area is not None:
        area = scope.area
        parts.append(f"between {area.west:g}, {area.south:g} and {area.east:g}, {area.north:g}")
    return " ".join([*parts, f"in {tenant}"])


def _named(what: str, items: list[str]) -> str:
    if len(items) > _NAMED_MAX:
        return f"{len(items)} {what}s"
    return f"{what}{'' if len(items) == 1 else 's'} {', '.join(items)}"
