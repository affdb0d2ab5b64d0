"""The roster as validation needs it: one element a datastream, in ascending order of its id.

Built anew with each roster. Will not hold anything that readings change; that is `memory`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.validation.limits import CELL_M, NEIGHBOURS_MAX, NEIGHBOURS_MIN, NEVER
from lichtmast.wire.validation import CapabilityRules

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_METRES_PER_DEGREE: Final = 111_320.0
_UNKNOWN_ID: Final = -1
_ROUNDED: Final = 1 + 1e-9
"""A change of exactly the bound is allowed, whatever subtracting made of it."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Datastreams of one capability in one cell. Group g has `members[starts[g]:starts[g + 1]]`.

    `key` names a group for as long as the roster's profiles stay the same.
    """

    key: Indices
    interval_us: Indices
    starts: Indices
    members: Indices


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns by datastream; a check that is off has a bound that nothing reaches. `group` -1 is none."""

    ids: Indices
    position: npt.NDArray[np.int32]
    """By datastream id: its element, or -1."""
    interval_us: Indices
    minimum: Floats
    maximum: Floats
    per_step: Floats
    rounding: Floats
    rate_per_us: Floats
    stuck_after: Indices
    sigma: Floats
    floor: Floats
    tolerance: Floats
    group: Indices
    groups: Groups
    devices: dict[str, int]
    """The roster's row of each device, by name."""

    @classmethod
    def of(cls, roster: Roster) -> "Layout":
        """Lay out a roster: what its rules say, and what single datastreams have of their own."""
        device, column = np.nonzero(roster.datastreams >= 0)
        ids, chosen = np.unique(roster.datastreams[device, column].astype(np.int64), return_index=True)
        device, column = device[chosen], column[chosen]
        profile = roster.profile_of[device].astype(np.int64)
        rules = _Rules(roster, profile, column, ids)
        intervals = np.array([one.interval_s for one in roster.profiles], np.int64) * 1_000_000
        position = np.full(int(ids[-1]) + 2 if len(ids) else 1, _UNKNOWN_ID, np.int32)
        position[ids] = np.arange(len(ids))
        step, tolerance = rules.column("step", 0.0), rules.column("neighbour_tolerance", NEVER)
        capability = profile * len(roster.suffix_codes) + column
        group, groups = _grouped(
            capability, roster.longitude[device], roster.latitude[device], intervals[profile], tolerance < NEVER
        )
        return cls(
            ids=ids,
            position=position,
            interval_us=intervals[profile],
            minimum=rules.column("minimum", -np.inf),
            maximum=rules.column("maximum", np.inf),
            per_step=np.divide(1.0, step, out=np.zeros_like(step), where=step > 0),
            rounding=step * _ROUNDED,
            rate_per_us=rules.column("rate_per_s", NEVER) * (_ROUNDED / 1e6),
            stuck_after=rules.column("stuck_after", 2**31).astype(np.int64),
            sigma=rules.column("spike_sigma", NEVER),
            floor=rules.column("spike_floor", NEVER),
            tolerance=tolerance,
            group=group,
            groups=groups,
            devices=roster.device_of_name,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, ids: npt.NDArray[np.int32]) -> Indices:
        """The element of each datastream id, -1 where the roster has none."""
        known = np.minimum(ids, len(self.position) - 1)  # the last element is nobody's
        return self.position[known].astype(np.int64)


class _Rules:
    """The rules of each datastream, as columns."""

    def __init__(self, roster: Roster, profile: Indices, column: Indices, ids: Indices) -> None:
        self._usual = roster.rules
        self._at = profile, column
        own = np.flatnonzero(np.isin(ids, list(roster.validation.overridden)))
        self._own: list[tuple[int, CapabilityRules]] = []
        for row in own.tolist():
            usual = roster.rules[int(profile[row])][int(column[row])]
            if usual is not None:
                self._own.append((row, roster.validation.of_datastream(int(ids[row]), usual)))

    def column(self, name: str, off: float) -> Floats:
        """One field of all datastreams; `off` where it is not checked."""
        table = np.array([[_number(one, name, off) for one in row] for row in self._usual], np.float64)
        values: Floats = table.reshape(len(self._usual), -1)[self._at]
        for row, rules in self._own:
            values[row] = _number(rules, name, off)
        return values


def _number(rules: CapabilityRules | None, name: str, off: float) -> float:
    value = None if rules is None else getattr(rules, name)
    return off if value is None else float(value)


def _grouped(
    capability: Indices, longitude: Floats, latitude: Floats, interval_us: Indices, wanted: npt.NDArray[np.bool_]
) -> tuple[Indices, Groups]:
    """The group of each datastream, and the groups that have enough members."""
    group = np.full(len(capability), -1, np.int64)
    at = np.flatnonzero(wanted & np.isfinite(longitude) & np.isfinite(latitude))
    north = np.floor(latitude[at] * _METRES_PER_DEGREE / CELL_M).astype(np.int64)
    # Each row of cells has its own width in degrees, so that its cells are as wide as they are high.
    width = np.maximum(np.cos(np.radians((north + 0.5) * CELL_M / _METRES_PER_DEGREE)), 1e-3)
    east = np.floor(longitude[at] * _METRES_PER_DEGREE * width / CELL_M).astype(np.int64)
    key = (capability[at] << 40) + ((north + (1 << 19)) << 20) + (east + (1 << 19))
    names, place, counts = np.unique(key, return_inverse=True, return_counts=True)
    large = counts >= NEIGHBOURS_MIN
    number = np.where(large, np.cumsum(large) - 1, -1)
    group[at] = number[place]
    order = at[np.argsort(group[at], kind="stable")]
    order = order[group[order] >= 0]
    sizes = counts[large]
    begins = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    rank = np.arange(len(order)) - np.repeat(begins[:-1], sizes)
    members = order[rank < NEIGHBOURS_MAX]
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.minimum(sizes, NEIGHBOURS_MAX))))
    return group, Groups(names[large], interval_us[order[begins[:-1]]], starts, members)
