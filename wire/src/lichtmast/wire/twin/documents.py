"""The documents as values, their decoders, and `encode`, which writes only what its decoder reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any, Final, TypeAlias

from lichtmast.wire.senml.showing import shown
from lichtmast.wire.twin import limits, strict
from lichtmast.wire.twin.rules import Rule, parse_rules, rule_told
from lichtmast.wire.twin.strict import Fields, Scalar, TwinError, clean_text

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_ID_FORM: Final = "1 to 64 of A-Za-z0-9._-"
_STATE_NAMES: Final = ("agent", "boot", "uptime_s", "version", "interval_s")


@dataclass(frozen=True, slots=True)
class SensorWish:
    """What is wished of one suffix; None leaves what the settings file says."""

    deadband: float | None = None
    sample_s: float | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """A configuration: what is None or absent stays as the device's settings file has it; `rules` replaces them all."""

    version: int
    interval_s: float | None = None
    sensors: Mapping[str, SensorWish] = field(default_factory=dict)
    rules: tuple[Rule, ...] | None = None

    def encode(self) -> bytes:
        """As JSON. Raises TwinError for what `decode_desired` would refuse."""
        fields: dict[str, Any] = {"version": self.version}
        if self.interval_s is not None:
            fields["interval_s"] = self.interval_s
        if self.sensors:
            fields["sensors"] = {suffix: _wish_told(one) for suffix, one in self.sensors.items()}
        if self.rules is not None:
            fields["rules"] = [rule_told(rule) for rule in self.rules]
        return strict.written(fields, decode_desired)


@dataclass(frozen=True, slots=True)
class Dim:
    """Take this level until a moment, in place of what the rules say. `target` may be left out by who has one lamp."""

    level: float
    until_s: float
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Identify:
    """Blink for so many seconds, so that an engineer sees which lamp it is."""

    seconds: float = 30.0
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Reboot:
    """Start anew."""


Order: TypeAlias = Dim | Identify | Reboot


@dataclass(frozen=True, slots=True)
class Command:
    """An order with an id of its own; after `expires_s` (seconds since 1970) it is not carried out any more."""

    id: str
    order: Order
    expires_s: float

    def encode(self) -> bytes:
        """As JSON. Raises TwinError for what `decode_command` would refuse."""
        match self.order:
            case Dim(level, until_s, target):
                arguments: dict[str, Any] = {"level": level, "until": until_s}
            case Identify(seconds, target):
                arguments = {"seconds": seconds}
            case Reboot():
                arguments, target = {}, None
        arguments |= {} if target is None else {"target": target}
        name = type(self.order).__name__.lower()
        return strict.written(
            {"id": self.id, "name": name, "arguments": arguments, "expires": self.expires_s}, decode_command
        )


@unique
class Outcome(Enum):
    """How a command ended."""

    DONE = "done"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the command with this id; a reason where it was not done."""

    id: str
    outcome: Outcome
    reason: str = ""
    at_s: float | None = None

    def encode(self) -> bytes:
        """As JSON; a reason that is too long is cut."""
        fields = {"answer": self.id, "state": self.outcome.value, "reason": clean_text(self.reason)}
        return strict.written(fields | _at(self.at_s), decode_event)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, by name; `at_s` (seconds since 1970) is None while the device trusts no clock."""

    name: str
    reason: str = ""
    at_s: float | None = None
    details: Mapping[str, Scalar] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As JSON; a reason that is too long is cut. Raises TwinError for what `decode_event` would refuse."""
        fields: dict[str, Any] = {"event": self.name, "reason": clean_text(self.reason)} | _at(self.at_s)
        return strict.written(fields | ({"details": dict(self.details)} if self.details else {}), decode_event)


@dataclass(frozen=True, slots=True)
class Level:
    """The level that a lamp was told to take, and what decided it: a rule's name, `command` or `identify`."""

    level: float
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """How a device is. `version` is that of the running configuration; 0 is the settings file alone.

    `reports` are groups of figures by name, such as `outbox` and `uplink`: which there are is the agent's business.
    """

    agent: str
    boot: str
    uptime_s: float
    version: int
    interval_s: float
    at_s: float | None = None
    levels: Mapping[str, Level] = field(default_factory=dict)
    reports: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As JSON. Raises TwinError for what `decode_state` would refuse."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in _STATE_NAMES}
        fields |= _at(self.at_s)
        fields["levels"] = {
            target: {"level": one.level, "reason": clean_text(one.reason)} for target, one in self.levels.items()
        }
        fields["reports"] = {name: dict(one) for name, one in self.reports.items()}
        return strict.written(fields, decode_state)


def decode_desired(raw: bytes) -> Desired:
    """Read a configuration. Raises TwinError."""
    fields = strict.members(strict.read_object(raw), "", ("version",), ("interval_s", "sensors", "rules"))
    sensors = strict.mapping(fields.get("sensors", {}), "sensors", limits.SENSORS_MAX)
    return Desired(
        strict.whole(fields["version"], "version", 1, limits.VERSION_MAX),
        _interval_s(fields) if "interval_s" in fields else None,
        {strict.suffix(one, "sensors"): _wish(wish, f"sensors.{one}") for one, wish in sensors.items()},
        parse_rules(fields["rules"]) if "rules" in fields else None,
    )


def decode_command(raw: bytes) -> Command:
    """Read a command. Raises TwinError."""
    fields = strict.members(strict.read_object(raw), "", ("id", "name", "expires"), ("arguments",))
    return Command(
        strict.matching(fields["id"], "id", _ID, _ID_FORM),
        _order(fields["name"], fields.get("arguments", {})),
        strict.number(fields["expires"], "expires", 0, limits.UNIX_MAX_S),
    )


def decode_event(raw: bytes) -> Event | Answer:
    """Read what arrives on `ev`. Raises TwinError."""
    fields = strict.read_object(raw)
    if "answer" in fields:
        strict.members(fields, "", ("answer", "state"), ("reason", "at"))
        return Answer(
            strict.matching(fields["answer"], "answer", _ID, _ID_FORM),
            _outcome(fields["state"]),
            strict.text(fields.get("reason", ""), "reason"),
            strict.moment(fields),
        )
    strict.members(fields, "", ("event",), ("reason", "at", "details"))
    return Event(
        strict.named(fields["event"], "event"),
        strict.text(fields.get("reason", ""), "reason"),
        strict.moment(fields),
        strict.scalars(fields.get("details", {}), "details"),
    )


def decode_state(raw: bytes) -> State:
    """Read how a device is. Raises TwinError."""
    fields = strict.members(strict.read_object(raw), "", _STATE_NAMES, ("at", "levels", "reports"))
    levels = strict.mapping(fields.get("levels", {}), "levels", limits.SENSORS_MAX)
    reports = strict.mapping(fields.get("reports", {}), "reports", limits.REPORTS_MAX)
    return State(
        strict.text(fields["agent"], "agent"),
        strict.text(fields["boot"], "boot"),
        strict.number(fields["uptime_s"], "uptime_s", 0, limits.UPTIME_MAX_S),
        strict.whole(fields["version"], "version", 0, limits.VERSION_MAX),
        _interval_s(fields),
        strict.moment(fields),
        {strict.suffix(target, "levels"): _told_level(one, f"levels.{target}") for target, one in levels.items()},
        {strict.named(name, "reports"): strict.scalars(one, f"reports.{name}") for name, one in reports.items()},
    )


def _interval_s(fields: Fields) -> float:
    return strict.number(fields["interval_s"], "interval_s", limits.INTERVAL_MIN_S, limits.INTERVAL_MAX_S)


def _wish(value: object, where: str) -> SensorWish:
    table = strict.members(value, where, (), ("deadband", "sample_s"))
    bounds = {"deadband": (0, limits.MAGNITUDE_MAX), "sample_s": (limits.SAMPLE_MIN_S, limits.INTERVAL_MAX_S)}
    return SensorWish(**{name: strict.number(one, f"{where}.{name}", *bounds[name]) for name, one in table.items()})


def _wish_told(wish: SensorWish) -> dict[str, float]:
    told = {"deadband": wish.deadband, "sample_s": wish.sample_s}
    return {name: value for name, value in told.items() if value is not None}


def _order(name: object, arguments: object) -> Order:
    match name:
        case "dim":
            table = strict.members(arguments, "arguments", ("level", "until"), ("target",))
            return Dim(
                strict.level(table["level"], "arguments.level"),
                strict.number(table["until"], "arguments.until", 0, limits.UNIX_MAX_S),
                _target(table),
            )
        case "identify":
            table = strict.members(arguments, "arguments", (), ("seconds", "target"))
            seconds = table.get("seconds", Identify().seconds)
            return Identify(strict.number(seconds, "arguments.seconds", 1, limits.IDENTIFY_MAX_S), _target(table))
        case "reboot":
            strict.members(arguments, "arguments", ())
            return Reboot()
    raise TwinError(f"name: {shown(name)} is not dim, identify or reboot")


def _target(table: Fields) -> str | None:
    return strict.suffix(table["target"], "arguments.target") if "target" in table else None


def _outcome(value: object) -> Outcome:
    for outcome in Outcome:
        if outcome.value == value:
            return outcome
    raise TwinError(f"state: {shown(value)} is not one of {', '.join(one.value for one in Outcome)}")


def _told_level(value: object, where: str) -> Level:
    table = strict.members(value, where, ("level", "reason"))
    return Level(strict.level(table["level"], f"{where}.level"), strict.text(table["reason"], f"{where}.reason"))


def _at(at_s: float | None) -> dict[str, float]:
    """A clock that is out of all bounds must not keep a device from saying what it has to say."""
    return {"at": at_s} if at_s is not None and 0 <= at_s <= limits.UNIX_MAX_S else {}
