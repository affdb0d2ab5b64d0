"""A real agent's driver measures the same street as the light device of the same name."""

from importlib.metadata import entry_points
from typing import Any

import pytest

from lichtmast.edge.drivers.loading import build_driver
from lichtmast.edge.drivers.port import DriverContext
from lichtmast.edge.drivers.values import checked_channels, checked_values
from lichtmast.firmware_sim import Curves, street_driver
from lichtmast.firmware_sim.scenario import ScenarioError
from lichtmast.firmware_sim.street_driver import StreetDriver
from lichtmast.wire.profile import load_profiles

NOW_US = 1_795_000_000_000_000
OPTIONS: dict[str, Any] = {
    "device": "gm0402/lm-0001",
    "profile": "noise",
    "seed": 7,
    "longitude": 5.17,
    "latitude": 52.22,
}
CONTEXT = DriverContext("street", 1, frozenset({"level"}), lambda: 0.0, lambda _: None)


@pytest.mark.parametrize("profile", list(load_profiles()))
def test_it_says_what_the_light_device_says(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(street_driver, "now_us", lambda: NOW_US)
    driver = StreetDriver(OPTIONS | {"profile": profile}, CONTEXT)
    curves = Curves(load_profiles()[profile], seed=7, device="gm0402/lm-0001", longitude=5.17, latitude=52.22)
    assert list(driver.read().values()) == [value for _, _, value in curves.values(NOW_US)]
    assert [one.name for one in driver.channels] == [one.key for one in load_profiles()[profile].uplinks]


@pytest.mark.parametrize("profile", list(load_profiles()))
def test_an_agent_finds_it_and_takes_all_it_says(profile: str) -> None:
    assert [one.value for one in entry_points(group="lichtmast.edge.drivers", name="street")] == [
        "lichtmast.firmware_sim.street_driver:StreetDriver"
    ]
    driver = build_driver("street", OPTIONS | {"profile": profile}, CONTEXT)
    channels = checked_channels(driver)
    wanted = frozenset(one.name for one in channels)
    good, refused = checked_values(channels, wanted, driver.read(), repr)
    assert refused == {}
    assert set(good) == wanted


def test_what_happens_around_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(street_driver, "now_us", lambda: NOW_US)
    around = {"kind": "festival", "start_s": NOW_US / 1e6 - 7_200, "end_s": NOW_US / 1e6 + 7_200}
    quiet, loud = (
        StreetDriver(options, CONTEXT).read()["level"] for options in (OPTIONS, OPTIONS | {"happening": [around]})
    )
    assert float(loud) > float(quiet) + 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"profile": "toaster"}, r"\[driver.street\]: profile is 'toaster'; choose air-quality"),
        ({"seed": "7"}, r"\[driver.street\]: seed is 7; give a whole number"),
        ({"longitud": 5}, r"\[driver.street\]: longitud is not known here"),
        ({"happening": [{"kind": "war"}]}, r"number 1: kind is 'war'"),
    ],
)
def test_wrong_options_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        StreetDriver(OPTIONS | change, CONTEXT)


def test_nothing_here_can_be_moved() -> None:
    driver = StreetDriver(OPTIONS, CONTEXT)
    with pytest.raises(ScenarioError, match="level cannot be set"):
        driver.write("level", 1.0)
    driver.close()
    driver.close()
