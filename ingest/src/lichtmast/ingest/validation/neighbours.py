"""Neighbours: the median of what a cell measured just before, held against each of its members.

Time goes in slots of one interval. The first reading of a cell in a later slot closes the slots before: the median of
each member's latest reading at that moment stands until the next close. So it depends on the order of arrival only,
and a cell costs one look-up a member and slot.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.validation.lags import Booleans, Indices, Spans
from lichtmast.ingest.validation.layout import Floats, Groups, Layout
from lichtmast.ingest.validation.limits import FRESH_INTERVALS, NEIGHBOURS_MIN
from lichtmast.ingest.validation.memory import Memory

_NO_SLOT = -(2**62)


@dataclass(slots=True)
class Medians:
    """What stands now, by group: the slot that is open, and the median when it was opened; NaN where it is unknown."""

    slot: Indices
    median: Floats

    @classmethod
    def empty(cls, size: int) -> "Medians":
        """Nothing has come yet."""
        return cls(np.full(size, _NO_SLOT, np.int64), np.full(size, np.nan))

    def moved(self, old: Groups, new: Groups) -> "Medians":
        """The same for other groups; those that stay keep theirs."""
        _, source, target = np.intersect1d(old.key, new.key, assume_unique=True, return_indices=True)
        moved = Medians.empty(len(new.key))
        moved.slot[target], moved.median[target] = self.slot[source], self.median[source]
        return moved


@dataclass(frozen=True, slots=True)
class InOrder:
    """Rows that came in order, sorted by datastream; `arrival` says which came before which of all rows.

    `ahead` are those from a time that has not come yet: they must not open a slot for the others of their cell.
    """

    spans: Spans
    time_us: Indices
    value: Floats
    arrival: Indices
    ahead: Booleans


def implausible(rows: InOrder, layout: Layout, memory: Memory, medians: Medians) -> Booleans:
    """Which rows are too far from their neighbours. Moves `medians` on; `memory` is as it was before these rows."""
    found = np.zeros(len(rows.spans), np.bool_)
    group = layout.group[rows.spans.place]
    at = np.flatnonzero((group >= 0) & ~rows.ahead)
    if not len(at):
        return found
    at = at[np.argsort(group[at] * (int(rows.arrival.max()) + 1) + rows.arrival[at])]
    cells = Spans.of(group[at])
    slot = rows.time_us[at] // layout.groups.interval_us[cells.place]
    opened = _opened(cells, slot, medians.slot)
    closes = np.flatnonzero(opened > _past(cells, opened, medians.slot))
    medians_then = _medians_at(rows, at[closes], layout, memory, cells.place[closes], slot[closes])
    standing = _standing(cells, closes, medians_then, medians.median)
    away = np.abs(rows.value[at] - standing) > layout.tolerance[rows.spans.place[at]]
    found[at] = away & (slot >= opened - 1)  # one slot of difference is the devices' clocks, more is another time
    ends = cells.last
    medians.slot[cells.place[ends]] = opened[ends]
    medians.median[cells.place[ends]] = standing[ends]
    return found


def _opened(cells: Spans, slot: Indices, held: Indices) -> Indices:
    """The highest slot of a cell up to each row."""
    low = int(slot.min())
    # A slot held from long ago is as good as the lowest one less one, so that the sums stay small.
    start = np.maximum(held[cells.place], low - 1) - low + 1
    width = int(max(slot.max() - low + 2, start.max() + 1)) + 1
    series = np.cumsum(cells.first) * width
    opened: Indices = np.maximum.accumulate(series + np.maximum(slot - low + 1, start)) - series + (low - 1)
    return opened


def _past(cells: Spans, opened: Indices, held: Indices) -> Indices:
    past = np.concatenate((opened[:1], opened[:-1]))
    past[cells.first] = held[cells.place[cells.first]]
    return past


def _standing(cells: Spans, closes: Indices, medians_then: Floats, held: Floats) -> Floats:
    """The median that stands at each row: of the last close in its cell, else the one held."""
    number = np.full(len(cells), -1, np.int64)
    number[closes] = closes
    latest = np.maximum.accumulate(number)
    column = np.full(len(cells), np.nan)
    column[closes] = medians_then
    standing: Floats = np.where(latest >= cells.begin, column[np.maximum(latest, 0)], held[cells.place])
    return standing


def _medians_at(
    rows: InOrder, closing: Indices, layout: Layout, memory: Memory, group: Indices, slot: Indices
) -> Floats:
    """The median of each group just before its closing row; NaN where too few members are fresh."""
    groups = layout.groups
    begin, sizes = groups.starts[group], groups.starts[group + 1] - groups.starts[group]
    if not len(group):
        return np.zeros(0)
    close = np.repeat(np.arange(len(group)), sizes)
    rank = np.arange(len(close)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    member = groups.members[begin[close] + rank]
    total = int(rows.arrival.max()) + 2
    keys = rows.spans.place * total + rows.arrival
    at = np.searchsorted(keys, member * total + rows.arrival[closing][close]) - 1
    here = (at >= 0) & (rows.spans.place[at] == member)
    value = np.where(here, rows.value[at], memory.value[member])
    time_us = np.where(here, rows.time_us[at], memory.time_us[member])
    oldest_us = (slot - FRESH_INTERVALS) * groups.interval_us[group]
    fresh = (here | (memory.count[member] > 0)) & (time_us >= oldest_us[close]) & ~np.isnan(value)
    table: npt.NDArray[np.float64] = np.full((len(group), int(sizes.max())), np.nan)
    table[close, rank] = np.where(fresh, value, np.nan)
    ordered = np.sort(table, axis=1)
    count = np.bincount(close[fresh], minlength=len(group))
    at_row = np.arange(len(group))
    middle = (ordered[at_row, np.maximum(count - 1, 0) // 2] + ordered[at_row, np.minimum(count // 2, rank.max())]) / 2
    return np.where(count >= NEIGHBOURS_MIN, middle, np.nan)
