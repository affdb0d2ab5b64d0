"""Local rules at work: from the clock and the latest readings to the level that each lamp should have.

Pure: time comes in. A rule keeps what it must remember (since when a reading is above its threshold, whether it was
dark at the last look); everything else is decided anew each time, so nothing drifts. Without a trusted clock the light
sensor decides, and without either the lamp burns: a dark street is the greater harm.

Will not: know commands (`lighting` lays them over this), or write a level anywhere.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.twin.sun import is_night
from lichtmast.wire.twin import DuskRule, Level, Rule, ThresholdRule

FULL = Level(1.0, "failsafe: no rule has an answer")
"""What a lamp that has rules does when none of them says anything."""


def zone_named(name: str) -> ZoneInfo | None:
    """The time zone, or None where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


class Dusk:
    """A dusk rule at one place."""

    def __init__(self, rule: DuskRule, place: tuple[float, float]) -> None:
        self.rule = rule
        self._latitude_deg, self._longitude_deg = place
        self._zone = zone_named(rule.timezone) if rule.dimmed else None
        self._is_dark = True  # until the sensor has said that it is bright

    def level(self, now_s: float, wall_s: float | None, latest: Mapping[str, Measured]) -> Level:
        """The level now; a dusk rule always has one."""
        rule = self.rule
        light = _light(rule, now_s, latest)
        if light is not None and rule.at_dark is not None:
            self._is_dark = light < rule.at_dark.below or (self._is_dark and light <= rule.at_dark.above)
        if wall_s is not None:
            return Level(self._by_clock(wall_s), rule.name)
        if light is not None:
            return Level(rule.level if self._is_dark else 0.0, f"{rule.name}: no trusted clock, by the light sensor")
        return Level(rule.failsafe, f"{rule.name}: no trusted clock, failsafe")

    def _by_clock(self, wall_s: float) -> float:
        rule = self.rule
        night = is_night(
            wall_s,
            self._latitude_deg,
            self._longitude_deg,
            sun_deg=rule.sun_deg,
            dusk_offset_s=rule.dusk_offset_s,
            dawn_offset_s=rule.dawn_offset_s,
        )
        if not night:
            return 0.0
        if self._zone is None:
            return rule.level
        local = datetime.fromtimestamp(wall_s, UTC).astimezone(self._zone)
        minute = local.hour * 60 + local.minute
        return next((one.level for one in rule.dimmed if one.covers(minute)), rule.level)


class Threshold:
    """A threshold rule: when its reading went over, and when it came back."""

    def __init__(self, rule: ThresholdRule) -> None:
        self.rule = rule
        self._holds = False
        self._over_since_s: float | None = None
        self._back_since_s: float | None = None

    def level(self, now_s: float, wall_s: float | None, latest: Mapping[str, Measured]) -> Level | None:  # noqa: ARG002 - both kinds of rule are asked alike
        """The level while the threshold is passed, else `otherwise`, which may be None: no opinion."""
        rule = self.rule
        value = _number(latest, rule.sensor, now_s, rule.age_max_s)
        over, back = self._compared(value)
        self._over_since_s = (self._over_since_s if self._over_since_s is not None else now_s) if over else None
        self._back_since_s = (self._back_since_s if self._back_since_s is not None else now_s) if back else None
        if not self._holds and self._over_since_s is not None and now_s - self._over_since_s >= rule.for_s:
            self._holds = True
        elif self._holds and self._back_since_s is not None and now_s - self._back_since_s >= rule.release_s:
            self._holds = False
        if self._holds:
            return Level(rule.level, rule.name)
        return None if rule.otherwise is None else Level(rule.otherwise, rule.name)

    def _compared(self, value: float | None) -> tuple[bool, bool]:
        """Whether the threshold is passed, and whether the value has come back; between the two neither is so."""
        rule = self.rule
        if value is None:
            return False, True
        if rule.above is not None:
            return value > rule.above, value <= rule.above - rule.hysteresis
        if rule.below is not None:
            return value < rule.below, value >= rule.below + rule.hysteresis
        return False, True


class Decider:
    """The rules of one lamp, in their order, and the level that stands.

    A level that a rule has set stands for that rule's `hold_s` at least, whatever the next answer is: readings that
    flicker must not make the street flicker.
    """

    def __init__(self, rules: tuple[Rule, ...], place: tuple[float, float] | None) -> None:
        self._rules = [_at_work(rule, place) for rule in rules]
        self._standing: Level | None = None
        self._since_s = 0.0
        self._hold_s = 0.0

    def level(self, now_s: float, wall_s: float | None, latest: Mapping[str, Measured]) -> Level:
        """The level now. To be asked at least as often as something could change; a second is often enough."""
        wished, hold_s = FULL, max(one.rule.hold_s for one in self._rules)
        # Every rule is asked, also behind the one that decides: it must know since when its reading is over.
        for one in reversed(self._rules):
            level = one.level(now_s, wall_s, latest)
            if level is not None:
                wished, hold_s = level, one.rule.hold_s
        standing = self._standing
        if standing is None or wished.level == standing.level or now_s - self._since_s >= self._hold_s:
            if standing is None or wished.level != standing.level:
                self._since_s = now_s
                self._hold_s = hold_s
            self._standing = standing = wished
        return standing


def _at_work(rule: Rule, place: tuple[float, float] | None) -> Dusk | Threshold:
    if isinstance(rule, ThresholdRule):
        return Threshold(rule)
    if rule.latitude_deg is not None and rule.longitude_deg is not None:
        return Dusk(rule, (rule.latitude_deg, rule.longitude_deg))
    if place is None:
        raise ValueError(f"rule {rule.name} has no place; configuration.apply refuses such a rule")
    return Dusk(rule, place)


def _light(rule: DuskRule, now_s: float, latest: Mapping[str, Measured]) -> float | None:
    return None if rule.at_dark is None else _number(latest, rule.at_dark.sensor, now_s, rule.age_max_s)


def _number(latest: Mapping[str, Measured], suffix: str, now_s: float, age_max_s: float) -> float | None:
    """The latest reading as a number; None where there is none, it is a text, or it is too old to act on."""
    measured = latest.get(suffix)
    if measured is None or isinstance(measured.value, str) or now_s - measured.at_s > age_max_s:
        return None
    return float(measured.value)
