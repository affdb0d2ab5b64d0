"""Sensors that the Linux kernel drives, hwmon and IIO, read as files.

The names and units are those of the kernel's Documentation/hwmon/sysfs-interface.rst and ABI/testing/sysfs-bus-iio.

Options: `subsystem` ("hwmon" or "iio"), `chip` (what the file `name` holds: the number in hwmon0 changes from boot to
boot), `at` (where on its bus, as 1-0044, when two chips have one name), `root` (/sys). A channel is a file's name
without `_input` or `_raw`: temp1, in_humidityrelative.

Will not: write, use buffers or triggers, or read a file that no reading asks for.
"""

import os
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Final

from lichtmast.edge.drivers import limits
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel, DriverContext, Value
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.tables import Table

HWMON: Final[Mapping[str, tuple[str, float]]] = {
    "temp": ("Cel", 1e-3),
    "in": ("V", 1e-3),
    "curr": ("A", 1e-3),
    "power": ("W", 1e-6),
    "energy": ("J", 1e-6),
    "humidity": ("%RH", 1e-3),
}
"""SenML unit and factor of what the kernel gives, by the type at the start of the channel's name."""

IIO: Final[Mapping[str, tuple[str, float]]] = {
    "temp": ("Cel", 1e-3),
    "humidityrelative": ("%RH", 1e-3),
    "pressure": ("Pa", 1e3),
    "illuminance": ("lx", 1.0),
    "voltage": ("V", 1e-3),
    "current": ("A", 1e-3),
    "power": ("W", 1e-3),
    "resistance": ("Ohm", 1.0),
    "distance": ("m", 1.0),
    "concentration": ("/", 1e-2),
    "massconcentration": ("kg/m3", 1e-9),
    "accel": ("m/s2", 1.0),
}
"""After `_offset` and `_scale` the kernel gives milli-degrees, milli-percent, kPa, lx, mV, mA, mW, ohm, m, percent."""

CUMULATIVE: Final = frozenset({"energy"})
_HWMON_NAME: Final = re.compile(r"([a-z]+)\d+", re.ASCII)
_IIO_NAME: Final = re.compile(r"in_([a-z]+)(?:\d*)(?:_[a-z0-9]+)?", re.ASCII)


class SysfsDriver:
    """The wanted channels of one chip."""

    def __init__(self, options: Mapping[str, object], context: DriverContext) -> None:
        table = Table(options, f"driver.{context.name}")
        self._subsystem = table.choice("subsystem", ("hwmon", "iio"))
        self._chip = table.text("chip")
        self._at = table.text("at") if table.has("at") else None
        self._root = Path(table.text("root", "/sys"))
        table.done()
        self._factors: dict[str, float] = {}
        channels = []
        for name in sorted(context.wanted):
            kind, unit, self._factors[name] = self._known(name, context.name)
            channels.append(Channel(name, kind, unit))
        self.channels: tuple[Channel, ...] = tuple(channels)
        self._folder: Path | None = None

    def read(self) -> Mapping[str, Value | DriverError]:
        """The wanted channels; a chip that is gone is looked for again at the next read."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = self._found()
        folder = self._folder
        return {one.name: self._value(folder, one.name) for one in self.channels}

    def write(self, channel: str, value: float | bool) -> None:  # noqa: ARG002, FBT001 - the port's signature
        """There is no actuator here."""
        raise DriverError(f"{channel} cannot be set: sysfs sensors only measure")

    def close(self) -> None:
        """Files are opened for each read only."""

    def _known(self, name: str, driver: str) -> tuple[str, str, float]:
        """Kind, unit and factor of a channel, by its name."""
        types = HWMON if self._subsystem == "hwmon" else IIO
        match = (_HWMON_NAME if self._subsystem == "hwmon" else _IIO_NAME).fullmatch(name)
        if match is None or match[1] not in types:
            example = "temp1" if self._subsystem == "hwmon" else "in_temp"
            raise SettingsError(
                f"[driver.{driver}] channel {name!r} is none of {self._subsystem}: write it as {example}; "
                f"there are {', '.join(types)}"
            )
        unit, factor = types[match[1]]
        return ("counter" if match[1] in CUMULATIVE else "number"), unit, factor

    def _found(self) -> Path:
        """The chip's folder. Raises DriverError where there is none, or more than one."""
        above = self._root / ("class/hwmon" if self._subsystem == "hwmon" else "bus/iio/devices")
        names: dict[Path, str] = {}
        for file in sorted(above.glob("*/name")):
            try:
                names[file.parent] = _text(file)
            except DriverError:
                continue  # a chip that goes away while we look
        fitting = [one for one in names if names[one] == self._chip and self._at in {None, _place(one)}]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            places = ", ".join(_place(one) for one in fitting)
            raise DriverError(f"{len(fitting)} chips are called {self._chip}; add at = one of {places}")
        there = ", ".join(f"{name} at {_place(one)}" for one, name in names.items()) or "none"
        where = f" at {self._at}" if self._at else ""
        raise DriverError(f"no {self._subsystem} chip {self._chip}{where} under {above}; there is {there}")

    def _value(self, folder: Path, name: str) -> float | DriverError:
        try:
            if self._subsystem == "hwmon":
                fault = folder / f"{name}_fault"
                if fault.exists() and _number(fault):
                    return DriverError("the chip says that the sensor is broken or not connected")
                return _number(folder / f"{name}_input") * self._factors[name]
            return self._iio(folder, name) * self._factors[name]
        except DriverError as error:
            return error

    def _iio(self, folder: Path, name: str) -> float:
        """`_input` is ready; else (raw + offset) * scale, each for this channel or for its type."""
        ready = folder / f"{name}_input"
        if ready.exists():
            return _number(ready)
        return (_number(folder / f"{name}_raw") + _of_type(folder, name, "offset", 0.0)) * _of_type(
            folder, name, "scale", 1.0
        )


def _of_type(folder: Path, name: str, what: str, otherwise: float) -> float:
    match = _IIO_NAME.fullmatch(name)
    kind = match[1] if match else ""
    for stem in (name, f"in_{kind}"):
        file = folder / f"{stem}_{what}"
        if file.exists():
            return _number(file)
    return otherwise


def _place(folder: Path) -> str:
    """Where the chip sits on its bus: hwmon has a link to its device, an IIO device lies within it."""
    device = folder / "device"
    real = Path(os.path.realpath(device if device.exists() else folder))
    return real.name if device.exists() else real.parent.name


def _number(file: Path) -> float:
    text = _text(file)
    try:
        value = float(text)
    except ValueError as error:
        raise DriverError(f"{file.name} holds {text[:40]!r}, which is no number") from error
    if not isfinite(value):
        raise DriverError(f"{file.name} holds {text[:40]!r}, which is not finite")
    return value


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(limits.SYSFS_BYTES_MAX).decode("ascii", "replace").strip()
    except OSError as error:
        raise DriverError(f"{file.name} cannot be read: {error.strerror}") from error
