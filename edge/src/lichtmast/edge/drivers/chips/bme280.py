"""Bosch BME280: temperature, pressure, humidity. Datasheet BST-BME280-DS002, sections 4.2.2, 5.4 and 8.1."""

import struct
from dataclasses import dataclass
from typing import Final

from lichtmast.edge.drivers.chips import Link
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel

ADDRESSES: Final = (0x76, 0x77)
ID_REGISTER: Final = 0xD0
ID: Final = 0x60
CALIBRATION_1: Final = 0x88, 26
CALIBRATION_2: Final = 0xE1, 7
CONTROL_HUMIDITY: Final = b"\xf2\x01"  # 5.4.3: once
CONTROL_MEASURE: Final = b"\xf4\x25"  # 5.4.5: temperature once, pressure once, forced mode
STATUS_REGISTER: Final = 0xF3
MEASURING: Final = 0x08
DATA: Final = 0xF7, 8
MEASURE_S: Final = 0.010  # 9.1: 9.3 ms at most for one sample of each
SKIPPED: Final = 0x80000
"""What a channel holds that was not measured (5.4.7)."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The trimming parameters of table 16, as the chip holds them."""

    t: tuple[int, int, int]
    p: tuple[int, int, int, int, int, int, int, int, int]
    h: tuple[int, int, int, int, int, int]

    @classmethod
    def from_registers(cls, first: bytes, second: bytes) -> "Calibration":
        """Of the bytes at 0x88 and at 0xE1."""
        words = struct.unpack("<Hhh H8h", first[:24])
        h2, h3, e4, e5, e6, h6 = struct.unpack("<hBbBbb", second)
        return cls(words[:3], words[3:], (first[25], h2, h3, e4 << 4 | e5 & 0x0F, e6 << 4 | e5 >> 4, h6))


class Bme280:
    """Forced mode: the chip sleeps between two reads, as section 3.5.1 recommends for weather."""

    channels = (
        Channel("temperature", "number", "Cel"),
        Channel("pressure", "number", "Pa"),
        Channel("humidity", "number", "%RH"),
    )

    def __init__(self) -> None:
        self._calibration: Calibration | None = None

    def measure(self, link: Link) -> dict[str, float]:
        """One forced measurement of all three."""
        calibration = self._calibration or self._introduced(link)
        link.write(CONTROL_HUMIDITY)
        link.write(CONTROL_MEASURE)
        link.wait(MEASURE_S)
        if link.read_register(STATUS_REGISTER, 1)[0] & MEASURING:
            raise DriverError("the chip is still measuring after the longest time of its datasheet")
        data = link.read_register(*DATA)
        pressure, temperature = int.from_bytes(data[0:3], "big") >> 4, int.from_bytes(data[3:6], "big") >> 4
        if temperature == SKIPPED:
            raise DriverError("the chip did not measure; it was probably reset in between")
        celsius, fine = compensated_temperature(calibration, temperature)
        return {
            "temperature": celsius,
            "pressure": compensated_pressure(calibration, pressure, fine),
            "humidity": compensated_humidity(calibration, int.from_bytes(data[6:8], "big"), fine),
        }

    def _introduced(self, link: Link) -> Calibration:
        found = link.read_register(ID_REGISTER, 1)[0]
        if found != ID:
            raise DriverError(f"the chip says that it is 0x{found:02x}; a BME280 is 0x{ID:02x} (a BMP280 0x58)")
        self._calibration = Calibration.from_registers(
            link.read_register(*CALIBRATION_1), link.read_register(*CALIBRATION_2)
        )
        return self._calibration


def compensated_temperature(calibration: Calibration, raw: int) -> tuple[float, float]:
    """Degrees Celsius, and the fine temperature that the other two need (8.1)."""
    t1, t2, t3 = calibration.t
    first = (raw / 16_384 - t1 / 1_024) * t2
    second = (raw / 131_072 - t1 / 8_192) ** 2 * t3
    return (first + second) / 5_120, first + second


def compensated_pressure(calibration: Calibration, raw: int, fine: float) -> float:
    """Pascal (8.1)."""
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = calibration.p
    a = fine / 2 - 64_000
    b = (a * a * p6 / 32_768 + a * p5 * 2) / 4 + p4 * 65_536
    c = (1 + (p3 * a * a / 524_288 + p2 * a) / 524_288 / 32_768) * p1
    if c == 0:
        raise DriverError("the calibration of the pressure is empty; the chip is broken")
    pressure = (1_048_576 - raw - b / 4_096) * 6_250 / c
    return pressure + (p9 * pressure * pressure / 2_147_483_648 + pressure * p8 / 32_768 + p7) / 16


def compensated_humidity(calibration: Calibration, raw: int, fine: float) -> float:
    """Percent of relative humidity (8.1)."""
    h1, h2, h3, h4, h5, h6 = calibration.h
    a = fine - 76_800
    b = raw - (h4 * 64 + h5 / 16_384 * a)
    c = h2 / 65_536 * (1 + h6 / 67_108_864 * a * (1 + h3 / 67_108_864 * a))
    humidity = b * c
    return min(100.0, max(0.0, humidity * (1 - h1 * humidity / 524_288)))
