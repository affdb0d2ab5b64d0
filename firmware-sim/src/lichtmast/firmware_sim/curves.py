"""What each kind of device would measure at a moment: one curve for every capability that a profile sends.

Deterministic in (seed, device, time): the same town on the same day says the same, in whatever order one asks. Values
keep to the profile's range and resolution, so a sound server has no reason to refuse or to doubt one.

Will not model faults of the *sending* (see `flaws`) or follow commands.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lichtmast.firmware_sim import street
from lichtmast.firmware_sim.chance import drift, seed_of, share
from lichtmast.firmware_sim.happenings import CALM, FLOOD_RAIN_M_S, Kind, Surroundings
from lichtmast.firmware_sim.lamp import Lamp
from lichtmast.firmware_sim.sun import is_dark
from lichtmast.firmware_sim.weather import USUAL, Climate, Weather, month_began_s, weather_of
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

    def __init__(
        self,
        profile: Profile,
        *,
        seed: int,
        device: str,
        longitude: float,
        latitude: float,
        around: Surroundings = CALM,
        climate: Climate = USUAL,
    ) -> None:
        traffic = street.Traffic(seed, longitude, latitude, around)
        place = _Place(seed_of(seed, device), weather_of(seed, climate), longitude, latitude, traffic, around)
        curves = _KINDS[profile.key](place) if profile.key in _KINDS else {}
        missing = [one.key for one in profile.uplinks if one.key not in curves]
        if missing:
            raise CurveError(f"profile {profile.key}: no curve for {', '.join(missing)}; add one in curves.py")
        self._rows = [(one.suffix, one.unit, curves[one.key], _fitting(one)) for one in profile.uplinks]

    def values(self, at_us: int) -> list[tuple[str, str | None, float | bool]]:
        """(suffix, unit, value) of every uplink at a moment in microseconds since 1970."""
        at_s = at_us / 1e6
        return [(suffix, unit, fit(curve(at_s))) for suffix, unit, curve, fit in self._rows]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a device hangs, and its own seed."""

    seed: int
    sky: Weather
    longitude: float
    latitude: float
    traffic: street.Traffic
    around: Surroundings


def _fitting(capability: Capability) -> Callable[[float | bool], float | bool]:
    """Round to the resolution and keep within the range."""
    if capability.kind is not ResultKind.NUMBER:
        return bool
    low, high = capability.minimum, capability.maximum
    if low is None or high is None:  # a profile gives every number a range
        raise CurveError(f"{capability.key}: a number without a range")
    step = _step(capability)
    if step >= 1:
        return lambda value: int(min(high, max(low, math.floor(value / step) * step)))
    decimals = _decimals(step)
    return lambda value: min(high, max(low, round(value, decimals)))


def rounded(capability: Capability, value: float) -> float:
    """A number as finely as this capability says numbers, within its range or not."""
    step = _step(capability)
    return math.floor(value / step) * step if step >= 1 else round(value, _decimals(step))


def _step(capability: Capability) -> float:
    step = capability.step or 1e-3
    if capability.rate_per_s is not None and step > capability.rate_per_s:
        return 1.0  # a counter that ticks in coarser steps than it may climb a second would look like a jump
    return step


def _decimals(step: float) -> int:
    return max(0, math.ceil(-math.log10(step) - 1e-9))


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


def _lamp(here: _Place) -> Mapping[str, Curve]:
    lamp = Lamp(here.seed, here.longitude, here.latitude, here.around.windows(Kind.LAMP_FAILURE))
    return {
        "level": lamp.level,
        "power": lamp.power_w,
        "voltage": lambda at_s: 231 + 4 * drift(here.seed, at_s, _HOUR_S),
        "energy": lamp.energy_j,
        "temperature": lambda at_s: here.sky.temperature_cel(at_s) + 4 + 22 * lamp.warmth(at_s),
        "failure": lamp.fails,
        "day-burner": lambda at_s: lamp.level(at_s) > 0 and not is_dark(at_s - 180, here.longitude, here.latitude),
        "operating-time": lamp.burning_s,
    }


def _air(here: _Place) -> Mapping[str, Curve]:
    seed, sky = here.seed, here.sky

    def fumes(at_s: float) -> float:
        """What traffic and people put into still air; wind thins it."""
        return here.traffic.fumes(at_s) * 1.6 / (1 + 0.25 * sky.wind_m_s(at_s))

    def washed(at_s: float) -> float:
        """What is left in the air while it rains and for an hour after: rain takes particles down, gases hardly."""
        wet = max(sky.wetness(at_s - lag_s) * (1 - lag_s / 7_200) for lag_s in (0, 1_800, 3_600))
        return 1 - 0.5 * max(wet, min(1.0, here.around.amount(Kind.FLOOD, at_s)))

    def fine(at_s: float) -> float:
        smoke = 20 * here.around.amount(Kind.FESTIVAL, at_s)  # stalls and fireworks
        return (7 + 11 * fumes(at_s) + 1.5 * drift(seed, at_s, 1_800) + smoke) * washed(at_s) * _UG_PER_M3

    def nitrogen(at_s: float) -> float:
        return (6 + 26 * fumes(at_s) + 1.5 * drift(seed ^ 1, at_s, 1_200)) * _PPB

    def ozone(at_s: float) -> float:
        sun = sky.light_lx(at_s, here.longitude, here.latitude) / 78_000
        return (24 + 26 * sun - 10 * min(1.5, fumes(at_s)) + 3 * drift(seed ^ 2, at_s, 3_600)) * _PPB

    return {
        "pm10": lambda at_s: 1.6 * fine(at_s),
        "pm25": fine,
        "pm1": lambda at_s: 0.7 * fine(at_s),
        "no2": nitrogen,
        "o3": ozone,
        "co": lambda at_s: (0.2 + 0.5 * fumes(at_s) + 0.04 * drift(seed ^ 3, at_s, 1_800)) * 1e-6,
        "co2": lambda at_s: (424 + 38 * fumes(at_s) + 4 * drift(seed ^ 4, at_s, 2_400)) * 1e-6,
    }


def _noise(here: _Place) -> Mapping[str, Curve]:
    def level(at_s: float) -> float:
        return street.sound_db(here.seed, at_s, here.traffic, here.sky, here.around)

    since_reset = _Extremes(level)
    return {
        "level": level,
        "minimum": since_reset.low,
        "maximum": since_reset.high,
        "abnormal": lambda at_s: street.is_abnormal(here.seed, at_s),
    }


def _people(here: _Place) -> Mapping[str, Curve]:
    people = street.Passers(here.seed, here.around)
    again = 1.2 + 0.4 * share(here.seed, 9)  # one person may pass more than once
    return {
        "present": people.present,
        "today": people.today,
        "total": people.total,
        "passages-today": lambda at_s: again * people.today(at_s),
        "passages-total": lambda at_s: again * people.total(at_s),
    }


def _parking(here: _Place) -> Mapping[str, Curve]:
    place = street.Parking(here.seed)
    return {
        "occupied": place.is_taken,
        "duration": place.stay_s,
        "today": place.taken_today_s,
        "forbidden": place.is_forbidden,
    }


def _container(here: _Place) -> Mapping[str, Curve]:
    container = street.Container(here.seed)
    return {
        "level": container.level,
        "height": lambda at_s: container.HEIGHT_M * container.level(at_s),
        "full": lambda at_s: container.level(at_s) > 0.8,  # noqa: PLR2004 - the high threshold
        "empty": lambda at_s: container.level(at_s) < 0.1,  # noqa: PLR2004 - the low threshold
        "tilted": lambda at_s: container.is_tilted(at_s) or here.around.amount(Kind.VANDALISM, at_s) > 0,
        "fire": container.burns,
    }


def _illuminance(here: _Place) -> Mapping[str, Curve]:
    seed = here.seed
    lamplight_lx = 6 + 12 * share(seed, 1)

    def level(at_s: float) -> float:
        cell_s = math.floor(at_s / street.CELL_S) * street.CELL_S
        failing = here.around.amount(Kind.LAMP_FAILURE, cell_s) > 0
        lamp = lamplight_lx if is_dark(cell_s, here.longitude, here.latitude) and not failing else 0.0
        sun = here.sky.light_lx(cell_s, here.longitude, here.latitude) * (0.85 + 0.1 * drift(seed, cell_s, 300))
        return 0.4 + lamp + sun * (1 - 0.4 * min(1.0, here.around.amount(Kind.FLOOD, cell_s)))

    since_reset = _Extremes(level)
    return {"level": level, "minimum": since_reset.low, "maximum": since_reset.high}


def _weather(here: _Place) -> Mapping[str, Curve]:
    sky = here.sky
    bias = share(here.seed, 1) - 0.5  # two thermometers never agree
    gusts = _Extremes(lambda at_s: 1.35 * sky.wind_m_s(at_s) + 0.4)

    def rain_m(at_s: float) -> float:
        flood = here.around.total(Kind.FLOOD, at_s) - here.around.total(Kind.FLOOD, month_began_s(at_s))
        return sky.rain_m(at_s) + FLOOD_RAIN_M_S * flood

    return {
        "temperature": lambda at_s: sky.temperature_cel(at_s) + bias,
        "humidity": lambda at_s: sky.humidity_percent(at_s) - 3 * bias,
        "pressure": lambda at_s: sky.pressure_pa(at_s) + 60 * bias,
        "wind-speed": sky.wind_m_s,
        "wind-direction": sky.wind_from_rad,
        "gust": gusts.high,
        "rain": rain_m,
    }


_KINDS: Final[Mapping[str, Callable[[_Place], Mapping[str, Curve]]]] = {
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
