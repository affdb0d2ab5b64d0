"""The store's speed: commits of a thousand rows, latest of 30,000 datastreams, one sealed day of one datastream.

Prints progress on stderr and one line of JSON on stdout; every figure is the median of five. A commit carries what a
real batch has: observations, one ledger row per six of them, and the offset, made durable with fsync.
"""

import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.store import Batch, DuckStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA

DATASTREAMS = 30_000
DEVICES = 5_000
COMMIT_ROWS = 1_000
COMMITS_A_ROUND = 200
DAY_ROUNDS = 288  # every datastream each five minutes: 8.64 M rows
DAY_US = 86_400_000_000
TODAY = 20_500
ROUNDS = 5


class Clock:
    """Where the benchmark says it is."""

    now_us = TODAY * DAY_US

    def __call__(self) -> int:
        """The time now."""
        return self.now_us


def observations(generator: np.random.Generator, ids: npt.NDArray[np.int64], times: npt.NDArray[np.int64]) -> pa.Table:
    rows = len(ids)
    results = np.round(20 + generator.normal(0, 3, rows), 1)
    return pa.table(
        [
            pa.array(ids.astype(np.int32)),
            pa.array(times),
            pa.array(results),
            pa.nulls(rows, pa.string()),
            pa.array(np.zeros(rows, np.int32)),
            pa.array(times + 800_000),
        ],
        schema=OBSERVATION_SCHEMA,
    )


def ledger(generator: np.random.Generator, rows: int, number: int, time_us: int) -> pa.Table:
    devices = generator.integers(0, DEVICES, rows)
    return pa.table(
        [
            pa.array([f"gm0402/lm-{one:05d}" for one in devices]),
            pa.array(np.ones(rows, np.int64)),
            pa.array(np.arange(rows) + number * rows),
            pa.array(np.full(rows, time_us)),
            pa.array(np.arange(rows) + number * rows),
            pa.array(np.zeros(rows, np.int32)),
            pa.array(np.zeros(rows, np.int8)),
            pa.array(np.full(rows, 6, np.int32)),
            pa.array(generator.integers(0, 2**63, rows).astype(np.uint64)),
            pa.array((np.arange(rows) % 2).astype(np.int8)),
        ],
        schema=LEDGER_SCHEMA,
    )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def median(name: str, measure: Callable[[], float]) -> float:
    found = []
    for number in range(ROUNDS):
        found.append(measure())
        say(f"{name} {number + 1}/{ROUNDS}: {found[-1]:,.1f}")
    return statistics.median(found)


def fill_day(store: DuckStore, generator: np.random.Generator, clock: Clock) -> None:
    """One day of all datastreams in arrival order, in large commits."""
    ids = np.arange(1, DATASTREAMS + 1)
    for number in range(DAY_ROUNDS):
        clock.now_us = TODAY * DAY_US + number * (DAY_US // DAY_ROUNDS)
        order = generator.permutation(ids)
        times = clock.now_us + generator.integers(0, 60_000_000, DATASTREAMS)
        rows = observations(generator, order, times)
        store.commit(
            Batch(rows, LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), "FILL", store.offset("FILL") + 1)
        )
        if number % 24 == 23:
            store.maintain(clock.now_us)
            say(f"filled {(number + 1) * DATASTREAMS:,} rows of {DAY_ROUNDS * DATASTREAMS:,}")


def run(folder: Path) -> dict[str, float]:
    generator = np.random.default_rng(7)
    clock = Clock()
    store = DuckStore.open(folder, clock_us=clock)
    fill_day(store, generator, clock)
    clock.now_us = (TODAY + 1) * DAY_US + 2 * 3_600_000_000
    started = time.perf_counter()
    rows = store.seal(TODAY)
    sealed_s = time.perf_counter() - started
    say(f"sealed {rows:,} rows in {sealed_s:.1f} s")
    bytes_per_row = store.statistics()["observations_sealed_bytes"] / rows

    number = 0

    def commit_rate() -> float:
        nonlocal number
        batches = []
        for _ in range(COMMITS_A_ROUND):
            number += 1
            ids = generator.integers(1, DATASTREAMS + 1, COMMIT_ROWS)
            times = clock.now_us + number * 1_000_000 + generator.integers(0, 1_000_000, COMMIT_ROWS)
            packs = ledger(generator, COMMIT_ROWS // 6, number, clock.now_us)
            batches.append(
                Batch(observations(generator, ids, times), packs, QUARANTINE_SCHEMA.empty_table(), "BENCH", number)
            )
        begin = time.perf_counter()
        for batch in batches:
            store.commit(batch)
        spent = time.perf_counter() - begin
        store.checkpoint()
        return COMMITS_A_ROUND * COMMIT_ROWS / spent

    def latest_ms() -> float:
        nonlocal number
        for _ in range(10):  # what is new since the last question, so that answering has work to do
            number += 1
            ids = generator.integers(1, DATASTREAMS + 1, COMMIT_ROWS)
            rows = observations(generator, ids, np.full(COMMIT_ROWS, clock.now_us + number * 10**6))
            store.commit(Batch(rows, LEDGER_SCHEMA.empty_table(), QUARANTINE_SCHEMA.empty_table(), "BENCH", number))
        begin = time.perf_counter()
        assert store.latest().num_rows == DATASTREAMS
        return (time.perf_counter() - begin) * 1e3

    def sealed_ms() -> float:
        one = int(generator.integers(1, DATASTREAMS + 1))
        begin = time.perf_counter()
        found = store.range([one], TODAY * DAY_US, (TODAY + 1) * DAY_US, limit=100_000)
        spent = (time.perf_counter() - begin) * 1e3
        assert found.num_rows == DAY_ROUNDS
        return spent

    result = {
        "commit_rows_per_s": round(median("commit rows/s", commit_rate)),
        "latest_30k_ms": round(median("latest ms", latest_ms), 2),
        "sealed_day_ms": round(median("sealed day ms", sealed_ms), 2),
        "bytes_per_row": round(bytes_per_row, 2),
        "sealed_rows": rows,
        "seal_s": round(sealed_s, 1),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    store.close()
    return result


if __name__ == "__main__":
    where = Path(tempfile.mkdtemp(prefix="lichtmast-bench-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        print(json.dumps(run(where)))
    finally:
        shutil.rmtree(where)
