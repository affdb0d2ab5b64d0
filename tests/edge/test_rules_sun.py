"""Where the sun stands, against PyEphem 4 (XEphem's VSOP87, refraction off), which shares no formula with ours."""

from datetime import UTC, datetime

import pytest

from lichtmast.edge.twin.sun import is_night, sun_at

AMSTERDAM = (52.3728, 4.8936)


@pytest.mark.parametrize(
    ("unix_s", "latitude_deg", "longitude_deg", "elevation_deg"),
    [
        (1363213956, 52.3728, 4.8936, -37.686),
        (3573729384, 52.3728, 4.8936, 30.389),
        (3314386118, 52.3728, 4.8936, -57.375),
        (1737398779, 52.3728, 4.8936, -23.951),
        (2482533569, 50.8514, 5.691, -29.537),
        (2340107100, 50.8514, 5.691, 25.45),
        (1237649519, -33.8688, 151.2093, -50.527),
        (1034561977, -33.8688, 151.2093, 62.697),
        (3537556622, -33.8688, 151.2093, 39.11),
        (953213565, 69.6492, 18.9553, 14.003),
        (3183458900, 69.6492, 18.9553, -6.782),
        (1655847685, -0.1807, -78.4678, 21.462),
        (3877023956, -0.1807, -78.4678, -1.924),
        (1041513747, -0.1807, -78.4678, 28.545),
    ],
)
def test_the_sun_stands_where_another_program_has_it(
    unix_s: float, latitude_deg: float, longitude_deg: float, elevation_deg: float
) -> None:
    assert sun_at(unix_s, latitude_deg, longitude_deg).elevation_deg == pytest.approx(elevation_deg, abs=0.02)


def unix(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


DUSK_AND_DAWN = [
    ("2026-03-20T18:07:44", "2026-03-21T05:26:44"),
    ("2026-06-21T20:26:13", "2026-06-22T02:58:29"),
    ("2026-09-23T17:50:52", "2026-09-24T05:15:21"),
    ("2026-12-21T15:46:41", "2026-12-22T07:30:46"),
]
"""When the sun's centre stands at -3 degrees over Amsterdam, by PyEphem."""


@pytest.mark.parametrize(("dusk", "dawn"), DUSK_AND_DAWN)
def test_lamps_burn_from_dusk_to_dawn_within_fifteen_seconds(dusk: str, dawn: str) -> None:
    def night(unix_s: float) -> bool:
        return is_night(unix_s, *AMSTERDAM, sun_deg=-3)

    assert [night(unix(dusk) - 15), night(unix(dusk) + 15)] == [False, True]
    assert [night(unix(dawn) - 15), night(unix(dawn) + 15)] == [True, False]


@pytest.mark.parametrize(("dusk", "dawn"), DUSK_AND_DAWN)
@pytest.mark.parametrize("offset_s", [-5400, -600, 900, 3600])
def test_an_offset_moves_its_own_end_of_the_night(dusk: str, dawn: str, offset_s: float) -> None:
    def night(unix_s: float, dusk_offset_s: float, dawn_offset_s: float) -> bool:
        offsets = {"dusk_offset_s": dusk_offset_s, "dawn_offset_s": dawn_offset_s}
        return is_night(unix_s, *AMSTERDAM, sun_deg=-3, **offsets)

    moved, stays = unix(dusk) + offset_s, unix(dawn)
    assert [night(at, offset_s, 0) for at in (moved - 15, moved + 15, stays - 15, stays + 15)] == [
        False,
        True,
        True,
        False,
    ]
    stays, moved = unix(dusk), unix(dawn) + offset_s
    assert [night(at, 0, offset_s) for at in (stays - 15, stays + 15, moved - 15, moved + 15)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_polar_day_has_no_night_and_a_polar_night_no_day() -> None:
    for unix_s in range(int(unix("2026-06-21T00:00:00")), int(unix("2026-06-22T00:00:00")), 3600):
        assert not is_night(unix_s, 69.65, 18.96, sun_deg=0)
    for unix_s in range(int(unix("2026-12-21T00:00:00")), int(unix("2026-12-22T00:00:00")), 3600):
        assert is_night(unix_s, 78.2, 15.6, sun_deg=0)
