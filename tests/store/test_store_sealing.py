"""Closed days become sorted files, whatever happens in between."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lichtmast.store import Batch, DuckStore, Outcome, StoreDamagedError, StoreLockedError, StoreSettings

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
TODAY = 20_000
NOON_US = TODAY * DAY_US + DAY_US // 2
ALWAYS = (-(2**62), 2**62)
Make = Callable[..., Batch]
STEPS = ("written", "durable", "named", "committed", "removed")


class Clock(Protocol):
    now_us: int


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "store" / "observations").iterdir())


def test_a_day_is_sealed_when_it_is_over_and_the_grace_too(store: DuckStore, batches: Make) -> None:
    store.commit(batches([(1, NOON_US)]))
    assert store.maintain((TODAY + 1) * DAY_US + HOUR_US - 1) == []
    assert store.maintain((TODAY + 1) * DAY_US + HOUR_US) == [TODAY]
    assert store.statistics()["observations_sealed"] == 1
    assert store.statistics()["observations_hot"] == 0


def test_sealed_file_is_sorted_and_readable_by_anyone(store: DuckStore, batches: Make, tmp_path: Path) -> None:
    store.commit(batches([(2, NOON_US), (1, NOON_US + 5), (1, NOON_US)]))
    assert store.seal(TODAY) == 3
    found = pq.read_table(tmp_path / "store" / "observations" / "2024-10-04.1.parquet")
    assert found.schema.field("phenomenon_time").type == pa.timestamp("us", tz="UTC")
    assert found["datastream_id"].to_pylist() == [1, 1, 2]
    assert found["phenomenon_time"].to_pylist()[0].isoformat() == "2024-10-04T12:00:00+00:00"


def test_late_rows_of_a_sealed_day_wait_for_the_next_sealing(store: DuckStore, batches: Make, clock: Clock) -> None:
    store.commit(batches([(1, NOON_US)]))
    clock.now_us = (TODAY + 1) * DAY_US + 2 * HOUR_US
    store.maintain(clock.now_us)
    store.commit(batches([(1, NOON_US - 1)]))
    assert store.maintain(clock.now_us + 60_000_000) == []
    assert store.count(1, *ALWAYS) == 2
    clock.now_us += DAY_US
    store.commit(batches([(1, clock.now_us - DAY_US)]))
    assert store.maintain(clock.now_us) == [TODAY, TODAY + 1]
    assert store.statistics()["observations_hot"] == 0
    assert store.range([1], *ALWAYS, limit=9).num_rows == 3


def test_rows_committed_while_a_day_is_written_stay_hot(batches: Make, tmp_path: Path) -> None:
    late = batches([(1, NOON_US)]), batches([(1, NOON_US + 1)])
    stores: list[DuckStore] = []

    def meanwhile(step: str) -> None:
        if step == "written" and not stores[0].count(1, NOON_US + 1, NOON_US + 2):
            stores[0].commit(late[1])

    stores.append(DuckStore.open(tmp_path / "other", clock_us=lambda: NOON_US, at_step=meanwhile))
    store = stores[0]
    store.commit(late[0])
    store.seal(TODAY)
    found = store.statistics()
    assert (found["observations_sealed"], found["observations_hot"]) == (1, 1)
    assert store.count(1, *ALWAYS) == 2
    store.seal(TODAY)
    assert store.statistics()["observations_sealed"] == 2
    store.close()


def test_a_reader_keeps_the_file_it_reads(store: DuckStore, batches: Make, tmp_path: Path) -> None:
    store.commit(batches([(1, NOON_US)]))
    store.seal(TODAY)
    with store._engine.view() as view:
        before = view.connection.execute("SELECT count(*) FROM days WHERE generation > 0").fetchall()
        store.commit(batches([(1, NOON_US + 1)]))
        store.seal(TODAY)
        assert _files(tmp_path) == ["2024-10-04.1.parquet", "2024-10-04.2.parquet"]
        assert store.statistics()["files_to_remove"] == 1
        assert before == [(1,)]
    assert _files(tmp_path) == ["2024-10-04.2.parquet"]


@pytest.mark.slow
def test_readers_never_see_a_sum_that_is_wrong_while_days_are_sealed(store: DuckStore, batches: Make) -> None:
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        seen = 0
        while not done.is_set():
            found = store.audit_counts()
            if found["observations_total"] != found["readings_by_ledger"] or found["observations_total"] < seen:
                wrong.append((seen, found))
            seen = found["observations_total"]

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(12):
        rows = [(one, NOON_US + number) for one in range(50)]
        store.commit(batches(rows, [("gm0402/a-1", 1, number + 1, Outcome.STORED, 50)]))
        store.seal(TODAY)
        store.checkpoint()
    done.set()
    reader.join()
    assert wrong == []
    assert store.audit_counts()["observations_total"] == 600


def test_reopened_store_answers_as_before(open_store: Callable[..., DuckStore], batches: Make) -> None:
    store = open_store()
    store.commit(batches([(1, NOON_US), (2, NOON_US)], [("gm0402/a-1", 1, 1, Outcome.STORED, 2)]))
    store.seal(TODAY)
    store.commit(batches([(1, NOON_US + 1, 7.0)], [("gm0402/a-1", 1, 3, Outcome.STORED, 1)]))
    latest, progress = store.latest(), store.progress()
    store.close()
    again = open_store()
    assert again.latest() == latest
    assert again.progress() == progress
    assert again.offset("READINGS") == 2
    assert again.count(1, *ALWAYS) == 2


def test_second_process_is_told_who_has_the_folder(open_store: Callable[..., DuckStore], tmp_path: Path) -> None:
    open_store()
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        DuckStore.open(tmp_path / "store", clock_us=lambda: NOON_US)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_file_is_named_at_open(
    open_store: Callable[..., DuckStore], batches: Make, tmp_path: Path, damage: str
) -> None:
    store = open_store()
    store.commit(batches([(1, NOON_US)]))
    store.seal(TODAY)
    store.close()
    path = tmp_path / "store" / "observations" / "2024-10-04.1.parquet"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreDamagedError, match=r"2024-10-04\.1\.parquet"):
        open_store()


def test_files_of_others_are_left_alone(open_store: Callable[..., DuckStore], tmp_path: Path) -> None:
    open_store().close()
    folder = tmp_path / "store" / "observations"
    (folder / "notes.txt").touch()
    (folder / "2024-10-04.9.parquet").touch()
    (folder / ".2024-10-04.9.parquet.part").touch()
    open_store()
    assert _files(tmp_path) == ["notes.txt"]


def test_write_ahead_log_is_bounded_without_maintenance(open_store: Callable[..., DuckStore], batches: Make) -> None:
    store = open_store(StoreSettings(pending_rows_max=500, checkpoint_wal_bytes=50_000))
    for number in range(60):
        store.commit(batches([(one, NOON_US + number) for one in range(100)]))
    assert store.statistics()["wal_bytes"] < 100_000
    assert store.count(5, *ALWAYS) == 60


_CRASH = """
import os, sys
from pathlib import Path
import pyarrow as pa
from lichtmast.store import Batch, DuckStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA
folder, job, stop_at, nth = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
NOON, DAY = 20_000 * 86_400_000_000 + 43_200_000_000, 86_400_000_000
passed = []
def at_step(name):
    passed.append(name)
    if armed and name == stop_at and passed.count(name) == nth:
        os._exit(9)
armed = False
store = DuckStore.open(folder, clock_us=lambda: NOON, at_step=at_step)
def commit(rows):
    table = pa.Table.from_pylist([dict(datastream_id=d, phenomenon_time=t, result=1.0, result_text=None, quality=0,
        result_time=NOON) for d, t in rows], OBSERVATION_SCHEMA)
    pack = dict(device="gm0402/a-1", epoch=1, seq=store.offset("R") + 1, received_at=NOON, log_seq=1, part=0, outcome=0,
        readings=len(rows), digest=1, transport=0)
    store.commit(Batch(table, pa.Table.from_pylist([pack], LEDGER_SCHEMA), QUARANTINE_SCHEMA.empty_table(), "R",
        store.offset("R") + 1))
commit([(1, NOON), (2, NOON), (1, NOON - DAY)])
store.seal(20_000); store.seal(19_999)
commit([(1, NOON + 1), (2, NOON - DAY)])
passed.clear(); armed = True
if job == "seal":
    store.seal(20_000)
elif job == "erase":
    store.erase(1, -2**62, 2**62)
elif job == "drop":
    store.drop_day(20_000)
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "step"), [("seal", one) for one in STEPS] + [("erase", one) for one in STEPS] + [("drop", "committed")]
)
def test_a_crash_at_any_step_leaves_all_or_nothing(tmp_path: Path, job: str, step: str) -> None:
    folder = tmp_path / "store"
    command = [sys.executable, "-c", _CRASH, str(folder), job, step, "1"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 9
    store = DuckStore.open(folder, clock_us=lambda: NOON_US)
    found = store.audit_counts()
    assert found["observations_total"] + found["erased_total"] == found["readings_by_ledger"] == 5
    done = step in ("committed", "removed")
    expected = {"seal": [3, 2], "erase": [0, 2] if done else [3, 2], "drop": [1, 1] if done else [3, 2]}[job]
    assert [store.count(one, *ALWAYS) for one in (1, 2)] == expected
    for one in (1, 2):
        kept = store.range([one], *ALWAYS, limit=9, descending=True)["phenomenon_time"].to_pylist()
        assert store.latest([one])["phenomenon_time"].to_pylist() == kept[:1]
    assert store.progress().to_pylist() == [{"device": "gm0402/a-1", "epoch": 1, "upto": 2, "ranges": []}]
    names = _files(tmp_path)
    assert len({name.split(".")[0] for name in names}) == len(names), "one file a day, no orphans"
    assert store.seal(TODAY) == sum(store.count(one, TODAY * DAY_US, (TODAY + 1) * DAY_US) for one in (1, 2))
    store.close()
