"""Sensirion SHT30, SHT31, SHT35: temperature and humidity. Datasheet "SHT3x-DIS", sections 4.3 to 4.13."""

from typing import Final

from lichtmast.edge.drivers.chips import Link
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel

ADDRESSES: Final = (0x44, 0x45)
SINGLE_SHOT_HIGH: Final = b"\x24\x00"  # table 9: high repeatability, no clock stretching
MEASURE_S: Final = 0.016  # table 4: 15.5 ms at most
_CRC_POLYNOMIAL: Final = 0x31  # table 20: x8 + x5 + x4 + 1, begins with 0xFF
_FULL_SCALE: Final = 65_535.0


class Sht3x:
    """A single shot for every read: the chip sleeps in between and does not warm itself."""

    channels = (Channel("temperature", "number", "Cel"), Channel("humidity", "number", "%RH"))

    def measure(self, link: Link) -> dict[str, float]:
        """Temperature and relative humidity, both words checked."""
        link.write(SINGLE_SHOT_HIGH)
        link.wait(MEASURE_S)
        answer = link.read(6)
        temperature, humidity = _word(answer[:3]), _word(answer[3:])
        return {
            "temperature": -45 + 175 * temperature / _FULL_SCALE,
            "humidity": 100 * humidity / _FULL_SCALE,
        }


def crc8(data: bytes) -> int:
    """The checksum of table 20; of BE EF it is 92."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ _CRC_POLYNOMIAL if crc & 0x80 else crc << 1) & 0xFF
    return crc


def _word(part: bytes) -> int:
    if crc8(part[:2]) != part[2]:
        raise DriverError("the checksum of the answer is wrong: look for a long or disturbed cable")
    return int.from_bytes(part[:2], "big")
