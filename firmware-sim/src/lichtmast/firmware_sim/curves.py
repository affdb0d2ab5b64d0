"""What each kind of device would measure at a moment: one curve for every capability that a profile sends.

Deterministic in (seed, device, time): the same town on the same day says the same, in whatever order one asks. Values
keep to the profile's range and resolution, so a sound server has no reason to refuse or to doubt one.

Will not model faults of the *sending* (see `flaws`) or follow commands.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

from lichtmast.firmware_sim import street
from lichtmast.firmware_sim.chance import drift, seed_of, share
from lichtmast.firmware_sim.lamp import Lamp
from lichtmast.firmware_sim.sun import is_dark
from lichtmast.firmware_sim.weather import Weather
from lichtmast.wire.profile import Capability, Profile, ResultKind

Curve = Callable[[float], float | bool]
"""A value at a moment, in seconds since 1970."""

_HOUR_S: Final = 3_600
_QUARTER_S: Final = 900
_UG_PER_M3: Final = 1e-9
_PPB: Final = 1e-9


class CurveError(LookupError):
    """A profile sends something that no curve describes; the message names it."""


class Curves:
    """The curves of one device, in the order of its profile's uplinks."""

    def __init__(self, profile: Profile, *, seed: int, device: str, longitude: float, latitude: float) -> None:
        sky = Weather(seed_of(seed, "weather"))
        own = seed_of(seed, device)
        curves = _KINDS[profile.key](own, sky, longitude, latitude) if profile.key in _KINDS else {}
        missing = [one.key for one in profile.uplinks if one.key not in curves]
        if missing:
            raise CurveError(f"profile {profile.key}: no curve for {', '.join(missing)}; add one in curves.py")
        self._rows = [(one.suffix, one.unit, curves[one.key], _fitting(one)) for one in profile.uplinks]

    def values(self, at_us: int) -> list[tuple[str, str | None, float | bool]]:
        """(suffix, unit, value) of every uplink at a moment in microseconds since 1970."""
        at_s = at_us / 1e6
        return [(suffix, unit, fit(curve(at_s))) for suffix, unit, curve, fit in self._rows]


def _fitting(capability: Capability) -> Callable[[float | bool], float | bool]:
    """Round to the resolution and keep within the range."""
    if capability.kind is not ResultKind.NUMBER:
        return bool
    low, high = capability.minimum, capability.maximum
    if low is None or high is None:  # a profile gives every number a range
        raise CurveError(f"{capability.key}: a number without a range")
    step = capability.step or 1e-3
    if capability.rate_per_s is not None and step > capability.rate_per_s:
        step = 1.0  # a counter that ticks in coarser steps than it may climb a second would look like a jump
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
    if step >= 1:
        return lambda value: int(min(high, max(low, math.floor(value / step) * step)))
    return lambda value: min(high, max(low, round(value, decimals)))


class _Extremes:
    """The lowest and the highest value since the last reset, which is every quarter of an hour."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._quarter = -1
        self._cell = -1
        self._low = self._high = 0.0

    def low(self, at_s: float) -> float:
        self._follow(at_s)
        return self._low

    def high(self, at_s: float) -> float:
        self._follow(at_s)
        return self._high

    def _follow(self, at_s: float) -> None:
        quarter, second = divmod(at_s, _QUARTER_S)
        cell = int(second / street.CELL_S)
        if quarter != self._quarter or cell < self._cell:
            self._quarter, self._cell = int(quarter), -1
            self._low, self._high = math.inf, -math.inf
        while self._cell < cell:
            self._cell += 1
            value = float(self._curve(quarter * _QUARTER_S + self._cell * street.CELL_S))
            self._low, self._high = min(self._low, value), max(self._high, value)


def _lamp(seed: int, sky: Weather, longitude: float, latitude: float) -> Mapping[str, Curve]:
    lamp = Lamp(seed, longitude, latitude)
    return {
        "level": lamp.level,
        "power": lamp.power_w,
        "voltage": lambda at_s: 231 + 4 * drift(seed, at_s, _HOUR_S),
        "energy": lamp.energy_j,
        "temperature": lambda at_s: sky.temperature_cel(at_s) + 4 + 22 * lamp.warmth(at_s),
        "failure": lamp.fails,
        "day-burner": lambda at_s: lamp.level(at_s) > 0 and not is_dark(at_s - 180, longitude, latitude),
        "operating-time": lamp.burning_s,
    }


def _air(seed: int, sky: Weather, longitude: float, latitude: float) -> Mapping[str, Curve]:
    def traffic(at_s: float) -> float:
        return street.activity(at_s - 1_200)  # the air keeps what the rush hour left

    def stillness(at_s: float) -> float:
        return 1.6 / (1 + 0.25 * sky.wind_m_s(at_s))

    def fine(at_s: float) -> float:
        return (6 + 9 * traffic(at_s) + 2 * drift(seed, at_s, 1_800)) * stillness(at_s) * _UG_PER_M3

    def nitrogen(at_s: float) -> float:
        return (6 + 24 * traffic(at_s) + 2 * drift(seed ^ 1, at_s, 1_200)) * stillness(at_s) * _PPB

    def ozone(at_s: float) -> float:
        sun = sky.light_lx(at_s, longitude, latitude) / 78_000
        return (24 + 26 * sun - 14 * traffic(at_s) + 3 * drift(seed ^ 2, at_s, 3_600)) * _PPB

    return {
        "pm10": lambda at_s: 1.6 * fine(at_s),
        "pm25": fine,
        "pm1": lambda at_s: 0.7 * fine(at_s),
        "no2": nitrogen,
        "o3": ozone,
        "co": lambda at_s: (0.2 + 0.5 * traffic(at_s) + 0.05 * drift(seed ^ 3, at_s, 1_800)) * 1e-6,
        "co2": lambda at_s: (424 + 38 * traffic(at_s) * stillness(at_s) + 5 * drift(seed ^ 4, at_s, 2_400)) * 1e-6,
    }


def _noise(seed: int, _sky: Weather, _longitude: float, _latitude: float) -> Mapping[str, Curve]:
    def level(at_s: float) -> float:
        return street.sound_db(seed, at_s)

    since_reset = _Extremes(level)
    return {
        "level": level,
        "minimum": since_reset.low,
        "maximum": since_reset.high,
        "abnormal": lambda at_s: street.is_abnormal(seed, at_s),
    }


def _people(seed: int, _sky: Weather, _longitude: float, _latitude: float) -> Mapping[str, Curve]:
    people = street.Passers(seed)
    again = 1.2 + 0.4 * share(seed, 9)  # one person may pass more than once
    return {
        "present": people.present,
        "today": people.today,
        "total": people.total,
        "passages-today": lambda at_s: again * people.today(at_s),
        "passages-total": lambda at_s: again * people.total(at_s),
    }


def _parking(seed: int, _sky: Weather, _longitude: float, _latitude: float) -> Mapping[str, Curve]:
    place = street.Parking(seed)
    return {
        "occupied": place.is_taken,
        "duration": place.stay_s,
        "today": place.taken_today_s,
        "forbidden": place.is_forbidden,
    }


def _container(seed: int, _sky: Weather, _longitude: float, _latitude: float) -> Mapping[str, Curve]:
    container = street.Container(seed)
    return {
        "level": container.level,
        "height": lambda at_s: container.HEIGHT_M * container.level(at_s),
        "full": lambda at_s: container.level(at_s) > 0.8,  # noqa: PLR2004 - the high threshold
        "empty": lambda at_s: container.level(at_s) < 0.1,  # noqa: PLR2004 - the low threshold
        "tilted": container.is_tilted,
        "fire": container.burns,
    }


def _illuminance(seed: int, sky: Weather, longitude: float, latitude: float) -> Mapping[str, Curve]:
    lamplight_lx = 6 + 12 * share(seed, 1)

    def level(at_s: float) -> float:
        cell_s = math.floor(at_s / street.CELL_S) * street.CELL_S
        lamp = lamplight_lx if is_dark(cell_s, longitude, latitude) else 0.0
        return 0.4 + lamp + sky.light_lx(cell_s, longitude, latitude) * (0.85 + 0.1 * drift(seed, cell_s, 300))

    since_reset = _Extremes(level)
    return {"level": level, "minimum": since_reset.low, "maximum": since_reset.high}


def _weather(seed: int, sky: Weather, _longitude: float, _latitude: float) -> Mapping[str, Curve]:
    bias = share(seed, 1) - 0.5  # two thermometers never agree
    gusts = _Extremes(lambda at_s: 1.35 * sky.wind_m_s(at_s) + 0.4)
    return {
        "temperature": lambda at_s: sky.temperature_cel(at_s) + bias,
        "humidity": lambda at_s: sky.humidity_percent(at_s) - 3 * bias,
        "pressure": lambda at_s: sky.pressure_pa(at_s) + 60 * bias,
        "wind-speed": sky.wind_m_s,
        "wind-direction": sky.wind_from_rad,
        "gust": gusts.high,
        "rain": sky.rain_m,
    }


_KINDS: Final[Mapping[str, Callable[[int, Weather, float, float], Mapping[str, Curve]]]] = {
    "lamp-controller": _lamp,
    "air-quality": _air,
    "noise": _noise,
    "people-counter": _people,
    "parking": _parking,
    "filling-level": _container,
    "illuminance": _illuminance,
    "weather": _weather,
}
"""By profile key; a test proves that every profile of the wire has its curves."""
