"""Alert rules: what is watched where, and how bad it is. Parsed strictly from a document, and written back as one.

Pure. A document is what JSON or TOML gives. A mistake in it is told with the path of the field that is wrong, and a
field that nobody knows is one: a typo must not make a rule that never fires.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from lichtmast.registry.alerts import limits
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
from lichtmast.registry.alerts.document import Fields
from lichtmast.registry.alerts.errors import AlertRuleError
from lichtmast.registry.alerts.scope import Box, Scope
from lichtmast.wire.identity import DeviceId, is_tenant
from lichtmast.wire.quality import Quality


class Severity(StrEnum):
    """How bad it is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


SEVERITIES: Final = tuple(Severity)
"""From the least to the worst."""


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One version of a rule. `id` and `version` are 0 for a rule that is only tried. The name is unique in a tenant."""

    id: int
    version: int
    tenant: str
    name: str
    severity: Severity
    enabled: bool
    scope: Scope
    condition: Condition
    fold_s: float = float(limits.FOLD_S)
    """Raised again within this time of its clearing, it is the same episode."""


def parse_rule(document: Mapping[str, Any], *, rule_id: int = 0, version: int = 0) -> AlertRule:
    """The rule that a document describes. Raises AlertRuleError, which names the field."""
    told = Fields(document, "")
    name = told.text("name", limits.RULE_NAME_CHARACTERS_MAX)
    tenant = told.text("tenant", 6)
    if not is_tenant(tenant):
        raise AlertRuleError("tenant", f"{tenant!r} is not gm and four digits, as in gm0402")
    severity = told.choice("severity", Severity)
    enabled = told.flag("enabled", usual=True)
    fold_s = told.number("fold_s", 0, limits.FOLD_S_MAX, usual=float(limits.FOLD_S))
    scope = parse_scope(told.table("scope", usual={}), "scope")
    for device in scope.devices:
        if not device.startswith(f"{tenant}/"):
            raise AlertRuleError("scope.devices", f"{device} is not of {tenant}, so the rule would never see it")
    condition = _condition(Fields(told.table("condition"), "condition."))
    told.finish()
    if isinstance(condition, Fleet) and condition.rule == name:
        raise AlertRuleError("condition.rule", "a fleet rule counts the alerts of another rule, not its own")
    return AlertRule(rule_id, version, tenant, name, severity, enabled, scope, condition, fold_s)


def document_of(rule: AlertRule) -> dict[str, Any]:
    """The document that `parse_rule` reads back as the same rule."""
    condition = {key: value for key, value in asdict(rule.condition).items() if value is not None}
    if isinstance(rule.condition, QualityFlags):
        condition["flags"] = [str(flag.name) for flag in rule.condition.flags]
    return {
        "name": rule.name,
        "tenant": rule.tenant,
        "severity": rule.severity.value,
        "enabled": rule.enabled,
        "fold_s": rule.fold_s,
        "scope": scope_document(rule.scope),
        "condition": {"kind": KINDS[type(rule.condition)]} | condition,
    }


def parse_scope(document: Mapping[str, Any], where: str) -> Scope:
    """The scope that a table describes; `where` is its path. Raises AlertRuleError."""
    told = Fields(document, f"{where}.")
    area = told.numbers("area")
    scope = Scope(
        told.items("datastreams", int, lambda one: one > 0, "ids of datastreams"),
        told.items("devices", str, _is_device, "devices, as in gm0402/lm-1"),
        told.items("assets", int, lambda one: one > 0, "ids of assets"),
        told.text_if_any("profile", 60),
        told.text_if_any("capability", 60),
        None if area is None else _box(area, f"{where}.area"),
    )
    told.finish()
    return scope


def scope_document(scope: Scope) -> dict[str, Any]:
    """The table that `parse_scope` reads back as the same scope."""
    area = scope.area
    narrowings = {
        "datastreams": list(scope.datastream_ids),
        "devices": list(scope.devices),
        "assets": list(scope.asset_ids),
        "profile": scope.profile,
        "capability": scope.capability,
        "area": None if area is None else [area.west, area.south, area.east, area.north],
    }
    return {name: value for name, value in narrowings.items() if value}


def _condition(told: Fields) -> Condition:
    kind = told.text("kind", 20)
    build = _BUILDERS.get(kind)
    if build is None:
        raise AlertRuleError("condition.kind", f"{kind!r} is none of {', '.join(_BUILDERS)}")
    condition = build(told)
    told.finish()
    return condition


def _threshold(told: Fields) -> Threshold:
    above, below, clear = (told.number_if_any(name) for name in ("above", "below", "clear"))
    if (above is None) == (below is None):
        raise AlertRuleError("condition.above", "a threshold has either above or below")
    if clear is not None and ((above is not None and clear > above) or (below is not None and clear < below)):
        raise AlertRuleError("condition.clear", "it clears on the good side: at or under above, at or over below")
    return Threshold(above, below, clear, *told.delays())


def _rate(told: Fields) -> Rate:
    above_per_s = told.number("above_per_s")
    if above_per_s <= 0:
        raise AlertRuleError("condition.above_per_s", "a rate is above 0; it counts up and down alike")
    return Rate(above_per_s, told.number("over_s", 1, limits.DELAY_S_MAX), *told.delays())


def _absence(told: Fields) -> Absence:
    return Absence(told.number_if_any("after_s", 1, limits.DELAY_S_MAX))


def _quality(told: Fields) -> QualityFlags:
    names = told.items("flags", str, lambda one: one in Quality.__members__ and one != "GOOD", "quality flags")
    if not names:
        raise AlertRuleError("condition.flags", "name at least one quality flag, as in STUCK")
    flags = Quality.GOOD
    for name in names:
        flags |= Quality[name]
    count = told.whole("count", 1, limits.QUALITY_COUNT_MAX, usual=1)
    return QualityFlags(flags, count, told.number("within_s", 1, limits.DELAY_S_MAX))


def _fleet(told: Fields) -> Fleet:
    return Fleet(
        told.text("rule", limits.RULE_NAME_CHARACTERS_MAX),
        told.number("share", 0, 1),
        told.choice("of", GroupKind),
        told.whole("at_least", 1, limits.FLEET_MEMBERS_MAX, usual=1),
    )


def _baseline(told: Fields) -> Baseline:
    sigma = told.number("sigma", limits.SIGMA_MIN, limits.SIGMA_MAX)
    return Baseline(sigma, told.flag("weekly", usual=False), *told.delays())


KINDS: Final[Mapping[type[Condition], str]] = {
    Threshold: "threshold",
    Rate: "rate",
    Absence: "absence",
    QualityFlags: "quality",
    Fleet: "fleet",
    Baseline: "baseline",
}
"""What a document calls each kind of condition."""
_BUILDERS: Final[Mapping[str, Callable[[Fields], Condition]]] = dict(
    zip(KINDS.values(), (_threshold, _rate, _absence, _quality, _fleet, _baseline), strict=True)
)

_EAST_MAX, _NORTH_MAX = 180.0, 90.0
_DEVICE: Final = re.compile(r"[^/]+/[^/]+")


def _is_device(text: str) -> bool:
    if not _DEVICE.fullmatch(text):
        return False
    try:
        DeviceId(*text.split("/"))
    except ValueError:
        return False
    return True


def _box(corners: Sequence[float], where: str) -> Box:
    if len(corners) != len(Box.__slots__):
        raise AlertRuleError(where, "an area is west, south, east, north in degrees")
    box = Box(*corners)
    if not (-_EAST_MAX <= box.west < box.east <= _EAST_MAX and -_NORTH_MAX <= box.south < box.north <= _NORTH_MAX):
        raise AlertRuleError(where, "an area is west, south, east, north in degrees, the first two the smaller ones")
    return box
