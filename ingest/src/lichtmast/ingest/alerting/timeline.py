"""The latest time of each datastream so far: what is before it is history.

The validator flags such readings LATE; this is for rows from before it did, and makes a replay of a store agree.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Timeline:
    """By number of the datastream the latest time that came."""

    def __init__(self, latest_us: Ints | None = None) -> None:
        self.latest_us: Ints = np.zeros(0, np.int64) if latest_us is None else latest_us

    def late(self, stream: Ints, time_us: Ints) -> npt.NDArray[np.bool_]:
        """Which rows, in order, come behind a later one of their datastream; and go on."""
        if not len(stream):
            return np.zeros(0, np.bool_)
        more = int(stream.max()) + 1 - len(self.latest_us)
        if more > 0:
            room = np.zeros(max(more, len(self.latest_us) // 4), np.int64)
            self.latest_us = np.concatenate((self.latest_us, room))
        order = np.argsort(stream, kind="stable")
        who, when = stream[order], time_us[order]
        first = np.concatenate(([True], who[1:] != who[:-1]))
        last = np.concatenate((first[1:], [True]))
        # A running maximum within each datastream: times are laid out so that each datastream lies above the last.
        start_us = int(when.min())
        known = np.maximum(self.latest_us[who] - start_us, 0)
        span = int(max(int(when.max()) - start_us, int(known.max()))) + 1
        floor = (np.cumsum(first) - 1) * span
        highest = np.maximum.accumulate(floor + np.maximum(when - start_us, known))
        before = np.where(first, floor + known, np.concatenate(([0], highest[:-1])))
        late = np.zeros(len(stream), np.bool_)
        late[order] = floor + (when - start_us) < before
        self.latest_us[who[last]] = (highest - floor)[last] + start_us
        return late
