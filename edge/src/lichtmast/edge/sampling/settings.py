"""What the settings file says of drivers and readings: one `[[driver]]` table each, with `[[driver.reading]]` within.

Will not: read a driver's own options (the driver does), or know the profile (`fitting` compares).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lichtmast.edge.drivers import limits as driver_limits
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.sampling import limits
from lichtmast.edge.sampling.aggregate import STATISTICS
from lichtmast.edge.sampling.counting import FLOWS, CountingRule
from lichtmast.edge.tables import Table
from lichtmast.wire.names import is_suffix
from lichtmast.wire.twin import SensorWish
from lichtmast.wire.units import UNITS

OWN_KEYS: Final = frozenset({"actuator", "kind", "name", "read_timeout_s", "reading"})
"""The keys of [[driver]] that are ours; all others are the driver's options."""
_GAUGES: Final = frozenset({"mean", "min", "max", "last"})


@dataclass(frozen=True, slots=True)
class Output:
    """One value that a reading gives: which statistic, under which suffix, and how far it must move to be sent."""

    statistic: str
    suffix: str
    deadband: float | None


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """What becomes of one channel: value * scale + offset, sampled every `sample_s`, sent as `outputs`.

    `unit` says what the scaled value is in, where that differs from the channel's own unit. `counted` is the privacy
    rule of a channel that counts people or vehicles.
    """

    channel: str
    outputs: tuple[Output, ...]
    sample_s: float = limits.SAMPLE_S
    silence_max_s: float = limits.SILENCE_S
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    counted: CountingRule | None = None

    @classmethod
    def from_table(cls, fields: Mapping[str, object], path: str) -> "ReadingSettings":
        """Of one [[driver.reading]]; `path` names it in errors. Raises SettingsError."""
        table = Table(fields, path, "driver.reading")
        deadband = table.number("deadband", 0, driver_limits.NUMBER_MAX) if table.has("deadband") else None
        counted = _counted(table.table("counted")) if table.has("counted") else None
        settings = cls(
            table.text("channel"),
            _outputs(table, path, fields, deadband),
            table.number("sample_s", limits.SAMPLE_S_MIN, limits.SAMPLE_S_MAX, limits.SAMPLE_S),
            table.number("silence_max_s", limits.SILENCE_S_MIN, limits.SILENCE_S_MAX, limits.SILENCE_S),
            table.number("scale", -1e12, 1e12, 1),
            table.number("offset", -1e12, 1e12, 0),
            table.choice("unit", tuple(UNITS)) if table.has("unit") else None,
            counted,
        )
        table.done()
        if settings.scale == 0:
            raise SettingsError(f"[{path}] scale is 0, which would make every value the same")
        _check_counting(settings, deadband, path)
        return settings


@dataclass(frozen=True, slots=True)
class ActuatorSettings:
    """What moves when a level is commanded for `suffix`: a channel that takes 0 to 1, or a switch."""

    channel: str
    suffix: str

    @classmethod
    def from_table(cls, fields: Mapping[str, object], path: str) -> "ActuatorSettings":
        """Of one [[driver.actuator]]; `path` names it in errors. Raises SettingsError."""
        table = Table(fields, path)
        settings = cls(table.text("channel"), _suffix(table.text("suffix"), path, "suffix"))
        table.done()
        return settings


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """One driver: its `kind`, its own options, how long a call may take, and what is made of its channels."""

    name: str
    kind: str
    options: Mapping[str, object]
    read_timeout_s: float
    readings: tuple[ReadingSettings, ...]
    actuators: tuple[ActuatorSettings, ...] = ()

    @classmethod
    def from_table(cls, fields: Mapping[str, object], path: str = "driver") -> "DriverSettings":
        """Of one [[driver]]; `path` names it in errors until its own name is known. Raises SettingsError."""
        ours = Table({key: value for key, value in fields.items() if key in OWN_KEYS}, path, "driver")
        name = ours.text("name")
        if not name.replace("-", "").isalnum() or not name.isascii() or len(name) > driver_limits.NAME_LENGTH_MAX:
            raise SettingsError(f"[{path}] name {name[:80]!r} must be letters, digits and -, and not too long")
        rows, moved = ours.rows("reading"), ours.rows("actuator")
        if len(rows) + len(moved) > limits.READINGS_MAX:
            raise SettingsError(f"[driver.{name}] has {len(rows) + len(moved)} readings; at most {limits.READINGS_MAX}")
        readings = tuple(
            ReadingSettings.from_table(row, f"driver.{name}.reading {number}") for number, row in enumerate(rows, 1)
        )
        actuators = tuple(
            ActuatorSettings.from_table(row, f"driver.{name}.actuator {number}") for number, row in enumerate(moved, 1)
        )
        timeout_s = ours.number(
            "read_timeout_s",
            driver_limits.READ_TIMEOUT_S_MIN,
            driver_limits.READ_TIMEOUT_S_MAX,
            driver_limits.READ_TIMEOUT_S,
        )
        options = {key: value for key, value in fields.items() if key not in OWN_KEYS}
        settings = cls(name, ours.text("kind"), options, timeout_s, readings, actuators)
        _check_channels(settings)
        return settings

    @property
    def wanted(self) -> frozenset[str]:
        """The channels that are read."""
        return frozenset(one.channel for one in self.readings)

    @property
    def sample_s(self) -> float:
        """How often the driver is read: as often as its quickest reading wants."""
        return min((one.sample_s for one in self.readings), default=limits.SAMPLE_S_MAX)


def read_drivers(rows: Sequence[Mapping[str, object]]) -> tuple[DriverSettings, ...]:
    """All [[driver]] tables of the file. Raises SettingsError, also where two give the same name or suffix."""
    if len(rows) > limits.DRIVERS_MAX:
        raise SettingsError(f"there are {len(rows)} [[driver]] tables; at most {limits.DRIVERS_MAX}")
    drivers = tuple(DriverSettings.from_table(row, f"driver {number}") for number, row in enumerate(rows, 1))
    _once([one.name for one in drivers], "the driver's name")
    _once([output.suffix for _, reading in readings_of(drivers) for output in reading.outputs], "the suffix")
    _once([actuator.suffix for driver in drivers for actuator in driver.actuators], "the actuator")
    return drivers


def readings_of(drivers: Iterable[DriverSettings]) -> list[tuple[str, ReadingSettings]]:
    """Every reading with its driver's name."""
    return [(driver.name, reading) for driver in drivers for reading in driver.readings]


def fixed_suffixes(drivers: Iterable[DriverSettings]) -> dict[str, str]:
    """The suffixes that nobody may change from afar, and why: the rules of counting belong to who runs the pole."""
    return {
        output.suffix: "it counts people or vehicles, and its interval is fixed in the settings file"
        for _, reading in readings_of(drivers)
        if reading.counted
        for output in reading.outputs
    }


def with_wishes(drivers: Iterable[DriverSettings], wishes: Mapping[str, SensorWish]) -> tuple[DriverSettings, ...]:
    """The settings, changed by what a desired configuration wishes of single suffixes; counted ones stay."""
    return tuple(
        replace(driver, readings=tuple(_wished(reading, wishes) for reading in driver.readings)) for driver in drivers
    )


def _wished(reading: ReadingSettings, wishes: Mapping[str, SensorWish]) -> ReadingSettings:
    if reading.counted is not None:
        return reading
    outputs, sample_s = [], []
    for output in reading.outputs:
        wish = wishes.get(output.suffix, SensorWish())
        outputs.append(output if wish.deadband is None else replace(output, deadband=wish.deadband))
        if wish.sample_s is not None:
            sample_s.append(max(wish.sample_s, limits.SAMPLE_S_MIN))
    return replace(reading, outputs=tuple(outputs), sample_s=min(sample_s, default=reading.sample_s))


def _outputs(table: Table, path: str, fields: Mapping[str, object], deadband: float | None) -> tuple[Output, ...]:
    if table.has("suffix") is table.has("statistics"):
        raise SettingsError(f"[{path}] give either suffix (the last value) or statistics (a table), not both")
    if table.has("suffix"):
        return (Output("last", _suffix(table.text("suffix"), path, "suffix"), deadband),)
    given = fields["statistics"]
    if not isinstance(given, Mapping) or not given:
        raise SettingsError(f'[{path}] statistics is not a table like {{ mean = "/noise/0/level" }}')
    outputs = []
    for statistic, suffix in given.items():
        if statistic not in STATISTICS and statistic not in FLOWS:
            raise SettingsError(
                f"[{path}] statistics: {statistic!r} is none; there are {', '.join((*STATISTICS, *FLOWS))}"
            )
        outputs.append(Output(str(statistic), _suffix(suffix, path, str(statistic)), deadband))
    return tuple(outputs)


def _suffix(value: object, path: str, key: str) -> str:
    if not isinstance(value, str) or not is_suffix(value):
        raise SettingsError(f"[{path}] {key}: {str(value)[:80]!r} is no suffix like /noise/0/level")
    return value


def _counted(table: Table) -> CountingRule:
    rule = CountingRule(
        table.whole("k", limits.K_MIN, limits.K_MAX, limits.K),
        table.number(
            "interval_s",
            limits.COUNTED_INTERVAL_S_MIN,
            limits.COUNTED_INTERVAL_S_MAX,
            limits.COUNTED_INTERVAL_S_MIN,
        ),
    )
    table.done()
    return rule


def _check_counting(reading: ReadingSettings, deadband: float | None, path: str) -> None:
    """What would let a small count be worked out is refused here, before anything is measured."""
    statistics = {one.statistic for one in reading.outputs}
    if reading.counted is None:
        if statistics & FLOWS.keys():
            raise SettingsError(f"[{path}] {', '.join(sorted(statistics & FLOWS.keys()))} need a table counted")
        return
    if deadband is not None:
        raise SettingsError(f"[{path}] deadband: a counted value that is not sent is a suppressed one; leave it out")
    gauges = statistics & _GAUGES
    if statistics - _GAUGES - FLOWS.keys() or (gauges and len(statistics) > 1):
        raise SettingsError(
            f"[{path}] counted: take one of {', '.join(sorted(_GAUGES))}, or any of {', '.join(FLOWS)}; "
            "other pairs let the smaller count be worked out"
        )
    if reading.scale != 1 or reading.offset != 0:
        raise SettingsError(f"[{path}] counted: scale and offset would move the threshold; leave them out")


def _check_channels(settings: DriverSettings) -> None:
    counted = {one.channel for one in settings.readings if one.counted}
    twice = [one for one in counted if sum(reading.channel == one for reading in settings.readings) > 1]
    if twice:
        raise SettingsError(f"[driver.{settings.name}] channel {twice[0]} is counted; it can have one reading only")


def _once(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"[[driver]] {what} {name} is there twice")
