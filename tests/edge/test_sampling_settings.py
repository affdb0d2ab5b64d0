"""[[driver]] tables: what is said, what is refused and why, and whether it fits drivers and profile."""

import tomllib

import pytest

from lichtmast.edge.drivers import Channel
from lichtmast.edge.errors import SettingsError
from lichtmast.edge.sampling import CountingRule, DriverSettings, faults_of, fixed_suffixes, read_drivers, with_wishes
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.twin import SensorWish

WHOLE = """
[[driver]]
name = "microphone"
kind = "sysfs"
subsystem = "iio"
chip = "spl"
read_timeout_s = 2

[[driver.reading]]
channel = "in_level"
statistics = { energy_mean = "/noise/0/level", min = "/noise/0/minimum", max = "/noise/0/maximum" }
sample_s = 0.5
deadband = 0.2
silence_max_s = 600
scale = 0.001
offset = 30
unit = "dB"

[[driver]]
name = "eye"
kind = "acme"

[[driver.reading]]
channel = "people"
statistics = { today = "/people/0/today", total = "/people/0/total" }
counted = { k = 12, interval_s = 1800 }

[[driver.actuator]]
channel = "lamp"
suffix = "/lamp/0/command"
"""


def drivers(text: str) -> tuple[DriverSettings, ...]:
    return read_drivers(tomllib.loads(text)["driver"])


def one_reading(line: str) -> str:
    return f'[[driver]]\nname = "d"\nkind = "simulated"\n[[driver.reading]]\nchannel = "c"\n{line}\n'


def test_a_whole_file_is_read_and_the_drivers_own_options_are_handed_on() -> None:
    microphone, eye = drivers(WHOLE)
    assert microphone.options == {"subsystem": "iio", "chip": "spl"}
    assert (microphone.wanted, microphone.sample_s, microphone.read_timeout_s) == (frozenset({"in_level"}), 0.5, 2.0)
    reading = microphone.readings[0]
    assert [(one.statistic, one.suffix, one.deadband) for one in reading.outputs] == [
        ("energy_mean", "/noise/0/level", 0.2),
        ("min", "/noise/0/minimum", 0.2),
        ("max", "/noise/0/maximum", 0.2),
    ]
    assert (reading.scale, reading.offset, reading.unit, reading.silence_max_s) == (0.001, 30, "dB", 600)
    assert eye.readings[0].counted == CountingRule(12, 1_800)
    assert [(one.channel, one.suffix) for one in eye.actuators] == [("lamp", "/lamp/0/command")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "give either suffix .* or statistics"),
        ('suffix = "/a/0/b"\nstatistics = { mean = "/a/0/c" }', "not both"),
        ("statistics = {}", "statistics is not a table like"),
        ('statistics = { median = "/a/0/b" }', "'median' is none; there are mean, min"),
        ('suffix = "a/b"', "suffix: 'a/b' is no suffix like"),
        ('suffix = "/a/0/b"\nunit = "celsius"', "unit is 'celsius'"),
        ('suffix = "/a/0/b"\nscale = 0', "scale is 0"),
        ('suffix = "/a/0/b"\nsample_s = 0', "sample_s is 0; give 0.1 to 86400"),
        ('suffix = "/a/0/b"\nsamples_s = 1', "samples_s is not a setting"),
        ('statistics = { passed = "/a/0/b" }', "passed need a table counted"),
        ('suffix = "/a/0/b"\ncounted = { k = 2 }', "k is not a whole number from 3 to"),
        ('suffix = "/a/0/b"\ncounted = { interval_s = 899 }', "interval_s is 899; give 900 to"),
        ('suffix = "/a/0/b"\ncounted = {}\ndeadband = 1', "deadband: a counted value"),
        ('suffix = "/a/0/b"\ncounted = {}\nscale = 2', "scale and offset would move the threshold"),
        ('statistics = { mean = "/a/0/b", max = "/a/0/c" }\ncounted = {}', "let the smaller count be worked out"),
        ('statistics = { sum = "/a/0/b" }\ncounted = {}', "let the smaller count be worked out"),
    ],
)
def test_a_wrong_reading_names_its_table_and_what_to_mend(line: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=rf"^\[driver\.d\.reading 1(\.counted)?\] .*{reason}"):
        drivers(one_reading(line))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[driver]]\nkind = "x"', r"\[driver 1\] name is missing"),
        ('[[driver]]\nname = "a b"\nkind = "x"', "must be letters, digits and -"),
        ('[[driver]]\nname = "a"\nkind = "x"\n' * 2, "the driver's name a is there twice"),
        ('[[driver]]\nname = "a"\n', r"\[driver 1\] kind is missing"),
        (
            '[[driver]]\nname = "a"\nkind = "x"\n[driver.reading]\nchannel = "c"',
            r"reading is not a list of tables; write \[\[driver.reading\]\]$",
        ),
        (
            one_reading('suffix = "/a/0/b"') + "[[driver.reading.counted]]\nk = 5\n",
            r"^driver.d.reading 1.counted is not a table; write \[driver.reading.counted\]$",
        ),
        (
            one_reading('suffix = "/a/0/b"') + '[[driver.reading]]\nchannel = "d"\nsuffix = "/a/0/b"\n',
            "the suffix /a/0/b is there twice",
        ),
        (
            one_reading('suffix = "/a/0/b"\ncounted = {}') + '[[driver.reading]]\nchannel = "c"\nsuffix = "/a/0/c"\n',
            "channel c is counted; it can have one reading only",
        ),
    ],
)
def test_a_wrong_driver_table_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        drivers(text)


def test_a_wish_changes_single_suffixes_and_never_a_counted_one() -> None:
    settings = drivers(WHOLE)
    wished = with_wishes(settings, {"/noise/0/level": SensorWish(1.5, 2), "/people/0/today": SensorWish(0, 1)})
    assert [one.deadband for one in wished[0].readings[0].outputs] == [1.5, 0.2, 0.2]
    assert wished[0].sample_s == 2
    assert wished[1] == settings[1]
    assert set(fixed_suffixes(settings)) == {"/people/0/today", "/people/0/total"}
    assert with_wishes(settings, {}) == settings


@pytest.mark.parametrize(
    ("channel", "line", "profile", "fault"),
    [
        (
            Channel("x", "number", "Cel"),
            'suffix = "/weather/0/temperature"',
            "weather",
            "the driver has no channel 'c'",
        ),
        (Channel("c", "number", "V"), 'suffix = "/weather/0/temperature"', "weather", "is in Cel, c gives V: set unit"),
        (
            Channel("c", "number", "Cel"),
            'suffix = "/weather/0/heat"',
            "weather",
            "profile weather has no /weather/0/heat",
        ),
        (
            Channel("c", "text"),
            'suffix = "/weather/0/temperature"',
            "weather",
            "is a number in profile weather, c gives",
        ),
        (Channel("c", "boolean"), 'statistics = { mean = "/noise/0/level" }', "noise", "mean cannot be made of c"),
        (Channel("c", "boolean"), 'suffix = "/noise/0/abnormal"\nscale = 2', "noise", "c is no number: leave scale"),
        (Channel("c", "identifiers"), 'suffix = "/people/0/present"', "people-counter", "it needs a table counted"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_measured(
    channel: Channel, line: str, profile: str, fault: str
) -> None:
    faults = faults_of(drivers(one_reading(line)), {"d": (channel,)}, load_profiles()[profile])
    assert any(fault in one for one in faults), faults
    assert all(one.startswith("[driver.d.reading 1] ") for one in faults)


def test_what_fits_has_no_faults() -> None:
    settings = drivers(WHOLE)
    channels = {
        "microphone": (Channel("in_level", "number", "V"),),
        "eye": (Channel("people", "identifiers"), Channel("lamp", "number", "/", writable=True)),
    }
    assert faults_of(settings[:1], channels, load_profiles()["noise"]) == []
    people = faults_of(settings[1:], channels, load_profiles()["people-counter"])
    assert people == ["[driver.eye.actuator 1] profile people-counter has no /lamp/0/command to move; it has none"]


def test_an_actuator_must_be_writable_and_in_the_profile() -> None:
    settings = drivers(
        '[[driver]]\nname = "d"\nkind = "x"\n[[driver.actuator]]\nchannel = "c"\nsuffix = "/lamp/0/command"'
    )
    lamp = load_profiles()["lamp-controller"]
    assert faults_of(settings, {"d": (Channel("c", "boolean", None, writable=True),)}, lamp) == []
    (fault,) = faults_of(settings, {"d": (Channel("c", "number", "/"),)}, lamp)
    assert fault == "[driver.d.actuator 1] 'c' is not a channel that can be moved; the driver has none"
