"""Pins: switches, pulses and relays, through the kernel's GPIO character device (include/uapi/linux/gpio.h, version 2).

Options: `chip` (its label, as pinctrl-bcm2711, or its path), and a table `[driver.line.NAME]` for each channel: `line`
(its number), `mode` ("input", "output", "count"), `active_low`, `bias` ("as-is", "pull-up", "pull-down", "none"),
`edge` ("rising", "falling", "both"; for count), `debounce_us`, `initial` (for output).

Plain ioctl, because libgpiod's binding has no wheel for armv7 (docs/adr/0021).

Will not: leave an output as it was at the end; what a pin does when nobody holds it is the kernel's affair.
"""

import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import Final

from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel, DriverContext
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.tables import Table

GET_CHIP_INFO: Final = 0x8044B401
GET_LINE: Final = 0xC250B407
GET_VALUES: Final = 0xC010B40E
SET_VALUES: Final = 0xC010B40F

CHIP_INFO: Final = struct.Struct("=32s32sI")
LINE_REQUEST: Final = struct.Struct("=256s32sQI20s240sII20si")
"""gpio_v2_line_request: offsets, consumer, flags, attribute count, -, attributes, line count, event buffer, -, fd."""
FLAGS_ATTRIBUTE: Final = struct.Struct("=IIQQ")
LINE_VALUES: Final = struct.Struct("=QQ")
LINE_EVENT: Final = struct.Struct("=QIIII24s")
"""gpio_v2_line_event: time, id, offset, number, number on this line, -."""

ATTRIBUTE_OUTPUT_VALUES: Final = 2
ATTRIBUTE_DEBOUNCE: Final = 3
ACTIVE_LOW: Final = 1 << 1
INPUT: Final = 1 << 2
OUTPUT: Final = 1 << 3
EDGES: Final[Mapping[str, int]] = {"rising": 1 << 4, "falling": 1 << 5, "both": 1 << 4 | 1 << 5}
BIASES: Final[Mapping[str, int]] = {"as-is": 0, "pull-up": 1 << 8, "pull-down": 1 << 9, "none": 1 << 10}

LINE_MAX: Final = 1_023
DEBOUNCE_US_MAX: Final = 1_000_000
_EVENTS_AT_ONCE: Final = 64
_SEQUENCE: Final = 2**32
_CONSUMER: Final = b"lichtmast-edge"


@dataclass(frozen=True, slots=True)
class Line:
    """One pin as the settings want it."""

    number: int
    mode: str
    flags: int
    debounce_us: int
    initial: bool


class GpioDriver:
    """The lines of one chip; each is requested when it is first needed."""

    def __init__(self, options: Mapping[str, object], context: DriverContext) -> None:
        path = f"driver.{context.name}"
        table = Table(options, path)
        self._chip = table.text("chip")
        table.has("line")
        table.done()
        rows = options.get("line")
        if not isinstance(rows, Mapping) or not rows:
            raise SettingsError(f"[{path}] line is missing; write a table [driver.line.NAME] for each channel")
        tables = Table(rows, f"{path}.line", "driver.line")
        self._lines = {name: _line(tables.table(name)) for name in rows}
        self.channels: tuple[Channel, ...] = tuple(_channel(name, line) for name, line in self._lines.items())
        self._handles: dict[str, int] = {}
        self._last_event: dict[str, int] = {}
        self._counted: dict[str, int] = dict.fromkeys(self._lines, 0)

    def read(self) -> Mapping[str, float | bool]:
        """The state of every line, and how often each counted one has moved since the driver was made."""
        try:
            return {name: self._read_one(name, line) for name, line in self._lines.items()}
        except OSError as error:
            self.close()
            raise DriverError(f"GPIO chip {self._chip}: {error.strerror}") from error

    def write(self, channel: str, value: float | bool) -> None:  # noqa: FBT001 - it is the value
        """Set an output."""
        line = self._lines.get(channel)
        if line is None or line.mode != "output":
            raise DriverError(f"{channel} is not an output")
        try:
            ioctl(self._handle(channel, line), SET_VALUES, LINE_VALUES.pack(bool(value), 1))
        except OSError as error:
            self.close()
            raise DriverError(f"GPIO chip {self._chip}, line {line.number}: {error.strerror}") from error

    def close(self) -> None:
        """Let go of every line."""
        for handle in self._handles.values():
            with suppress(OSError):
                os.close(handle)
        self._handles.clear()
        self._last_event.clear()

    def _read_one(self, name: str, line: Line) -> float | bool:
        handle = self._handle(name, line)
        if line.mode == "count":
            return float(self._count(name, handle))
        bits, _ = LINE_VALUES.unpack(ioctl(handle, GET_VALUES, LINE_VALUES.pack(0, 1)))
        return bool(bits & 1)

    def _count(self, name: str, handle: int) -> int:
        """By the kernel's number of the last event, not by the events: it keeps few and drops the oldest."""
        last = self._last_event.get(name, 0)
        with suppress(BlockingIOError):
            while raw := os.read(handle, LINE_EVENT.size * _EVENTS_AT_ONCE):
                latest: int = LINE_EVENT.unpack(raw[-LINE_EVENT.size :])[4]
                self._counted[name] += (latest - last) % _SEQUENCE
                last = self._last_event[name] = latest
        return self._counted[name]

    def _handle(self, name: str, line: Line) -> int:
        """The line's own descriptor; requested from the chip where we do not hold it."""
        handle = self._handles.get(name)
        if handle is None:
            chip = _open_chip(self._chip)
            try:
                answer = ioctl(chip, GET_LINE, _request(line))
            except OSError as error:
                raise DriverError(
                    f"GPIO chip {self._chip}, line {line.number}: {error.strerror}; look with gpioinfo who holds it"
                ) from error
            finally:
                os.close(chip)
            handle = self._handles[name] = LINE_REQUEST.unpack(answer)[9]
            os.set_blocking(handle, False)
        return handle


def _line(table: Table) -> Line:
    mode = table.choice("mode", ("input", "output", "count"))
    flags = ACTIVE_LOW if table.flag("active_low", default=False) else 0
    flags |= OUTPUT if mode == "output" else INPUT
    flags |= BIASES[table.choice("bias", tuple(BIASES), "as-is")]
    if mode == "count":
        flags |= EDGES[table.choice("edge", tuple(EDGES), "rising")]
    debounce_us = table.whole("debounce_us", 0, DEBOUNCE_US_MAX, 0) if mode != "output" else 0
    initial = table.flag("initial", default=False) if mode == "output" else False
    line = Line(table.whole("line", 0, LINE_MAX), mode, flags, debounce_us, initial)
    table.done()
    return line


def _channel(name: str, line: Line) -> Channel:
    if line.mode == "count":
        return Channel(name, "counter", "count")
    return Channel(name, "boolean", None, line.mode == "output")


def _request(line: Line) -> bytes:
    """A gpio_v2_line_request for one line."""
    attributes = b""
    if line.mode == "output":
        attributes = FLAGS_ATTRIBUTE.pack(ATTRIBUTE_OUTPUT_VALUES, 0, line.initial, 1)
    elif line.debounce_us:
        # The union's first four bytes on a little-endian machine, which all machines with these pins are.
        attributes = FLAGS_ATTRIBUTE.pack(ATTRIBUTE_DEBOUNCE, 0, line.debounce_us, 1)
    count = len(attributes) // FLAGS_ATTRIBUTE.size
    return LINE_REQUEST.pack(
        struct.pack("=I", line.number), _CONSUMER, line.flags, count, b"", attributes, 1, 0, b"", -1
    )


def _open_chip(name: str) -> int:
    """The chip's descriptor, by path or by label. Raises DriverError where there is none."""
    paths = [Path(name)] if name.startswith("/") else sorted(Path("/dev").glob("gpiochip*"))
    labels = []
    for path in paths:
        try:
            chip = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DriverError(f"{path}: {error.strerror}; the agent must be in group gpio") from error
        if name.startswith("/"):
            return chip
        try:
            label: bytes = CHIP_INFO.unpack(ioctl(chip, GET_CHIP_INFO, bytes(CHIP_INFO.size)))[1]
        except OSError as error:
            os.close(chip)
            raise DriverError(f"{path} is no GPIO chip: {error.strerror}") from error
        labels.append(label.rstrip(b"\0").decode("ascii", "replace"))
        if labels[-1] == name:
            return chip
        os.close(chip)
    raise DriverError(f"no GPIO chip is labelled {name}; there is {', '.join(labels) or 'none'}")
