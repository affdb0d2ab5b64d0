"""The weather of a town: one sky for all its devices, so that neighbours agree.

A season, a day and slow seeded drifts; believable for the Netherlands, no forecast of anything.
"""

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from lichtmast.firmware_sim.chance import drift, seed_of, share
from lichtmast.firmware_sim.sun import DAY_S, local_offset_s, sunshine

_YEAR_S: Final = 365.2422 * DAY_S
_COLDEST_S: Final = 20 * DAY_S  # around 20 January
_HOUR_S: Final = 3_600
_WET_HOURS_SHARE: Final = 0.12


class Weather:
    """The sky over the town with this seed."""

    def __init__(self, seed: int) -> None:
        self._air = seed_of(seed, "air mass")
        self._clouds = seed_of(seed, "clouds")
        self._pressure = seed_of(seed, "pressure")
        self._wind = seed_of(seed, "wind")
        self._rain = seed_of(seed, "rain")

    def temperature_cel(self, at_s: float) -> float:
        """Air temperature: coldest before sunrise, warmest in the afternoon."""
        season = -math.cos(2 * math.pi * (at_s - _COLDEST_S) / _YEAR_S)
        hour = (at_s + local_offset_s(at_s)) % DAY_S / _HOUR_S
        daily = math.cos(2 * math.pi * (hour - 15) / 24) * (3.5 + 1.5 * season)
        return 10.5 + 7.5 * season + daily + 4 * drift(self._air, at_s, 1.5 * DAY_S)

    def humidity_percent(self, at_s: float) -> float:
        """Relative humidity: falls as the day warms."""
        hour = (at_s + local_offset_s(at_s)) % DAY_S / _HOUR_S
        return 76 - 12 * math.cos(2 * math.pi * (hour - 15) / 24) + 10 * drift(self._air ^ 1, at_s, DAY_S / 2)

    def pressure_pa(self, at_s: float) -> float:
        """Air pressure, which depressions move over days."""
        return 101_400 + 1_800 * drift(self._pressure, at_s, 2.5 * DAY_S)

    def cloudiness(self, at_s: float) -> float:
        """0 is a clear sky, 1 is overcast."""
        return 0.5 + 0.5 * drift(self._clouds, at_s, 3 * _HOUR_S)

    def wind_m_s(self, at_s: float) -> float:
        """Wind speed."""
        return max(0.0, 4.2 + 2.8 * drift(self._wind, at_s, 8 * _HOUR_S) + 1.3 * drift(self._wind ^ 1, at_s, 45))

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
        now = datetime.fromtimestamp(at_s, UTC)
        first = math.floor(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp() / _HOUR_S)
        fallen_m = _rain_between(self._rain, first, hour)
        return fallen_m + _rain_of_hour(self._rain, hour) * (at_s / _HOUR_S - hour)


def _rain_of_hour(seed: int, hour: int) -> float:
    chance = share(seed, hour)
    return 0.0 if chance >= _WET_HOURS_SHARE else 0.004 * (chance / _WET_HOURS_SHARE) ** 2


@lru_cache(maxsize=1_024)
def _rain_between(seed: int, first_hour: int, hour: int) -> float:
    return sum(_rain_of_hour(seed, one) for one in range(first_hour, hour))
