"""The weather of a town: one sky for all its devices, so that neighbours agree.

A season, a day and slow seeded drifts; believable for the Netherlands, no forecast of anything.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from lichtmast.firmware_sim.chance import drift, seed_of, share
from lichtmast.firmware_sim.sun import DAY_S, local_offset_s, sunshine

_YEAR_S: Final = 365.2422 * DAY_S
_COLDEST_S: Final = 20 * DAY_S  # around 20 January
_HOUR_S: Final = 3_600
_WET_HOURS_SHARE: Final = 0.3
_RAIN_CLOUDS: Final = 0.55
"""It rains from clouds: an hour with a clearer sky stays dry."""
_FALLEN_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class Climate:
    """How this town's weather differs from the usual. `season` holds the temperature in one; the sun keeps its date."""

    season: str | None = None
    warmer_cel: float = 0.0
    wetter: float = 1.0
    windier: float = 1.0


USUAL: Final = Climate()
SEASONS: Final[Mapping[str, float]] = {"winter": -1.0, "spring": 0.0, "summer": 1.0, "autumn": 0.0}
"""Where on the yearly curve of temperature a season lies: -1 is the coldest."""


@lru_cache(maxsize=64)
def weather_of(seed: int, climate: Climate = USUAL) -> "Weather":
    """The one sky over a town."""
    return Weather(seed_of(seed, "weather"), climate)


class Weather:
    """The sky over the town with this seed."""

    def __init__(self, seed: int, climate: Climate = USUAL) -> None:
        self._climate = climate
        self._air = seed_of(seed, "air mass")
        self._clouds = seed_of(seed, "clouds")
        self._pressure = seed_of(seed, "pressure")
        self._wind = seed_of(seed, "wind")
        self._rain = seed_of(seed, "rain")
        self._fallen: dict[tuple[int, int], float] = {}

    def temperature_cel(self, at_s: float) -> float:
        """Air temperature: coldest before sunrise, warmest in the afternoon."""
        fixed = self._climate.season
        season = SEASONS[fixed] if fixed else -math.cos(2 * math.pi * (at_s - _COLDEST_S) / _YEAR_S)
        hour = (at_s + local_offset_s(at_s)) % DAY_S / _HOUR_S
        daily = math.cos(2 * math.pi * (hour - 15) / 24) * (3.5 + 1.5 * season)
        drifting = 4 * drift(self._air, at_s, 1.5 * DAY_S)
        return 10.5 + 7.5 * season + daily + drifting + self._climate.warmer_cel - 1.5 * self.wetness(at_s)

    def humidity_percent(self, at_s: float) -> float:
        """Relative humidity: falls as the day warms."""
        hour = (at_s + local_offset_s(at_s)) % DAY_S / _HOUR_S
        daily = 12 * math.cos(2 * math.pi * (hour - 15) / 24)
        return 74 - daily + 8 * drift(self._air ^ 1, at_s, DAY_S / 2) + 12 * self.wetness(at_s)

    def pressure_pa(self, at_s: float) -> float:
        """Air pressure, which depressions move over days."""
        return 101_400 + 1_800 * drift(self._pressure, at_s, 2.5 * DAY_S)

    def cloudiness(self, at_s: float) -> float:
        """0 is a clear sky, 1 is overcast."""
        return 0.5 + 0.5 * drift(self._clouds, at_s, 3 * _HOUR_S)

    def wind_m_s(self, at_s: float) -> float:
        """Wind speed."""
        gusty = 4.2 + 2.8 * drift(self._wind, at_s, 8 * _HOUR_S) + 1.3 * drift(self._wind ^ 1, at_s, 45)
        return max(0.0, self._climate.windier * gusty)

    def wind_from_rad(self, at_s: float) -> float:
        """Where the wind comes from; south-west more often than not."""
        turn = 1.4 * drift(self._wind ^ 2, at_s, DAY_S) + 0.25 * drift(self._wind ^ 3, at_s, 90)
        return (3.93 + turn) % (2 * math.pi)

    def light_lx(self, at_s: float, longitude_deg: float, latitude_deg: float) -> float:
        """Daylight on a level surface."""
        high = sunshine(at_s, longitude_deg, latitude_deg)
        return 78_000 * math.pow(high, 1.3) * (1 - 0.85 * self.cloudiness(at_s))

    def rain_m(self, at_s: float) -> float:
        """Rain since the gauge was emptied, which is on the first of the month (UTC)."""
        hour = math.floor(at_s / _HOUR_S)
        first_s = month_began_s(at_s)
        fallen_m = self._rain_between(math.floor(first_s / _HOUR_S), hour)
        return fallen_m + self._rain_of_hour(hour) * (at_s / _HOUR_S - hour)

    def wetness(self, at_s: float) -> float:
        """How wet the street is: 0 is dry, 1 is two millimetres an hour; it follows the rain within twenty minutes."""
        hour, rest = divmod(at_s / _HOUR_S, 1)
        now, before = (min(1.0, 500 * self._rain_of_hour(int(one))) for one in (hour, hour - 1))
        return before + (now - before) * min(1.0, 3 * rest)

    def _rain_of_hour(self, hour: int) -> float:
        chance = share(self._rain, hour)
        likely = min(1.0, _WET_HOURS_SHARE * self._climate.wetter)
        if chance >= likely or self.cloudiness((hour + 0.5) * _HOUR_S) < _RAIN_CLOUDS:
            return 0.0
        return 0.004 * (chance / likely) ** 2

    def _rain_between(self, first_hour: int, hour: int) -> float:
        known = self._fallen.get((first_hour, hour))
        if known is None:
            if len(self._fallen) > _FALLEN_MAX:
                self._fallen.clear()
            known = math.fsum(self._rain_of_hour(one) for one in range(first_hour, hour))
            self._fallen[first_hour, hour] = known
        return known


@lru_cache(maxsize=64)
def _month(year: int, month: int) -> float:
    return datetime(year, month, 1, tzinfo=UTC).timestamp()


def month_began_s(at_s: float) -> float:
    """The first of the month (UTC), when rain gauges are emptied."""
    now = datetime.fromtimestamp(at_s, UTC)
    return _month(now.year, now.month)
