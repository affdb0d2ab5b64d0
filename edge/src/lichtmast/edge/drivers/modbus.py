"""Meters and lamp controllers on Modbus RTU (RS-485), through pymodbus and pyserial.

Options: `port`, `baudrate` (9600), `parity` ("N", "E", "O"), `stopbits` (1), `slave` (1), `timeout_s` (1), and a table
`[driver.register.NAME]` for each channel: `table` ("holding", "input", "coil", "discrete"), `address` (from 0, as it
travels), `type`, `word_order`, `scale`, `offset`, `unit`, `counter`, `writable`, and `slave` where it differs.

Will not: join registers into one request (meters differ in which gaps they allow), or speak TCP: what is reached over
a network belongs to a gateway.
"""

import logging
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import serial  # type: ignore[import-untyped]  # pyserial has no types; pymodbus needs it, and it must be said if missing
from pymodbus import ModbusException
from pymodbus.client import ModbusSerialClient
from pymodbus.pdu import ExceptionResponse, ModbusPDU

from lichtmast.edge.drivers import limits
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel, DriverContext
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.tables import Table
from lichtmast.wire.units import UNITS

TYPES: Final = tuple(one.name.lower() for one in ModbusSerialClient.DATATYPE if one.name not in {"STRING", "BITS"})
BIT_TABLES: Final = frozenset({"coil", "discrete"})
EXCEPTIONS: Final[Mapping[int, str]] = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "the device failed",
    5: "acknowledged, not done yet",
    6: "the device is busy",
    8: "the device's memory failed",
    10: "the gateway has no path",
    11: "the device behind the gateway does not answer",
}
"""MODBUS Application Protocol 1.1b3, section 7."""

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # we report each failure ourselves, once, in a line

SLAVE_MAX: Final = 247
ADDRESS_MAX: Final = 65_535
RETRIES: Final = 1


@dataclass(frozen=True, slots=True)
class Register:
    """Where one channel lies, and how its number becomes one in the channel's unit: value * scale + offset."""

    slave: int
    table: str
    address: int
    datatype: ModbusSerialClient.DATATYPE
    little: bool
    scale: float
    offset: float


class _Line(ModbusSerialClient):
    """pymodbus measures its patience by the wall clock: one step backwards and it waits for an hour. We do not."""

    def recv(self, size: int | None) -> bytes:  # noqa: ARG002 - the base class asks for as much as comes
        if self.socket is None:
            raise DriverError("the port is closed")
        # The first byte may take the timeout; what follows it is there, or comes with the next call.
        first: bytes = self.socket.read(1)
        return first + bytes(self.socket.read(self.socket.in_waiting))


class ModbusDriver:
    """All wanted channels of one serial line, whatever slaves they are on."""

    def __init__(self, options: Mapping[str, object], context: DriverContext) -> None:
        path = f"driver.{context.name}"
        table = Table(options, path)
        self._port = table.text("port")
        self._line = _Line(
            self._port,
            baudrate=table.whole("baudrate", 300, 4_000_000, 9_600),
            parity=table.choice("parity", ("N", "E", "O"), "N"),
            stopbits=table.whole("stopbits", 1, 2, 1),
            timeout=table.number("timeout_s", 0.02, 30, 1),
            retries=RETRIES,
        )
        slave = table.whole("slave", 1, SLAVE_MAX, 1)
        table.has("register")
        table.done()
        rows = options.get("register")
        if not isinstance(rows, Mapping) or not rows:
            raise SettingsError(f"[{path}] register is missing; write a table [driver.register.NAME] for each channel")
        tables = Table(rows, f"{path}.register", "driver.register")
        found = {name: _register(name, tables.table(name), slave) for name in rows}
        self.channels: tuple[Channel, ...] = tuple(channel for channel, _ in found.values())
        self._registers = {name: register for name, (_, register) in found.items()}
        self._wanted = [name for name in self._registers if name in context.wanted]

    def read(self) -> Mapping[str, float | bool | DriverError]:
        """The wanted channels one after the other; a slave that is silent is not asked a second time in one read."""
        values: dict[str, float | bool | DriverError] = {}
        silent: dict[int, DriverError] = {}
        for name in self._wanted:
            register = self._registers[name]
            try:
                values[name] = silent.get(register.slave) or self._read_one(register)
            except _SilentError as error:
                values[name] = silent[register.slave] = error
            except DriverError as error:
                values[name] = error
        if silent and len(silent) == len({self._registers[name].slave for name in self._wanted}):
            self.close()  # the whole line is silent: perhaps the adapter was pulled out and is another device now
        return values

    def write(self, channel: str, value: float | bool) -> None:  # noqa: FBT001 - it is the value
        """Set a coil or a holding register."""
        register = self._registers.get(channel)
        if register is None or not next(one.writable for one in self.channels if one.name == channel):
            raise DriverError(f"{channel} is not a writable register")
        self._connect()
        try:
            if register.table == "coil":
                answer = self._line.write_coil(register.address, bool(value), device_id=register.slave)
            else:
                words = _words(register, float(value))
                answer = self._line.write_registers(register.address, words, device_id=register.slave)
        except (ModbusException, serial.SerialException) as error:
            raise self._silent(register, error) from error
        self._checked(register, answer)

    def close(self) -> None:
        """Let go of the port."""
        self._line.close()  # type: ignore[no-untyped-call]  # pymodbus annotates all but this one

    def _connect(self) -> None:
        if not self._line.connect():
            raise DriverError(
                f"{self._port} cannot be opened: look whether the adapter is there, the agent is in group dialout, "
                "and no other program holds it"
            )

    def _read_one(self, register: Register) -> float | bool:
        self._connect()
        bits = register.table in BIT_TABLES
        count = 1 if bits else register.datatype.value[1]
        ask = {
            "holding": self._line.read_holding_registers,
            "input": self._line.read_input_registers,
            "coil": self._line.read_coils,
            "discrete": self._line.read_discrete_inputs,
        }[register.table]
        try:
            answer = ask(register.address, count=count, device_id=register.slave)
        except (ModbusException, serial.SerialException) as error:
            raise self._silent(register, error) from error
        self._checked(register, answer)
        if bits:
            return bool(answer.bits[0])
        if len(answer.registers) != count:
            raise DriverError(f"slave {register.slave} sent {len(answer.registers)} registers where {count} were asked")
        number = self._line.convert_from_registers(
            answer.registers, register.datatype, "little" if register.little else "big"
        )
        if not isinstance(number, int | float):
            raise DriverError(f"slave {register.slave} sent more than one number")
        return number * register.scale + register.offset

    def _checked(self, register: Register, answer: ModbusPDU) -> None:
        if isinstance(answer, ExceptionResponse):
            code = answer.exception_code
            raise DriverError(
                f"slave {register.slave} refuses {register.table} register {register.address}: "
                f"{EXCEPTIONS.get(code, 'unknown reason')} (exception {code})"
            )
        if answer.isError():
            raise DriverError(f"slave {register.slave} sent an answer that is none")

    def _silent(self, register: Register, error: Exception) -> "DriverError":
        if isinstance(error, OSError) or not self._line.connected:
            self.close()
            return DriverError(f"{self._port} broke off: look whether the adapter is still there")
        return _SilentError(
            f"slave {register.slave} on {self._port} gave no valid answer: look at its address, the baud rate, the "
            "parity and the wires"
        )


class _SilentError(DriverError):
    """Nothing came, or nothing with a right checksum from the right slave."""


def _register(name: str, table: Table, slave: int) -> tuple[Channel, Register]:
    place = table.choice("table", ("holding", "input", "coil", "discrete"), "holding")
    bits = place in BIT_TABLES
    datatype = "uint16" if bits else table.choice("type", TYPES, "uint16")
    register = Register(
        table.whole("slave", 1, SLAVE_MAX, slave),
        place,
        table.whole("address", 0, ADDRESS_MAX),
        ModbusSerialClient.DATATYPE[datatype.upper()],
        not bits and table.choice("word_order", ("big", "little"), "big") == "little",
        1.0 if bits else table.number("scale", -1e9, 1e9, 1),
        0.0 if bits else table.number("offset", -limits.NUMBER_MAX, limits.NUMBER_MAX, 0),
    )
    kind = "boolean" if bits else "counter" if table.flag("counter", default=False) else "number"
    unit = table.choice("unit", tuple(UNITS)) if not bits and table.has("unit") else None
    writable = table.flag("writable", default=False)
    table.done()
    if register.scale == 0:
        raise SettingsError(f"[driver register {name}] scale is 0, which would make every value the same")
    if writable and place in {"input", "discrete"}:
        raise SettingsError(f"[driver register {name}] writable: {place} registers can only be read")
    return Channel(name, kind, unit, writable), register


def _words(register: Register, value: float) -> list[int]:
    raw = (value - register.offset) / register.scale
    number = raw if register.datatype.name.startswith("FLOAT") else round(raw)
    try:
        return ModbusSerialClient.convert_to_registers(
            number, register.datatype, "little" if register.little else "big"
        )
    except (ModbusException, struct.error, OverflowError) as error:
        raise DriverError(f"{value:g} does not fit in a register of type {register.datatype.name.lower()}") from error
