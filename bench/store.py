"""The store's speed: commits of a thousand rows, latest of 30,000 datastreams, one sealed day of one datastream.

Prints progress on stderr and one line of JSON on stdout; every figure is the median of five. A commit carries what a
real batch has: observations, one ledger row per six of them, and the offset, made durable with fsync. The clock of a
commit round stops when all its commits are durable and the database has taken over every row from the journal.

The machine may be slow or shared, so each round also measures `calibration`: a bare DuckDB table of the same six
columns that takes the same 1,000 rows by INSERT ... SELECT, durable, nothing else. Read the figures against it.
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

import duckdb
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


def bare_inserts(folder: Path, batches: list[Batch]) -> float:
    """Rows a second of DuckDB alone, into one table, each thousand durable."""
    path = folder / "bare.duckdb"
    with duckdb.connect(str(path), config={"threads": 1, "checkpoint_threshold": "1TB"}) as connection:
        rows = batches[0].observations
        connection.execute("CREATE TABLE bare AS FROM rows LIMIT 0")
        begin = time.perf_counter()
        for batch in batches:
            rows = batch.observations  # noqa: F841 - named in SQL
            connection.execute("INSERT INTO bare SELECT * FROM rows")
        spent = time.perf_counter() - begin
    path.unlink()
    return COMMIT_ROWS * len(batches) / spent


def batches_of(generator: np.random.Generator, rows: int, count: int, first: int, now_us: int) -> list[Batch]:
    """Believable batches with offsets from `first`."""
    found = []
    for number in range(first, first + count):
        ids = generator.integers(1, DATASTREAMS + 1, rows)
        times = now_us + number * 1_000_000 + generator.integers(0, 1_000_000, rows)
        packs = ledger(generator, -(-rows // 6), number, now_us)
        found.append(
            Batch(observations(generator, ids, times), packs, QUARANTINE_SCHEMA.empty_table(), "BENCH", number)
        )
    return found


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
    calibration: list[float] = []
    durable_only: list[float] = []
    waits_ms: list[float] = []

    def commit_rate(rows: int, count: int) -> float:
        nonlocal number
        batches = batches_of(generator, rows, count, number + 1, clock.now_us)
        number += count
        if rows == COMMIT_ROWS:
            calibration.append(bare_inserts(folder, batches))
        begin = time.perf_counter()
        for batch in batches:
            before = time.perf_counter()
            store.commit(batch)
            if rows == COMMIT_ROWS:
                waits_ms.append((time.perf_counter() - before) * 1e3)
        if rows == COMMIT_ROWS:
            durable_only.append(count * rows / (time.perf_counter() - begin))
        store.absorb()
        spent = time.perf_counter() - begin
        store.checkpoint()
        return count * rows / spent

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

    result: dict[str, float] = {
        "commit_rows_per_s": round(median("commit rows/s", lambda: commit_rate(COMMIT_ROWS, COMMITS_A_ROUND))),
        "latest_30k_ms": round(median("latest ms", latest_ms), 2),
        "sealed_day_ms": round(median("sealed day ms", sealed_ms), 2),
        "large_commit_rows_per_s": round(median("24,000-row commits, rows/s", lambda: commit_rate(24_000, 20))),
        "bytes_per_row": round(bytes_per_row, 2),
        "sealed_rows": rows,
        "seal_s": round(sealed_s, 1),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    waits_ms.sort()
    result |= {
        "calibration_rows_per_s": round(statistics.median(calibration)),
        "commit_to_calibration": round(result["commit_rows_per_s"] / statistics.median(calibration), 2),
        "durable_rows_per_s": round(statistics.median(durable_only)),
        "commit_p10_ms": round(waits_ms[len(waits_ms) // 10], 3),
        "commit_p50_ms": round(waits_ms[len(waits_ms) // 2], 3),
        "commit_p99_ms": round(waits_ms[len(waits_ms) * 99 // 100], 2),
    }
    store.close()
    return result


if __name__ == "__main__":
    where = Path(tempfile.mkdtemp(prefix="lichtmast-bench-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        print(json.dumps(run(where)))
    finally:
        shutil.rmtree(where)
