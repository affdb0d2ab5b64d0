"""The I²C driver speaks through smbus2's own messages to a bus that answers with recorded bytes."""

import errno
import random
from collections.abc import Callable, Iterator

import pytest
from smbus2 import i2c_msg

from lichtmast.edge.drivers import DriverContext, DriverError, i2c
from lichtmast.edge.drivers.chips import bme280
from lichtmast.edge.drivers.chips.sht3x import crc8
from lichtmast.edge.drivers.i2c import CHIPS, I2cDriver
from lichtmast.edge.errors import SettingsError

# Bosch BST-BMP280-DS001, section 3.12: the worked example of the compensation. The humidity part (the BMP280 has none)
# is that of a BME280 on our table.
EXAMPLE = bme280.Calibration(
    (27_504, 26_435, -1_000),
    (36_477, -10_685, 3_024, 2_855, 140, -7, 15_500, -14_600, 6_000),
    (75, 362, 0, 321, 50, 30),
)
RAW_TEMPERATURE, RAW_PRESSURE = 519_888, 415_148


class EmulatedBus:
    """An I²C bus with one device: a function from what is written (None where nothing is) to what is read."""

    def __init__(self, address: int, answer: Callable[[bytes | None, int], bytes]) -> None:
        self.address = address
        self.answer = answer
        self.written: list[bytes] = []
        self.opened = self.closed = 0

    def open(self, _: int) -> "EmulatedBus":
        self.opened += 1
        return self

    def i2c_rdwr(self, *messages: i2c_msg) -> None:
        sent: bytes | None = None
        for message in messages:
            if message.addr != self.address:
                raise OSError(errno.EREMOTEIO, "Remote I/O error")
            if message.flags:
                for at, byte in enumerate(self.answer(sent, message.len)):
                    message.buf[at] = bytes([byte])
            else:
                sent = bytes(message)
                self.written.append(sent)

    def close(self) -> None:
        self.closed += 1


class Desk:
    """A driver on an emulated bus, and the times that it waited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chip: str, bus: EmulatedBus, **options: object) -> None:
        self.waited: list[float] = []
        monkeypatch.setattr(i2c, "SMBus", bus.open)
        context = DriverContext("air", 1, frozenset(), lambda: 0.0, self.waited.append)
        self.driver = I2cDriver({"chip": chip} | options, context)


def with_crc(*words: int) -> bytes:
    return b"".join(word.to_bytes(2, "big") + bytes([crc8(word.to_bytes(2, "big"))]) for word in words)


def test_the_checksum_is_the_one_of_the_datasheet() -> None:
    assert crc8(b"\xbe\xef") == 0x92


def test_sht3x_gives_temperature_and_humidity_after_the_time_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = EmulatedBus(0x44, lambda _, count: with_crc(0x6666, 0x8000)[:count])
    desk = Desk(monkeypatch, "sht3x", bus)
    assert desk.driver.read() == pytest.approx({"temperature": 25.0, "humidity": 50.0008}, rel=1e-5)
    assert (bus.written, desk.waited) == ([b"\x24\x00"], [0.016])


@pytest.mark.parametrize("bit", range(48))
def test_sht3x_every_flipped_bit_is_noticed(monkeypatch: pytest.MonkeyPatch, bit: int) -> None:
    answer = bytearray(with_crc(0x6666, 0x8000))
    answer[bit // 8] ^= 1 << bit % 8
    desk = Desk(monkeypatch, "sht3x", EmulatedBus(0x44, lambda _, count: bytes(answer)[:count]))
    with pytest.raises(DriverError, match="checksum"):
        desk.driver.read()


def test_bh1750_gives_the_lux_of_the_datasheets_example(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = EmulatedBus(0x5C, lambda _, __: b"\x83\x90")
    desk = Desk(monkeypatch, "bh1750", bus, address=0x5C)
    assert desk.driver.read() == pytest.approx({"illuminance": 28_067}, abs=0.5)
    assert (bus.written, desk.waited) == ([b"\x20"], [0.18])


def test_bh1750_says_that_it_is_saturated_and_not_54_612_lux(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "bh1750", EmulatedBus(0x23, lambda _, __: b"\xff\xff"))
    with pytest.raises(DriverError, match="saturated"):
        desk.driver.read()


def registers(calibration: bme280.Calibration, data: bytes, *, chip: int = 0x60, status: int = 0) -> dict[int, bytes]:
    """The registers of a BME280 as section 5.3 lays them out."""
    h1, h2, h3, h4, h5, h6 = calibration.h
    words = [word.to_bytes(2, "little", signed=word < 0) for word in (*calibration.t, *calibration.p)]
    first = b"".join(words) + b"\0" + bytes([h1])
    second = h2.to_bytes(2, "little", signed=True) + bytes([h3])
    second += bytes([h4 >> 4 & 0xFF, h4 & 0x0F | (h5 & 0x0F) << 4, h5 >> 4 & 0xFF, h6 & 0xFF])
    return {0xD0: bytes([chip]), 0x88: first, 0xE1: second, 0xF3: bytes([status]), 0xF7: data}


def measured(temperature: int, pressure: int, humidity: int) -> bytes:
    return (pressure << 4).to_bytes(3, "big") + (temperature << 4).to_bytes(3, "big") + humidity.to_bytes(2, "big")


def bme280_bus(table: dict[int, bytes]) -> EmulatedBus:
    return EmulatedBus(0x76, lambda sent, count: table[(sent or b"\0")[0]][:count])


def test_bme280_gives_the_values_of_the_datasheets_example(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = bme280_bus(registers(EXAMPLE, measured(RAW_TEMPERATURE, RAW_PRESSURE, 30_000)))
    values = Desk(monkeypatch, "bme280", bus).driver.read()
    assert values["temperature"] == pytest.approx(25.08, abs=0.005)
    assert values["pressure"] == pytest.approx(100_653.27, abs=0.05)


@pytest.mark.parametrize("h4_h5", [(321, 50), (-1, -1), (-2_048, 2_047), (2_047, -2_048)])
def test_bme280_unpacks_the_two_words_of_twelve_bits_with_their_signs(h4_h5: tuple[int, int]) -> None:
    calibration = bme280.Calibration(EXAMPLE.t, EXAMPLE.p, (75, 362, 0, *h4_h5, -30))
    table = registers(calibration, b"")
    assert bme280.Calibration.from_registers(table[0x88], table[0xE1]) == calibration


def humidity_by_integers(calibration: bme280.Calibration, raw: int, fine: int) -> float:
    """The datasheet's 32-bit integer formula (section 4.2.3), another road to the same number."""
    h1, h2, h3, h4, h5, h6 = calibration.h
    value = fine - 76_800
    scaled = ((raw << 14) - (h4 << 20) - h5 * value + 16_384) >> 15
    factor = ((((((value * h6) >> 10) * (((value * h3) >> 11) + 32_768)) >> 10) + 2_097_152) * h2 + 8_192) >> 14
    value = scaled * factor
    value -= ((((value >> 15) * (value >> 15)) >> 7) * h1) >> 4
    return (min(max(value, 0), 419_430_400) >> 12) / 1_024


def some_raws() -> Iterator[tuple[int, int]]:
    chance = random.Random(3)  # noqa: S311 - repeatable
    return ((chance.randrange(20_000, 50_000), chance.randrange(400_000, 600_000)) for _ in range(300))


def test_bme280_humidity_agrees_with_the_datasheets_integer_formula() -> None:
    for raw, raw_temperature in some_raws():
        _, fine = bme280.compensated_temperature(EXAMPLE, raw_temperature)
        expected = humidity_by_integers(EXAMPLE, raw, round(fine))
        assert bme280.compensated_humidity(EXAMPLE, raw, fine) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (registers(EXAMPLE, measured(0, 0, 0), chip=0x58), "a BMP280 0x58"),
        (registers(EXAMPLE, measured(0, 0, 0), status=8), "still measuring"),
        (registers(EXAMPLE, measured(0x80000, 0x80000, 0x8000)), "did not measure"),
    ],
)
def test_bme280_answers_that_cannot_be_right_are_refused(
    monkeypatch: pytest.MonkeyPatch, table: dict[int, bytes], reason: str
) -> None:
    with pytest.raises(DriverError, match=reason):
        Desk(monkeypatch, "bme280", bme280_bus(table)).driver.read()


def test_after_a_failure_the_bus_is_opened_anew_and_the_calibration_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    table = registers(EXAMPLE, measured(RAW_TEMPERATURE, RAW_PRESSURE, 30_000))
    bus = bme280_bus(table)
    desk = Desk(monkeypatch, "bme280", bus)
    desk.driver.read()
    desk.driver.read()
    assert bus.written.count(b"\x88") == 1
    bus.address = 0x77
    with pytest.raises(DriverError, match="nothing answers at 0x76 on /dev/i2c-1"):
        desk.driver.read()
    bus.address = 0x76
    desk.driver.read()
    assert (bus.opened, bus.closed, bus.written.count(b"\x88")) == (2, 1, 2)
    desk.driver.close()
    desk.driver.close()
    assert bus.closed == 2


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.ENOENT, "i2c_arm"), (errno.EACCES, "group i2c"), (errno.ETIMEDOUT, "/dev/i2c-1: timed out")],
)
def test_a_bus_that_cannot_be_opened_says_what_to_do(monkeypatch: pytest.MonkeyPatch, code: int, reason: str) -> None:
    def refuse(_: int) -> None:
        raise OSError(code, "timed out")

    desk = Desk(monkeypatch, "sht3x", EmulatedBus(0, lambda _, __: b""))
    monkeypatch.setattr(i2c, "SMBus", refuse)
    with pytest.raises(DriverError, match=reason):
        desk.driver.read()


def test_options_are_checked_at_the_desk_without_a_bus() -> None:
    context = DriverContext("air", 1, frozenset(), lambda: 0.0, lambda _: None)
    for chip in CHIPS:
        assert I2cDriver({"chip": chip, "bus": 200}, context).channels
    for options in ({"chip": "sht4x"}, {"chip": "sht3x", "address": 0x40}, {"chip": "sht3x", "speed": 1}):
        with pytest.raises(SettingsError, match=r"^\[driver.air\] "):
            I2cDriver(options, context)
