"""Functions over rows sorted by datastream and then by arrival: what came before, and how long something lasts.

Pure arithmetic on columns; which row means what the callers say.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Booleans = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
_Scalar = TypeVar("_Scalar", np.int64, np.float64)


@dataclass(frozen=True, slots=True)
class Spans:
    """Where each series begins and ends among the rows. `place` is the series of each row, `begin` its first row."""

    place: Indices
    first: Booleans
    begin: Indices
    last: Indices
    """The last row of each series."""

    @classmethod
    def of(cls, place: Indices) -> "Spans":
        """The spans of rows that are sorted by `place`."""
        count = len(place)
        first = np.ones(count, np.bool_)
        np.not_equal(place[1:], place[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        last = np.append(starts[1:], count) - 1 if count else starts
        begin = np.repeat(starts, last - starts + 1) if len(starts) < count else starts
        return cls(place, first, begin, last)

    def __len__(self) -> int:
        return len(self.place)


def before(spans: Spans, values: npt.NDArray[_Scalar], held: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    """The value of the row before in the same series; for its first row what is held of the series."""
    shifted = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[spans.first] = held[spans.place[spans.first]]
    return shifted


def lasting(spans: Spans, breaks: Booleans, held: npt.NDArray[np.int16], at_break: int, most: int) -> Indices:
    """How many rows something has lasted: `at_break` where it breaks, one more with each row, at most `most`."""
    rows = np.arange(len(spans))
    if len(spans.last) == len(spans):  # one row a series, as is usual
        return np.minimum(np.where(breaks, at_break, held[spans.place] + 1), most)
    broke = np.maximum.accumulate(np.where(breaks, rows, -1))
    on = held[spans.place] + (rows - spans.begin) + 1
    return np.minimum(np.where(broke >= spans.begin, rows - broke + at_break, on), most)


def behind(spans: Spans, values: Indices, held: Indices, *, skip: Booleans) -> Booleans:
    """Which rows lie below the highest value before them in their series, `held` included. `skip` rows raise none."""
    start = held[spans.place]
    below = values < np.where(spans.first, start, np.concatenate((values[:1], values[:-1])))
    if not (below & ~skip).any() and not skip.any():
        return below
    # Ranks instead of values, so that a rank and a series fit into one number whatever the values are.
    _, ranks = np.unique(np.concatenate((values, start)), return_inverse=True)
    own, floor = ranks[: len(values)], ranks[len(values) :]
    raised = np.where(skip, 0, own)
    width = 2 * len(values) + 1
    series = np.cumsum(spans.first) * width
    highest = np.maximum.accumulate(series + np.maximum(raised, floor))
    past = np.concatenate((highest[:1], highest[:-1]))
    past = np.where(spans.first, series + floor, past)
    found: Booleans = series + own < past
    return found
