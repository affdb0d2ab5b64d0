"""The lamps of one device: commands laid over local rules. Who blinks, who obeys a command, who follows its rules.

Pure: time comes in, levels go out. All durations are on the monotonic clock, so a wall clock that jumps shortens or
lengthens no command. `identify` goes before `dim`, and `dim` before the rules; the rules are asked all the while, so
that they know what they must when a command ends.

Will not: write a level to a driver, or remember commands across a restart: a lamp that starts follows its rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.twin.limits import TICK_S
from lichtmast.edge.twin.rules import Decider
from lichtmast.wire.twin import Level, Rule

RELEASED: Final = Level(1.0, "failsafe: a command ended and there is no rule")


class Lighting:
    """What each lamp should do now. `targets` are the suffixes that can be commanded."""

    def __init__(self, targets: Iterable[str], rules: Sequence[Rule], place: tuple[float, float] | None) -> None:
        self._targets = tuple(targets)
        self._place = place
        self._dims: dict[str, tuple[float, float]] = {}
        self._blinks: dict[str, tuple[float, float]] = {}
        self._was_commanded: set[str] = set()
        self.configure(rules)

    def configure(self, rules: Sequence[Rule]) -> None:
        """Follow these rules from now on; commands that run go on."""
        self._deciders = {
            target: Decider(mine, self._place)
            for target in self._targets
            if (mine := tuple(rule for rule in rules if rule.target == target))
        }

    def dim(self, target: str, level: float, until_s: float) -> None:
        """Take a level until a moment of the monotonic clock."""
        self._dims[target] = (level, until_s)
        self._was_commanded.add(target)

    def identify(self, target: str, now_s: float, until_s: float) -> None:
        """Blink until a moment of the monotonic clock."""
        self._blinks[target] = (now_s, until_s)
        self._was_commanded.add(target)

    def release(self, target: str) -> None:
        """End the dimming of this lamp."""
        self._dims.pop(target, None)

    def release_blinking(self, target: str) -> None:
        """End the blinking of this lamp; a dimming that it interrupted goes on."""
        self._blinks.pop(target, None)

    def levels(self, now_s: float, wall_s: float | None, latest: Mapping[str, Measured]) -> dict[str, Level]:
        """The level of every lamp that has a rule or was ever commanded; the others are left alone."""
        levels: dict[str, Level] = {}
        for target in self._targets:
            decider = self._deciders.get(target)
            level = decider.level(now_s, wall_s, latest) if decider is not None else None
            if level is None and target in self._was_commanded:
                level = RELEASED
            level = self._commanded(target, now_s) or level
            if level is not None:
                levels[target] = level
        return levels

    def _commanded(self, target: str, now_s: float) -> Level | None:
        if target in self._blinks:
            since_s, until_s = self._blinks[target]
            if now_s < until_s:
                return Level(float(int((now_s - since_s) / TICK_S) % 2), "identify")
            del self._blinks[target]
        if target in self._dims:
            level, until_s = self._dims[target]
            if now_s < until_s:
                return Level(level, "command")
            del self._dims[target]
        return None
