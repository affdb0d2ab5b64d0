"""Spikes: results far from the median of the readings before them, measured in robust standard deviations.

Laid out only for datastreams that jumped a short while ago, because a median of every row would cost more than all
other checks together.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.validation.lags import Booleans, Indices, Spans
from lichtmast.ingest.validation.layout import Floats, Layout
from lichtmast.ingest.validation.limits import SPIKE_AFTER, SPIKE_ROWS, WINDOW
from lichtmast.ingest.validation.memory import Memory

_TO_SIGMA: Final = 1.4826
"""The median absolute deviation of a normal distribution is 1/1.4826 of its standard deviation."""


def spikes(
    spans: Spans, value: Floats, since_gap: Indices, suspects: Booleans, layout: Layout, memory: Memory
) -> Booleans:
    """Which of the suspects are spikes."""
    found = np.zeros(len(spans), np.bool_)
    rows = np.flatnonzero(suspects & (since_gap > SPIKE_AFTER))
    for start in range(0, len(rows), SPIKE_ROWS):
        part = rows[start : start + SPIKE_ROWS]
        place = spans.place[part]
        window = _windows(spans, value, since_gap, part, memory)
        middle = _median(window)
        spread = _TO_SIGMA * _median(np.abs(window - middle[:, None]))
        away = np.abs(value[part] - middle)
        found[part] = (away > layout.floor[place]) & (away > layout.sigma[place] * spread)
    return found


def _windows(spans: Spans, value: Floats, since_gap: Indices, rows: Indices, memory: Memory) -> npt.NDArray[np.float64]:
    """For each row the results before it that no gap parts from it, NaN where there are fewer than WINDOW."""
    back = np.arange(1, WINDOW + 1)
    place = spans.place[rows]
    within = (rows - spans.begin[rows])[:, None] - back  # number within this batch; below 0 it is in the ring
    held = memory.ring[(memory.count[place][:, None] + within) % WINDOW, place[:, None]]
    here = value[np.maximum(spans.begin[rows][:, None] + within, 0)]
    window = np.where(within >= 0, here, held)
    window[back >= since_gap[rows][:, None]] = np.nan
    return window


def _median(rows: Floats) -> Floats:
    """The median of each row without its NaN. Sorting puts those last."""
    ordered = np.sort(rows, axis=1)
    count = np.maximum(np.count_nonzero(~np.isnan(rows), axis=1), 1)
    at = np.arange(len(rows))
    middle: Floats = (ordered[at, (count - 1) // 2] + ordered[at, count // 2]) / 2
    return middle
