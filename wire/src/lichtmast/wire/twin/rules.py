"""Local rules as values: when a lamp burns and at what level, decided on the pole and without the network.

Read from a configuration and from the settings file by the same function. What they mean at a moment is the agent's
business (`lichtmast.edge.twin.rules`); here is only what they may be.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

from lichtmast.wire.senml.showing import shown
from lichtmast.wire.twin import limits, strict
from lichtmast.wire.twin.strict import Fields, TwinError

_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Dimmed:
    """Hours of the local clock with a level of their own, as minutes of the day; `upto_minute` may be past midnight."""

    from_minute: int
    upto_minute: int
    level: float

    def covers(self, minute: int) -> bool:
        """Whether this minute of the day lies within."""
        return (minute - self.from_minute) % _DAY_MINUTES < (self.upto_minute - self.from_minute) % _DAY_MINUTES


@dataclass(frozen=True, slots=True)
class AtDark:
    """A light sensor that stands in for the clock: dark below the one value, bright again above the other."""

    sensor: str
    below: float
    above: float


@dataclass(frozen=True, slots=True)
class DuskRule:
    """Light from dusk to dawn: while the sun stands below `sun_deg`, shifted by the offsets, at `level` or dimmed.

    Without a position it is that of the device's settings. Where no clock is trusted the light sensor of `at_dark`
    decides, and where that is silent too, the lamp burns at `failsafe`.
    """

    name: str
    target: str
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    sun_deg: float = -3.0
    dusk_offset_s: float = 0.0
    dawn_offset_s: float = 0.0
    level: float = 1.0
    dimmed: tuple[Dimmed, ...] = ()
    timezone: str = "Europe/Amsterdam"
    at_dark: AtDark | None = None
    failsafe: float = 1.0
    hold_s: float = 60.0
    age_max_s: float = 900.0


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A level while a reading is above (or below) a value; exactly one of `above` and `below` is a number.

    It begins when that has held for `for_s`, and ends when the reading has been back, by `hysteresis`, for `release_s`,
    or when there has been no reading for `age_max_s`. Else the level is `otherwise`, or the next rule's affair.
    """

    name: str
    target: str
    sensor: str
    level: float
    above: float | None = None
    below: float | None = None
    hysteresis: float = 0.0
    for_s: float = 0.0
    release_s: float = 0.0
    otherwise: float | None = None
    hold_s: float = 60.0
    age_max_s: float = 900.0


Rule: TypeAlias = DuskRule | ThresholdRule


def parse_rules(value: object) -> tuple[Rule, ...]:
    """Read a list of rules. Of the rules for one lamp the first that has something to say decides. Raises TwinError."""
    rules = tuple(
        _rule(one, f"rules[{index}]") for index, one in enumerate(strict.array(value, "rules", limits.RULES_MAX))
    )
    names: set[str] = set()
    settled: dict[str, str] = {}
    for rule in rules:
        if rule.name in names:
            raise TwinError(f"rules: name {rule.name} appears twice")
        names.add(rule.name)
        if rule.target in settled:
            raise TwinError(
                f"rules: {rule.name} can never act: {settled[rule.target]} before it always decides about"
                f" {shown(rule.target)}; put it first"
            )
        if isinstance(rule, DuskRule) or rule.otherwise is not None:
            settled[rule.target] = rule.name
    return rules


def rule_told(rule: Rule) -> dict[str, Any]:
    """The rule as a JSON object, the inverse of `parse_rules` for one."""
    told: dict[str, Any] = {"kind": "dusk" if isinstance(rule, DuskRule) else "threshold"}
    told |= {one.name: value for one in fields(rule) if (value := getattr(rule, one.name)) is not None}
    if isinstance(rule, DuskRule):
        told["dimmed"] = [
            {"from": _clock(one.from_minute), "upto": _clock(one.upto_minute), "level": one.level}
            for one in rule.dimmed
        ]
        if rule.at_dark is not None:
            told["at_dark"] = {one.name: getattr(rule.at_dark, one.name) for one in fields(rule.at_dark)}
    return told


def _rule(value: object, where: str) -> Rule:
    table = strict.mapping(value, where)
    match table.get("kind"):
        case "dusk":
            return _dusk(table, where)
        case "threshold":
            return _threshold(table, where)
    raise TwinError(f"{where}.kind: {shown(table.get('kind'))} is not dusk or threshold")


def _dusk(table: Fields, where: str) -> DuskRule:
    required = ("kind", "name", "target")
    optional = tuple(one.name for one in fields(DuskRule) if one.name not in required)
    table = strict.members(table, where, required, optional)
    if ("latitude_deg" in table) != ("longitude_deg" in table):
        raise TwinError(f"{where}: latitude_deg and longitude_deg come both or not at all")
    read = {
        "name": strict.named(table["name"], f"{where}.name"),
        "target": strict.suffix(table["target"], f"{where}.target"),
        **_numbers(
            table,
            where,
            latitude_deg=(-90, 90),
            longitude_deg=(-180, 180),
            sun_deg=(limits.SUN_MIN_DEG, limits.SUN_MAX_DEG),
            dusk_offset_s=(-limits.OFFSET_MAX_S, limits.OFFSET_MAX_S),
            dawn_offset_s=(-limits.OFFSET_MAX_S, limits.OFFSET_MAX_S),
            level=(0, 1),
            failsafe=(0, 1),
            hold_s=(limits.HOLD_MIN_S, limits.RULE_MAX_S),
            age_max_s=(limits.HOLD_MIN_S, limits.RULE_MAX_S),
        ),
    }
    if "dimmed" in table:
        windows = strict.array(table["dimmed"], f"{where}.dimmed", limits.DIMMED_MAX)
        read["dimmed"] = tuple(_dimmed(one, f"{where}.dimmed[{index}]") for index, one in enumerate(windows))
    if "timezone" in table:
        form = "the name of a time zone, such as Europe/Amsterdam"
        read["timezone"] = strict.matching(table["timezone"], f"{where}.timezone", _ZONE, form)
    if "at_dark" in table:
        read["at_dark"] = _at_dark(table["at_dark"], f"{where}.at_dark")
    return DuskRule(**read)


def _threshold(table: Fields, where: str) -> ThresholdRule:
    required = ("kind", "name", "target", "sensor", "level")
    optional = tuple(one.name for one in fields(ThresholdRule) if one.name not in required)
    table = strict.members(table, where, required, optional)
    if ("above" in table) == ("below" in table):
        raise TwinError(f"{where}: needs either above or below")
    most = limits.MAGNITUDE_MAX
    read = {
        "name": strict.named(table["name"], f"{where}.name"),
        "target": strict.suffix(table["target"], f"{where}.target"),
        "sensor": strict.suffix(table["sensor"], f"{where}.sensor"),
        **_numbers(
            table,
            where,
            level=(0, 1),
            above=(-most, most),
            below=(-most, most),
            hysteresis=(0, most),
            for_s=(0, limits.RULE_MAX_S),
            release_s=(0, limits.RULE_MAX_S),
            otherwise=(0, 1),
            hold_s=(limits.HOLD_MIN_S, limits.RULE_MAX_S),
            age_max_s=(limits.HOLD_MIN_S, limits.RULE_MAX_S),
        ),
    }
    return ThresholdRule(**read)


def _numbers(table: Fields, where: str, **bounds: tuple[float, float]) -> dict[str, Any]:
    return {
        name: strict.number(table[name], f"{where}.{name}", least, most)
        for name, (least, most) in bounds.items()
        if name in table
    }


def _dimmed(value: object, where: str) -> Dimmed:
    table = strict.members(value, where, ("from", "upto", "level"))
    first, last = (_minute(table[name], f"{where}.{name}") for name in ("from", "upto"))
    if first == last:
        raise TwinError(f"{where}: from and upto are the same")
    return Dimmed(first, last, strict.level(table["level"], f"{where}.level"))


def _at_dark(value: object, where: str) -> AtDark:
    table = strict.members(value, where, ("sensor", "below", "above"))
    below, above = (
        strict.number(table[name], f"{where}.{name}", 0, limits.MAGNITUDE_MAX) for name in ("below", "above")
    )
    if not below < above:
        raise TwinError(f"{where}: above must be more than below, so that its own light cannot make the lamp flicker")
    return AtDark(strict.suffix(table["sensor"], f"{where}.sensor"), below, above)


def _minute(value: object, where: str) -> int:
    clock = strict.matching(value, where, _CLOCK, "a time such as 23:00")
    return int(clock[:2]) * 60 + int(clock[3:])


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
