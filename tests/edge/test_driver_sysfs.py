"""hwmon and IIO are read from a tree as the kernel lays it out; chips are found by name, whatever number they have."""

from pathlib import Path

import pytest

from lichtmast.edge.drivers import DriverContext, DriverError
from lichtmast.edge.drivers.sysfs import SysfsDriver
from lichtmast.edge.errors import SettingsError


def plant(root: Path, kind: str, number: int, at: str, files: dict[str, str]) -> Path:
    """A device in /sys/devices, and the link to it where its class or bus lists it: as on a Raspberry Pi."""
    device = root / "devices/platform/soc/fe804000.i2c/i2c-1" / at
    if kind == "hwmon":
        folder, listed = device / f"hwmon/hwmon{number}", root / "class/hwmon"
    else:
        folder, listed = device / f"iio:device{number}", root / "bus/iio/devices"
    folder.mkdir(parents=True)
    listed.mkdir(parents=True, exist_ok=True)
    (listed / folder.name).symlink_to(folder)
    if kind == "hwmon":
        (folder / "device").symlink_to(device)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def driver(root: Path, subsystem: str, chip: str, *wanted: str, **options: object) -> SysfsDriver:
    context = DriverContext("air", 1, frozenset(wanted), lambda: 0.0, lambda _: None)
    return SysfsDriver({"subsystem": subsystem, "chip": chip, "root": str(root)} | options, context)


def test_hwmon_values_come_in_senml_units(tmp_path: Path) -> None:
    plant(tmp_path, "hwmon", 0, "cpu", {"name": "cpu_thermal", "temp1_input": "48312"})
    files = {"name": "sht3x", "temp1_input": "-1250", "humidity1_input": "61400", "in0_input": "5120"}
    files |= {"curr1_input": "250", "power1_input": "36500000", "energy1_input": "7200000000"}
    plant(tmp_path, "hwmon", 1, "1-0044", files)
    one = driver(tmp_path, "hwmon", "sht3x", "temp1", "humidity1", "in0", "curr1", "power1", "energy1")
    expected = {"temp1": -1.25, "humidity1": 61.4, "in0": 5.12, "curr1": 0.25, "power1": 36.5, "energy1": 7200}
    assert one.read() == pytest.approx(expected)
    units = {channel.name: (channel.kind, channel.unit) for channel in one.channels}
    assert units["temp1"] == ("number", "Cel")
    assert units["energy1"] == ("counter", "J")


def test_iio_raw_values_take_their_offset_and_scale_from_the_channel_or_its_type(tmp_path: Path) -> None:
    # Recorded from a HDC1080: (21796 + -15887.515151) * 10.070800781 milli-degrees.
    files = {
        "name": "hdc1080",
        "in_temp_raw": "21796",
        "in_temp_offset": "-15887.515151",
        "in_temp_scale": "10.070800781",
    }
    files |= {"in_humidityrelative_raw": "20120", "in_humidityrelative_scale": "1.525878906"}
    files |= {"in_voltage0_raw": "1000", "in_voltage1_raw": "1000", "in_voltage_scale": "2", "in_voltage1_scale": "3"}
    files |= {"in_concentration_co2_raw": "415", "in_concentration_co2_scale": "0.0001"}
    files |= {"in_massconcentration_pm2p5_input": "12.5", "in_pressure_input": "101.325", "in_illuminance_input": "300"}
    plant(tmp_path, "iio", 3, "1-0040", files)
    names = ("in_temp", "in_humidityrelative", "in_voltage0", "in_voltage1", "in_concentration_co2")
    one = driver(tmp_path, "iio", "hdc1080", *names, "in_massconcentration_pm2p5", "in_pressure", "in_illuminance")
    assert one.read() == pytest.approx(
        {
            "in_temp": 59.5029,
            "in_humidityrelative": 30.7007,
            "in_voltage0": 2.0,
            "in_voltage1": 3.0,
            "in_concentration_co2": 415e-6,
            "in_massconcentration_pm2p5": 12.5e-9,
            "in_pressure": 101_325,
            "in_illuminance": 300,
        },
        rel=1e-4,
    )


def test_a_chip_is_found_again_when_its_number_changes(tmp_path: Path) -> None:
    folder = plant(tmp_path, "hwmon", 0, "1-0044", {"name": "sht3x", "temp1_input": "1000"})
    one = driver(tmp_path, "hwmon", "sht3x", "temp1")
    assert one.read() == {"temp1": 1.0}
    (tmp_path / "class/hwmon/hwmon0").unlink()
    folder.rename(folder.with_name("gone"))
    with pytest.raises(DriverError, match=r"no hwmon chip sht3x under .*; there is none"):
        one.read()
    plant(tmp_path, "hwmon", 5, "1-0045", {"name": "sht3x", "temp1_input": "2000"})
    assert one.read() == {"temp1": 2.0}


@pytest.mark.parametrize("subsystem", ["hwmon", "iio"])
def test_two_chips_of_one_name_are_told_apart_by_their_place(tmp_path: Path, subsystem: str) -> None:
    channel, file = ("temp1", "temp1_input") if subsystem == "hwmon" else ("in_temp", "in_temp_input")
    plant(tmp_path, subsystem, 0, "1-0044", {"name": "sht3x", file: "1000"})
    plant(tmp_path, subsystem, 1, "1-0045", {"name": "sht3x", file: "2000"})
    with pytest.raises(DriverError, match="2 chips are called sht3x; add at = one of 1-0044, 1-0045"):
        driver(tmp_path, subsystem, "sht3x", channel).read()
    assert driver(tmp_path, subsystem, "sht3x", channel, at="1-0045").read() == {channel: 2.0}
    with pytest.raises(DriverError, match=r"no .* chip sht3x at 1-0046 .*sht3x at 1-0044, sht3x at 1-0045"):
        driver(tmp_path, subsystem, "sht3x", channel, at="1-0046").read()


def test_one_bad_channel_leaves_the_others(tmp_path: Path) -> None:
    files = {
        "name": "max31865",
        "temp1_input": "1000",
        "temp2_input": "850000",
        "temp2_fault": "1",
        "temp3_input": "n/a",
    }
    plant(tmp_path, "hwmon", 0, "spi0.0", files)
    values = driver(tmp_path, "hwmon", "max31865", "temp1", "temp2", "temp3", "temp4").read()
    assert values["temp1"] == 1.0
    assert [str(values[name]) for name in ("temp2", "temp3", "temp4")] == [
        "the chip says that the sensor is broken or not connected",
        "temp3_input holds 'n/a', which is no number",
        "temp4_input cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("text", ["nan", "inf", "", "9" * 9_000, "\xff"])
def test_what_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    plant(tmp_path, "hwmon", 0, "1-0044", {"name": "sht3x", "temp1_input": text})
    assert isinstance(driver(tmp_path, "hwmon", "sht3x", "temp1").read()["temp1"], DriverError)


@pytest.mark.parametrize(
    ("subsystem", "name"), [("hwmon", "fan1"), ("hwmon", "temp"), ("iio", "temp"), ("iio", "in_x")]
)
def test_a_channel_that_the_kernel_has_not_is_refused_at_the_desk(tmp_path: Path, subsystem: str, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"\[driver.air\] channel '{name}' is none of {subsystem}: write it as"):
        driver(tmp_path, subsystem, "sht3x", name)


def test_sensors_cannot_be_written(tmp_path: Path) -> None:
    one = driver(tmp_path, "hwmon", "sht3x", "temp1")
    with pytest.raises(DriverError, match="only measure"):
        one.write("temp1", 1.0)
    one.close()
