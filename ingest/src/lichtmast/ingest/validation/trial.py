"""The dry run of rules of validation: what is stored, judged by the rules that hold and by others, side by side.

Both validators see the same readings in the same order, so whatever they tell differently is due to the rules. Reads
only series whose rules differ, and their neighbourhoods. Will not: change anything, or judge units (packs in a unit
that nobody accepts are not stored).
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.pipeline.origin import Origin
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.validation.layout import Layout
from lichtmast.ingest.validation.limits import REMEMBERED
from lichtmast.ingest.validation.validator import Validator
from lichtmast.registry import Directory
from lichtmast.store.port import ObservationStore
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.quality import Quality
from lichtmast.wire.validation import RuleSet

READINGS_MAX: Final = 20_000_000
"""Readings that one trial goes through; where more are expected, whole neighbourhoods are left out."""
PAGE_READINGS: Final = 500_000
"""Readings in memory at a time."""
EXAMPLES: Final = 3
"""Readings that are named for each change, the latest."""
FLAGS: Final = (
    Quality.OUT_OF_RANGE,
    Quality.OFF_STEP,
    Quality.RATE,
    Quality.STUCK,
    Quality.SPIKE,
    Quality.IMPLAUSIBLE,
)
"""Those that rules decide about."""

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000
_OF_NO_RULE: Final = frozenset({"ids", "position", "interval_us", "group"})
"""The columns of a layout that rules do not fill."""
_Indices = npt.NDArray[np.int64]


def try_rules(
    store: ObservationStore, directory: Directory, rules: RuleSet, days: float, now_us: int
) -> dict[str, Any]:
    """Hold the rules against the last days; the answer is as JSON. Blocks, for seconds up to a minute."""
    profiles = load_profiles()
    roster, tried = Roster.build(directory, profiles), Roster.build(replace(directory, validation=rules), profiles)
    layouts = Layout.of(roster), Layout.of(tried)
    layout, concerned = layouts[0], _concerned(*layouts)
    start_us = now_us - int(days * _DAY_US)
    chosen = _affordable(concerned, layouts[1], days)
    trial = _Trial(roster, tried)
    reached_us = now_us
    interval_us = layout.interval_us[chosen]
    warm_up_us = REMEMBERED * int(interval_us.max(initial=0))
    for page in _pages(store, layout.ids[chosen], interval_us, start_us - warm_up_us, now_us):
        trial.judge(page, start_us)
        if trial.readings >= READINGS_MAX:  # a fleet that sends more often than its profiles say
            reached_us = page.column("phenomenon_time")[-1].as_py()
            break
    return {
        "from": _moment(start_us),
        "to": _moment(reached_us),
        "readings": trial.readings,
        "series": {"concerned": len(concerned), "tried": len(chosen)},
        "changes": trial.changes(),
    }


def _concerned(now: Layout, tried: Layout) -> _Indices:
    """The series whose rules differ and, where it is what neighbours tolerate, all of such a neighbourhood."""
    differs = np.zeros(len(now), np.bool_)
    for one in fields(Layout):
        column = getattr(now, one.name)
        if isinstance(column, np.ndarray) and one.name not in _OF_NO_RULE:
            differs |= column != getattr(tried, one.name)
    for layout in (now, tried):
        groups = np.unique(layout.group[now.tolerance != tried.tolerance])
        differs |= np.isin(layout.group, groups[groups >= 0])
    return np.flatnonzero(differs)


def _affordable(concerned: _Indices, layout: Layout, days: float) -> _Indices:
    """All of them, or every n-th neighbourhood, so that no more readings are expected than READINGS_MAX."""
    expected = float((days * _DAY_US / layout.interval_us[concerned]).sum())
    if expected <= READINGS_MAX:
        return concerned
    group = layout.group[concerned]
    unit = np.where(group >= 0, group, len(layout.groups.key) + concerned)
    return concerned[np.isin(unit, np.unique(unit)[:: ceil(expected / READINGS_MAX)])]


def _pages(
    store: ObservationStore, ids: _Indices, interval_us: _Indices, start_us: int, end_us: int
) -> Iterator[pa.Table]:
    """The readings of these series in the order of time, a slice of time at a time."""
    if not len(ids):
        return
    slice_us = max(int(PAGE_READINGS / (1.0 / interval_us).sum()), 1)
    wanted, limit = ids.tolist(), PAGE_READINGS * 4
    while start_us < end_us:
        page = store.range(wanted, start_us, min(start_us + slice_us, end_us), limit=limit)
        start_us += slice_us
        if page.num_rows == limit:  # more than that: go on behind the last moment that is here whole
            times = page.column("phenomenon_time").to_numpy()
            whole = int(np.searchsorted(times, times[-1])) or limit
            start_us = int(times[-1]) + (whole == limit)
            page = page.slice(0, whole)
        if page.num_rows:
            yield page


class _Trial:
    """The two validators, and what they told differently so far."""

    def __init__(self, roster: Roster, tried: Roster) -> None:
        self.readings = 0
        self._roster = roster
        self._validators = Validator(roster), Validator(tried)
        device, column = np.nonzero(roster.datastreams >= 0)
        self._ids, first = np.unique(roster.datastreams[device, column], return_index=True)
        self._device, self._columns = device[first], len(roster.suffix_codes)
        self._kind = roster.profile_of[self._device].astype(np.int64) * self._columns + column[first]
        self._counts = np.zeros((len(FLAGS), 4, len(roster.profiles) * self._columns), np.int64)
        self._examples: dict[tuple[int, int, bool], list[dict[str, Any]]] = {}

    def judge(self, page: pa.Table, start_us: int) -> None:
        """Judge a page, and count what is from `start_us` on; what is before it only has to be remembered."""
        quality = page.column("quality").to_numpy()
        page = page.filter(pa.array(quality & Quality.LATE == 0))
        kept = page.column("quality").to_numpy() & np.int32(Quality.TIME_IN_FUTURE)
        column = page.schema.get_field_index("quality")
        page = page.set_column(column, page.schema.field(column), pa.array(kept, pa.int32()))
        nothing = np.full(page.num_rows, -1, np.int64)
        order = np.arange(page.num_rows)
        origin = Origin(order, nothing.astype(np.int32), nothing, nothing, np.zeros(page.num_rows, np.bool_))
        now, tried = (one.judge(page, origin).column("quality").to_numpy() for one in self._validators)
        counted = page.column("phenomenon_time").to_numpy() >= start_us
        self.readings += int(counted.sum())
        element = np.searchsorted(self._ids, page.column("datastream_id").to_numpy())
        kind = self._kind[element]
        for number, flag in enumerate(FLAGS):
            before, after = ((one & np.int32(flag) != 0) & counted for one in (now, tried))
            for column, rows in enumerate((before, after, after & ~before, before & ~after)):
                self._counts[number, column] += np.bincount(kind[rows], minlength=self._counts.shape[2])
            for gained, rows in ((True, after & ~before), (False, before & ~after)):
                self._remember(page, element, number, np.flatnonzero(rows), gained=gained)

    def _remember(self, page: pa.Table, element: _Indices, flag: int, rows: _Indices, *, gained: bool) -> None:
        kind = self._kind[element[rows]]
        for one in np.unique(kind).tolist():
            examples = self._examples.setdefault((flag, one, gained), [])
            for row in rows[kind == one][-EXAMPLES:].tolist():
                told = page.slice(row, 1).to_pylist()[0]
                device = self._roster.names[int(self._device[element[row]])]
                reading = {"at": _moment(told["phenomenon_time"]), "result": told["result"]}
                examples.append({"gained": gained, "series": told["datastream_id"], "device": device} | reading)
            del examples[:-EXAMPLES]

    def changes(self) -> list[dict[str, Any]]:
        """What differs, by profile, capability and flag."""
        suffixes = list(self._roster.suffix_codes)
        found: list[dict[str, Any]] = []
        for kind in range(self._counts.shape[2]):
            for number, flag in enumerate(FLAGS):
                now, tried, gained, lost = self._counts[number, :, kind].tolist()
                if not gained and not lost:
                    continue
                profile = self._roster.profiles[kind // self._columns]
                capability = profile.uplinks[profile.index_of(suffixes[kind % self._columns])]
                examples = [
                    *self._examples.get((number, kind, True), ()),
                    *self._examples.get((number, kind, False), ()),
                ]
                found.append(
                    {"profile": profile.key, "capability": capability.key, "flag": str(flag.name)}
                    | {"now": now, "tried": tried, "gained": gained, "lost": lost}
                    | {"examples": examples}
                )
        return found


def _moment(at_us: int) -> str:
    return (_1970 + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%SZ")
