"""The simulated driver is repeatable by its seed, and misbehaves when its control file says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from lichtmast.edge.drivers import DriverContext, DriverError, Identifiers
from lichtmast.edge.drivers.simulated import SHAPES, SimulatedDriver
from lichtmast.edge.errors import SettingsError

CHANNELS: dict[str, dict[str, Any]] = {
    "still": {"shape": "constant", "unit": "Cel", "value": 20},
    "meter": {"shape": "counter", "unit": "J", "rate_per_s": 2.5, "begin": 100},
    "light": {"shape": "daylight", "unit": "lx"},
    "people": {"shape": "passers"},
    "level": {"shape": "sine", "unit": "dB", "mean": 55, "swing": 10, "period_s": 100},
    "lamp": {"shape": "steps", "unit": "/", "low": 0, "high": 1, "period_s": 10},
    "relay": {"shape": "switch", "writable": True},
    "air": {"shape": "walk", "unit": "%RH", "begin": 50, "step": 2, "least": 45, "most": 55},
}


class Turned:
    """A driver, its clock and the sleeps that it asked for."""

    def __init__(self, seed: int = 1, channels: dict[str, Any] | None = None, **options: object) -> None:
        self.now_s = 500.0
        self.slept: list[float] = []
        context = DriverContext("town", seed, frozenset(CHANNELS), lambda: self.now_s, self.slept.append)
        self.driver = SimulatedDriver({"channel": channels or CHANNELS} | options, context)

    def at(self, elapsed_s: float) -> dict[str, Any]:
        self.now_s = 500.0 + elapsed_s
        return dict(self.driver.read())


def test_every_shape_is_shown_here() -> None:
    assert sorted(one["shape"] for one in CHANNELS.values()) == list(SHAPES)


def test_the_same_seed_gives_the_same_values_and_another_seed_others() -> None:
    def history(seed: int) -> list[tuple[float, list[bytes]]]:
        turned = Turned(seed)
        values = [turned.at(second) for second in range(20)]
        return [(one["air"], list(one["people"])) for one in values]

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_the_curves_are_what_their_names_say() -> None:
    turned = Turned()
    assert [turned.at(second)["lamp"] for second in (0, 5, 10)] == [0, 1, 0]
    assert [round(turned.at(second)["level"]) for second in (0, 25, 75)] == [55, 65, 45]
    assert [round(turned.at(second)["light"]) for second in (0, 21_600, 64_800)] == [0, 20_000, 0]
    assert [turned.at(second)["meter"] for second in (0, 100)] == [100, 350]
    assert all(45 <= turned.at(second)["air"] <= 55 for second in range(1_000))
    assert len(turned.at(0)["people"]) == 3


def test_what_is_written_to_an_actuator_is_read_back() -> None:
    turned = Turned()
    assert turned.at(0)["relay"] is False
    turned.driver.write("relay", value=True)
    assert turned.at(1)["relay"] is True
    with pytest.raises(DriverError, match="still is not a writable channel"):
        turned.driver.write("still", 1.0)


def test_the_control_file_makes_it_lie_hang_and_raise(tmp_path: Path) -> None:
    control = tmp_path / "control.json"
    turned = Turned(control=str(control))
    assert turned.at(0)["still"] == 20
    control.write_text(json.dumps({"values": {"still": "warm"}, "identifiers": {"people": ["a", "b"]}}))
    assert turned.at(1)["still"] == "warm"
    people = turned.at(1)["people"]
    assert isinstance(people, Identifiers)
    assert list(people) == [b"a", b"b"]
    control.write_text(json.dumps({"hang_s": 60, "raise": "unplugged"}))
    with pytest.raises(DriverError, match=r"^unplugged$"):
        turned.at(2)
    assert turned.slept == [60]
    for broken in ("{", "[]"):
        control.write_text(broken)
        with pytest.raises(DriverError, match="control file"):
            turned.at(3)
    control.unlink()
    assert turned.at(4)["still"] == 20


@pytest.mark.parametrize(
    ("channels", "reason"),
    [
        ({}, r"\[driver.town\] channel is missing"),
        ({"a": {"shape": "square"}}, r"\[driver.town.channel.a\] shape is 'square'; choose constant"),
        ({"a": {"shape": "constant", "unit": "celsius", "value": 1}}, "unit is 'celsius'"),
        ({"a": {"shape": "constant", "unit": "Cel", "value": 1, "period_s": 2}}, "period_s is not a setting"),
        ({"a": {"shape": "sine", "unit": "Cel", "mean": 1, "swing": 1, "writable": True}}, "writable is not a setting"),
        ({"a": 1}, "is not a table"),
        ({"a": [{"shape": "sine"}]}, r"driver.town.channel.a is not a table; write \[driver.channel.a\]$"),
    ],
)
def test_wrong_options_say_what_to_mend(channels: dict[str, Any], reason: str) -> None:
    context = DriverContext("town", 1, frozenset(), lambda: 0.0, lambda _: None)
    with pytest.raises(SettingsError, match=reason):
        SimulatedDriver({"channel": channels}, context)
