"""Local rules: what a lamp does by the clock, by its light sensor, by a reading, and when there is nothing to go by."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.twin.lighting import RELEASED, Lighting
from lichtmast.edge.twin.rules import FULL, Decider
from lichtmast.wire.twin import AtDark, Dimmed, DuskRule, Level, Rule, ThresholdRule
from lichtmast.wire.twin.limits import HOLD_MIN_S

LAMP, OTHER, LIGHT, NOISE = "/lamp/0/command", "/lamp/1/command", "/light/0/level", "/noise/0/level"
AMSTERDAM = (52.3728, 4.8936)
ZONE = ZoneInfo("Europe/Amsterdam")
NIGHT = DuskRule("night", LAMP, dimmed=(Dimmed(23 * 60, 5 * 60, 0.6),), at_dark=AtDark(LIGHT, 20, 60), failsafe=0.9)


def local(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


def readings(at_s: float, **values: float) -> Mapping[str, Measured]:
    suffixes = {"light": LIGHT, "noise": NOISE}
    return {suffixes[name]: Measured(suffixes[name], value, None, at_s) for name, value in values.items()}


def by_clock(rule: Rule, wall_s: float) -> float:
    return Decider((rule,), AMSTERDAM).level(0.0, wall_s, {}).level


@pytest.mark.parametrize(
    ("moment", "level"),
    [
        ("2026-12-21T12:00", 0.0),
        ("2026-12-21T16:40", 0.0),
        ("2026-12-21T17:00", 1.0),
        ("2026-12-21T22:59:59", 1.0),
        ("2026-12-21T23:00", 0.6),
        ("2026-12-22T04:59:59", 0.6),
        ("2026-12-22T05:00", 1.0),
        ("2026-12-22T08:20", 1.0),
        ("2026-12-22T08:40", 0.0),
        ("2026-06-21T22:20", 0.0),
        ("2026-06-21T22:40", 1.0),
        ("2026-06-21T23:00", 0.6),
        ("2026-06-22T04:50", 0.6),
        ("2026-06-22T05:05", 0.0),
    ],
)
def test_a_lamp_burns_from_dusk_to_dawn_and_is_dimmed_by_the_local_clock(moment: str, level: float) -> None:
    assert by_clock(NIGHT, local(moment)) == level


@pytest.mark.parametrize(
    ("evening", "hours"), [("2026-03-28T23:00", 5), ("2026-10-24T23:00", 7), ("2026-10-23T23:00", 6)]
)
def test_the_dimmed_hours_follow_the_clock_through_the_change_of_summer_time(evening: str, hours: int) -> None:
    start_s = local(evening)
    minutes = [by_clock(NIGHT, start_s + 60 * minute) for minute in range(-30, 9 * 60)]
    assert minutes.count(0.6) == 60 * hours
    assert minutes[:30] == [1.0] * 30


def test_without_a_clock_the_light_sensor_decides_and_its_own_light_does_not_make_it_flicker() -> None:
    decider = Decider((NIGHT,), AMSTERDAM)
    lux = [500, 61, 40, 21, 19, 25, 45, 59, 60, 61, 500]
    levels = [
        decider.level(100.0 * index, None, readings(100.0 * index, light=one)).level for index, one in enumerate(lux)
    ]
    assert levels == [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]


def test_without_a_clock_a_first_reading_between_bright_and_dark_counts_as_dark() -> None:
    assert Decider((NIGHT,), AMSTERDAM).level(0, None, readings(0, light=40)).level == 1.0


@pytest.mark.parametrize(
    "latest", [{}, readings(0, noise=1), readings(99, light=1.0), {LIGHT: Measured(LIGHT, "x", None, 1_000)}]
)
def test_without_clock_and_sensor_the_lamp_burns_at_its_failsafe(latest: Mapping[str, Measured]) -> None:
    level = Decider((NIGHT,), AMSTERDAM).level(1_000, None, latest)
    assert level == Level(0.9, "night: no trusted clock, failsafe")


def test_the_failsafe_is_full_light_where_nothing_else_is_said() -> None:
    assert Decider((DuskRule("night", LAMP),), AMSTERDAM).level(0, None, {}).level == 1.0


def test_a_threshold_acts_after_its_delay_and_lets_go_after_the_value_is_back_by_the_hysteresis() -> None:
    rule = ThresholdRule(
        "loud", LAMP, NOISE, 1.0, above=80, hysteresis=5, for_s=30, release_s=20, otherwise=0.2, hold_s=10
    )
    decider = Decider((rule,), None)
    heard = [
        (0, 79),
        (10, 81),
        (20, 79),
        (30, 81),
        (50, 85),
        (60, 85),
        (70, 76),
        (100, 76),
        (110, 75),
        (120, 76),
        (125, 74),
        (140, 70),
        (145, 70),
    ]
    levels = [decider.level(at_s, None, readings(at_s, noise=value)).level for at_s, value in heard]
    assert levels == [0.2, 0.2, 0.2, 0.2, 0.2, 1, 1, 1, 1, 1, 1, 1, 0.2]


def test_a_threshold_below_works_the_other_way_and_a_silent_sensor_lets_go() -> None:
    rule = ThresholdRule("dark", LAMP, LIGHT, 0.8, below=20, hysteresis=5, otherwise=0.0, age_max_s=60, hold_s=10)
    decider = Decider((rule,), None)
    levels = [
        decider.level(20.0 * index, None, readings(20.0 * index, light=one)).level
        for index, one in enumerate([20, 19, 24, 25])
    ]
    assert levels == [0, 0.8, 0.8, 0]
    seen = readings(100, light=1)
    assert [decider.level(at_s, None, seen).level for at_s in (100, 160, 161)] == [0.8, 0.8, 0.0]


def test_of_several_rules_the_first_with_an_answer_decides() -> None:
    loud = ThresholdRule("loud", LAMP, NOISE, 1.0, above=80, hold_s=10)
    decider = Decider((loud, DuskRule("night", LAMP, level=0.5)), AMSTERDAM)
    night_s = local("2026-12-21T20:00")
    assert decider.level(0, night_s, readings(0, noise=70)) == Level(0.5, "night")
    assert decider.level(100, night_s + 100, readings(100, noise=90)) == Level(1.0, "loud")
    assert decider.level(200, night_s + 200, readings(200, noise=70)) == Level(0.5, "night")


def test_a_lamp_whose_rules_say_nothing_gives_full_light() -> None:
    assert Decider((ThresholdRule("loud", LAMP, NOISE, 0.1, above=80),), None).level(0, None, {}) == FULL


def test_a_level_stands_for_the_hold_of_the_rule_that_set_it() -> None:
    rule = ThresholdRule("loud", LAMP, NOISE, 1.0, above=80, otherwise=0.0, hold_s=50)
    decider = Decider((rule,), None)
    levels = [
        decider.level(at_s, None, readings(at_s, noise=90 if at_s % 20 else 10)).level for at_s in range(0, 160, 10)
    ]
    assert levels == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1]


rules_of_any_kind = st.lists(
    st.one_of(
        st.builds(
            DuskRule,
            st.just("night"),
            st.just(LAMP),
            level=st.floats(0, 1),
            dimmed=st.just((Dimmed(0, 300, 0.3),)),
            at_dark=st.none() | st.just(AtDark(LIGHT, 20, 60)),
            failsafe=st.floats(0, 1),
            hold_s=st.floats(HOLD_MIN_S, 100),
        ),
        st.builds(
            ThresholdRule,
            st.just("loud"),
            st.just(LAMP),
            st.just(NOISE),
            st.floats(0, 1),
            above=st.just(50.0),
            for_s=st.floats(0, 30),
            otherwise=st.none() | st.floats(0, 1),
            hold_s=st.floats(HOLD_MIN_S, 100),
        ),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
moments = st.lists(
    st.tuples(
        st.floats(0, 60), st.none() | st.floats(0, 4e9), st.none() | st.floats(0, 100), st.none() | st.floats(0, 100)
    ),
    min_size=1,
    max_size=60,
)


@given(rules_of_any_kind, moments)
@settings(deadline=None, max_examples=300)
def test_whatever_happens_a_lamp_has_a_level_and_keeps_it_for_its_hold(
    rules: tuple[Rule, ...], story: list[tuple[float, float | None, float | None, float | None]]
) -> None:
    decider = Decider(rules, AMSTERDAM)
    shortest_s = min(rule.hold_s for rule in rules)
    now_s, changed_s, last = 0.0, float("-inf"), None
    latest: dict[str, Measured] = {}
    for pause_s, wall_s, light, noise in story:
        now_s += pause_s
        for suffix, value in ((LIGHT, light), (NOISE, noise)):
            if value is not None:
                latest[suffix] = Measured(suffix, value, None, now_s)
        level = decider.level(now_s, wall_s, latest).level
        assert 0 <= level <= 1
        if last is not None and level != last:
            assert now_s - changed_s >= shortest_s >= HOLD_MIN_S
        if level != last:
            last, changed_s = level, now_s


class Street:
    """Lamps on a December evening."""

    def __init__(self, *rules: Rule) -> None:
        self.lighting = Lighting((LAMP, OTHER), rules, AMSTERDAM)

    def at(self, now_s: float) -> dict[str, Level]:
        return self.lighting.levels(now_s, local("2026-12-21T20:00") + now_s, {})


def test_a_lamp_without_rule_and_command_is_left_alone() -> None:
    assert Street(DuskRule("night", LAMP)).at(0) == {LAMP: Level(1.0, "night")}


def test_a_command_stands_above_the_rules_until_its_end_on_the_monotonic_clock() -> None:
    street = Street(DuskRule("night", LAMP))
    street.lighting.dim(LAMP, 0.3, 100.0)
    assert [street.at(now_s)[LAMP].level for now_s in (0, 99.9, 100)] == [0.3, 0.3, 1.0]
    street.lighting.dim(LAMP, 0.3, 300.0)
    assert street.lighting.levels(200, None, {})[LAMP] == Level(0.3, "command")
    assert street.lighting.levels(201, 0.0, {})[LAMP] == Level(0.3, "command"), "a clock that jumps ends no command"


def test_a_command_acts_at_once_whatever_the_hold_of_the_rule() -> None:
    street = Street(DuskRule("night", LAMP, hold_s=86_400))
    assert street.at(0)[LAMP].level == 1.0
    street.lighting.dim(LAMP, 0.3, 10.0)
    assert [street.at(now_s)[LAMP].level for now_s in (1, 10)] == [0.3, 1.0]


def test_identify_blinks_and_then_what_was_before_goes_on() -> None:
    street = Street(DuskRule("night", LAMP))
    street.lighting.dim(LAMP, 0.3, 100.0)
    street.lighting.identify(LAMP, 0.0, 6.0)
    assert [street.at(second)[LAMP].level for second in range(8)] == [0, 1, 0, 1, 0, 1, 0.3, 0.3]


def test_a_lamp_without_rules_gives_full_light_after_its_command() -> None:
    street = Street()
    street.lighting.dim(OTHER, 0.0, 10.0)
    assert [street.at(now_s) for now_s in (0, 10)] == [{OTHER: Level(0.0, "command")}, {OTHER: RELEASED}]


def test_new_rules_act_at_once_and_leave_a_command_alone() -> None:
    street = Street(DuskRule("night", LAMP, hold_s=86_400))
    street.lighting.dim(OTHER, 0.4, 100.0)
    assert street.at(0) == {LAMP: Level(1.0, "night"), OTHER: Level(0.4, "command")}
    street.lighting.configure((DuskRule("dim", LAMP, level=0.5),))
    assert street.at(1) == {LAMP: Level(0.5, "dim"), OTHER: Level(0.4, "command")}


def test_the_nights_of_a_year_are_as_long_as_amsterdam_has_them() -> None:
    start = datetime(2026, 1, 1, 12, tzinfo=ZONE)
    rule = DuskRule("night", LAMP)
    burning = [
        sum(by_clock(rule, (start + timedelta(days=day)).timestamp() + 300 * step) for step in range(288))
        for day in range(0, 365, 10)
    ]
    hours = [count / 12 for count in burning]
    assert 6.4 < min(hours) < 6.8
    assert 15.5 < max(hours) < 15.9
