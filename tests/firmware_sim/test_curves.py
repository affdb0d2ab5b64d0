"""What devices measure: within their profile for two days, the same every time, and like a town."""

import itertools
from datetime import UTC, datetime

import pytest

from lichtmast.firmware_sim import CurveError, Curves
from lichtmast.firmware_sim.lamp import STANDBY_W, Lamp
from lichtmast.firmware_sim.street import Parking, Passers, activity
from lichtmast.firmware_sim.sun import daylight, is_dark, local_offset_s
from lichtmast.wire.profile import Profile, ResultKind, load_profiles

HILVERSUM = (5.1713, 52.2242)
START_S = int(datetime(2026, 11, 18, tzinfo=UTC).timestamp())
TWO_DAYS_S = 48 * 3600
PROFILES = list(load_profiles())


def curves_of(profile: str, device: str = "gm0402/lm-0001", seed: int = 11) -> Curves:
    longitude, latitude = HILVERSUM
    return Curves(load_profiles()[profile], seed=seed, device=device, longitude=longitude, latitude=latitude)


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]  # year to minute


@pytest.mark.slow
@pytest.mark.parametrize("start", [START_S, int(at(2027, 3, 27)), int(at(2024, 12, 31)), 0], ids=str)
@pytest.mark.parametrize("profile", PROFILES)
def test_values_stay_within_the_profile_for_48_hours(profile: str, start: int) -> None:
    curves, uplinks = curves_of(profile), load_profiles()[profile].uplinks
    for at_s in range(start, start + TWO_DAYS_S, 300):
        values = curves.values(at_s * 10**6)
        assert [suffix for suffix, _, _ in values] == [one.suffix for one in uplinks]
        for (_, unit, value), capability in zip(values, uplinks, strict=True):
            assert unit == capability.unit
            if capability.kind is ResultKind.BOOLEAN:
                assert type(value) is bool
            else:
                assert type(value) in (int, float)
                assert capability.minimum is not None
                assert capability.maximum is not None
                assert capability.minimum <= value <= capability.maximum, capability.key


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_changes_faster_than_the_profile_believes(profile: str) -> None:
    curves, uplinks = curves_of(profile), load_profiles()[profile].uplinks
    for begin_s in (START_S + 16 * 3600 - 1800, START_S + 7 * 3600):  # dusk, and the morning rush
        rows = [curves.values(at_s * 10**6) for at_s in range(begin_s, begin_s + 2400, 2)]
        for earlier, later in itertools.pairwise(rows):
            for (_, _, before), (_, _, after), capability in zip(earlier, later, uplinks, strict=True):
                if capability.rate_per_s is not None:
                    step = capability.step or 0
                    assert abs(after - before) <= 2 * capability.rate_per_s + 2 * step, capability.key


@pytest.mark.parametrize("profile", PROFILES)
def test_the_same_seed_device_and_time_give_the_same_values_in_any_order(profile: str) -> None:
    moments = [(START_S + n * 7_777) * 10**6 for n in range(20)]
    forward = [curves_of(profile).values(at_us) for at_us in moments]
    once = curves_of(profile)
    backward = [once.values(at_us) for at_us in reversed(moments)]
    assert forward == backward[::-1]


@pytest.mark.parametrize("profile", PROFILES)
def test_devices_and_seeds_differ(profile: str) -> None:
    moments = [(START_S + n * 3_600) * 10**6 for n in range(24)]
    series = [
        [curves.values(at_us) for at_us in moments]
        for curves in (curves_of(profile), curves_of(profile, "gm0402/lm-0002"), curves_of(profile, seed=12))
    ]
    assert series[0] != series[1]
    assert series[0] != series[2]


def test_a_profile_without_curves_is_named() -> None:
    known = load_profiles()["noise"]
    strange = Profile("seismograph", 1, "x", "x", 1, 60, known.capabilities)
    with pytest.raises(CurveError, match="profile seismograph: no curve for level"):
        Curves(strange, seed=1, device="gm0402/x", longitude=5.0, latitude=52.0)


@pytest.mark.parametrize(
    ("day", "dawn", "dusk"),
    [
        # Sunrise and sunset at De Bilt, 5.18 E 52.10 N, as almanacs give them; -3 degrees lies outside them.
        ((2026, 6, 21), at(2026, 6, 21, 3, 18), at(2026, 6, 21, 20, 3)),
        ((2026, 12, 21), at(2026, 12, 21, 7, 45), at(2026, 12, 21, 15, 29)),
        ((2026, 3, 20), at(2026, 3, 20, 5, 40), at(2026, 3, 20, 17, 51)),
    ],
)
def test_dusk_and_dawn_lie_just_outside_the_almanac(day: tuple[int, int, int], dawn: float, dusk: float) -> None:
    light = daylight(int(at(*day) // 86_400), 5.18, 52.10)
    assert 8 * 60 <= dawn - light.dawn_s <= 24 * 60
    assert 8 * 60 <= light.dusk_s - dusk <= 24 * 60


def test_polar_night_and_polar_day_are_whole() -> None:
    winter, summer = at(2026, 12, 21, 12), at(2026, 6, 21, 0)
    assert all(is_dark(winter + hour * 3600, 25.0, 80.0) for hour in range(24))
    assert not any(is_dark(summer + hour * 3600 + 60, 25.0, 80.0) for hour in range(24))


def test_dutch_clocks_change_at_one_utc() -> None:
    assert local_offset_s(at(2026, 3, 29, 0, 59)) == 3_600
    assert local_offset_s(at(2026, 3, 29, 1, 0)) == 7_200
    assert local_offset_s(at(2026, 10, 25, 0, 59)) == 7_200
    assert local_offset_s(at(2026, 10, 25, 1, 0)) == 3_600


def test_a_lamp_burns_in_the_dark_and_dims_when_the_street_sleeps() -> None:
    lamp = Lamp(3, *HILVERSUM)
    night = [at(2026, 11, 18, hour) for hour in (18, 21)] + [at(2026, 11, 19, hour) for hour in (0, 3, 5)]
    assert [lamp.level(moment) for moment in night] == [1.0, 1.0, 0.6, 0.6, 1.0]
    assert [lamp.level(at(2026, 11, 18, hour)) for hour in (9, 12, 15)] == [0.0, 0.0, 0.0]


@pytest.mark.slow
def test_the_meter_is_the_integral_of_the_power() -> None:
    for seed in range(4):
        lamp = Lamp(seed, *HILVERSUM)
        begin = float(START_S)
        summed = sum(lamp.power_w(begin + n * 20 + 10) * 20 for n in range(TWO_DAYS_S // 20))
        metered = lamp.energy_j(begin + TWO_DAYS_S) - lamp.energy_j(begin)
        assert metered == pytest.approx(summed, rel=0.002)
        burnt = lamp.burning_s(begin + TWO_DAYS_S) - lamp.burning_s(begin)
        dark = sum(20 for n in range(TWO_DAYS_S // 20) if lamp.level(begin + n * 20 + 10) > 0)
        assert burnt == pytest.approx(dark, abs=90)


def test_a_lamp_that_fails_is_dark_all_night_and_says_so() -> None:
    nights = [START_S + day * 86_400 + 22 * 3600 for day in range(1_500)]
    lamp = Lamp(3, *HILVERSUM)
    failing = [moment for moment in nights if lamp.fails(moment)]
    assert 1 <= len(failing) <= 20
    assert all(lamp.level(moment) == 0.0 and lamp.power_w(moment) == STANDBY_W for moment in failing)
    assert all(not lamp.fails(moment - 10 * 3600) for moment in failing), "by day nothing is asked of it"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "key"),
    [
        ("lamp-controller", "energy"),
        ("lamp-controller", "operating-time"),
        ("people-counter", "total"),
        ("people-counter", "passages-total"),
        ("weather", "rain"),
    ],
)
def test_counters_only_rise(profile: str, key: str) -> None:
    position = next(n for n, one in enumerate(load_profiles()[profile].uplinks) if one.key == key)
    curves = curves_of(profile)
    series = [curves.values(at_s * 10**6)[position][2] for at_s in range(START_S, START_S + TWO_DAYS_S, 300)]
    assert series == sorted(series)
    assert series[-1] > series[0]


def test_the_weekend_has_no_morning_rush() -> None:
    by_day = [activity(at(2026, 11, day, 7, 30)) for day in range(16, 23)]  # Monday to Sunday, half past eight
    assert min(by_day[:5]) > 2 * max(by_day[5:])


def test_rush_hours_are_busy_dirty_and_loud() -> None:
    rush, night = at(2026, 11, 18, 7, 30), at(2026, 11, 18, 2, 30)
    assert activity(rush) > 10 * activity(night)
    nitrogen = [dict(_keyed("air-quality", moment))["no2"] for moment in (rush + 1800, night)]
    sound = [dict(_keyed("noise", moment))["level"] for moment in (rush, night)]
    assert nitrogen[0] > nitrogen[1]
    assert sound[0] > sound[1] + 10


def _keyed(profile: str, at_s: float) -> list[tuple[str, float]]:
    uplinks = load_profiles()[profile].uplinks
    values = curves_of(profile).values(int(at_s * 1e6))
    return [(one.key, float(value)) for one, (_, _, value) in zip(uplinks, values, strict=True)]


def test_people_are_counted_in_whole_numbers_that_add_up() -> None:
    people = Passers(5)
    midnight = at(2026, 11, 18, 23)  # 00:00 in the Netherlands
    assert people.today(midnight) == 0
    assert people.total(midnight) - people.total(midnight - 86_400) == pytest.approx(people.today(midnight - 1), abs=1)


def test_a_parking_place_is_as_long_taken_as_its_stays() -> None:
    place = Parking(9)
    begin = at(2026, 11, 18, 23)
    taken = sum(60 for minute in range(24 * 60) if place.is_taken(begin + minute * 60 + 30))
    assert place.taken_today_s(begin + 86_399) == pytest.approx(taken, abs=1_200)
    stays = [(place.is_taken(begin + n * 60), place.stay_s(begin + n * 60)) for n in range(1_440)]
    assert any(held for held, _ in stays)
    assert any(not held for held, _ in stays)
    for (held, stay), (still_held, longer) in itertools.pairwise(stays):
        if held and still_held and longer > 60:
            assert longer == pytest.approx(stay + 60)
