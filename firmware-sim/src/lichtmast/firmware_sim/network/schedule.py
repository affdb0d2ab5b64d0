"""Which impairment holds when: steps over time, from a table or a TOML file.

    seed = 7
    [[step]]
    at_s = 0
    both = { loss = 0.1, delay_s = 0.2 }
    [[step]]
    at_s = 30
    down = { blackhole = true }

A step holds until the next one; a direction that it does not name is clean. Will not know the time.
"""

import math
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final, Self

from lichtmast.firmware_sim.network import limits
from lichtmast.firmware_sim.network.errors import ImpairmentError
from lichtmast.firmware_sim.network.impairment import Impairment

CLEAN: Final = Impairment()
"""Everything passes."""


class Direction(StrEnum):
    """Up is from the edge to the core, down is back."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Step:
    """From `at_s` after the start of the schedule, these hold."""

    at_s: float
    up: Impairment = CLEAN
    down: Impairment = CLEAN

    def toward(self, direction: Direction) -> Impairment:
        """The impairment of one direction."""
        return self.up if direction is Direction.UP else self.down


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps in the order of their time; before the first one everything passes. `seed` decides every chance."""

    steps: tuple[Step, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        if len(self.steps) > limits.STEPS_MAX:
            raise ImpairmentError(f"{len(self.steps)} steps; a schedule has at most {limits.STEPS_MAX}")
        moments = [one.at_s for one in self.steps]
        if any(later <= earlier for earlier, later in pairwise([-math.ulp(0.0), *moments])):
            raise ImpairmentError(f"at_s must start at 0 or later and grow from step to step, and is {moments[:20]}")

    @classmethod
    def of(cls, up: Impairment, down: Impairment | None = None, *, seed: int = 1) -> Self:
        """One step for ever; `down` is as `up` where it is left out."""
        return cls((Step(0.0, up, up if down is None else down),), seed)

    def step_at(self, elapsed_s: float) -> Step:
        """The step that holds so long after the start."""
        at = bisect_right(self.steps, elapsed_s, key=lambda one: one.at_s)
        return self.steps[at - 1] if at else Step(0.0)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """From the text of a file. Raises ImpairmentError."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ImpairmentError(f"the schedule is no TOML: {error}") from error
        return cls.from_table(table)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """From a table as in TOML. Raises ImpairmentError."""
        _only(table, {"seed", "step"}, "the schedule")
        steps, seed = table.get("step", []), table.get("seed", 1)
        if not isinstance(steps, list) or not isinstance(seed, int) or isinstance(seed, bool):
            raise ImpairmentError("the schedule needs [[step]] tables, and a whole number as seed if any")
        return cls(tuple(_step(one, f"step {number}") for number, one in enumerate(steps, 1)), seed)

    def to_table(self) -> dict[str, Any]:
        """What `from_table` reads."""
        steps = [{"at_s": one.at_s, "up": one.up.to_table(), "down": one.down.to_table()} for one in self.steps]
        return {"seed": self.seed, "step": steps}


def _step(table: object, where: str) -> Step:
    if not isinstance(table, Mapping):
        raise ImpairmentError(f"{where} must be a table")
    _only(table, {"at_s", "both", "up", "down"}, where)
    at_s = table.get("at_s")
    if isinstance(at_s, bool) or not isinstance(at_s, int | float):
        raise ImpairmentError(f"{where} needs at_s, seconds after the start")
    if "both" in table and {"up", "down"} & table.keys():
        raise ImpairmentError(f"{where} names both, and a direction besides; give one or the other")
    ways = [table.get(name, table.get("both", {})) for name in ("up", "down")]
    up, down = (Impairment.from_table(one, where) for one in ways)
    return Step(float(at_s), up, down)


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ImpairmentError(f"{where} has no {key!r}; it knows {', '.join(sorted(known))}")
