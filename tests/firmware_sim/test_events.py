"""What happens in town is seen by every device that stands there, as in a real street."""

import statistics
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from lichtmast.firmware_sim import Curves
from lichtmast.firmware_sim.happenings import RAMP_S, Happening, Kind, Surroundings
from lichtmast.firmware_sim.lamp import STANDBY_W, Lamp
from lichtmast.firmware_sim.scenario.parts import Area
from lichtmast.firmware_sim.street import Traffic
from lichtmast.firmware_sim.weather import USUAL, Climate, weather_of
from lichtmast.wire.profile import ResultKind, load_profiles

HILVERSUM = (5.1713, 52.2242)
NOON_S = datetime(2026, 11, 18, 11, tzinfo=UTC).timestamp()
NIGHT_S = datetime(2026, 11, 18, 20, tzinfo=UTC).timestamp()
HOUR_S = 3_600


def happening(kind: Kind, start_s: float = NOON_S, hours: float = 4.0, strength: float = 1.0) -> Surroundings:
    return Surroundings([Happening(kind, start_s, start_s + hours * HOUR_S, strength)])


def curves_of(profile: str, around: Surroundings | None = None, climate: Climate = USUAL, seed: int = 11) -> Curves:
    longitude, latitude = HILVERSUM
    return Curves(
        load_profiles()[profile],
        seed=seed,
        device="gm0402/lm-0001",
        longitude=longitude,
        latitude=latitude,
        around=around or Surroundings(),
        climate=climate,
    )


def value_of(curves: Curves, profile: str, key: str, at_s: float) -> float:
    position = next(number for number, one in enumerate(load_profiles()[profile].uplinks) if one.key == key)
    return float(curves.values(round(at_s * 1e6))[position][2])


def compared(kind: Kind, profile: str, key: str, at_s: float) -> tuple[float, float]:
    """Without it, and with it."""
    start_s = at_s - 2 * HOUR_S
    around = happening(kind, start_s)
    return value_of(curves_of(profile), profile, key, at_s), value_of(curves_of(profile, around), profile, key, at_s)


@pytest.mark.parametrize(
    ("kind", "profile", "key", "least", "most"),
    [
        (Kind.FESTIVAL, "noise", "level", 8, 25),
        (Kind.FESTIVAL, "people-counter", "present", 10, 60),
        (Kind.FESTIVAL, "people-counter", "today", 2_500, 3_600),
        (Kind.FESTIVAL, "air-quality", "pm25", 5e-9, 3e-8),
        (Kind.FESTIVAL, "air-quality", "no2", -5e-8, -1e-9),
        (Kind.FLOOD, "noise", "level", 3, 20),
        (Kind.FLOOD, "air-quality", "pm25", -3e-8, -1e-9),
        (Kind.FLOOD, "weather", "rain", 0.05, 0.061),
        (Kind.FLOOD, "illuminance", "level", -60_000, -1),
    ],
)
def test_an_event_is_measured(kind: Kind, profile: str, key: str, least: float, most: float) -> None:
    before, after = compared(kind, profile, key, NOON_S)
    assert least <= after - before <= most


def test_a_lamp_that_an_event_strikes_is_dark_and_its_meter_stands_still() -> None:
    start_s, end_s = NIGHT_S, NIGHT_S + 3 * HOUR_S
    struck, sound = Lamp(3, *HILVERSUM, [(start_s, end_s)]), Lamp(3, *HILVERSUM)
    assert (struck.level(start_s - 1), struck.fails(start_s - 1)) == (1.0, False)
    assert (struck.level(start_s + 1), struck.fails(start_s + 1)) == (0.0, True)
    assert (struck.level(end_s + 1), struck.fails(end_s + 1)) == (sound.level(end_s + 1), False)
    assert struck.burning_s(start_s) == sound.burning_s(start_s)
    assert struck.burning_s(end_s) == pytest.approx(struck.burning_s(start_s))
    assert struck.energy_j(end_s) - struck.energy_j(start_s) == pytest.approx(STANDBY_W * 3 * HOUR_S)
    later_s = end_s + 2 * HOUR_S
    assert struck.burning_s(later_s) == pytest.approx(sound.burning_s(later_s) - 3 * HOUR_S)
    summed = sum(struck.power_w(start_s - HOUR_S + n * 20 + 10) * 20 for n in range(180 * 6))
    assert struck.energy_j(start_s + 5 * HOUR_S) - struck.energy_j(start_s - HOUR_S) == pytest.approx(summed, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("profile", list(load_profiles()))
def test_values_stay_within_the_profile_also_in_a_strong_event(kind: Kind, profile: str) -> None:
    curves, uplinks = curves_of(profile, happening(kind, NOON_S, 8, strength=3)), load_profiles()[profile].uplinks
    for minute in range(-60, 600, 7):
        for (_, _, value), one in zip(curves.values(round((NOON_S + minute * 60) * 1e6)), uplinks, strict=True):
            if one.kind is ResultKind.NUMBER:
                assert one.minimum is not None
                assert one.maximum is not None
                assert one.minimum <= value <= one.maximum, one.key


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Kind.FLOOD, Kind.FESTIVAL])
@pytest.mark.parametrize("profile", ["people-counter", "weather", "lamp-controller"])
def test_counters_only_rise_through_an_event(kind: Kind, profile: str) -> None:
    keys = {"total", "passages-total", "rain", "energy", "operating-time"}
    curves = curves_of(profile, happening(kind, NOON_S, 3))
    rows = [curves.values(round((NOON_S + n * 97) * 1e6)) for n in range(500)]
    for position, one in enumerate(load_profiles()[profile].uplinks):
        if one.key in keys:
            series = [row[position][2] for row in rows]
            assert series == sorted(series), one.key


def test_what_is_summed_is_the_integral_of_what_is_there() -> None:
    for kind in Kind:
        for hours in (0.1, 0.5, 4.0):
            one = Happening(kind, 1_000.0, 1_000.0 + hours * HOUR_S, 1.5)
            for upto_s in (500.0, 1_100.0, 1_000 + hours * HOUR_S / 2, 1_000 + hours * HOUR_S, 50_000.0):
                summed = sum(one.amount(500.0 + n + 0.5) for n in range(int(upto_s - 500)))
                assert one.total(upto_s) == pytest.approx(summed, abs=3)


@pytest.mark.parametrize("kind", [Kind.FLOOD, Kind.FESTIVAL])
def test_an_event_comes_up_and_dies_away_smoothly(kind: Kind) -> None:
    one = Happening(kind, 0.0, 4.0 * HOUR_S)
    series = [one.amount(float(at_s)) for at_s in range(-10, 4 * HOUR_S + 10)]
    assert max(series) == 1
    assert max(abs(after - before) for before, after in pairwise(series)) <= 1 / RAMP_S[kind] + 1e-9


def test_an_area_is_a_circle_or_assets_or_the_town() -> None:
    circle = Area((5.17, 52.22), 300)
    assert circle.covers("a", 5.1740, 52.22), "273 m east"
    assert not circle.covers("a", 5.1748, 52.22), "328 m east"
    assert circle.covers("a", 5.17, 52.2226), "289 m north"
    assert not circle.covers("a", 5.17, 52.2228), "312 m north"
    assert Area(assets=frozenset({"a"})).covers("a", 0, 0)
    assert not Area(assets=frozenset({"a"})).covers("b", 0, 0)
    assert Area().covers("b", 0, 0)


# The street: what goes together.


def week_of(curves: Curves, profile: str, key: str, step_s: int = 900) -> list[float]:
    return [value_of(curves, profile, key, NOON_S + n * step_s) for n in range(7 * 86_400 // step_s)]


@pytest.mark.slow
def test_neighbours_hear_the_same_traffic_and_a_far_street_another() -> None:
    here, near, far = (Traffic(1, 5.171 + east, 52.22) for east in (0.0, 0.0005, 0.05))
    moments = [NOON_S + n * 600 for n in range(1_000)]
    flows = [[one.flow(at_s) for at_s in moments] for one in (here, near, far)]
    same, other = flows[0] == flows[1], flows[0] == flows[2]  # apart, so that a failure does not print them all
    assert (same, other) == (True, False)
    assert statistics.correlation(flows[0], flows[2]) > 0.8, "the same hours are busy"


@pytest.mark.slow
def test_traffic_drives_noise_at_once_and_nitrogen_with_a_lag() -> None:
    traffic = Traffic(11, *HILVERSUM)
    flow = [traffic.flow(NOON_S + n * 900) for n in range(7 * 96)]
    noise = week_of(curves_of("noise"), "noise", "level")
    nitrogen = week_of(curves_of("air-quality"), "air-quality", "no2")
    assert statistics.correlation(flow, noise) > 0.85
    assert statistics.correlation(flow, nitrogen) > 0.5
    lagged = [statistics.correlation(flow[: len(flow) - lag or None], nitrogen[lag:]) for lag in range(4)]
    assert max(lagged[1:3]) > lagged[0], "the air answers later"
    direct = [statistics.correlation(flow[: len(flow) - lag or None], noise[lag:]) for lag in range(4)]
    assert max(direct) == direct[0], "sound does not"


@pytest.mark.slow
def test_rain_washes_the_air_wets_the_road_and_comes_from_clouds() -> None:
    sky = weather_of(11)
    moments = [NOON_S + n * 900 for n in range(40 * 96)]
    wet = [at_s for at_s in moments if sky.wetness(at_s) > 0.5]
    dry = [at_s for at_s in moments if all(sky.wetness(at_s - lag_s) == 0 for lag_s in range(0, 7_201, 1_800))]
    assert 20 < len(wet) < len(dry)
    air = curves_of("air-quality")
    means = [statistics.mean(value_of(air, "air-quality", "pm25", at_s) for at_s in some) for some in (wet, dry)]
    assert means[0] < 0.85 * means[1]
    assert statistics.mean(map(sky.cloudiness, wet)) > statistics.mean(map(sky.cloudiness, dry)) + 0.1
    busy = [at_s for at_s in moments if Traffic(11, *HILVERSUM).flow(at_s) > 0.5]
    noise = curves_of("noise")
    sound = [
        statistics.mean(value_of(noise, "noise", "level", at_s) for at_s in busy if (sky.wetness(at_s) > 0.5) is rains)
        for rains in (True, False)
    ]
    assert sound[0] > sound[1] + 2


@pytest.mark.slow
def test_the_climate_makes_it_warmer_wetter_and_windier() -> None:
    usual, other = curves_of("weather"), curves_of("weather", climate=Climate("summer", 2.0, 3.0, 2.0))
    means = [
        [statistics.mean(week_of(curves, "weather", key, 3_600)) for key in ("temperature", "wind-speed", "rain")]
        for curves in (usual, other)
    ]
    assert means[1][0] > means[0][0] + 10, "summer in November, and two degrees"
    assert means[1][1] == pytest.approx(2 * means[0][1], rel=0.05)
    assert means[1][2] > means[0][2]
