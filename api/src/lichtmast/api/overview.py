"""How every lamppost is doing at this moment: the one answer behind the list, the map and the counts."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lichtmast.api.catalogue import Catalogue
from lichtmast.store.port import ObservationStore
from lichtmast.wire.quality import DOUBTFUL

INTERVALS_MISSED: Final = 3
"""After so many expected readings that did not come, a lamppost is called silent."""
_DOUBTFUL: Final = int(DOUBTFUL)
_KEPT_US: Final = 2_000_000


class State(StrEnum):
    """What a lamppost is called; shown as shape, colour and word together."""

    FRESH = "fresh"
    DOUBTFUL = "doubtful"
    """It speaks, and at least one of its last readings is marked as doubtful."""
    SILENT = "silent"
    NEVER = "never"
    """No reading has ever come."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One lamppost: how it is doing, and when it last measured anything."""

    state: State
    last_us: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All lampposts at one moment."""

    revision: int
    at_us: int
    standings: Mapping[int, Standing]
    counts: Mapping[State, int]


_NEVER: Final = Standing(State.NEVER, None)


def judge(readings: Mapping[float, tuple[int, bool]], now_us: int) -> Standing:
    """One lamppost from its last readings: expected interval in seconds -> (latest time, whether any is doubtful)."""
    if not readings:
        return _NEVER
    last = max(time_us for time_us, _ in readings.values())
    speaks = any(now_us - time_us <= interval * INTERVALS_MISSED * 1e6 for interval, (time_us, _) in readings.items())
    if not speaks:
        return Standing(State.SILENT, last)
    return Standing(State.DOUBTFUL if any(doubt for _, doubt in readings.values()) else State.FRESH, last)


def survey(catalogue: Catalogue, store: ObservationStore, now_us: int) -> Overview:
    """Judge every lamppost that stands, from one read of the latest values."""
    table = store.latest(list(catalogue.datastreams))
    columns = (table.column(name).to_pylist() for name in ("datastream_id", "phenomenon_time", "quality"))
    latest: dict[int, tuple[int, int]] = {
        key: (time_us, quality) for key, time_us, quality in zip(*columns, strict=True)
    }
    intervals = {key: catalogue.interval_s_of(key) for key in catalogue.sensors}
    standings: dict[int, Standing] = {}
    counts = dict.fromkeys(State, 0)
    for asset in catalogue.standing:
        readings: dict[float, tuple[int, bool]] = {}
        for datastream in catalogue.datastreams_of(asset.id):
            found = latest.get(datastream.id)
            if found is not None:
                interval = intervals.get(datastream.sensor_id, 0.0)
                time_us, doubt = readings.get(interval, (found[0], False))
                readings[interval] = (max(time_us, found[0]), doubt or bool(found[1] & _DOUBTFUL))
        standing = standings[asset.id] = judge(readings, now_us)
        counts[standing.state] += 1
    return Overview(catalogue.revision, now_us, standings, counts)


class OverviewKeeper:
    """Keeps an overview for two seconds, so that many visitors cost as much as one. `current` blocks."""

    def __init__(self, store: ObservationStore, clock_us: Callable[[], int]) -> None:
        self._store = store
        self._clock_us = clock_us
        self._lock = threading.Lock()
        self._overview: Overview | None = None

    def current(self, catalogue: Catalogue) -> Overview:
        """An overview of this catalogue, at most two seconds old."""
        with self._lock:
            now_us = self._clock_us()
            held = self._overview
            if held is None or held.revision != catalogue.revision or not 0 <= now_us - held.at_us < _KEPT_US:
                held = self._overview = survey(catalogue, self._store, now_us)
            return held
