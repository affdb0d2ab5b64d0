"""Life in the street: traffic, people, noise, parking, bins. Quiet at night, two rush hours on a working day.

All stateless: an answer follows from a seed and a time, so a device that was off for a week agrees with one that was
not.
"""

import math
from array import array
from datetime import date
from typing import Final

from lichtmast.firmware_sim.chance import drift, seed_of, share
from lichtmast.firmware_sim.happenings import CALM, FESTIVAL_PASSERS_S, Kind, Surroundings
from lichtmast.firmware_sim.sun import DAY_S, local_offset_s
from lichtmast.firmware_sim.weather import Weather

_WORKING_DAY: Final = (2, 1, 1, 1, 2, 8, 30, 80, 100, 60, 45, 45, 52, 50, 52, 65, 90, 100, 70, 45, 32, 24, 14, 6)
_WEEKEND: Final = (9, 6, 4, 3, 2, 3, 6, 12, 22, 38, 55, 66, 72, 75, 72, 68, 62, 55, 46, 38, 30, 26, 20, 14)
"""Activity by local hour, in percent of the busiest."""
_SATURDAY: Final = 5
_COUNTER_ORIGIN_DAY: Final = (date(2026, 1, 1) - date(1970, 1, 1)).days
_COUNTER_AGE_DAYS: Final = 365

_STREET_DEG: Final = 0.004
"""Poles within some 300 m are taken to stand in the same street."""
_LAGS: Final = ((300, 0.4), (900, 0.3), (1_800, 0.2), (2_700, 0.1))
"""How the air remembers: (age in seconds, share)."""

_PARKING_SLOT_S: Final = 2_700
_PARKING_LONGEST_SLOTS: Final = 96
CELL_S: Final = 10
"""Sound meters average over ten seconds."""


def local_day(at_s: float) -> tuple[int, float]:
    """The local day number since 1970, and the seconds since that day began."""
    day, second = divmod(at_s + local_offset_s(at_s), DAY_S)
    return int(day), second


def activity(at_s: float) -> float:
    """How busy the street is: 0 is empty, 1 is a working day's rush hour."""
    day, second = local_day(at_s)
    hour, rest = divmod(second / 3_600 - 0.5, 1)
    week = _week(day)
    return (week[int(hour) % 24] * (1 - rest) + week[(int(hour) + 1) % 24] * rest) / 100


def _week(day: int) -> tuple[int, ...]:
    return _WEEKEND if (day + 3) % 7 >= _SATURDAY else _WORKING_DAY  # 1 January 1970 was a Thursday


class Passers:
    """People passing a pole: whole numbers, and counters that only rise."""

    def __init__(self, seed: int, around: Surroundings = CALM) -> None:
        self._seed = seed
        self._around = around
        self._mean_day = 300 + 4_000 * share(seed, 1) ** 2
        self._first_day = _COUNTER_ORIGIN_DAY - int(_COUNTER_AGE_DAYS * share(seed, 2))
        self._before = array("q", (0,))

    def present(self, at_s: float) -> int:
        """How many are in sight: those that pass in a minute."""
        mean = self._mean_day / 900 * activity(at_s)
        crowd = 60 * FESTIVAL_PASSERS_S * self._around.amount(Kind.FESTIVAL, at_s)
        cell = math.floor(at_s / 20)
        return int((mean + crowd) * (0.5 + share(self._seed, 10 * cell)) + share(self._seed, cell))

    def today(self, at_s: float) -> int:
        """Passed since local midnight."""
        day, second = local_day(at_s)
        hour, rest = divmod(second / 3_600, 1)
        week = _week(day)
        passed = sum(week[: int(hour)]) + week[int(hour)] * rest
        return int(self._of_day(day) * passed / sum(week)) + self._crowd(at_s - second, at_s)

    def total(self, at_s: float) -> int:
        """Passed since the counter was hung."""
        day, _ = local_day(at_s)
        if day < self._first_day:
            return 0
        while len(self._before) <= day - self._first_day:
            self._before.append(self._before[-1] + self._of_day(self._first_day + len(self._before) - 1))
        midnight_s = at_s - local_day(at_s)[1]
        earlier = self._crowd(0.0, at_s) - self._crowd(midnight_s, at_s)
        return self._before[day - self._first_day] + earlier + self.today(at_s)

    def _crowd(self, since_s: float, at_s: float) -> int:
        """Those that a festival brought."""
        before, upto = (self._around.total(Kind.FESTIVAL, one) for one in (since_s, at_s))
        return int(FESTIVAL_PASSERS_S * upto) - int(FESTIVAL_PASSERS_S * before)

    def _of_day(self, day: int) -> int:
        return int(self._mean_day * (0.7 + 0.6 * share(self._seed, 10_000 + day)))


class Parking:
    """One parking place. A stay is a row of taken slots whose borders fall at seeded moments."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def is_taken(self, at_s: float) -> bool:
        """Whether a vehicle stands there."""
        return self._taken(self._slot(at_s))

    def stay_s(self, at_s: float) -> float:
        """How long the vehicle has stood there, or stood there last."""
        slot = self._slot(at_s)
        end_s = at_s
        if not self._taken(slot):
            slot = next((one for one in range(slot, slot - _PARKING_LONGEST_SLOTS, -1) if self._taken(one)), slot)
            end_s = self._begin_s(slot + 1)
        return max(0.0, end_s - self._begin_s(self._first(slot)))

    def taken_today_s(self, at_s: float) -> float:
        """How long it was taken since local midnight."""
        _, second = local_day(at_s)
        midnight_s = at_s - second
        slots = range(self._slot(midnight_s), self._slot(at_s) + 1)
        return sum(
            min(at_s, self._begin_s(slot + 1)) - max(midnight_s, self._begin_s(slot))
            for slot in slots
            if self._taken(slot)
        )

    def is_forbidden(self, at_s: float) -> bool:
        """Whether the vehicle has no right to stand there."""
        slot = self._slot(at_s)
        return self._taken(slot) and share(self._seed ^ 2, self._first(slot)) < 0.03  # noqa: PLR2004 - one stay in 33

    def _slot(self, at_s: float) -> int:
        slot = math.floor(at_s / _PARKING_SLOT_S)
        return slot if at_s >= self._begin_s(slot) else slot - 1

    def _begin_s(self, slot: int) -> float:
        return (slot + 0.9 * share(self._seed, slot)) * _PARKING_SLOT_S

    def _taken(self, slot: int) -> bool:
        begin_s = slot * _PARKING_SLOT_S
        return share(self._seed ^ 1, slot) < 0.35 + 0.5 * activity(begin_s)

    def _first(self, slot: int) -> int:
        first = slot
        while self._taken(first - 1) and slot - first < _PARKING_LONGEST_SLOTS:
            first -= 1
        return first


class Container:
    """A waste container that fills with the street's activity and is emptied early in the morning."""

    HEIGHT_M: Final = 1.4

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._round_days = 2 + int(3 * share(seed, 1))
        self._turn = int(self._round_days * share(seed, 2))
        self._pace = (0.5 + 0.6 * share(seed, 3)) / self._round_days

    def level(self, at_s: float) -> float:
        """The filled share: 0 is empty, 1 is full."""
        since_s = (at_s + local_offset_s(at_s) - 7 * 3_600) / DAY_S - self._turn  # days since a round at seven
        return min(1.0, 0.02 + self._pace * (since_s % self._round_days))

    def is_tilted(self, at_s: float) -> bool:
        """Whether it lies on its side, which happens for an hour now and then."""
        return share(self._seed ^ 1, math.floor(at_s / 3_600)) < 0.002  # noqa: PLR2004 - twice in a thousand hours

    def burns(self, at_s: float) -> bool:
        """Whether it suspects a fire: ten minutes, once in a few years."""
        return share(self._seed ^ 2, math.floor(at_s / 600)) < 1e-5  # noqa: PLR2004


class Traffic:
    """The vehicles of one street; poles of the same street see the same ones."""

    def __init__(self, seed: int, longitude_deg: float, latitude_deg: float, around: Surroundings = CALM) -> None:
        self._seed = seed_of(seed, "street", round(longitude_deg / _STREET_DEG), round(latitude_deg / _STREET_DEG))
        self._around = around

    def flow(self, at_s: float) -> float:
        """0 is an empty street, 1 is a working day's rush hour, a little more is a busy one."""
        return activity(at_s) * (1 + 0.3 * drift(self._seed, at_s, 1_200)) * self._around.traffic(at_s)

    def fumes(self, at_s: float) -> float:
        """What the air keeps of it: exhaust builds up and thins out within an hour."""
        return sum(weight * self.flow(at_s - lag_s) for lag_s, weight in _LAGS)


def sound_db(seed: int, at_s: float, traffic: Traffic, sky: Weather, around: Surroundings = CALM) -> float:
    """The sound level, averaged over ten seconds; an abnormal noise stands out by 30 dB.

    Wet roads are louder by up to 5 dB where there is traffic, and a cloudburst is loud by itself.
    """
    cell_s = math.floor(at_s / CELL_S) * CELL_S
    flow = traffic.flow(cell_s)
    rain = 5 * sky.wetness(cell_s) * min(1.0, 2 * flow) + 20 * min(1.0, around.amount(Kind.FLOOD, cell_s))
    crowd = 22 * min(1.5, around.amount(Kind.FESTIVAL, cell_s))
    loud = 30.0 if is_abnormal(seed, at_s) else 0.0
    return 36 + 24 * flow + rain + crowd + 2 * drift(seed, cell_s, 900) + 2 * drift(seed ^ 1, cell_s, 20) + loud


def is_abnormal(seed: int, at_s: float) -> bool:
    """Whether a shout, a crash or a firework is heard."""
    return share(seed ^ 2, math.floor(at_s / CELL_S)) < 2e-4  # noqa: PLR2004 - twice a day
