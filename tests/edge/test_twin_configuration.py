"""A wish is applied whole or refused whole, and the settings file lies under it."""

import json
from dataclasses import replace
from typing import Final

import pytest

from lichtmast.edge.errors import SettingsError
from lichtmast.edge.twin.configuration import (
    Abilities,
    Applied,
    Configuration,
    Known,
    RefusedWish,
    apply,
    from_settings,
)
from lichtmast.wire.twin import Desired, DuskRule, SensorWish, ThresholdRule, decode_desired

LAMP, NOISE, PEOPLE = "/lamp/0/command", "/noise/0/level", "/people/0/count"
CAN: Final = Abilities(
    frozenset({NOISE, PEOPLE}),
    (LAMP,),
    interval_min_s=10,
    place=(52.4, 4.9),
    fixed={PEOPLE: "counted people are private"},
)
SETTINGS: Final = Configuration(0, 60.0, {}, (DuskRule("night", LAMP),))


def test_what_a_wish_leaves_out_stays_as_the_settings_have_it() -> None:
    wished = {NOISE: SensorWish(deadband=2.0)}
    verdict = apply(SETTINGS, SETTINGS, Desired(7, sensors=wished), CAN)
    assert verdict == Applied(Configuration(7, 60.0, wished, SETTINGS.rules))


def test_each_wish_is_whole_and_forgets_the_one_before() -> None:
    running = Configuration(7, 300.0, {NOISE: SensorWish(deadband=2.0)}, ())
    assert apply(SETTINGS, running, Desired(8), CAN) == Applied(replace(SETTINGS, version=8))
    assert apply(SETTINGS, running, Desired(8, rules=()), CAN) == Applied(replace(SETTINGS, version=8, rules=()))


@pytest.mark.parametrize("version", [1, 6, 7])
def test_a_wish_that_is_not_newer_is_known_and_not_applied(version: int) -> None:
    running = replace(SETTINGS, version=7)
    assert apply(SETTINGS, running, Desired(version, interval_s=20), CAN) == Known(7)


@pytest.mark.parametrize(
    ("desired", "reason"),
    [
        (Desired(1, interval_s=9), "interval_s: 9 is less than this device's 10"),
        (Desired(1, sensors={"/x/0/y": SensorWish()}), "sensors./x/0/y: this device does not measure that"),
        (Desired(1, sensors={PEOPLE: SensorWish(sample_s=1)}), f"sensors.{PEOPLE}: counted people are private"),
        (
            Desired(1, rules=(DuskRule("night", NOISE),)),
            f"target {NOISE} is no actuator of this device; it can move {LAMP}",
        ),
        (Desired(1, rules=(ThresholdRule("loud", LAMP, "/x/0/y", 1, above=1),)), "sensor /x/0/y is not measured here"),
        (
            Desired.encode(Desired(1, rules=(DuskRule("n", LAMP, timezone="Mars/Olympus"),))).replace(
                b'"dimmed":[]', b'"dimmed":[{"from":"23:00","upto":"05:00","level":0.5}]'
            ),
            "time zone Mars/Olympus is not known here",
        ),
    ],
)
def test_what_the_device_cannot_do_is_refused_with_the_reason(desired: Desired | bytes, reason: str) -> None:
    verdict = apply(SETTINGS, SETTINGS, decode_desired(desired) if isinstance(desired, bytes) else desired, CAN)
    assert isinstance(verdict, RefusedWish)
    assert reason in verdict.reason


def test_a_dusk_rule_needs_a_place_from_somewhere() -> None:
    nowhere = replace(CAN, place=None)
    verdict = apply(SETTINGS, SETTINGS, Desired(1, rules=(DuskRule("night", LAMP),)), nowhere)
    assert verdict == RefusedWish(
        "rules.night: has no latitude_deg and longitude_deg, and the settings have no [place]"
    )
    placed = Desired(1, rules=(DuskRule("night", LAMP, 52.4, 4.9),))
    assert isinstance(apply(SETTINGS, SETTINGS, placed, nowhere), Applied)


def test_the_rules_of_the_settings_file_are_read_as_those_of_a_wish() -> None:
    table = {"kind": "dusk", "name": "night", "target": LAMP}
    assert from_settings(60.0, (table,), CAN) == SETTINGS
    assert decode_desired(json.dumps({"version": 1, "rules": [table]}).encode()).rules == SETTINGS.rules


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"kind": "dusk", "name": "night"}, "[[rule]] rules[0].target: missing"),
        ({"kind": "dusk", "name": "night", "target": "/x/0/y"}, "[[rule]] night: target /x/0/y is no actuator"),
    ],
)
def test_a_rule_of_the_settings_file_that_cannot_be_is_an_error_of_the_file(
    table: dict[str, object], reason: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        from_settings(60.0, (table,), CAN)
    assert reason in str(caught.value)
