"""A driver without hardware: seeded curves for demonstrations, and a control file that makes it misbehave for tests.

Options: `[driver.channel.NAME]` with `shape` and what it needs; `control`, a JSON file that is read before every read:
`{"values": {...}}` puts any value in a channel's place, also a wrong one; `{"raise": "why"}` raises; `{"hang_s": 60}`
hangs; `{"identifiers": {"people": ["02:00:5e:00:53:01"]}}` lets people pass.

Will not correlate channels as a street does: the virtual town's `street` driver does.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from lichtmast.edge.drivers import limits
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel, DriverContext, Identifiers, Value
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.tables import Table
from lichtmast.wire.units import UNITS

DAY_S: Final = 86_400.0
SHAPES: Final = ("constant", "counter", "daylight", "passers", "sine", "steps", "switch", "walk")


@dataclass(slots=True)
class _Curve:
    """One channel: `at(elapsed_s)` is its value; a value that was written stands before it."""

    channel: Channel
    at: Callable[[float], Value]
    written: Value | None = None


class SimulatedDriver:
    """Seeded curves over the time since it was made."""

    def __init__(self, options: Mapping[str, object], context: DriverContext) -> None:
        path = f"driver.{context.name}"
        table = Table(options, path)
        self._control = Path(table.text("control")) if table.has("control") else None
        table.has("channel")
        table.done()
        rows = options.get("channel")
        if not isinstance(rows, Mapping) or not rows:
            raise SettingsError(f"[{path}] channel is missing; write a table [driver.channel.NAME] for each channel")
        tables = Table(rows, f"{path}.channel", "driver.channel")
        self._curves = {
            name: _curve(name, tables.table(name), Random(f"{context.seed}/{name}"))  # noqa: S311 - a curve
            for name in rows
        }
        self._context = context
        self._begin_s = context.monotonic_s()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """As the options name them."""
        return tuple(one.channel for one in self._curves.values())

    def read(self) -> Mapping[str, Value | DriverError]:
        """Every curve now, changed by what the control file says."""
        told = self._told()
        if "hang_s" in told:
            self._context.sleep_s(float(told["hang_s"]))
        if "raise" in told:
            raise DriverError(str(told["raise"]))
        elapsed_s = self._context.monotonic_s() - self._begin_s
        values: dict[str, Any] = {
            name: curve.at(elapsed_s) if curve.written is None else curve.written
            for name, curve in self._curves.items()
        }
        for name, seen in told.get("identifiers", {}).items():
            values[name] = Identifiers(str(one).encode() for one in seen)
        values.update(told.get("values", {}))
        return values

    def write(self, channel: str, value: float | bool) -> None:  # noqa: FBT001 - it is the value
        """Remember the value; the next read gives it."""
        curve = self._curves.get(channel)
        if curve is None or not curve.channel.writable:
            raise DriverError(f"{channel} is not a writable channel")
        curve.written = value

    def close(self) -> None:
        """There is nothing to let go of."""

    def _told(self) -> dict[str, Any]:
        if self._control is None:
            return {}
        try:
            raw = self._control.read_bytes()[: limits.CONTROL_BYTES_MAX]
            told = json.loads(raw)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DriverError(f"the control file {self._control} cannot be read as JSON") from error
        if not isinstance(told, dict):
            raise DriverError(f"the control file {self._control} holds no JSON object")
        return told


def _curve(name: str, table: Table, chance: Random) -> _Curve:
    shape = table.choice("shape", SHAPES)
    kinds = {"counter": "counter", "switch": "boolean", "passers": "identifiers"}
    kind = kinds.get(shape, "number")
    unit = table.choice("unit", tuple(UNITS)) if kind in {"number", "counter"} else None
    writable = table.flag("writable", default=False) if shape in {"constant", "switch"} else False
    at = _SHAPES[shape](table, chance)
    table.done()
    return _Curve(Channel(name, kind, unit, writable), at)


def _number(table: Table, key: str, default: float | None = None, least: float = -limits.NUMBER_MAX) -> float:
    return table.number(key, least, limits.NUMBER_MAX, default)


def _constant(table: Table, _: Random) -> Callable[[float], Value]:
    value = _number(table, "value")
    return lambda _: value


def _counter(table: Table, chance: Random) -> Callable[[float], Value]:
    rate_per_s = _number(table, "rate_per_s", least=0)
    begin = _number(table, "begin", 0, least=0)
    phase = chance.random()
    return lambda elapsed_s: begin + math.floor(rate_per_s * elapsed_s + phase)


def _daylight(table: Table, _: Random) -> Callable[[float], Value]:
    noon = _number(table, "noon", 20_000.0, least=0)
    sunrise_s = _number(table, "sunrise_s", 0, least=0)
    return lambda elapsed_s: noon * max(0.0, math.sin((elapsed_s - sunrise_s) * math.tau / DAY_S))


def _passers(_: Table, chance: Random) -> Callable[[float], Value]:
    # Locally administered addresses, as telephones invent them: the second hexadecimal digit is 2.
    return lambda _: Identifiers(b"02:%02x:%02x:00:00:01" % (chance.randrange(256), one) for one in range(3))


def _sine(table: Table, _: Random) -> Callable[[float], Value]:
    mean, swing = _number(table, "mean"), _number(table, "swing")
    period_s = _number(table, "period_s", 600.0, least=1)
    return lambda elapsed_s: mean + swing * math.sin(elapsed_s * math.tau / period_s)


def _steps(table: Table, _: Random) -> Callable[[float], Value]:
    low, high = _number(table, "low"), _number(table, "high")
    period_s = _number(table, "period_s", 600.0, least=1)
    return lambda elapsed_s: high if elapsed_s % period_s >= period_s / 2 else low


def _switch(table: Table, _: Random) -> Callable[[float], Value]:
    value = table.flag("value", default=False)
    return lambda _: value


def _walk(table: Table, chance: Random) -> Callable[[float], Value]:
    value = _number(table, "begin")
    step, least, most = _number(table, "step", least=0), _number(table, "least"), _number(table, "most")

    def at(_: float) -> Value:
        nonlocal value
        value = min(most, max(least, value + chance.uniform(-step, step)))
        return value

    return at


_SHAPES: Final[Mapping[str, Callable[[Table, Random], Callable[[float], Value]]]] = {
    "constant": _constant,
    "counter": _counter,
    "daylight": _daylight,
    "passers": _passers,
    "sine": _sine,
    "steps": _steps,
    "switch": _switch,
    "walk": _walk,
}
