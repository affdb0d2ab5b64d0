"""docs/reference/edge-drivers.md: its examples run, and it names every kind, option and statistic that there is."""

import asyncio
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lichtmast.edge.drivers import Channel, DriverContext, Worker, build_driver, limits
from lichtmast.edge.drivers.gpio import BIASES, EDGES
from lichtmast.edge.drivers.i2c import CHIPS
from lichtmast.edge.drivers.loading import OURS
from lichtmast.edge.drivers.modbus import TYPES
from lichtmast.edge.drivers.simulated import SHAPES
from lichtmast.edge.drivers.sysfs import HWMON, IIO
from lichtmast.edge.sampling import Sampler, faults_of, read_drivers
from lichtmast.edge.sampling.aggregate import STATISTICS
from lichtmast.edge.sampling.counting import FLOWS
from lichtmast.edge.tables import Table
from lichtmast.wire.profile import load_profiles

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "edge-drivers.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?s)```{language}\n(.*?)```", PAGE)


def told(name: str) -> bool:
    return f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "names", [OURS, CHIPS, SHAPES, STATISTICS, FLOWS, BIASES, EDGES], ids=lambda one: ",".join(list(one)[:3])
)
def test_every_name_that_can_be_chosen_is_on_the_page(names: Iterable[str]) -> None:
    assert [one for one in names if not told(one)] == []


def test_every_kind_of_sensor_of_the_kernel_is_on_the_page() -> None:
    assert [one for one in HWMON if not re.search(rf"`{one}\d`", PAGE)] == []
    assert [one for one in IIO if f"`in_{one}" not in PAGE] == []
    assert [one for one in TYPES if not re.search(rf"\b{one}\b", PAGE)] == []


def test_the_limits_on_the_page_are_the_ones_of_the_code() -> None:
    assert (
        f"| {limits.READ_TIMEOUT_S} | longest call, {limits.READ_TIMEOUT_S_MIN} to {limits.READ_TIMEOUT_S_MAX}" in PAGE
    )
    assert f"{limits.REPLACE_AFTER_S / 60:.0f} minutes" in PAGE
    assert {4: "four"}[limits.ABANDONED_MAX + 1] + " calls never returned" in PAGE
    assert f"after {limits.RETRY_S:.0f} s, 2 s ... {limits.RETRY_S_MAX:.0f} s" in PAGE


SOME: dict[str, list[dict[str, Any]]] = {
    "gpio": [{"chip": "x", "line": {"c": {"line": 1, "mode": mode}}} for mode in ("input", "output", "count")],
    "i2c": [{"chip": chip} for chip in CHIPS],
    "modbus": [{"port": "/dev/x", "register": {"c": {"address": 0, "table": table}}} for table in ("holding", "coil")],
    "simulated": [
        {
            "channel": {
                "c": {
                    "shape": shape,
                    **({"unit": "lx"} if shape not in {"switch", "passers"} else {}),
                    **({"value": 1} if shape == "constant" else {}),
                    **({"rate_per_s": 1} if shape == "counter" else {}),
                    **({"mean": 1, "swing": 1} if shape == "sine" else {}),
                    **({"low": 0, "high": 1} if shape == "steps" else {}),
                    **({"begin": 1, "step": 1, "least": 0, "most": 2} if shape == "walk" else {}),
                }
            }
        }
        for shape in SHAPES
    ],
    "sysfs": [{"subsystem": "hwmon", "chip": "x"}],
}


@pytest.mark.parametrize("kind", OURS)
def test_every_option_that_a_driver_asks_for_is_on_the_page(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    done = Table.done

    def remember(table: Table) -> None:
        asked.update(table._asked)
        done(table)

    monkeypatch.setattr(Table, "done", remember)
    for options in SOME[kind]:
        build_driver(kind, options, DriverContext("d", 1, frozenset({"temp1"}), lambda: 0.0, lambda _: None))
    assert asked
    containers = {"channel", "register", "line"}
    assert [one for one in sorted(asked - containers) if not told(one) and f"\n{one} = " not in PAGE] == []


def test_every_toml_example_is_accepted() -> None:
    examples = [tomllib.loads(one) for one in blocks("toml")]
    (whole,) = (
        one for one in examples if "driver" in one and isinstance(one["driver"], list) and "kind" in one["driver"][0]
    )
    drivers = read_drivers(whole["driver"])
    (counted,) = (one for one in examples if "counted" in str(one) and one is not whole)
    read_drivers([{"name": "eye", "kind": "acme", "reading": counted["driver"]["reading"]}])
    (register,) = (one for one in examples if "register" in str(one))
    options = {"port": "/dev/x", **register["driver"]}
    build_driver("modbus", options, DriverContext("d", 1, frozenset(), lambda: 0.0, lambda _: None))
    channels = {"microphone": (Channel("in_voltage0", "number", "V"),)}
    assert faults_of(drivers, channels, load_profiles()["noise"]) == []


def test_the_worked_example_of_a_driver_measures_rain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (one for one in blocks("python") if "class RainDriver" in one)
    (announced,) = (one for one in blocks("toml") if "entry-points" in one)
    entry_points = tomllib.loads(announced)["project"]["entry-points"]
    (tmp_path / "acme_rain.py").write_text(code)
    info = tmp_path / "acme_rain-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rain\nVersion: 1.0\n")
    lines = [f"[{group}]\n{name} = {target}\n" for group, rows in entry_points.items() for name, target in rows.items()]
    (info / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    gauge = tmp_path / "gauge"
    rows = [
        {
            "name": "gauge",
            "kind": "rain",
            "path": str(gauge),
            "reading": [{"channel": "rain", "statistics": {"increase": "/weather/0/rain"}}],
        }
    ]

    async def scenario() -> None:
        (driver,) = drivers = read_drivers(rows)
        context = DriverContext(driver.name, 1, driver.wanted, lambda: 0.0, lambda _: None)
        told: list[str] = []
        now_s = 0.0
        worker = Worker(
            driver.name,
            lambda: build_driver(driver.kind, driver.options, context),
            wanted=driver.wanted,
            seed=1,
            monotonic_s=lambda: now_s,
            on_refused=lambda _, reason: told.append(reason),
        )
        channels = {driver.name: worker.channels}
        assert faults_of(drivers, channels, load_profiles()["weather"]) == []
        sampler = Sampler(drivers, channels, now_s=0.0, fresh_salt=bytes)
        assert await worker.read() == {}
        assert told == [f"{gauge} gives no line like 'tips 1234'"]
        for tips in (1_000, 1_005):
            now_s += limits.RETRY_S_MAX
            gauge.write_text(f"tips {tips}\n")
            sampler.take(driver.name, await worker.read(), now_s)
        (reading,) = sampler.report(now_s).readings
        assert (reading.suffix, reading.unit) == ("/weather/0/rain", "m")
        assert reading.value == pytest.approx(0.001)
        await worker.close()

    asyncio.run(scenario())


def test_the_worked_example_says_what_is_wrong_with_its_options(tmp_path: Path) -> None:
    (code,) = (one for one in blocks("python") if "class RainDriver" in one)
    names: dict[str, Any] = {}
    exec(compile(code, str(tmp_path / "acme_rain.py"), "exec"), names)  # noqa: S102 - our own page
    with pytest.raises(Exception, match="path is missing"):
        names["RainDriver"]({}, None)
