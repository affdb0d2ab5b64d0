"""I9: what the server says of a stretch of time equals what its readings say when they are added up again."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import fsum, isclose
from typing import Final, NamedTuple

from lichtmast.firmware_sim.checker.evidence import Row
from lichtmast.firmware_sim.checker.report import Fault

MEAN_RELATIVE_ERROR_MAX: Final = 1e-12
"""A sum in another order differs in its last bits; counts, minima and maxima do not differ at all."""


class Rollup(NamedTuple):
    """What the server says of one datastream from `start_us` on, for the width of a bucket."""

    datastream: int
    start_us: int
    readings: int
    mean: float
    minimum: float
    maximum: float


def check_rollups(rows: Iterable[Row], rollups: Iterable[Rollup], bucket_us: int) -> Iterator[Fault]:
    """Add up `rows` in buckets at multiples of `bucket_us`; yields a fault for every bucket that says otherwise.

    Buckets of datastreams that have no rollup at all are left out: give the rows that the rollups are about.
    """
    told = {(one.datastream, one.start_us): one for one in rollups}
    series = {one.datastream for one in told.values()}
    values: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in rows:
        if row.datastream in series and not isinstance(row.value, str):
            values[row.datastream, row.time_us // bucket_us * bucket_us].append(float(row.value))
    for place in sorted(told.keys() | values.keys()):
        where = f"datastream {place[0]} from {place[1]} us"
        if place not in told:
            yield Fault("rollup", f"{where}: {len(values[place])} readings, but no rollup")
        elif place not in values:
            yield Fault("rollup", f"{where}: a rollup of {told[place].readings}, but no reading")
        else:
            yield from _differences(where, told[place], values[place])


def _differences(where: str, told: Rollup, values: list[float]) -> Iterator[Fault]:
    mean = fsum(values) / len(values)
    exact = (len(values), min(values), max(values))
    if (told.readings, told.minimum, told.maximum) != exact:
        yield Fault("rollup", f"{where}: told {(told.readings, told.minimum, told.maximum)}, recomputed {exact}")
    elif not isclose(told.mean, mean, rel_tol=MEAN_RELATIVE_ERROR_MAX, abs_tol=1e-300):
        yield Fault("rollup", f"{where}: told a mean of {told.mean!r}, recomputed {mean!r}")
