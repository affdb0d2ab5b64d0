"""A street lamp: burns from dusk to dawn, dims when the street sleeps, and its meter is the integral of its power.

A few nights a lamp fails, and while a scenario says so: it then stays dark, reports it, and its meter stands still but
for the controller's own use.
"""

import math
from array import array
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final

from lichtmast.firmware_sim.chance import share
from lichtmast.firmware_sim.sun import DAY_S, daylight, local_offset_s

DIMMED_LEVEL: Final = 0.6
DIMMED_FROM_S: Final = 23 * 3600
DIMMED_UPTO_S: Final = 29 * 3600
"""Eleven in the evening until five in the morning, local time."""
STANDBY_W: Final = 0.5
FAILURE_SHARE: Final = 0.004
_DISTRICT_DEG: Final = 0.05
"""Lamps of one district share the computed dusk: a twentieth of a degree is at most 12 seconds of sun."""
_WARMING_S: Final = 1_200
_METER_ORIGIN_DAY: Final = (date(2026, 1, 1) - date(1970, 1, 1)).days
_METER_AGE_DAYS: Final = 365


class Lamp:
    """One lamp; every answer follows from its seed, its place and the time. `failing` are (start, end) of failures."""

    def __init__(
        self, seed: int, longitude_deg: float, latitude_deg: float, failing: Sequence[tuple[float, float]] = ()
    ) -> None:
        self._seed = seed
        self._longitude = round(longitude_deg / _DISTRICT_DEG) * _DISTRICT_DEG
        self._latitude = round(latitude_deg / _DISTRICT_DEG) * _DISTRICT_DEG
        self._lag_s = 120 * share(seed, 1)  # no two photocells are alike
        self.rated_w = round(20 + 70 * share(seed, 2), 1)
        self._first_night = _METER_ORIGIN_DAY - int(_METER_AGE_DAYS * share(seed, 3))
        self._failing = tuple(failing)
        self._broken: list[int] = []
        self._known_night = self._first_night

    def level(self, at_s: float) -> float:
        """The dimming level as measured: 0 is off, 1 is full light."""
        return 0.0 if self.fails(at_s) else self._level_asked(at_s)

    def fails(self, at_s: float) -> bool:
        """Whether it gives no light although it should."""
        if not self._level_asked(at_s):
            return False
        failing = any(start_s <= at_s < end_s for start_s, end_s in self._failing)
        return failing or self._is_broken(self._night_of(at_s - self._lag_s))

    def power_w(self, at_s: float) -> float:
        """Active power now."""
        return self.rated_w * self.level(at_s) + STANDBY_W

    def energy_j(self, at_s: float) -> float:
        """The integral of `power_w` since the meter began."""
        age_s = max(0.0, at_s - self._lag_s - self._noon_s(self._first_night))
        return self.rated_w * self._burnt(at_s)[0] + STANDBY_W * age_s

    def burning_s(self, at_s: float) -> float:
        """How long it has burnt since the meter began."""
        return self._burnt(at_s)[1]

    def warmth(self, at_s: float) -> float:
        """The mean level of the last twenty minutes: the gear warms and cools slowly."""
        return (self._burnt(at_s)[0] - self._burnt(at_s - _WARMING_S)[0]) / _WARMING_S

    def _level_asked(self, at_s: float) -> float:
        clock_s = at_s - self._lag_s
        dusk_s, dawn_s = _night(self._night_of(clock_s), self._longitude, self._latitude)
        if not dusk_s <= clock_s < dawn_s:
            return 0.0
        dim_s = _dimming(dusk_s)
        return DIMMED_LEVEL if dim_s <= clock_s < dim_s + DIMMED_UPTO_S - DIMMED_FROM_S else 1.0

    def _night_of(self, clock_s: float) -> int:
        """The night that follows the solar noon of this day number."""
        day = math.floor(clock_s / DAY_S)
        while clock_s < self._noon_s(day):
            day -= 1
        while clock_s >= self._noon_s(day + 1):
            day += 1
        return day

    def _noon_s(self, day: int) -> float:
        return daylight(day, self._longitude, self._latitude).noon_s

    def _is_broken(self, night: int) -> bool:
        return share(self._seed, 1_000 + night) < FAILURE_SHARE

    def _burnt(self, at_s: float) -> tuple[float, float]:
        full_s, burning_s = self._burnt_if_asked(at_s)
        for start_s, end_s in self._failing:
            if start_s < at_s:
                until, since = self._burnt_if_asked(min(at_s, end_s)), self._burnt_if_asked(start_s)
                full_s, burning_s = full_s - until[0] + since[0], burning_s - until[1] + since[1]
        return full_s, burning_s

    def _burnt_if_asked(self, at_s: float) -> tuple[float, float]:
        """(seconds at full light, seconds burning) since the meter began, but for the nights it is broken."""
        clock_s = at_s - self._lag_s
        night = self._night_of(clock_s)
        if night < self._first_night:
            return 0.0, 0.0
        nights = _nights(self._longitude, self._latitude)
        began, before = nights.before(self._first_night), nights.before(night)
        full_s, burning_s = before[0] - began[0], before[1] - began[1]
        while self._known_night < night:
            if self._is_broken(self._known_night):
                self._broken.append(self._known_night)
            self._known_night += 1
        for past in self._broken:
            if past < night:
                lost = nights.whole(past)
                full_s, burning_s = full_s - lost[0], burning_s - lost[1]
        if not self._is_broken(night):
            tonight = _light(*_night(night, self._longitude, self._latitude), clock_s)
            full_s, burning_s = full_s + tonight[0], burning_s + tonight[1]
        return full_s, burning_s


class _Nights:
    """What a lamp of one district that never fails burns: sums over whole nights, shared by all its lamps."""

    def __init__(self, longitude_deg: float, latitude_deg: float) -> None:
        self._place = longitude_deg, latitude_deg
        self._first = _METER_ORIGIN_DAY - _METER_AGE_DAYS
        self._full = array("d", (0.0,))
        self._burning = array("d", (0.0,))

    def whole(self, night: int) -> tuple[float, float]:
        """(seconds at full light, seconds burning) of one night."""
        return _light(*_night(night, *self._place), math.inf)

    def before(self, night: int) -> tuple[float, float]:
        """The same, summed over all nights before this one."""
        at = night - self._first
        while len(self._full) <= at:
            full_s, burning_s = self.whole(self._first + len(self._full) - 1)
            self._full.append(self._full[-1] + full_s)
            self._burning.append(self._burning[-1] + burning_s)
        return self._full[at], self._burning[at]


@lru_cache(maxsize=1_024)
def _nights(longitude_deg: float, latitude_deg: float) -> _Nights:
    return _Nights(longitude_deg, latitude_deg)


@lru_cache(maxsize=65_536)
def _night(day: int, longitude_deg: float, latitude_deg: float) -> tuple[float, float]:
    dusk_s = daylight(day, longitude_deg, latitude_deg).dusk_s
    return dusk_s, daylight(day + 1, longitude_deg, latitude_deg).dawn_s


@lru_cache(maxsize=65_536)
def _dimming(dusk_s: float) -> float:
    """When the dimmed hours of the night that begins at this dusk start."""
    offset_s = local_offset_s(dusk_s)
    evening = datetime.fromtimestamp(dusk_s + offset_s - DAY_S / 2, UTC)  # noon to noon is one evening
    return datetime(evening.year, evening.month, evening.day, tzinfo=UTC).timestamp() + DIMMED_FROM_S - offset_s


def _light(dusk_s: float, dawn_s: float, upto_s: float) -> tuple[float, float]:
    """Seconds at full light, and seconds burning, of one night up to a moment."""
    end_s = min(dawn_s, upto_s)
    if end_s <= dusk_s:
        return 0.0, 0.0
    dim_s = _dimming(dusk_s)
    dimmed_s = max(0.0, min(end_s, dim_s + DIMMED_UPTO_S - DIMMED_FROM_S) - max(dusk_s, dim_s))
    burning_s = end_s - dusk_s
    return burning_s - (1 - DIMMED_LEVEL) * dimmed_s, burning_s
