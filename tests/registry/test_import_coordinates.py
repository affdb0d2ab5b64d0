"""RD New to CRS84 within a centimetre, and numbers read as they were meant or not at all."""

from math import cos, hypot, radians

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrdnap import RDNAP2018v1  # type: ignore[import-untyped]  # it ships no type information

from lichtmast.registry.importing.coordinates import locate, parse_number, rd_to_crs84
from lichtmast.registry.importing.report import Problem, Reason
from lichtmast.registry.importing.source import CRS84, RD_NEW

# Kadaster's published control points of RDNAPTRANS: name, RD x, RD y, ETRS89 latitude, longitude.
CONTROL_POINTS = [
    ("Texel", 117380.1200, 575040.3400, 53.160753042, 4.824761912),
    ("Noord-Groningen", 247380.5600, 604580.7800, 53.419482050, 6.776726674),
    ("Amersfoort", 155000.0000, 463000.0000, 52.155172897, 5.387203657),
    ("Zeeuws-Vlaanderen", 16460.9100, 377380.2300, 51.368607152, 3.397588595),
    ("Zuid-Limburg", 182260.4500, 311480.6700, 50.792584916, 5.773795548),
    ("Maasvlakte", 64640.8900, 440700.0100, 51.947393898, 4.072887101),
]


def _distance_m(longitude: float, latitude: float, other_longitude: float, other_latitude: float) -> float:
    north = (latitude - other_latitude) * 111_250
    east = (longitude - other_longitude) * 111_320 * cos(radians(latitude))
    return hypot(north, east)


@pytest.mark.parametrize(("name", "x", "y", "latitude", "longitude"), CONTROL_POINTS)
def test_published_control_points_agree_within_a_centimetre(
    name: str, x: float, y: float, latitude: float, longitude: float
) -> None:
    assert _distance_m(*rd_to_crs84(x, y), longitude, latitude) < 0.01, name


@given(st.floats(15_000, 275_000), st.floats(310_000, 610_000))
def test_there_and_back_is_within_a_centimetre(x: float, y: float) -> None:
    longitude, latitude = rd_to_crs84(x, y)
    back = RDNAP2018v1().forward(latitude, longitude)
    assert hypot(back.RDx - x, back.RDy - y) < 0.01


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("140124.785", 140124.785),
        ("140124,785", 140124.785),
        ("140.124,785", 140124.785),
        ("140.124", 140.124),
        (" 5,118501 ", 5.118501),
        ("-5", -5.0),
        ("1e5", 100_000.0),
        ("", None),
        ("1.2.3", None),
        ("1,2,3", None),
        ("140,124.785", None),
        ("nan", None),
        ("inf", None),
        ("0x10", None),
        ("1_000", None),
        ("\u0665", None),
        ("5 m", None),
        ("1e999", None),
    ],
)
def test_numbers_are_read_in_both_notations_and_nothing_else(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@given(st.text())
def test_any_text_is_a_finite_number_or_none(text: str) -> None:
    number = parse_number(text)
    assert number is None or abs(number) < float("inf")


@given(st.text(), st.text(), st.sampled_from([CRS84, RD_NEW]))
def test_any_pair_of_texts_is_a_place_in_the_netherlands_or_a_problem(x: str, y: str, crs: str) -> None:
    place = locate(3, crs, x, y)
    assert isinstance(place, Problem) or (3 < place[0] < 8 and 50 < place[1] < 54)


@pytest.mark.parametrize(
    ("crs", "x", "y", "reason", "words"),
    [
        (CRS84, "52.1", "5.1", Reason.SWAPPED_AXES, "wrong way round"),
        (RD_NEW, "466656", "140124", Reason.SWAPPED_AXES, "wrong way round"),
        (RD_NEW, "5.1", "52.1", Reason.OUTSIDE_NETHERLANDS, "look like longitude, latitude"),
        (CRS84, "140124", "466656", Reason.OUTSIDE_NETHERLANDS, "look like x, y in RD New"),
        (CRS84, "466656", "140124", Reason.OUTSIDE_NETHERLANDS, "the wrong way round"),
        (CRS84, "0", "0.0", Reason.ZERO_COORDINATE, "unknown"),
        (CRS84, "13.4", "52.5", Reason.OUTSIDE_NETHERLANDS, "outside the Netherlands"),
    ],
)
def test_misplaced_point_says_what_it_looks_like(crs: str, x: str, y: str, reason: Reason, words: str) -> None:
    problem = locate(9, crs, x, y)
    assert isinstance(problem, Problem)
    assert (problem.row, problem.reason) == (9, reason)
    assert words in problem.message
