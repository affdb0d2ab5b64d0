"""What is usual for a datastream at this hour of the day, or of the week: from the 28 days before yesterday.

Of each hour of history the highest and the lowest reading count; over the days of one hour of the clock their medians
say what is usual, and their median absolute deviations how much that varies. Hours are local: the street follows the
clock on the wall, in summer and in winter. Yesterday is left out, so that today's baseline can be made ahead of
midnight and does not change while its last readings still come in. Why no library: docs/adr/0037.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.alerting.limits import BASELINE_DAYS, BASELINE_HOURS_LEAST

ZONE: Final = ZoneInfo("Europe/Amsterdam")
HOUR_US: Final = 3_600_000_000
DAY_HOURS: Final = 24
WEEK_HOURS: Final = 168
MAD_TO_SIGMA: Final = 1.4826
"""The median absolute deviation of a normal distribution, times this, is its standard deviation."""
Floats = npt.NDArray[np.float64]


class History(Protocol):
    """What is asked of the store."""

    def aggregate(self, datastream_id: int, start_us: int, end_us: int, bucket_us: int) -> pa.Table:
        """Columns bucket, count, mean, minimum, maximum."""


@dataclass(frozen=True, slots=True)
class Usual:
    """By [datastream, hour]: the usual highest and lowest reading, and the spread of each; NaN where not known."""

    high: Floats
    high_spread: Floats
    low: Floats
    low_spread: Floats


def local_hours(times_us: npt.NDArray[np.int64], *, weekly: bool) -> npt.NDArray[np.int64]:
    """The hour on the wall at each time: 0..23, or 0..167 from Monday. The hour that comes twice in autumn is one."""
    hours, inverse = np.unique(times_us // HOUR_US, return_inverse=True)
    found = [datetime.fromtimestamp(int(hour) * 3600, ZONE) for hour in hours]
    return np.array([one.hour + (one.weekday() * DAY_HOURS if weekly else 0) for one in found], np.int64)[inverse]


def local_day(time_us: int) -> int:
    """The number of the local day."""
    return datetime.fromtimestamp(time_us // 1_000_000, ZONE).toordinal()


def day_start_us(day: int) -> int:
    """When a local day begins; it has 23, 24 or 25 hours."""
    one = date.fromordinal(day)
    return round(datetime(one.year, one.month, one.day, tzinfo=ZONE).astimezone(UTC).timestamp()) * 1_000_000


def usual_of(hours: pa.Table, *, weekly: bool) -> Floats:
    """Rows high, its spread, low, its spread, by hour of the day or week, from hourly extremes of one datastream."""
    slots = WEEK_HOURS if weekly else DAY_HOURS
    found = np.full((4, slots), np.nan)
    if not hours.num_rows:
        return found
    at = local_hours(hours.column("bucket").to_numpy(), weekly=weekly)
    for row, name in ((0, "maximum"), (2, "minimum")):
        extremes = hours.column(name).to_numpy()
        for slot in np.unique(at).tolist():
            # Four weeks make four of each hour of the week: too few to tell a spread, so its neighbours lend theirs.
            near = np.isin(at, [(slot - 1) % slots, slot, (slot + 1) % slots]) if weekly else at == slot
            if np.count_nonzero(near) >= BASELINE_HOURS_LEAST:
                centre = np.median(extremes[at == slot])
                found[row, slot] = centre
                found[row + 1, slot] = MAD_TO_SIGMA * np.median(np.abs(extremes[near] - np.median(extremes[near])))
    return found


class Baselines:
    """Baselines of one local day at a time, made when they are asked for and kept in `folder` for a restart."""

    def __init__(self, store: History, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder
        self._days: dict[tuple[int, bool], dict[int, Floats]] = {}

    def usual(self, day: int, streams: Sequence[int], *, weekly: bool) -> Usual:
        """The baseline for a local day, a row for each datastream. May read 28 days of each: not for an event loop."""
        known = self._days.get((day, weekly))
        if known is None:
            known = self._read(day, weekly=weekly)
            self._days = {key: one for key, one in self._days.items() if key[0] >= day - 1} | {(day, weekly): known}
        missing = [stream for stream in dict.fromkeys(streams) if stream not in known]
        start_us, end_us = day_start_us(day - 1 - BASELINE_DAYS), day_start_us(day - 1)
        for stream in missing:
            known[stream] = usual_of(self._store.aggregate(stream, start_us, end_us, HOUR_US), weekly=weekly)
        if missing:
            self._write(day, known, weekly=weekly)
        slots = WEEK_HOURS if weekly else DAY_HOURS
        rows = np.array([known[stream] for stream in streams]).reshape(len(streams), 4, slots)
        return Usual(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3])

    def _path(self, folder: Path, day: int, *, weekly: bool) -> Path:
        return folder / f"baseline-{date.fromordinal(day).isoformat()}-{'week' if weekly else 'day'}.npz"

    def _read(self, day: int, *, weekly: bool) -> dict[int, Floats]:
        if self._folder is None:
            return {}
        try:
            with np.load(self._path(self._folder, day, weekly=weekly)) as held:
                return dict(zip(held["streams"].tolist(), held["usual"], strict=True))
        except (OSError, ValueError, KeyError):
            return {}

    def _write(self, day: int, known: dict[int, Floats], *, weekly: bool) -> None:
        if self._folder is None:
            return
        write_arrays(
            self._path(self._folder, day, weekly=weekly),
            {"streams": np.array(list(known)), "usual": np.array(list(known.values()))},
        )
        for old in self._folder.glob("baseline-*.npz"):
            if date.fromisoformat(old.name[9:19]) < date.fromordinal(day) - timedelta(days=1):
                old.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write a file of arrays whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    new.replace(path)
