"""What validation remembers: the last readings of each datastream that came in order. Arrays; no rules.

304 bytes a datastream, so 61 MB for 200,000. All of it is a function of the last REMEMBERED readings in order, and so
can be restored from the store.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.validation.limits import WINDOW


@dataclass(slots=True)
class Memory:
    """One element a datastream.

    `ring[n % WINDOW]` holds the results of readings number n, and `count` readings have come; datastreams that speak at
    one pace write to the same row, which is far faster than each to its own. Of the last reading: its result, time,
    time of reception, and `pace_us`, its distance from the one before. The rest counts readings in a row up to it, as
    far as checks care: with the same result (`run`), without a gap (`since_gap`), since a jump (`since_jump`), with the
    same large delay (`steady`).
    """

    ring: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    time_us: npt.NDArray[np.int64]
    received_us: npt.NDArray[np.int64]
    pace_us: npt.NDArray[np.int64]
    run: npt.NDArray[np.int16]
    since_gap: npt.NDArray[np.int16]
    since_jump: npt.NDArray[np.int16]
    steady: npt.NDArray[np.int16]

    @classmethod
    def empty(cls, size: int) -> "Memory":
        """Nothing has come yet."""
        return cls(
            ring=np.full((WINDOW, size), np.nan),
            count=np.zeros(size, np.int64),
            value=np.full(size, np.nan),
            time_us=np.zeros(size, np.int64),
            received_us=np.zeros(size, np.int64),
            pace_us=np.zeros(size, np.int64),
            run=np.zeros(size, np.int16),
            since_gap=np.zeros(size, np.int16),
            since_jump=np.full(size, WINDOW, np.int16),
            steady=np.zeros(size, np.int16),
        )

    def moved(self, size: int, source: npt.NDArray[np.int64], target: npt.NDArray[np.int64]) -> "Memory":
        """A memory of `size` in which elements `source` of this one are at `target`, and all others are empty."""
        new = Memory.empty(size)
        for one in fields(self):
            getattr(new, one.name)[..., target] = getattr(self, one.name)[..., source]
        return new

    @property
    def size_bytes(self) -> int:
        """What the arrays take."""
        return sum(int(getattr(self, one.name).nbytes) for one in fields(self))
