"""A document of rules: what it changes, and everything in it that could not mean what its writer thinks is refused."""

import tomllib
from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lichtmast.wire.limits import VALIDATION_ACCEPTS_MAX, VALIDATION_TABLES_MAX, VALIDATION_WINDOW
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.validation import (
    BY_PROFILE,
    CapabilityRules,
    RuleSet,
    UnitConversion,
    ValidationRulesError,
    parse_rules,
    read_rules,
)

LAMP = load_profiles()["lamp-controller"]
LEVEL, POWER = (next(i for i, one in enumerate(LAMP.uplinks) if one.key == key) for key in ("level", "power"))


def _parse(text: str) -> RuleSet:
    return parse_rules(tomllib.loads(text), 7)


def _refusal(document: dict[str, Any]) -> str:
    with pytest.raises(ValidationRulesError) as caught:
        parse_rules(document, 1)
    return str(caught.value)


def _of_level(**fields: object) -> dict[str, Any]:
    return {"profile": {"lamp-controller": {"level": fields}}}


def test_without_a_document_the_profiles_say_everything() -> None:
    for profile in load_profiles().values():
        rules = BY_PROFILE.of(profile)
        assert [(one.minimum, one.maximum, one.step, one.rate_per_s, one.accepts) for one in rules] == [
            (one.minimum, one.maximum, one.step, one.rate_per_s, ()) for one in profile.uplinks
        ]
    assert BY_PROFILE.overridden == frozenset()


def test_a_document_changes_what_it_names_and_nothing_else() -> None:
    rules = _parse("[profile.lamp-controller.power]\nmaximum = 250\nrate_per_s = false\nstuck_after = 20")
    usual, changed = BY_PROFILE.of(LAMP), rules.of(LAMP)
    assert (changed[POWER].minimum, changed[POWER].maximum) == (usual[POWER].minimum, 250.0)
    assert (changed[POWER].rate_per_s, changed[POWER].stuck_after) == (None, 20)
    assert (usual[POWER].spike_floor or 0) >= 250, "a floor of the profile's own does not stand in a document's way"
    assert [one for i, one in enumerate(changed) if i != POWER] == [one for i, one in enumerate(usual) if i != POWER]
    assert rules.of(load_profiles()["weather"]) == BY_PROFILE.of(load_profiles()["weather"])


def test_a_datastreams_own_rules_go_before_its_profiles() -> None:
    rules = _parse("[profile.lamp-controller.level]\nstep = 0.1\nmaximum = 0.9\n[datastream.17]\nmaximum = 0.5")
    usual = rules.of(LAMP)[LEVEL]
    assert rules.overridden == {17}
    assert (rules.of_datastream(17, usual).maximum, rules.of_datastream(17, usual).step) == (0.5, 0.1)
    assert rules.of_datastream(18, usual) is usual


def test_a_datastream_accepts_its_own_units_or_else_its_profiles() -> None:
    percent, kelvin = {"unit": "%", "scale": 0.01}, {"unit": "count", "scale": "1/7"}
    rules = parse_rules(
        _of_level(accepts=[percent]) | {"datastream": {"1": {"accepts": [kelvin]}, "2": {"step": 0.1}}}, 1
    )
    accepted = {number: [one.unit for one in rules.accepted(LAMP.key, "level", number)] for number in (1, 2, 3)}
    assert accepted == {1: ["count"], 2: ["%"], 3: ["%"]}
    assert rules.of(LAMP)[LEVEL].accepts == rules.accepted(LAMP.key, "level", 3)
    assert rules.accepted(LAMP.key, "power", 3) == ()


@given(st.integers(0, 1000))
@example(62)
def test_a_percentage_becomes_the_very_ratio_that_one_would_write(percent: int) -> None:
    """Floats would make 0.5800000000000001 of 58."""
    hundredth = _parse('[profile.lamp-controller.level]\naccepts = [{ unit = "%", scale = 0.01 }]').of(LAMP)[LEVEL]
    assert hundredth.accepts[0].convert(percent / 10) == percent / 1000


def test_a_conversion_is_exact_and_rounds_once() -> None:
    fahrenheit = UnitConversion("F", Fraction(5, 9), Fraction(-160, 9))
    assert [fahrenheit.convert(one) for one in (32.0, 212.0, -40.0)] == [0.0, 100.0, -40.0]
    with pytest.raises(OverflowError):
        UnitConversion("W", Fraction(1000)).convert(1e308)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"profiles": {}}, "unknown field 'profiles'; known are datastream, profile"),
        ({"profile": {"lamp": {}}}, "profile 'lamp' is not known; known are air-quality, "),
        ({"profile": {"lamp-controller": {"glow": {"step": 1}}}}, "capability 'glow' is not known; known are "),
        (_of_level(minimun=0), "profile.lamp-controller.level: unknown field 'minimun'; known are accepts, maximum"),
        (_of_level(), "gives no field"),
        ({"profile": {"lamp-controller": {"level": 3}}}, "profile.lamp-controller.level: not a table"),
        (_of_level(maximum="1"), "maximum must be a finite number, or false to switch it off"),
        (_of_level(maximum=True), "maximum must be a finite number"),
        (_of_level(maximum=nan), "maximum must be a finite number"),
        (_of_level(maximum=-inf), "maximum must be a finite number"),
        (_of_level(maximum=10**400), "maximum must be a finite number"),
        (_of_level(rate_per_s=0), "rate_per_s must be above 0"),
        (_of_level(stuck_after=1), f"stuck_after must be a whole number from 2 to {VALIDATION_WINDOW}"),
        (_of_level(stuck_after=VALIDATION_WINDOW + 1), "stuck_after must be a whole number"),
        (_of_level(stuck_after=4.0), "stuck_after must be a whole number"),
        (_of_level(minimum=1), "minimum 1 is not below maximum 1, so no reading could be good"),
        (_of_level(spike_sigma=False, spike_floor=0.2), "spike_sigma is missing; the check for spikes needs both"),
        (_of_level(neighbour_tolerance=1), "is not below the range of 1, so no believable reading could break it"),
        (_of_level(accepts={"unit": "%"}), "accepts must be a list of at most 8 tables"),
        (_of_level(accepts=[{"unit": "%", "scale": 1}] * 2), "unit % appears twice"),
        (_of_level(accepts=[{"unit": "/", "scale": 2}]), "/ is the capability's own unit"),
        (_of_level(accepts=[{"unit": "/100", "scale": 2}]), "/100 is turned into / before rules are asked; name /"),
        (_of_level(accepts=[{"unit": "percent", "scale": 2}]), "'percent' is not a primary unit"),
        (_of_level(accepts=[{"scale": 2}]), "accepts[0].unit: 'None' is not a primary unit"),
        (_of_level(accepts=[{"unit": "%", "scale": 0}]), "accepts[0].scale: 0 would make all readings equal"),
        (_of_level(accepts=[{"unit": "%"}]), "accepts[0].scale must be a finite number, or a fraction as text"),
        (_of_level(accepts=[{"unit": "%", "scale": "1e999999999"}]), "accepts[0].scale must be"),
        (_of_level(accepts=[{"unit": "%", "scale": "1/0"}]), "accepts[0].scale must be"),
        (_of_level(accepts=[{"unit": "%", "scale": 1, "offset": nan}]), "accepts[0].offset must be"),
        (_of_level(accepts=[{"unit": "%", "factor": 1}]), "unknown field 'factor'; known are offset, scale, unit"),
        ({"datastream": {"lamp": {"step": 1}}}, "'lamp' is not the number of a datastream, such as 17"),
        ({"datastream": {"017": {"step": 1}}}, "'017' is not the number of a datastream"),
        ({"datastream": {str(2**31): {"step": 1}}}, "is not the number of a datastream"),
        ({"datastream": {"9" * 5000: {"step": 1}}}, "is neither the key of anything nor a number"),
        ({"profile": {"\x1b[2J": {}}}, "profile: '\\x1b[2J' is neither the key of anything"),
    ],
)
def test_what_is_refused_is_named_with_what_is_right(document: dict[str, Any], words: str) -> None:
    assert words in _refusal(document)


def test_what_is_no_number_takes_no_rules() -> None:
    found = next(
        (profile.key, one.key)
        for profile in load_profiles().values()
        for one in profile.uplinks
        if one.kind.value == "boolean"
    )
    for fields in ({"maximum": 1}, {"minimum": 0}, {"stuck_after": False}):
        assert "a boolean takes no rules" in _refusal({"profile": {found[0]: {found[1]: fields}}})


def test_a_document_has_as_many_tables_and_units_as_the_limit_says_and_no_more() -> None:
    tables = {str(number): {"step": 1} for number in range(1, VALIDATION_TABLES_MAX + 2)}
    assert f"at most {VALIDATION_TABLES_MAX}" in _refusal({"datastream": tables})
    tables.popitem()
    assert len(parse_rules({"datastream": tables}, 1).overridden) == VALIDATION_TABLES_MAX
    units = [{"unit": one, "scale": 1} for one in ("m", "kg", "s", "A", "K", "cd", "mol", "Hz", "rad")]
    assert "at most" in _refusal(_of_level(accepts=units))
    assert parse_rules(_of_level(accepts=units[:VALIDATION_ACCEPTS_MAX]), 1).version == 1


def test_a_kept_document_is_read_although_its_profile_is_gone() -> None:
    document = {"profile": {"gone": {"level": {"maximum": 3}}}}
    assert "'gone' is not known" in _refusal(document)
    assert read_rules(document, 4).of(LAMP) == BY_PROFILE.of(LAMP)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["minimum", "maximum", "step", "stuck_after", "spike_sigma", "spike_floor", "accepts"])


@given(_JSON | st.builds(lambda table: _of_level(**table), st.dictionaries(_NAMES, _JSON, max_size=3)))
def test_any_json_is_rules_or_refused(document: object) -> None:
    try:
        rules = parse_rules(document, 1)  # type: ignore[arg-type]  # anything that a file can hold
    except ValidationRulesError:
        return
    assert all(isinstance(one, CapabilityRules) for profile in load_profiles().values() for one in rules.of(profile))
