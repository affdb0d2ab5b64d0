"""Rohm BH1750FVI: illuminance. Datasheet rev. D, "Instruction set architecture" and the pages behind it."""

from typing import Final

from lichtmast.edge.drivers.chips import Link
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel

ADDRESSES: Final = (0x23, 0x5C)
ONE_TIME_HIGH: Final = b"\x20"  # one time H-resolution mode; the chip powers itself down afterwards
MEASURE_S: Final = 0.180  # H-resolution mode takes 180 ms at most
COUNTS_PER_LUX: Final = 1.2
SATURATED: Final = 0xFFFF


class Bh1750:
    """One measurement for every read, up to 54,611 lx; direct sun is more."""

    channels = (Channel("illuminance", "number", "lx"),)

    def measure(self, link: Link) -> dict[str, float]:
        """The illuminance. A saturated chip gives none: more light than it can measure is not 54,612 lx."""
        link.write(ONE_TIME_HIGH)
        link.wait(MEASURE_S)
        counts = int.from_bytes(link.read(2), "big")
        if counts == SATURATED:
            raise DriverError("the sensor is saturated: more light than it can measure")
        return {"illuminance": counts / COUNTS_PER_LUX}
