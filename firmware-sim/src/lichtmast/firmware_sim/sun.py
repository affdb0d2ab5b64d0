"""When lamps burn: dusk and dawn at a position, and the clock that people live by.

Declination and equation of time by Spencer's Fourier series (J. W. Spencer, "Fourier series representation of the
position of the sun", Search 2(5), 1971), which NOAA's general solar position notes use: good to some two minutes at the
latitudes of the Netherlands.

Will not do refraction, terrain or clouds: a lamp's photocell does not either.
"""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

DAY_S: Final = 86_400
SWITCHING_ALTITUDE_DEG: Final = -3.0
"""Street lighting switches at roughly 20 lux, which is a sun this far below the horizon."""


@dataclass(frozen=True, slots=True)
class Daylight:
    """The daylight of one UTC day at a position, as seconds since 1970; lamps burn outside it.

    `noon_s` is solar noon; `dawn_s` and `dusk_s` lie at most half a day before and after it (polar day), and
    coincide with it in the polar night.
    """

    dawn_s: float
    noon_s: float
    dusk_s: float


@lru_cache(maxsize=65_536)
def daylight(day: int, longitude_deg: float, latitude_deg: float) -> Daylight:
    """The daylight around the solar noon of day number `day` since 1970."""
    angle = 2 * math.pi * ((date(1970, 1, 1) + timedelta(days=day)).timetuple().tm_yday - 0.5) / 365.2422
    declination = (
        0.006918
        - 0.399912 * math.cos(angle)
        + 0.070257 * math.sin(angle)
        - 0.006758 * math.cos(2 * angle)
        + 0.000907 * math.sin(2 * angle)
        - 0.002697 * math.cos(3 * angle)
        + 0.00148 * math.sin(3 * angle)
    )
    equation_of_time_min = 229.18 * (
        0.000075
        + 0.001868 * math.cos(angle)
        - 0.032077 * math.sin(angle)
        - 0.014615 * math.cos(2 * angle)
        - 0.040849 * math.sin(2 * angle)
    )
    noon_s = day * DAY_S + DAY_S / 2 - 240 * longitude_deg - 60 * equation_of_time_min
    latitude = math.radians(latitude_deg)
    cosine = (math.sin(math.radians(SWITCHING_ALTITUDE_DEG)) - math.sin(latitude) * math.sin(declination)) / (
        max(1e-9, math.cos(latitude)) * math.cos(declination)
    )
    half_day_s = math.acos(max(-1.0, min(1.0, cosine))) * DAY_S / (2 * math.pi)
    return Daylight(noon_s - half_day_s, noon_s, noon_s + half_day_s)


def sunshine(at_s: float, longitude_deg: float, latitude_deg: float) -> float:
    """How high the day is: 0 in the dark, 1 at solar noon."""
    day = math.floor((at_s + 240 * longitude_deg) / DAY_S)  # the solar day, from midnight to midnight
    light = daylight(day, longitude_deg, latitude_deg)
    if not light.dawn_s < at_s < light.dusk_s:
        return 0.0
    return math.sin(math.pi * (at_s - light.dawn_s) / (light.dusk_s - light.dawn_s))


def is_dark(at_s: float, longitude_deg: float, latitude_deg: float) -> bool:
    """Whether lamps burn."""
    return sunshine(at_s, longitude_deg, latitude_deg) <= 0.0


def local_offset_s(at_s: float) -> int:
    """Seconds that Dutch clocks are ahead of UTC: summer time by directive 2000/84/EC, changing at 01:00 UTC.

    Computed, so that a machine without a time-zone database simulates the same town.
    """
    start_s, end_s = _summer_time(datetime.fromtimestamp(at_s, UTC).year)
    return 7_200 if start_s <= at_s < end_s else 3_600


@lru_cache(maxsize=256)
def _summer_time(year: int) -> tuple[float, float]:
    return _last_sunday(year, 3).timestamp() + 3_600, _last_sunday(year, 10).timestamp() + 3_600


def _last_sunday(year: int, month: int) -> datetime:
    last = datetime(year, month, 31, tzinfo=UTC)
    return last - timedelta(days=(last.weekday() + 1) % 7)
