"""Chips on an I²C bus, through smbus2 and /dev/i2c-N.

Options: `chip` (bh1750, bme280, sht3x), `bus` (1), `address` (the chip's first).

Will not: share one chip with a kernel driver. Where the kernel has a driver for the chip, `sysfs` is the better choice.
"""

import errno
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final

from smbus2 import SMBus, i2c_msg

from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel, DriverContext
from lichtmast.edge.tables import Table

if TYPE_CHECKING:
    from lichtmast.edge.drivers.chips import Chip

CHIPS: Final[Mapping[str, str]] = {"bh1750": "Bh1750", "bme280": "Bme280", "sht3x": "Sht3x"}
"""The class of each chip in the module of its name."""

BUS_MAX: Final = 255
_NO_ANSWER: Final = frozenset({errno.ENXIO, errno.EREMOTEIO, errno.ENODEV})


class I2cDriver:
    """One chip at one address. The bus is opened with the first read, and anew after every failure."""

    def __init__(self, options: Mapping[str, object], context: DriverContext) -> None:
        table = Table(options, f"driver.{context.name}")
        kind = table.choice("chip", tuple(CHIPS))
        module = import_module(f"lichtmast.edge.drivers.chips.{kind}")
        self._make: Callable[[], Chip] = getattr(module, CHIPS[kind])
        self._bus = table.whole("bus", 0, BUS_MAX, 1)
        addresses: tuple[int, ...] = module.ADDRESSES
        self._address = table.whole("address", min(addresses), max(addresses), addresses[0])
        table.done()
        self.channels: tuple[Channel, ...] = self._make().channels
        self._sleep_s = context.sleep_s
        self._open: tuple[Chip, SMBus] | None = None

    def read(self) -> Mapping[str, float]:
        """One measurement of the chip."""
        try:
            chip, bus = self._open = self._open or (self._make(), SMBus(self._bus))
            return chip.measure(_BusLink(bus, self._address, self._sleep_s))
        except DriverError:
            self.close()
            raise
        except OSError as error:
            self.close()
            if error.errno == errno.ENOENT:
                raise DriverError(f"/dev/i2c-{self._bus} is not there: switch I2C on (dtparam=i2c_arm=on)") from error
            if error.errno == errno.EACCES:
                raise DriverError(f"/dev/i2c-{self._bus} may not be opened: add the agent to group i2c") from error
            if error.errno in _NO_ANSWER:
                where = f"0x{self._address:02x} on /dev/i2c-{self._bus}"
                raise DriverError(f"nothing answers at {where}: look at the wires and the address") from error
            raise DriverError(f"/dev/i2c-{self._bus}: {error.strerror}") from error

    def write(self, channel: str, value: float | bool) -> None:  # noqa: ARG002, FBT001 - the port's signature
        """There is no actuator here."""
        raise DriverError(f"{channel} cannot be set: these chips only measure")

    def close(self) -> None:
        """Close the bus."""
        opened, self._open = self._open, None
        if opened is not None:
            with suppress(OSError):
                opened[1].close()


class _BusLink:
    """One address of a bus, as a Link; the OSErrors of the bus go through to the driver."""

    def __init__(self, bus: SMBus, address: int, sleep_s: Callable[[float], None]) -> None:
        self._bus = bus
        self._address = address
        self.wait = sleep_s

    def write(self, data: bytes) -> None:
        self._bus.i2c_rdwr(i2c_msg.write(self._address, data))

    def read(self, count: int) -> bytes:
        message = i2c_msg.read(self._address, count)
        self._bus.i2c_rdwr(message)
        return bytes(message)

    def read_register(self, register: int, count: int) -> bytes:
        message = i2c_msg.read(self._address, count)
        self._bus.i2c_rdwr(i2c_msg.write(self._address, [register]), message)
        return bytes(message)
