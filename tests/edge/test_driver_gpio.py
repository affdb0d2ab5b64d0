"""The GPIO driver against an emulated kernel, and its structures against the kernel's own header.

There is no GPIO chip here and no gpio-sim module: what is emulated is the character device (ioctl in, events out), by
the structures of include/uapi/linux/gpio.h written down a second time, in ctypes.
"""

import ctypes
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lichtmast.edge.drivers import DriverContext, DriverError, gpio
from lichtmast.edge.drivers.gpio import GpioDriver
from lichtmast.edge.errors import SettingsError

HEADER = Path("/usr/include/linux/gpio.h")
u8, u32, u64 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64


class Attribute(ctypes.Structure):
    class Value(ctypes.Union):
        _fields_ = (("flags", u64), ("values", u64), ("debounce_period_us", u32))

    _fields_ = (("id", u32), ("padding", u32), ("value", Value), ("mask", u64))


class Request(ctypes.Structure):
    _fields_ = (
        ("offsets", u32 * 64),
        ("consumer", ctypes.c_char * 32),
        ("flags", u64),
        ("num_attrs", u32),
        ("config_padding", u32 * 5),
        ("attrs", Attribute * 10),
        ("num_lines", u32),
        ("event_buffer_size", u32),
        ("padding", u32 * 5),
        ("fd", ctypes.c_int32),
    )


class Event(ctypes.Structure):
    _fields_ = (("at", u64), ("id", u32), ("offset", u32), ("seqno", u32), ("line_seqno", u32), ("padding", u32 * 6))


class Kernel:
    """One chip. Lines are pipes: events are written at one end and read by the driver at the other."""

    def __init__(self, label: bytes) -> None:
        self.label = label
        self.requests: dict[int, Request] = {}
        self.state: dict[int, int] = {}
        self._lines: dict[int, int] = {}
        self._events: dict[int, int] = {}
        self._sequence: dict[int, int] = {}

    def ioctl(self, descriptor: int, request: int, argument: bytes) -> bytes:
        number = request & 0xFF
        assert request >> 16 & 0x3FFF == len(argument)
        if number == 0x01:
            return b"gpiochip0".ljust(32, b"\0") + self.label.ljust(32, b"\0") + (54).to_bytes(4, "little")
        if number == 0x07:
            return self._requested(Request.from_buffer_copy(argument))
        line = self._lines[descriptor]
        bits, mask = (int.from_bytes(argument[at : at + 8], "little") for at in (0, 8))
        assert mask == 1
        if number == 0x0F:
            self.state[line] = bits
        return self.state.get(line, 0).to_bytes(8, "little") + argument[8:]

    def _requested(self, request: Request) -> bytes:
        line = request.offsets[0]
        if line in self.requests:
            raise OSError(errno.EBUSY, "Device or resource busy")
        assert request.num_lines == 1
        self.requests[line] = request
        for attribute in request.attrs[: request.num_attrs]:
            if attribute.id == 2:
                self.state[line] = attribute.value.values
        reading, self._events[line] = os.pipe()
        self._lines[reading] = line
        self._sequence[line] = 0
        request.fd = reading
        return bytes(request)

    def edge(self, line: int, *, times: int = 1, dropped: int = 0) -> None:
        """Edges of which the kernel's buffer dropped the oldest: their numbers are used up all the same."""
        self._sequence[line] += dropped
        for _ in range(times):
            self._sequence[line] = (self._sequence[line] + 1) % 2**32
            os.write(self._events[line], bytes(Event(offset=line, id=1, line_seqno=self._sequence[line])))

    def begin_at(self, line: int, sequence: int) -> None:
        self._sequence[line] = sequence

    def forget(self) -> None:
        """The driver let go of everything."""
        self.requests.clear()

    def close(self) -> None:
        for one in self._events.values():
            os.close(one)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    one = Kernel(b"pinctrl-bcm2711")
    monkeypatch.setattr(gpio, "ioctl", one.ioctl)
    yield one
    one.close()


@pytest.fixture
def chip(tmp_path: Path) -> str:
    path = tmp_path / "gpiochip0"
    path.touch()
    return str(path)


def driver(chip: str, **lines: dict[str, Any]) -> GpioDriver:
    context = DriverContext("pins", 1, frozenset(lines), lambda: 0.0, lambda _: None)
    return GpioDriver({"chip": chip, "line": lines}, context)


def test_an_input_is_requested_with_its_bias_and_debounce_and_read(kernel: Kernel, chip: str) -> None:
    one = driver(chip, door={"line": 17, "mode": "input", "bias": "pull-up", "active_low": True, "debounce_us": 5_000})
    kernel.state[17] = 1
    assert one.read() == {"door": True}
    kernel.state[17] = 0
    assert one.read() == {"door": False}
    request = kernel.requests[17]
    assert request.flags == 1 << 1 | 1 << 2 | 1 << 8
    assert (request.consumer, request.num_attrs) == (b"lichtmast-edge", 1)
    attribute = request.attrs[0]
    assert (attribute.id, attribute.value.debounce_period_us, attribute.mask) == (3, 5_000, 1)
    one.close()


def test_an_output_begins_as_the_settings_say_and_takes_levels(kernel: Kernel, chip: str) -> None:
    one = driver(chip, relay={"line": 22, "mode": "output", "initial": True})
    assert one.read() == {"relay": True}
    one.write("relay", value=False)
    assert (kernel.state[22], one.read()) == (0, {"relay": False})
    assert [(one.name, one.writable) for one in one.channels] == [("relay", True)]
    one.close()


def test_pulses_are_counted_also_those_that_the_kernel_dropped(kernel: Kernel, chip: str) -> None:
    one = driver(chip, rain={"line": 4, "mode": "count", "edge": "falling"})
    assert one.read() == {"rain": 0}
    kernel.edge(4, times=3)
    assert one.read() == {"rain": 3}
    assert one.read() == {"rain": 3}
    kernel.edge(4, times=200, dropped=5_000)
    assert one.read() == {"rain": 5_203}
    assert kernel.requests[4].flags == 1 << 2 | 1 << 5
    one.close()


def test_a_count_goes_on_when_the_kernels_number_begins_again(kernel: Kernel, chip: str) -> None:
    one = driver(chip, rain={"line": 4, "mode": "count"})
    one.read()
    kernel.begin_at(4, 2**32 - 3)
    kernel.edge(4)
    before = one.read()["rain"]
    kernel.edge(4, times=4)  # -1, 0, 1, 2
    assert one.read()["rain"] - before == 4
    one.close()


def test_a_count_survives_that_the_lines_are_requested_anew(kernel: Kernel, chip: str) -> None:
    one = driver(chip, rain={"line": 4, "mode": "count"})
    one.read()
    kernel.edge(4, times=7)
    assert one.read() == {"rain": 7}
    one.close()
    kernel.forget()
    one.read()
    kernel.edge(4, times=2)
    assert one.read() == {"rain": 9}
    one.close()


def test_a_line_that_somebody_else_holds_is_told(kernel: Kernel, chip: str) -> None:
    kernel.requests[17] = Request()
    with pytest.raises(DriverError, match="line 17: Device or resource busy; look with gpioinfo"):
        driver(chip, door={"line": 17, "mode": "input"}).read()


@pytest.mark.usefixtures("kernel")
def test_a_chip_that_is_not_there_is_told() -> None:
    with pytest.raises(DriverError, match="/dev/none: No such file or directory"):
        driver("/dev/none", door={"line": 17, "mode": "input"}).read()
    with pytest.raises(DriverError, match="no GPIO chip is labelled pinctrl-rp1; there is none"):
        driver("pinctrl-rp1", door={"line": 17, "mode": "input"}).read()


@pytest.mark.usefixtures("kernel")
def test_a_chip_is_found_by_its_label(chip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda _, __: [Path(chip)])
    assert driver("pinctrl-bcm2711", door={"line": 17, "mode": "input"}).read() == {"door": False}
    with pytest.raises(DriverError, match="labelled pinctrl-rp1; there is pinctrl-bcm2711"):
        driver("pinctrl-rp1", door={"line": 18, "mode": "input"}).read()


def test_a_file_that_is_no_chip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(DriverError, match="Inappropriate ioctl for device"):
        driver(str(path), door={"line": 17, "mode": "input"}).read()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"mode": "input"}, "line is missing"),
        ({"line": 1, "mode": "pwm"}, "mode is 'pwm'; choose"),
        ({"line": 1, "mode": "input", "edge": "both"}, "edge is not a setting"),
        ({"line": 1, "mode": "output", "debounce_us": 5}, "debounce_us is not a setting"),
        ({"line": 1_024, "mode": "input"}, "line is not a whole number from 0 to 1,023"),
    ],
)
def test_wrong_lines_say_what_to_mend(line: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"\[driver.pins.line.door\] {reason}"):
        driver("chip", door=line)


@pytest.mark.usefixtures("kernel")
def test_only_outputs_are_written(chip: str) -> None:
    one = driver(chip, door={"line": 17, "mode": "input"})
    with pytest.raises(DriverError, match="door is not an output"):
        one.write("door", value=True)


@pytest.mark.system
@pytest.mark.slow
def test_numbers_and_structures_are_those_of_the_kernels_header(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None or not HEADER.is_file():
        pytest.skip("needs gcc and linux/gpio.h (Debian: gcc, linux-libc-dev)")
    shown = {
        "GPIO_GET_CHIPINFO_IOCTL": gpio.GET_CHIP_INFO,
        "GPIO_V2_GET_LINE_IOCTL": gpio.GET_LINE,
        "GPIO_V2_LINE_GET_VALUES_IOCTL": gpio.GET_VALUES,
        "GPIO_V2_LINE_SET_VALUES_IOCTL": gpio.SET_VALUES,
        "sizeof(struct gpiochip_info)": gpio.CHIP_INFO.size,
        "sizeof(struct gpio_v2_line_request)": gpio.LINE_REQUEST.size,
        "sizeof(struct gpio_v2_line_config_attribute)": gpio.FLAGS_ATTRIBUTE.size,
        "sizeof(struct gpio_v2_line_values)": gpio.LINE_VALUES.size,
        "sizeof(struct gpio_v2_line_event)": gpio.LINE_EVENT.size,
        "offsetof(struct gpio_v2_line_request, consumer)": Request.consumer.offset,
        "offsetof(struct gpio_v2_line_request, config.flags)": Request.flags.offset,
        "offsetof(struct gpio_v2_line_request, config.attrs)": Request.attrs.offset,
        "offsetof(struct gpio_v2_line_request, num_lines)": Request.num_lines.offset,
        "offsetof(struct gpio_v2_line_request, fd)": Request.fd.offset,
        "offsetof(struct gpio_v2_line_event, line_seqno)": Event.line_seqno.offset,
        "GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES": gpio.ATTRIBUTE_OUTPUT_VALUES,
        "GPIO_V2_LINE_ATTR_ID_DEBOUNCE": gpio.ATTRIBUTE_DEBOUNCE,
        "GPIO_V2_LINE_FLAG_ACTIVE_LOW": gpio.ACTIVE_LOW,
        "GPIO_V2_LINE_FLAG_INPUT": gpio.INPUT,
        "GPIO_V2_LINE_FLAG_OUTPUT": gpio.OUTPUT,
        "GPIO_V2_LINE_FLAG_EDGE_RISING": gpio.EDGES["rising"],
        "GPIO_V2_LINE_FLAG_EDGE_FALLING": gpio.EDGES["falling"],
        "GPIO_V2_LINE_FLAG_BIAS_PULL_UP": gpio.BIASES["pull-up"],
        "GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN": gpio.BIASES["pull-down"],
        "GPIO_V2_LINE_FLAG_BIAS_DISABLED": gpio.BIASES["none"],
    }
    lines = "".join(f'printf("%llu\\n", (unsigned long long)({one}));' for one in shown)
    source = tmp_path / "show.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\n#include <linux/gpio.h>\n"
        f"int main(void) {{ {lines} return 0; }}\n"
    )
    subprocess.run([compiler, "-o", tmp_path / "show", source], check=True)
    told = subprocess.run([tmp_path / "show"], capture_output=True, text=True, check=True).stdout.split()
    assert dict(zip(shown, map(int, told), strict=True)) == shown
