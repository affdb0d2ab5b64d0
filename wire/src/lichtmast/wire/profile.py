"""Device profiles: what a device model can measure and do, as data files.

A profile lists capabilities: the SenML name suffix, the unit, the believable range and the LwM2M resource of each. The
files lie in `profiles/`, one a model; their order of capabilities is a contract (columns and indexes are built on it),
so a new capability goes last and none ever moves.

Will not: know which device has which profile (the registry does), judge a reading (the pipeline does), or read any
file but those of this package.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from functools import cache
from importlib.resources import files
from math import isfinite
from types import MappingProxyType
from typing import Any, Final, TypeVar

from lichtmast.wire.limits import VALIDATION_WINDOW
from lichtmast.wire.names import is_suffix
from lichtmast.wire.units import UNITS

_Choice = TypeVar("_Choice", bound=Enum)
_KEY: Final = re.compile(r"[a-z][a-z0-9-]{1,39}", re.ASCII)
_LWM2M: Final = re.compile(r"[0-9]{1,5}/[0-9]{1,5}/[0-9]{1,5}", re.ASCII)
_DEFINITION: Final = re.compile(r"(?:https?://|urn:)[!-~]+", re.ASCII)
_ABOVE_ZERO: Final = ("step", "rate_per_s", "spike_sigma", "spike_floor", "neighbour_tolerance")
_NUMBER_FIELDS: Final = frozenset({"minimum", "maximum", "stuck_after", *_ABOVE_ZERO})
_STUCK_AFTER_MIN: Final = 2
_CAPABILITY_FIELDS: Final = _NUMBER_FIELDS | frozenset(
    {"key", "suffix", "quantity", "definition", "unit", "kind", "direction", "lwm2m", "description"}
)
_PROFILE_FIELDS: Final = frozenset(
    ("key", "version", "title", "description", "model_object", "interval_s", "capability")
)


class ProfileError(ValueError):
    """A profile file is wrong; the message names the file, the capability and the field."""


@unique
class ResultKind(Enum):
    """What a result is: SenML `v`, `vb` or `vs`."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"


@unique
class Direction(Enum):
    """Which way a capability travels: from the device (up), to it (down), or both."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing a device measures or obeys.

    `suffix` follows the device URN in the SenML name, as in `/lamp/0/level`. `quantity` is the observed property's
    name and `definition` its URI. `unit` is a SenML primary unit, or None where the result has none. `minimum` and
    `maximum` are the believable range, `step` the resolution, `rate_per_s` the fastest believable change of what is
    measured (unit per second), to which rounding may add one `step`; each is None where nothing is known. What
    `stuck_after`, `spike_sigma`, `spike_floor` and `neighbour_tolerance` are `validation.CapabilityRules` says. `lwm2m`
    is object/instance/resource.
    """

    key: str
    suffix: str
    quantity: str
    definition: str
    unit: str | None
    kind: ResultKind
    minimum: float | None
    maximum: float | None
    step: float | None
    rate_per_s: float | None
    direction: Direction
    lwm2m: str | None
    description: str
    stuck_after: int | None = None
    spike_sigma: float | None = None
    spike_floor: float | None = None
    neighbour_tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A device model. `interval_s` is the usual time between two packs; `model_object` its main LwM2M object."""

    key: str
    version: int
    title: str
    description: str
    model_object: int
    interval_s: int
    capabilities: tuple[Capability, ...]
    uplinks: tuple[Capability, ...] = field(init=False, repr=False, compare=False)
    """Capabilities that a device sends (up or both), in the order of the file, which never changes."""
    _index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        uplinks = tuple(one for one in self.capabilities if one.direction is not Direction.DOWN)
        object.__setattr__(self, "uplinks", uplinks)
        object.__setattr__(self, "_index", {one.suffix: index for index, one in enumerate(uplinks)})

    def index_of(self, suffix: str) -> int:
        """The position in `uplinks` of the capability with this suffix. Raises KeyError where there is none."""
        return self._index[suffix]


@cache
def load_profiles() -> Mapping[str, Profile]:
    """All profiles of this package by key, in alphabetical order. Raises ProfileError where a file is wrong."""
    folder = files("lichtmast.wire").joinpath("profiles")
    profiles: dict[str, Profile] = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml"):
            profile = parse_profile(file.read_text(encoding="utf-8"), file.name)
            if f"{profile.key}.toml" != file.name:
                raise ProfileError(f"{file.name}: key {profile.key!r} must be the file's name without .toml")
            profiles[profile.key] = profile
    return MappingProxyType(profiles)


def parse_profile(text: str, source: str) -> Profile:
    """Read one profile from TOML; `source` names it in errors. Raises ProfileError."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ProfileError(f"{source}: not TOML") from error
    _only(table, _PROFILE_FIELDS, source)
    rows = table.get("capability")
    if not isinstance(rows, list) or not rows:
        raise ProfileError(f"{source}: needs at least one [[capability]] table")
    capabilities = tuple(_capability(row, f"{source}: capability {number}") for number, row in enumerate(rows, 1))
    for name in ("key", "suffix", "lwm2m"):
        _unique([getattr(one, name) for one in capabilities], name, source)
    profile = Profile(
        _matching(table, "key", _KEY, "2 to 40 characters of a-z, 0-9 and -, a letter first", source),
        _whole(table, "version", 1, 10_000, source),
        _text(table, "title", source),
        _text(table, "description", source),
        _whole(table, "model_object", 0, 65_535, source),
        _whole(table, "interval_s", 1, 86_400, source),
        capabilities,
    )
    if not profile.uplinks:
        raise ProfileError(f"{source}: no capability has direction up or both, so the device could send nothing")
    return profile


def _capability(row: object, where: str) -> Capability:
    if not isinstance(row, dict):
        raise ProfileError(f"{where}: not a table")
    _only(row, _CAPABILITY_FIELDS, where)
    key = _matching(row, "key", _KEY, "2 to 40 characters of a-z, 0-9 and -, a letter first", where)
    where = f"{where} ({key})"
    suffix = _text(row, "suffix", where)
    if not is_suffix(suffix):
        raise ProfileError(f"{where}: suffix {suffix!r} must start with / and hold only A-Z a-z 0-9 - : . / _")
    kind = _choice(row, "kind", ResultKind, where)
    capability = Capability(
        key=key,
        suffix=suffix,
        quantity=_text(row, "quantity", where),
        definition=_matching(row, "definition", _DEFINITION, "a URI (http, https or urn)", where),
        unit=_unit(row, where),
        kind=kind,
        minimum=_number(row, "minimum", where),
        maximum=_number(row, "maximum", where),
        step=_number(row, "step", where),
        rate_per_s=_number(row, "rate_per_s", where),
        direction=_choice(row, "direction", Direction, where),
        lwm2m=_matching(row, "lwm2m", _LWM2M, "object/instance/resource", where) if "lwm2m" in row else None,
        description=_text(row, "description", where),
        stuck_after=_whole(row, "stuck_after", _STUCK_AFTER_MIN, VALIDATION_WINDOW, where)
        if "stuck_after" in row
        else None,
        spike_sigma=_number(row, "spike_sigma", where),
        spike_floor=_number(row, "spike_floor", where),
        neighbour_tolerance=_number(row, "neighbour_tolerance", where),
    )
    _check_numbers(capability, where)
    return capability


def _check_numbers(capability: Capability, where: str) -> None:
    if capability.kind is not ResultKind.NUMBER:
        given = [name for name in ("unit", *sorted(_NUMBER_FIELDS)) if getattr(capability, name) is not None]
        if given:
            raise ProfileError(
                f"{where}: a {capability.kind.value} has no unit, minimum, maximum or other number; it has {given[0]}"
            )
        return
    if capability.minimum is None or capability.maximum is None or capability.minimum >= capability.maximum:
        raise ProfileError(f"{where}: a number needs minimum < maximum")
    if (capability.spike_sigma is None) is not (capability.spike_floor is None):
        raise ProfileError(f"{where}: spike_sigma and spike_floor go together; give both or neither")
    for name in _ABOVE_ZERO:
        value = getattr(capability, name)
        if value is not None and value <= 0:
            raise ProfileError(f"{where}: {name} {value} must be above 0")


def _only(table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in table:
        if name not in known:
            raise ProfileError(f"{where}: unknown field {name!r}; known are {', '.join(sorted(known))}")


def _unique(values: list[str | None], name: str, source: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ProfileError(f"{source}: {name} {value!r} appears twice")
        if value is not None:
            seen.add(value)


def _text(table: Mapping[str, Any], name: str, where: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ProfileError(f"{where}: {name} must be text that is not empty")
    return value


def _matching(table: Mapping[str, Any], name: str, pattern: re.Pattern[str], form: str, where: str) -> str:
    value = _text(table, name, where)
    if not pattern.fullmatch(value):
        raise ProfileError(f"{where}: {name} {value[:60]!r} is not {form}")
    return value


def _whole(table: Mapping[str, Any], name: str, least: int, most: int, where: str) -> int:
    value = table.get(name)
    if type(value) is not int or not least <= value <= most:
        raise ProfileError(f"{where}: {name} must be a whole number from {least} to {most}")
    return value


def _number(table: Mapping[str, Any], name: str, where: str) -> float | None:
    value = table.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not isfinite(value):
        raise ProfileError(f"{where}: {name} must be a finite number")
    return float(value)


def _unit(row: Mapping[str, Any], where: str) -> str | None:
    if "unit" not in row:
        return None
    value = _text(row, "unit", where)
    unit = UNITS.get(value)
    if unit is None or not unit.recommended:
        raise ProfileError(f"{where}: unit {value!r} is not a recommended SenML primary unit (RFC 8428 section 12.1)")
    return value


def _choice(row: Mapping[str, Any], name: str, choices: type[_Choice], where: str) -> _Choice:
    value = row.get(name)
    for choice in choices:
        if choice.value == value:
            return choice
    raise ProfileError(f"{where}: {name} must be one of {', '.join(str(one.value) for one in choices)}")
