"""A scenario file is read whole, or refused with the table, the key, and what would be right."""

import json
import math
import tomllib
from pathlib import Path

import pytest

from lichtmast.firmware_sim.happenings import Kind
from lichtmast.firmware_sim.limits import DEVICES_MAX, SPEED_MAX
from lichtmast.firmware_sim.scenario import ScenarioError, parse_scenario, read_points, read_scenario
from lichtmast.firmware_sim.scenario.parts import KNOBS, Fault, FaultKind, Scenario

FOLDER = Path("/somewhere")
WHOLE = """
[town]
tenant = "gm0402"
seed = 7
devices = 40
interval_s = 60
assets = "poles.geojson"

[time]
from = 2026-06-20T06:00:00+02:00
speed = 60

[weather]
season = "summer"
warmer_cel = 4
wetter = 2
windier = 0.5

[[device]]
profile = "noise"
share = 0.75
transport = "coap"
format = "cbor"

[[device]]
profile = "lamp-controller"
share = 0.25
fidelity = "agent"

[[event]]
kind = "festival"
centre = [5.17, 52.22]
radius_m = 300
start_s = 3600
duration_s = 7200
strength = 2

[[fault]]
kind = "spike"
profile = "noise"
channel = "level"
share = 0.1
start_s = 60
duration_s = 600
chance = 0.2
"""


def parsed(text: str) -> Scenario:
    return parse_scenario(tomllib.loads(text), FOLDER)


def test_a_whole_scenario_is_read() -> None:
    scenario = parsed(WHOLE)
    assert (scenario.seed, scenario.devices, scenario.interval_s) == (7, 40, 60)
    assert scenario.assets == FOLDER / "poles.geojson"
    assert (scenario.from_s, scenario.speed) == (1_781_928_000.0, 60)
    assert (scenario.climate.season, scenario.climate.warmer_cel) == ("summer", 4)
    assert [(one.profile, one.share, one.is_agent) for one in scenario.mix] == [
        ("noise", 0.75, False),
        ("lamp-controller", 0.25, True),
    ]
    assert scenario.mix[0].content_format == 112
    (event,) = scenario.events
    assert (event.kind, event.area.centre, event.strength) == (Kind.FESTIVAL, (5.17, 52.22), 2)
    (fault,) = scenario.faults
    assert (fault.kind, fault.channel, fault.knob("chance"), fault.knob("range_share")) == (
        FaultKind.SPIKE,
        "level",
        0.2,
        0.5,
    )


def test_an_empty_file_is_an_ordinary_town() -> None:
    assert parsed("") == Scenario()
    assert Fault(FaultKind.STUCK).duration_s == math.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seed = 7", "sede = 7"), r"\[town\]: sede is not known here; known are assets, devices, interval_s, seed"),
        (("seed = 7", 'seed = "7"'), r"\[town\]: seed is 7; give a whole number"),
        (("seed = 7", "seed = -1"), r"\[town\]: seed is -1; give a whole number from 0"),
        (("devices = 40", "devices = 0"), r"\[town\]: devices is 0; give a whole number from 1 to 20000"),
        (("interval_s = 60", "interval_s = nan"), r"\[town\]: interval_s is not a number"),
        (("interval_s = 60", "interval_s = 0"), r"\[town\]: interval_s is 0; give 0.01 to 86400"),
        (("gm0402", "hilversum"), r"\[town\]: tenant is 'hilversum'; give gm and four digits"),
        (("+02:00", ""), r"\[time\]: from is not a date-time with its offset"),
        (("from = 2026-06-20T06:00:00+02:00", ""), r"\[time\]: speed needs a start"),
        (("speed = 60", f"speed = {SPEED_MAX + 1}"), r"\[time\]: speed is 100001.0; give 0.001 to 100000"),
        (('"summer"', '"monsoon"'), r"\[weather\]: season is 'monsoon'; choose winter, spring, summer, autumn"),
        (("wetter = 2", "wetter = true"), r"\[weather\]: wetter is not a number"),
        (("share = 0.75", "share = 0.7"), r"\[\[device\]\]: the shares add up to 0.95; they must make 1"),
        (('"coap"', '"smoke"'), r"\[\[device\]\] number 1: transport is 'smoke'; choose alternate, mqtt, coap"),
        (('"cbor"', '"xml"'), r"\[\[device\]\] number 1: format is 'xml'"),
        (('"agent"', '"full"'), r"\[\[device\]\] number 2: fidelity is 'full'; choose light, agent"),
        (('profile = "lamp-controller"', ""), r"\[\[device\]\] number 2: profile is missing"),
        (('"festival"', '"war"'), r"\[\[event\]\] number 1: kind is 'war'; choose lamp_failure, flood"),
        (("[5.17, 52.22]", "[52.22, 595]"), r"\[\[event\]\] number 1: centre is not \[longitude, latitude\]"),
        (("[5.17, 52.22]", "5.17"), r"\[\[event\]\] number 1: centre is not \[longitude, latitude\]"),
        (("radius_m = 300", ""), r"\[\[event\]\] number 1: radius_m is missing"),
        (("radius_m = 300", 'radius_m = 300\nassets = ["a"]'), r"number 1: assets and centre are both there"),
        (("duration_s = 7200", "duration_s = 0"), r"\[\[event\]\] number 1: duration_s is 0; give 1 to"),
        (('"spike"', '"spikes"'), r"\[\[fault\]\] number 1: kind is 'spikes'; choose drift, stuck, spike"),
        (('"level"', '"loudness"'), r"number 1: channel is 'loudness'; the numbers of noise are level, minimum"),
        (("chance = 0.2", "chance = 2"), r"\[\[fault\]\] number 1: chance is 2; give 0 to 1"),
        (("chance = 0.2", "copies = 2"), r"\[\[fault\]\] number 1: copies is not known here"),
        (("share = 0.1", 'share = 0.1\ndevices = ["a"]'), r"number 1: devices are named already"),
        (('kind = "spike"', 'kind = "flood"'), r"number 1: channel has no meaning for flood"),
        (("[town]", "town = 1\n[other]"), r"\[town\] is not a table"),
        (("[[fault]]", "[fault]"), r"fault is not a list of tables; write \[\[fault\]\]"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(change: tuple[str, str], message: str) -> None:
    assert change[0] in WHOLE
    with pytest.raises(ScenarioError, match=message):
        parsed(WHOLE.replace(*change))


def test_limits_are_reached_and_not_passed() -> None:
    assert parsed(f"[town]\ndevices = {DEVICES_MAX}").devices == DEVICES_MAX
    with pytest.raises(ScenarioError, match="devices is 20001"):
        parsed(f"[town]\ndevices = {DEVICES_MAX + 1}")


@pytest.mark.parametrize("kind", list(FaultKind))
def test_every_knob_can_be_turned_to_both_its_ends(kind: FaultKind) -> None:
    for name, knob in KNOBS[kind].items():
        for value in (knob.low, knob.high):
            (fault,) = parsed(f'[[fault]]\nkind = "{kind.value}"\n{name} = {float(value)}').faults
            assert fault.knob(name) == value


def test_a_file_that_is_no_scenario_is_named(tmp_path: Path) -> None:
    file = tmp_path / "town.toml"
    with pytest.raises(ScenarioError, match=r"town\.toml: No such file"):
        read_scenario(file)
    file.write_text("[town\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"town\.toml: not TOML"):
        read_scenario(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ScenarioError, match=r"town\.toml: not TOML"):
        read_scenario(file)
    file.write_text("[town]\nseeds = 1", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"town\.toml: \[town\]: seeds"):
        read_scenario(file)


def point(key: object, place: object = (5.1, 52.2), **more: object) -> dict[str, object]:
    geometry = {"type": "Point", "coordinates": place}
    return {"type": "Feature", "geometry": geometry, "properties": {"id": key}} | more


def geojson(tmp_path: Path, *features: object) -> Path:
    file = tmp_path / "poles.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return file


def test_points_become_assets_by_their_id(tmp_path: Path) -> None:
    file = geojson(tmp_path, point("a"), point(None), point("x", [5.2, 52.3, 1.0], id=9))
    assert read_points(file) == [("a", 5.1, 52.2), ("1", 5.1, 52.2), ("9", 5.2, 52.3)]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "no feature in it"),
        ([point("a"), point("a")], "two features have the same id"),
        ([1], "feature 0 has no geometry"),
        ([{"type": "Feature", "geometry": {"type": "LineString", "coordinates": []}}], "feature 0 is not a Point"),
        ([point("a", [5.1])], "feature 0 is not a Point"),
        ([point("a", ["5", 52])], "feature 0 is not at"),
        ([point("a", [155_000, 463_000])], "feature 0 is not at"),
    ],
)
def test_a_file_without_sound_points_is_refused(features: list[object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=message):
        read_points(geojson(tmp_path, *features))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000])
def test_a_file_that_is_no_geojson_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "poles.geojson"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"not JSON|not a GeoJSON"):
        read_points(file)
