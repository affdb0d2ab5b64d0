"""Device profiles: what the files of this package promise, and what a wrong file is told."""

import re
from typing import Final

import pytest

from lichtmast.wire import limits
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import Direction, Profile, ProfileError, ResultKind, load_profiles, parse_profile
from lichtmast.wire.senml import Reading, decode, encode
from lichtmast.wire.units import UNITS

UPLINKS: Final = {
    "air-quality": "pm10 pm25 pm1 no2 o3 co co2",
    "filling-level": "level height full empty tilted fire",
    "illuminance": "level minimum maximum",
    "lamp-controller": "level power voltage energy temperature failure day-burner operating-time",
    "noise": "level minimum maximum abnormal",
    "parking": "occupied duration today forbidden",
    "people-counter": "present today total passages-today passages-total",
    "weather": "temperature humidity pressure wind-speed wind-direction gust rain",
}
"""The order is a contract: columns and stored indexes are built on it. Append to these lines, never change them."""

OBJECTS: Final = {
    "air-quality": {3428},
    "filling-level": {3435},
    "illuminance": {3301},
    "lamp-controller": {3416, 3418},
    "noise": {3433},
    "parking": {3431},
    "people-counter": {3434},
    "weather": {3303, 3304, 3323, 3446, 3449},
}

RESOURCES: Final = {
    3301: {5601, 5602, 5700},
    3303: {5700},
    3304: {5700},
    3323: {5700},
    3416: {1, 3, 5, 10, 15, 21},
    3418: {1, 4, 6},
    3428: {1, 3, 5, 7, 12, 15, 17},
    3431: {1, 2, 3, 4},
    3433: {2, 3, 4, 5},
    3434: {1, 2, 3, 5, 6},
    3435: {2, 3, 5, 7, 13, 22},
    3446: {1},
    3449: {5602, 5700, 5705},
}
"""Read from the OMA registry's XML files of these objects; every binding must be one of them."""

every_profile = pytest.mark.parametrize("profile", load_profiles().values(), ids=lambda profile: profile.key)


def test_all_profiles_are_there() -> None:
    assert list(load_profiles()) == list(UPLINKS)


def test_profiles_are_loaded_once_and_cannot_be_changed() -> None:
    profiles = load_profiles()
    assert load_profiles() is profiles
    with pytest.raises(TypeError):
        profiles["new"] = profiles["noise"]  # type: ignore[index]  # that is the point


@every_profile
def test_order_of_uplinks_is_kept(profile: Profile) -> None:
    assert [one.key for one in profile.uplinks] == UPLINKS[profile.key].split()


@every_profile
def test_index_of_a_suffix_is_its_place_in_uplinks(profile: Profile) -> None:
    assert [profile.index_of(one.suffix) for one in profile.uplinks] == list(range(len(profile.uplinks)))
    for suffix in ("/no/such", "", profile.uplinks[0].suffix[1:]):
        with pytest.raises(KeyError):
            profile.index_of(suffix)


@every_profile
def test_bindings_are_resources_of_the_objects(profile: Profile) -> None:
    bound = [tuple(map(int, one.lwm2m.split("/"))) for one in profile.capabilities if one.lwm2m]
    assert {obj for obj, _, _ in bound} == OBJECTS[profile.key]
    assert profile.model_object in OBJECTS[profile.key]
    assert all(resource in RESOURCES[obj] for obj, _, resource in bound)


@every_profile
def test_units_are_primary_and_recommended(profile: Profile) -> None:
    units = [one.unit for one in profile.capabilities if one.unit is not None]
    assert all(UNITS[unit].recommended for unit in units)


@every_profile
def test_every_number_has_a_unit_and_a_believable_range(profile: Profile) -> None:
    for one in profile.capabilities:
        if one.kind is ResultKind.NUMBER:
            assert one.unit is not None
            assert one.minimum is not None
            assert one.maximum is not None
            assert one.minimum < one.maximum
            assert one.step is None or one.step < one.maximum - one.minimum


@every_profile
def test_one_pack_of_all_uplinks_fits_a_coap_datagram(profile: Profile) -> None:
    now_us = 1_763_757_018_123_456
    readings = [Reading(one.suffix, -1.2345678901234567e-8, one.unit, now_us) for one in profile.uplinks]
    device = DeviceId("gm0402", "d" * limits.DEVICE_LENGTH_MAX)
    for content_format in (110, 112):
        raw = encode(device, readings, epoch=limits.EPOCH_MAX, seq=limits.SEQ_MAX, content_format=content_format)
        assert len(raw) <= limits.PACK_BYTES_MAX_COAP
        assert len(decode(raw, content_format, now_us).records) == len(profile.uplinks)


def test_a_command_is_no_uplink() -> None:
    lamp = load_profiles()["lamp-controller"]
    command = lamp.capabilities[-1]
    assert (command.key, command.direction) == ("command", Direction.DOWN)
    assert command not in lamp.uplinks
    with pytest.raises(KeyError):
        lamp.index_of(command.suffix)


SOUND: Final = """
key = "thing"
version = 1
title = "Thing"
description = "Measures a thing."
model_object = 3300
interval_s = 60

[[capability]]
key = "level"
suffix = "/thing/0/level"
quantity = "Level"
definition = "urn:oma:lwm2m:ext:3300"
kind = "number"
unit = "V"
minimum = 0
maximum = 10
step = 0.1
rate_per_s = 2
direction = "both"
lwm2m = "3300/0/5700"
description = "The level."
"""

SECOND: Final = """
[[capability]]
key = "open"
suffix = "/thing/0/open"
quantity = "Open"
definition = "urn:oma:lwm2m:ext:3300"
kind = "boolean"
direction = "up"
description = "Whether it is open."
"""


def test_a_sound_file_is_read() -> None:
    profile = parse_profile(SOUND + SECOND, "thing.toml")
    assert (profile.key, profile.version, profile.model_object, profile.interval_s) == ("thing", 1, 3300, 60)
    level, opened = profile.capabilities
    assert (level.minimum, level.maximum, level.step, level.rate_per_s) == (0.0, 10.0, 0.1, 2.0)
    assert (level.kind, level.direction, level.unit) == (ResultKind.NUMBER, Direction.BOTH, "V")
    assert (opened.kind, opened.unit, opened.minimum, opened.lwm2m) == (ResultKind.BOOLEAN, None, None, None)
    assert profile.uplinks == (level, opened)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('key = "thing"', "key = thing", "thing.toml: not TOML"),
        ('key = "thing"', 'key = "Thing"', "key 'Thing' is not 2 to 40 characters"),
        ('key = "thing"\n', "", "key must be text"),
        ("version = 1", "version = 0", "version must be a whole number from 1"),
        ("version = 1", "version = true", "version must be a whole number"),
        ("version = 1", "version = 1.0", "version must be a whole number"),
        ('title = "Thing"', 'title = " "', "title must be text"),
        ("model_object = 3300", "model_object = 65536", "model_object must be a whole number from 0 to 65535"),
        ("interval_s = 60", "interval_s = 0", "interval_s must be a whole number from 1"),
        ("interval_s = 60", "interval = 60", "unknown field 'interval'"),
        (
            'suffix = "/thing/0/level"',
            'suffix = "thing/0/level"',
            r"1 \(level\): suffix .* must start with /",
        ),
        ('suffix = "/thing/0/level"', 'suffix = "/thing level"', "suffix .* must start with /"),
        ('definition = "urn:oma:lwm2m:ext:3300"', 'definition = "level"', "definition 'level' is not a URI"),
        ('kind = "number"', 'kind = "integer"', "kind must be one of number, boolean, text"),
        ('direction = "both"', 'direction = "in"', "direction must be one of up, down, both"),
        ('direction = "both"', 'direction = "down"', "no capability has direction up or both"),
        ('unit = "V"', 'unit = "mV"', "unit 'mV' is not a recommended SenML primary unit"),
        ('unit = "V"', 'unit = "deg"', "unit 'deg' is not a recommended SenML primary unit"),
        ('unit = "V"', 'unit = "volt"', "unit 'volt' is not a recommended"),
        ("minimum = 0", "minimum = 10", "a number needs minimum < maximum"),
        ("minimum = 0\n", "", "a number needs minimum < maximum"),
        ("maximum = 10", "maximum = inf", "maximum must be a finite number"),
        ("maximum = 10", "maximum = true", "maximum must be a finite number"),
        ("step = 0.1", "step = 0", "step 0.0 must be above 0"),
        ("rate_per_s = 2", "rate_per_s = -2", "rate_per_s -2.0 must be above 0"),
        ("rate_per_s = 2", "stuck_after = 33", "stuck_after must be a whole number from 2 to 32"),
        ("rate_per_s = 2", "stuck_after = 1", "stuck_after must be a whole number from 2 to 32"),
        ("rate_per_s = 2", "spike_floor = 2", "spike_sigma and spike_floor go together"),
        ("rate_per_s = 2", "neighbour_tolerance = 0", "neighbour_tolerance 0.0 must be above 0"),
        ('lwm2m = "3300/0/5700"', 'lwm2m = "/3300/0/5700"', "lwm2m '/3300/0/5700' is not object/instance/resource"),
        ('kind = "number"', 'kind = "boolean"', "a boolean has no unit, minimum"),
        ('description = "The level."', 'colour = "red"', "unknown field 'colour'"),
    ],
)
def test_wrong_file_says_what_where_and_how(old: str, new: str, message: str) -> None:
    assert SOUND.count(old) >= 1
    with pytest.raises(ProfileError, match=message) as caught:
        parse_profile(SOUND.replace(old, new, 1), "thing.toml")
    assert str(caught.value).startswith("thing.toml: ")


@pytest.mark.parametrize("name", ["key", "suffix", "lwm2m"])
def test_two_capabilities_share_no_key_suffix_or_binding(name: str) -> None:
    line = next(line for line in SOUND.partition("[[capability]]")[2].splitlines() if line.startswith(f"{name} "))
    second = re.sub(rf"^{name} .*\n", "", SECOND, flags=re.MULTILINE) + line
    with pytest.raises(ProfileError, match=f"{name} .* appears twice"):
        parse_profile(SOUND + second, "thing.toml")


@pytest.mark.parametrize("rows", ["", "capability = 1", "capability = []", "capability = [1]"])
def test_a_profile_has_capabilities(rows: str) -> None:
    with pytest.raises(ProfileError, match="capability"):
        parse_profile(SOUND.partition("[[capability]]")[0] + rows, "thing.toml")
