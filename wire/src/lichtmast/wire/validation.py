"""Rules of validation: what is believable of each capability, and what an operator's document says beyond the profile.

A document has one table a capability, `[profile.PROFILE.CAPABILITY]`, and one a datastream, `[datastream.ID]`. A field
that it does not give stays as the profile says; `false` switches a check off. A datastream's own table goes before its
profile's. `RuleSet.of` and `RuleSet.of_datastream` give the outcome.

Will not: judge a reading (the pipeline does), keep versions (the register does), or know which datastreams exist.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import isfinite, nan
from types import MappingProxyType
from typing import Any, Final, Self, TypeAlias

from lichtmast.wire.limits import VALIDATION_ACCEPTS_MAX, VALIDATION_TABLES_MAX, VALIDATION_WINDOW
from lichtmast.wire.profile import Capability, Profile, ResultKind, load_profiles
from lichtmast.wire.units import SECONDARY_UNITS, UNITS

_NAMES_SHOWN_MAX: Final = 20
_DATASTREAM_ID_MAX: Final = 2**31 - 1
_STUCK_AFTER_MIN: Final = 2
_NAME: Final = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_RATIO: Final = re.compile(r"-?[0-9]{1,15}(?:/[0-9]{1,15})?", re.ASCII)


class ValidationRulesError(ValueError):
    """A document of rules is wrong; the message names the table and the field, and says what is right."""


@dataclass(frozen=True, slots=True)
class UnitConversion:
    """A unit that a fleet really sends: value * scale + offset is the value in the capability's own unit.

    `unit` is as it stands in a resolved record, so a primary unit. Fractions, so that a hundredth is a hundredth.
    """

    unit: str
    scale: Fraction
    offset: Fraction = Fraction(0)

    def convert(self, value: float) -> float:
        """The nearest double to the exact outcome; `value` is taken for the shortest decimal that it stands for.

        Raises OverflowError where there is no such double.
        """
        return float(Fraction(repr(value)) * self.scale + self.offset)


@dataclass(frozen=True, slots=True)
class CapabilityRules:
    """What is believable of one capability. None: not checked.

    Range, resolution and fastest change are those of `profile.Capability`. `stuck_after` equal results in a row are
    stuck. A result that jumps by more than `spike_floor` is a spike where it lies more than `spike_sigma` robust
    standard deviations from the median of those before it. `neighbour_tolerance` is how far it may lie from the median
    of its neighbours. `accepts` are units beside the capability's own.
    """

    minimum: float | None
    maximum: float | None
    step: float | None
    rate_per_s: float | None
    stuck_after: int | None
    spike_sigma: float | None
    spike_floor: float | None
    neighbour_tolerance: float | None
    accepts: tuple[UnitConversion, ...] = ()

    @classmethod
    def of(cls, capability: Capability) -> Self:
        """What the profile says."""
        return cls(
            capability.minimum,
            capability.maximum,
            capability.step,
            capability.rate_per_s,
            capability.stuck_after,
            capability.spike_sigma,
            capability.spike_floor,
            capability.neighbour_tolerance,
        )


_Given: TypeAlias = Mapping[str, Any]
"""The fields of one table, parsed: field name of CapabilityRules -> value."""
_CHECKS: Final = (
    "minimum",
    "maximum",
    "step",
    "rate_per_s",
    "stuck_after",
    "spike_sigma",
    "spike_floor",
    "neighbour_tolerance",
)
_FIELDS: Final = (*_CHECKS, "accepts")
_ABOVE_ZERO: Final = frozenset({"step", "rate_per_s", "spike_sigma", "spike_floor", "neighbour_tolerance"})


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one version. Version 0 is what the profiles say and nothing else: `RuleSet(0)`."""

    version: int
    by_profile: Mapping[str, Mapping[str, _Given]] = field(default_factory=dict, repr=False)
    """Profile key -> capability key -> what the document gives."""
    by_datastream: Mapping[int, _Given] = field(default_factory=dict, repr=False)

    def of(self, profile: Profile) -> tuple[CapabilityRules, ...]:
        """The rules of a profile; they line up with `profile.uplinks`."""
        given = self.by_profile.get(profile.key, {})
        return tuple(replace(CapabilityRules.of(one), **given.get(one.key, {})) for one in profile.uplinks)

    def of_datastream(self, datastream_id: int, usual: CapabilityRules) -> CapabilityRules:
        """The rules of a datastream, whose profile says `usual`."""
        given = self.by_datastream.get(datastream_id)
        return usual if given is None else replace(usual, **given)

    def accepted(self, profile: str, capability: str, datastream_id: int) -> tuple[UnitConversion, ...]:
        """What `accepts` is for a capability of a profile on this datastream, without making all rules first."""
        given = self.by_datastream.get(datastream_id, {})
        if "accepts" not in given:
            given = self.by_profile.get(profile, {}).get(capability, {})
        accepts: tuple[UnitConversion, ...] = given.get("accepts", ())
        return accepts

    @property
    def overridden(self) -> frozenset[int]:
        """The datastreams that have rules of their own."""
        return frozenset(self.by_datastream)


BY_PROFILE: Final = RuleSet(0)
"""What holds until somebody puts a document: the profiles alone."""


def parse_rules(document: Mapping[str, Any], version: int, profiles: Mapping[str, Profile] | None = None) -> RuleSet:
    """Read a document strictly; `profiles` are those of this version where None. Raises ValidationRulesError.

    Whether a datastream exists, and whether its own rules fit its profile's, is for whoever knows datastreams:
    `require_sound` tells the latter.
    """
    rules = read_rules(document, version)
    known = load_profiles() if profiles is None else profiles
    for profile_key, tables in rules.by_profile.items():
        profile = _known(known, profile_key, "profile")
        uplinks = {one.key: one for one in profile.uplinks}
        for key in tables:
            _known(uplinks, key, f"profile.{profile_key}: capability")
        for capability, outcome in zip(profile.uplinks, rules.of(profile), strict=True):
            if capability.key in tables:
                given = tables[capability.key]
                require_sound(outcome, given, capability, f"profile.{profile_key}.{capability.key}")
    return rules


def read_rules(document: Mapping[str, Any], version: int) -> RuleSet:
    """Read a document that was parsed strictly once, perhaps by a version with other profiles: names are taken as told.

    Raises ValidationRulesError where a field is none or its value is none that it can have.
    """
    told = _fields(document, "the document")
    _only(told, ("profile", "datastream"), "the document")
    by_profile = {
        profile: {key: _table(table, f"profile.{profile}.{key}") for key, table in _tables(rows, f"profile.{profile}")}
        for profile, rows in _tables(told.get("profile", {}), "profile")
    }
    by_datastream = {
        _datastream_id(key): _table(table, f"datastream.{key}")
        for key, table in _tables(told.get("datastream", {}), "datastream")
    }
    count = sum(map(len, by_profile.values())) + len(by_datastream)
    if count > VALIDATION_TABLES_MAX:
        raise ValidationRulesError(
            f"the document has {count} tables, at most {VALIDATION_TABLES_MAX}; say what holds for many by profile"
        )
    return RuleSet(version, MappingProxyType(by_profile), MappingProxyType(by_datastream))


def spelled(rules: RuleSet, profile: Profile) -> dict[str, dict[str, Any]]:
    """What holds for each number that a profile sends, by its key, as JSON has it. None: not checked."""
    return {
        capability.key: {name: getattr(outcome, name) for name in _CHECKS}
        | {
            "accepts": [
                {"unit": one.unit, "scale": str(one.scale), "offset": str(one.offset)} for one in outcome.accepts
            ]
        }
        for capability, outcome in zip(profile.uplinks, rules.of(profile), strict=True)
        if capability.kind is ResultKind.NUMBER
    }


def require_sound(rules: CapabilityRules, given: Collection[str], capability: Capability, where: str) -> None:
    """Refuse what could never hold, or never speak, for this capability. Raises ValidationRulesError.

    `rules` is the whole outcome, `given` the fields that the document gives: it answers for those alone.
    """
    if capability.kind is not ResultKind.NUMBER:
        raise ValidationRulesError(f"{where}: a {capability.kind.value} takes no rules, only numbers do")
    if rules.minimum is not None and rules.maximum is not None and rules.minimum >= rules.maximum:
        raise ValidationRulesError(
            f"{where}: minimum {rules.minimum:g} is not below maximum {rules.maximum:g}, so no reading could be good"
        )
    if (rules.spike_sigma is None) is not (rules.spike_floor is None):
        missing = "spike_sigma" if rules.spike_sigma is None else "spike_floor"
        raise ValidationRulesError(f"{where}: {missing} is missing; the check for spikes needs both, or both false")
    span = None if rules.minimum is None or rules.maximum is None else rules.maximum - rules.minimum
    for name in ("step", "spike_floor", "neighbour_tolerance"):
        value = getattr(rules, name)
        if name in given and span is not None and value is not None and value >= span:
            raise ValidationRulesError(
                f"{where}: {name} {value:g} is not below the range of {span:g}, so no believable reading could break "
                "it; false switches it off"
            )
    for conversion in rules.accepts:
        if conversion.unit == capability.unit:
            raise ValidationRulesError(f"{where}: accepts: {conversion.unit} is the capability's own unit")


def _known(known: Mapping[str, Any], key: str, what: str) -> Any:  # noqa: ANN401 - what the mapping holds
    if key not in known:
        raise ValidationRulesError(f"{what} {key[:60]!r} is not known; known are {_listed(known)}")
    return known[key]


def _only(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for name in table:
        if name not in known:
            raise ValidationRulesError(f"{where}: unknown field {str(name)[:60]!r}; known are {_listed(known)}")


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    return ", ".join(every[:_NAMES_SHOWN_MAX]) + (", ..." if len(every) > _NAMES_SHOWN_MAX else "")


def _fields(table: object, where: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise ValidationRulesError(f"{where}: not a table")
    return table


def _tables(rows: object, where: str) -> Iterable[tuple[str, object]]:
    """The tables of a table, by names that are safe to repeat in a message."""
    for name in _fields(rows, where):
        if not _NAME.fullmatch(name):
            raise ValidationRulesError(f"{where}: {name[:60]!r} is neither the key of anything nor a number")
    return _fields(rows, where).items()


def _datastream_id(key: str) -> int:
    # One spelling a number, or two tables could mean the same datastream.
    if not key.isdecimal() or key.startswith("0") or int(key) > _DATASTREAM_ID_MAX:
        raise ValidationRulesError(f"datastream: {key!r} is not the number of a datastream, such as 17")
    return int(key)


def _table(table: object, where: str) -> _Given:
    rows = _fields(table, where)
    _only(rows, _FIELDS, where)
    if not rows:
        raise ValidationRulesError(f"{where}: gives no field; known are {_listed(_FIELDS)}")
    return MappingProxyType(
        {name: _READERS.get(name, _check)(value, f"{where}.{name}") for name, value in rows.items()}
    )


def _check(value: object, where: str) -> float | None:
    """A number, or None for a check that is switched off."""
    if value is False:
        return None
    number = _finite(value)
    if number is None:
        raise ValidationRulesError(f"{where} must be a finite number, or false to switch it off")
    if number <= 0 and where.rpartition(".")[2] in _ABOVE_ZERO:
        raise ValidationRulesError(f"{where} must be above 0, or false to switch it off")
    return number


def _finite(value: object) -> float | None:
    try:
        # bool is a subclass of int, and no number here.
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan
    except OverflowError:  # an integer beyond all doubles
        return None
    return number if isfinite(number) else None


def _stuck_after(value: object, where: str) -> int | None:
    if value is False:
        return None
    if type(value) is not int or not _STUCK_AFTER_MIN <= value <= VALIDATION_WINDOW:
        raise ValidationRulesError(
            f"{where} must be a whole number from {_STUCK_AFTER_MIN} to {VALIDATION_WINDOW} (no more readings are "
            "remembered), or false to switch it off"
        )
    return value


def _accepts(value: object, where: str) -> tuple[UnitConversion, ...]:
    rows = [] if value is False else value
    if not isinstance(rows, list) or len(rows) > VALIDATION_ACCEPTS_MAX:
        raise ValidationRulesError(f"{where} must be a list of at most {VALIDATION_ACCEPTS_MAX} tables, or false")
    conversions = tuple(_conversion(row, f"{where}[{index}]") for index, row in enumerate(rows))
    units = [one.unit for one in conversions]
    for unit in units:
        if units.count(unit) > 1:
            raise ValidationRulesError(f"{where}: unit {unit} appears twice")
    return conversions


def _conversion(row: object, where: str) -> UnitConversion:
    table = _fields(row, where)
    _only(table, ("unit", "scale", "offset"), where)
    unit = table.get("unit")
    if isinstance(unit, str) and unit in SECONDARY_UNITS:
        primary = SECONDARY_UNITS[unit].primary
        raise ValidationRulesError(
            f"{where}.unit: {unit} is turned into {primary} before rules are asked; name {primary}"
        )
    if not isinstance(unit, str) or unit not in UNITS:
        raise ValidationRulesError(
            f"{where}.unit: {str(unit)[:60]!r} is not a primary unit of the SenML registry; a pack with it is refused "
            "as unknown_unit before rules are asked"
        )
    scale = _fraction(table.get("scale"), f"{where}.scale")
    if not scale:
        raise ValidationRulesError(f"{where}.scale: 0 would make all readings equal")
    return UnitConversion(unit, scale, _fraction(table.get("offset", 0), f"{where}.offset"))


def _fraction(value: object, where: str) -> Fraction:
    """Exactly what was written: 0.01 is a hundredth, "5/9" five ninths."""
    try:
        if isinstance(value, str) and _RATIO.fullmatch(value):
            return Fraction(value)
        if _finite(value) is not None:
            return Fraction(str(value))
    except ZeroDivisionError:
        pass
    raise ValidationRulesError(f'{where} must be a finite number, or a fraction as text such as "5/9"')


_READERS: Final[Mapping[str, Callable[[object, str], Any]]] = {"stuck_after": _stuck_after, "accepts": _accepts}
"""How a field is read that is not simply a number."""
