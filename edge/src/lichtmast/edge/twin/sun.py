"""Where the sun stands: NOAA's solar calculator (after Meeus, Astronomical Algorithms), good to 0.02 degrees.

The geometric centre of the disc, without refraction, which lifts it by half a degree at the horizon and by less where
lamps switch. Will not know time zones: everything is UTC.
"""

from dataclasses import dataclass
from math import asin, cos, degrees, radians, sin, tan
from typing import Final

_J2000_S: Final = 946_728_000
"""2000-01-01T12:00:00Z in seconds since 1970."""
_CENTURY_S: Final = 36_525 * 86_400
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Sun:
    """Elevation above the horizon, and the hour angle: below 0 before solar noon, above it after."""

    elevation_deg: float
    hour_angle_deg: float


def sun_at(unix_s: float, latitude_deg: float, longitude_deg: float) -> Sun:
    """The sun at a moment (seconds since 1970) and a place (WGS84, east and north are positive)."""
    century = (unix_s - _J2000_S) / _CENTURY_S
    mean_longitude = radians((280.46646 + century * (36_000.76983 + century * 0.0003032)) % 360)
    anomaly = radians(357.52911 + century * (35_999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = radians(
        sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + sin(2 * anomaly) * (0.019993 - 0.000101 * century)
        + sin(3 * anomaly) * 0.000289
    )
    node = radians(125.04 - 1934.136 * century)
    apparent_longitude = mean_longitude + centre - radians(0.00569 + 0.00478 * sin(node))
    obliquity = radians(
        23 + (26 + (21.448 - century * (46.815 + century * (0.00059 - century * 0.001813))) / 60) / 60
    ) + radians(0.00256 * cos(node))
    declination = asin(sin(obliquity) * sin(apparent_longitude))
    y = tan(obliquity / 2) ** 2
    equation_of_time_min = 4 * degrees(
        y * sin(2 * mean_longitude)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * y * sin(anomaly) * cos(2 * mean_longitude)
        - y**2 / 2 * sin(4 * mean_longitude)
        - 5 / 4 * eccentricity**2 * sin(2 * anomaly)
    )
    solar_min = ((unix_s % _DAY_S) / 60 + equation_of_time_min + 4 * longitude_deg) % 1440
    hour_angle_deg = solar_min / 4 - 180
    latitude = radians(latitude_deg)
    height = sin(latitude) * sin(declination) + cos(latitude) * cos(declination) * cos(radians(hour_angle_deg))
    return Sun(degrees(asin(max(-1.0, min(1.0, height)))), hour_angle_deg)


def is_night(
    unix_s: float,
    latitude_deg: float,
    longitude_deg: float,
    *,
    sun_deg: float,
    dusk_offset_s: float = 0.0,
    dawn_offset_s: float = 0.0,
) -> bool:
    """Whether lamps burn: from dusk plus its offset to dawn plus its offset, dusk being the sun at `sun_deg`.

    An offset moves the moment at which one asks: an hour after dusk the sun of an hour ago was at dusk.
    """
    now = sun_at(unix_s, latitude_deg, longitude_deg)
    offset_s = dusk_offset_s if now.hour_angle_deg > 0 else dawn_offset_s
    if offset_s:
        now = sun_at(unix_s - offset_s, latitude_deg, longitude_deg)
    return now.elevation_deg < sun_deg
