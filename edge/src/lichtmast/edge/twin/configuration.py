"""What the device runs by: the settings file, and the server's wish laid over it, if the device can do all of it.

Pure but for the question which time zones this machine knows. A wish is taken whole or refused whole.

Will not: write the configuration (`keeper` does) or bring it into force (the agent does).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from lichtmast.edge.errors import SettingsError
from lichtmast.edge.twin.rules import zone_named
from lichtmast.wire.twin import Desired, DuskRule, Rule, SensorWish, TwinError, parse_rules


@dataclass(frozen=True, slots=True)
class Abilities:
    """What this device can do.

    `measured` are the suffixes that are sampled and `actuators` those that can be commanded. `fixed` are suffixes whose
    sampling no configuration may touch, each with the reason. `place` is latitude and longitude in degrees.
    """

    measured: frozenset[str]
    actuators: tuple[str, ...] = ()
    interval_min_s: float = 1.0
    place: tuple[float, float] | None = None
    fixed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What runs. `version` 0 is the settings file alone; `sensors` holds only what a wish says differently."""

    version: int
    interval_s: float
    sensors: Mapping[str, SensorWish] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """The wish can be done; this is what runs from now on."""

    configuration: Configuration


@dataclass(frozen=True, slots=True)
class Known:
    """The wish is not newer than what runs; there is nothing to do but to say so."""

    version: int


@dataclass(frozen=True, slots=True)
class RefusedWish:
    """The wish cannot be done; the running configuration stays."""

    reason: str


Verdict: TypeAlias = Applied | Known | RefusedWish


def from_settings(interval_s: float, tables: Sequence[Mapping[str, object]], abilities: Abilities) -> Configuration:
    """The configuration of the settings file; `tables` are its [[rule]] tables. Raises SettingsError."""
    try:
        rules = parse_rules(tables)
    except TwinError as error:
        raise SettingsError(f"[[rule]] {error}") from error
    for rule in rules:
        reason = _impossible(rule, abilities)
        if reason:
            raise SettingsError(f"[[rule]] {rule.name}: {reason}")
    return Configuration(0, interval_s, {}, rules)


def apply(settings: Configuration, running: Configuration, desired: Desired, abilities: Abilities) -> Verdict:
    """Lay a wish over the settings. What an earlier wish said is forgotten: each is whole."""
    if desired.version <= running.version:
        return Known(running.version)
    if desired.interval_s is not None and desired.interval_s < abilities.interval_min_s:
        return RefusedWish(
            f"interval_s: {desired.interval_s:g} is less than this device's {abilities.interval_min_s:g}"
        )
    for suffix in desired.sensors:
        if suffix in abilities.fixed:
            return RefusedWish(f"sensors.{suffix}: {abilities.fixed[suffix]}")
        if suffix not in abilities.measured:
            return RefusedWish(f"sensors.{suffix}: this device does not measure that; it measures {_some(abilities)}")
    for rule in desired.rules or ():
        reason = _impossible(rule, abilities)
        if reason:
            return RefusedWish(f"rules.{rule.name}: {reason}")
    return Applied(
        replace(
            settings,
            version=desired.version,
            interval_s=settings.interval_s if desired.interval_s is None else desired.interval_s,
            sensors=dict(desired.sensors),
            rules=settings.rules if desired.rules is None else desired.rules,
        )
    )


def _impossible(rule: Rule, abilities: Abilities) -> str:
    """Why this device cannot follow the rule; empty where it can."""
    if rule.target not in abilities.actuators:
        can = f"it can move {', '.join(abilities.actuators)}" if abilities.actuators else "it has nothing to move"
        return f"target {rule.target} is no actuator of this device; {can}"
    if isinstance(rule, DuskRule):
        sensor = rule.at_dark.sensor if rule.at_dark is not None else None
        if rule.latitude_deg is None and abilities.place is None:
            return "has no latitude_deg and longitude_deg, and the settings have no [place]"
        if rule.dimmed and zone_named(rule.timezone) is None:
            return f"time zone {rule.timezone} is not known here; install the machine's tzdata or name another"
    else:
        sensor = rule.sensor
    if sensor is not None and sensor not in abilities.measured:
        return f"sensor {sensor} is not measured here; this device measures {_some(abilities)}"
    return ""


def _some(abilities: Abilities) -> str:
    """A few of the suffixes, so that a reason fits its bound."""
    names = sorted(abilities.measured)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")  # noqa: PLR2004 - a few
