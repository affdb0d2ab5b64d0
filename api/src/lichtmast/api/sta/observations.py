"""Observations out of the store: which stretch of time a question means, one page of it, and how each one reads.

An Observation's id is text, `datastream-microseconds`: (datastream, phenomenon time) is the store's own key, so the id
is stable through sealing, replay and restore, and needs no index. As one integer it would not fit in the 53 bits that
JSON readers keep exact.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from lichtmast.api import limits
from lichtmast.api.problem import malformed, unsupported
from lichtmast.api.sta.expression import Compare, Instant, Junction, Literal, Name, Node
from lichtmast.api.sta.options import Continuation, Options
from lichtmast.api.times import iso
from lichtmast.store.port import ObservationStore
from lichtmast.wire.quality import Quality

TIME_MIN_US: Final = -62_135_596_800_000_000
TIME_MAX_US: Final = 253_402_300_800_000_000
"""The years 1 to 9999: what RFC 3339 can write."""
_ID: Final = re.compile(r"([0-9]{1,10})-(-?[0-9]{1,18})", re.ASCII)
_TURNED: Final = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq"}


@dataclass(frozen=True, slots=True)
class Observation:
    """One stored reading."""

    datastream_id: int
    time_us: int
    result: float | str | bool | None
    quality: int
    result_time_us: int

    @property
    def id(self) -> str:
        """The id in SensorThings."""
        return f"{self.datastream_id}-{self.time_us}"

    def values(self) -> dict[str, Any]:
        """The properties in SensorThings."""
        flags = [flag.name.lower() for flag in Quality if flag & self.quality and flag.name]
        return {
            "phenomenonTime": iso(self.time_us),
            "resultTime": iso(self.result_time_us),
            "result": self.result,
            "resultQuality": flags or None,
        }


@dataclass(frozen=True, slots=True)
class Window:
    """start <= phenomenon time < end, and the direction to read it in."""

    start_us: int
    end_us: int
    descending: bool


def window_of(options: Options) -> Window:
    """The stretch that $filter and $orderby mean. Raises a 501 Problem where they ask for something else than time."""
    descending = False
    for order in options.order[:1]:
        if order.path != ("phenomenonTime",):
            raise unsupported("$orderby of Observations is supported by phenomenonTime asc or desc.")
        descending = order.descending
    if len(options.order) > 1:
        raise unsupported("$orderby of Observations takes one key; equal times are in order of datastream.")
    start, end = TIME_MIN_US, TIME_MAX_US
    for low, high in () if options.filter is None else _stretches(options.filter):
        start, end = max(start, low), min(end, high)
    return Window(start, max(start, end), descending)


def _stretches(node: Node) -> list[tuple[int, int]]:
    match node:
        case Junction("and", nodes):
            return [stretch for one in nodes for stretch in _stretches(one)]
        case Compare(comparison, Name(("phenomenonTime",)), Literal(Instant(at))) if comparison in _TURNED:
            return [_stretch(comparison, at)]
        case Compare(comparison, Literal(Instant(at)), Name(("phenomenonTime",))) if comparison in _TURNED:
            return [_stretch(_TURNED[comparison], at)]
    raise unsupported(
        "$filter of Observations is supported for phenomenonTime compared (eq, gt, ge, lt, le) with an instant such as "
        "2026-11-21T20:30:00Z, joined by and."
    )


def _stretch(comparison: str, at: int) -> tuple[int, int]:
    after = at + 1
    return {
        "eq": (at, after),
        "gt": (after, TIME_MAX_US),
        "ge": (at, TIME_MAX_US),
        "lt": (TIME_MIN_US, at),
        "le": (TIME_MIN_US, after),
    }[comparison]


class ObservationReader:
    """Reads the store for one request; `truths` are the datastreams whose results are true or false."""

    def __init__(self, store: ObservationStore, truths: frozenset[int]) -> None:
        self._store = store
        self._truths = truths

    def page(
        self, series: Sequence[int], window: Window, *, skip: int, top: int, after: Continuation | None
    ) -> tuple[list[Observation], bool]:
        """At most `top` observations behind `after` and `skip`, and whether there are more."""
        if skip > limits.OBSERVATIONS_SKIP_MAX:
            raise malformed(f"$skip is at most {limits.OBSERVATIONS_SKIP_MAX} here; follow @iot.nextLink instead.")
        wanted = skip + top + 1
        found: list[Observation] = []
        start, end = window.start_us, window.end_us
        if after is not None:
            # The rest of the last instant first, then what lies beyond it: exact, whatever has arrived in between.
            if start <= after.time_us < end:
                beyond = [
                    one
                    for one in series
                    if (one < after.datastream_id if window.descending else one > after.datastream_id)
                ]
                found = self._range(beyond, after.time_us, after.time_us + 1, wanted, descending=window.descending)
            start, end = (start, min(end, after.time_us)) if window.descending else (max(start, after.time_us + 1), end)
        if len(found) < wanted:
            found += self._range(series, start, end, wanted - len(found), descending=window.descending)
        return found[skip : skip + top], len(found) > skip + top

    def page_by_series(
        self, series: Sequence[int], *, top: int, after: Continuation | None
    ) -> tuple[list[Observation], bool]:
        """As `page`, in order of datastream and then time: reads no more series than the page needs."""
        found: list[Observation] = []
        for key in sorted(self.latest(series)):
            start = TIME_MIN_US
            if after is not None:
                if key < after.datastream_id:
                    continue
                start = after.time_us + 1 if key == after.datastream_id else start
            found += self._range([key], start, TIME_MAX_US, top + 1 - len(found), descending=False)
            if len(found) > top:
                break
        return found[:top], len(found) > top

    def _range(self, series: Sequence[int], start: int, end: int, limit: int, *, descending: bool) -> list[Observation]:
        if not series or start >= end:
            return []
        return self._rows(self._store.range(series, start, end, limit=limit, descending=descending))

    def count(self, series: Sequence[int], window: Window) -> int:
        """How many there are in all."""
        if window.start_us >= window.end_us:
            return 0
        if len(series) > limits.EXPANDED_SERIES_MAX:
            raise unsupported(f"$count over more than {limits.EXPANDED_SERIES_MAX} datastreams is not supported.")
        return sum(self._store.count(one, window.start_us, window.end_us) for one in series)

    def latest(self, series: Sequence[int]) -> dict[int, Observation]:
        """The last observation of each datastream that has one, in one read."""
        return {one.datastream_id: one for one in self._rows(self._store.latest(series))} if series else {}

    def one(self, key: object) -> Observation | None:
        """The observation with this id."""
        match = _ID.fullmatch(key) if isinstance(key, str) else None
        if match is None:
            return None
        datastream_id, time_us = int(match[1]), int(match[2])
        if datastream_id >= 2**31 or not TIME_MIN_US <= time_us < TIME_MAX_US or f"{datastream_id}-{time_us}" != key:
            return None
        return next(islice(self._range([datastream_id], time_us, time_us + 1, 1, descending=False), 1), None)

    def _rows(self, table: pa.Table) -> list[Observation]:
        return observations_of(table, self._truths)


def observations_of(table: pa.Table, truths: frozenset[int]) -> list[Observation]:
    """The rows of a table with OBSERVATION_SCHEMA."""
    columns = (
        table.column(name).to_pylist() for name in ("datastream_id", "phenomenon_time", "quality", "result_time")
    )
    results = zip(table.column("result").to_pylist(), table.column("result_text").to_pylist(), strict=True)
    return [
        Observation(key, time_us, _result(number, text, truth=key in truths), quality, result_time)
        for key, time_us, quality, result_time, (number, text) in zip(*columns, results, strict=True)
    ]


def _result(number: float | None, text: str | None, *, truth: bool) -> float | str | bool | None:
    if number is None:
        return text
    return number != 0 if truth else number
