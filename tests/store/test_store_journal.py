"""What a commit wrote is found again, whatever happened to the process or the disk before the database had it."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lichtmast.store import Batch, DuckStore, Outcome, StoreDamagedError, StoreError, StoreFullError, StoreLockedError
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA
from lichtmast.store.settings import StoreSettings

TODAY = 20_000
NOON_US = TODAY * 86_400_000_000 + 43_200_000_000
VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "journal"
ALWAYS = (-(2**62), 2**62)
Make = Callable[..., Batch]
Open = Callable[..., DuckStore]


def _life(folder: Path, stop_at: str | None, commits: int) -> int:
    """A process that commits, absorbs and dies at a step, or by kill after its last commit; its exit status."""
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from conftest import NOON_US, Batches
from lichtmast.store import DuckStore, Outcome
store = DuckStore.open(Path({str(folder)!r}), clock_us=lambda: NOON_US,
    at_step=lambda name: os._exit(9) if name == {stop_at!r} else None)
make = Batches()
make.offset = store.offset("READINGS")
for _ in range({commits}):
    store.commit(make([(1, NOON_US + make.offset), (2, NOON_US - 10**15)],
        [("gm0402/a-1", 1, make.offset + 1, Outcome.STORED, 2)], [{{}}]))
if {stop_at!r}:
    store.absorb()
os._exit(9)
"""
    return subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode


@pytest.mark.slow
@pytest.mark.parametrize("step", [None, "inserted", "absorbed"])
def test_a_crash_around_absorbing_neither_loses_nor_doubles(tmp_path: Path, step: str | None) -> None:
    folder = tmp_path / "store"
    for life in (1, 2):
        assert _life(folder, step, 3) == 9
        store = DuckStore.open(folder, clock_us=lambda: NOON_US)
        assert store.offset("READINGS") == 3 * life
        assert store.audit_counts() == {
            "observations_total": 6 * life,
            "readings_by_ledger": 6 * life,
            "erased_total": 0,
            "double_packs": 0,
            "positions_unaccounted": 0,
        }
        assert store.quarantine(100).num_rows == 3 * life
        assert store.progress()["upto"].to_pylist() == [3 * life]
        assert store.latest([1])["phenomenon_time"].to_pylist() == [NOON_US + 3 * life - 1]
        assert store.statistics()["pending"] == 0
        store.close()


def _segment(folder: Path) -> Path:
    return max((folder / "store" / "journal").iterdir())


@pytest.fixture
def journal(open_store: Open, batches: Make, tmp_path: Path) -> Path:
    """The journal of two commits, as a crash leaves it."""
    store = open_store()
    store.commit(batches([(1, NOON_US)]))
    store.commit(batches([(1, NOON_US + 1)]))
    kept = _segment(tmp_path).read_bytes()
    store.close()
    path = _segment(tmp_path)
    path.write_bytes(kept)
    return path


@pytest.mark.parametrize("cut", [1, 100, 400])
def test_a_torn_last_record_never_was_a_commit(journal: Path, open_store: Open, batches: Make, cut: int) -> None:
    journal.write_bytes(journal.read_bytes()[:-cut])
    store = open_store()
    assert store.offset("READINGS") == 1
    assert store.count(1, *ALWAYS) == 1
    store.commit(batches([(1, NOON_US + 1)], offset=2))
    assert store.count(1, *ALWAYS) == 2


@pytest.mark.parametrize("at", [0, 5, 60, 300])
def test_damage_before_a_whole_record_is_an_error_that_names_the_file(journal: Path, open_store: Open, at: int) -> None:
    data = bytearray(journal.read_bytes())
    data[at] ^= 0x10
    journal.write_bytes(data)
    with pytest.raises(StoreDamagedError, match=journal.name):
        open_store()


def test_a_missing_record_is_an_error(journal: Path, open_store: Open) -> None:
    data = journal.read_bytes()
    journal.write_bytes(data[len(data) // 2 :])
    with pytest.raises(StoreDamagedError, match="lacks a commit after 0"):
        open_store()


def test_what_the_database_would_refuse_is_refused_before_the_journal(store: DuckStore, batches: Make) -> None:
    batch = batches([(1, NOON_US)])
    rows = batch.observations
    nulls = rows.set_column(0, OBSERVATION_SCHEMA.field(0), pa.nulls(1, pa.int32()))
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff"))
    texts = rows.set_column(3, OBSERVATION_SCHEMA.field(3), broken)
    for wrong in (nulls, texts, rows.drop_columns(["quality"])):
        with pytest.raises(StoreError, match="observations of a batch"):
            store.commit(Batch(wrong, batch.ledger, batch.quarantine, batch.log, batch.offset))
    store.commit(batch)
    store.checkpoint()
    assert store.count(1, *ALWAYS) == 1


def test_pending_is_bounded(open_store: Open, batches: Make) -> None:
    store = open_store(StoreSettings(pending_rows_max=100))
    for number in range(40):
        store.commit(batches([(one, NOON_US + number) for one in range(30)]))
        assert store._engine._pending.rows <= 100 + 30
    assert store.audit_counts()["observations_total"] == 1200


@pytest.mark.slow
def test_readers_see_each_commit_once_while_commits_are_absorbed(store: DuckStore, batches: Make) -> None:
    wrong: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            before = store.offset("READINGS")
            found = store.audit_counts()
            count = store.count(7, *ALWAYS)
            times = store.range([7], *ALWAYS, limit=10_000)["phenomenon_time"].to_pylist()
            if not before * 10 <= found["observations_total"] == found["readings_by_ledger"]:
                wrong.append((before, found))
            if found["double_packs"] or not before <= count <= len(times) or len(set(times)) != len(times):
                wrong.append((before, count, times))

    def absorb() -> None:
        while not done.is_set():
            store.absorb()

    threads = [threading.Thread(target=one) for one in (read, absorb)]
    for one in threads:
        one.start()
    for number in range(300):
        rows = [(one, NOON_US + number) for one in range(10)]
        store.commit(batches(rows, [("gm0402/a-1", 1, number + 1, Outcome.STORED, 10)]))
        if number % 60 == 59:
            store.seal(TODAY)
    done.set()
    for one in threads:
        one.join()
    assert wrong == []
    assert store.audit_counts()["observations_total"] == 3000


@pytest.mark.slow
def test_another_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lichtmast.store import DuckStore;"
        "store = DuckStore.open(Path(sys.argv[1]), clock_us=lambda: 0); print('open', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError, match=f"process {holder.pid}"):
            DuckStore.open(tmp_path, clock_us=lambda: NOON_US)
        holder.kill()
    DuckStore.open(tmp_path, clock_us=lambda: NOON_US).close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    if os.geteuid():
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(folder)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.system
@pytest.mark.slow
def test_a_full_disk_refuses_commits_whole_and_takes_them_again_when_there_is_room(
    small_disk: Path, batches: Make
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\1" * 8_000_000)
    store = DuckStore.open(small_disk / "store", clock_us=lambda: NOON_US)
    stored = 0
    with pytest.raises(StoreFullError):  # noqa: PT012 - which commit is refused depends on the disk
        while True:
            store.commit(batches([(one, NOON_US + stored) for one in range(2000)]))
            stored += 1
    assert stored > 5
    assert store.offset("READINGS") == stored
    assert store.count(7, *ALWAYS) == stored
    with pytest.raises(StoreError):
        store.absorb()  # the database finds no room either, and nothing is lost by trying
    assert store.count(7, *ALWAYS) == stored
    ballast.unlink()
    store.commit(batches([(one, NOON_US + stored) for one in range(2000)], offset=stored + 1))
    store.close()
    again = DuckStore.open(small_disk / "store", clock_us=lambda: NOON_US)
    assert again.offset("READINGS") == stored + 1
    assert again.range([7], *ALWAYS, limit=9999).num_rows == stored + 1
    again.close()


@pytest.mark.slow
def test_memory_stays_bounded_under_load(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2] / "bench")!r})
from pathlib import Path
import numpy as np, psutil
import store as bench
from lichtmast.store import DuckStore
clock = bench.Clock()
store = DuckStore.open(Path(sys.argv[1]), clock_us=clock)
generator = np.random.default_rng(3)
most = 0
for first in range(0, 120, 10):
    for batch in bench.batches_of(generator, 12_000, 10, first + 1, clock.now_us):
        store.commit(batch)
    store.maintain(clock.now_us)
    most = max(most, psutil.Process().memory_info().rss)
print(most // 1_000_000)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, timeout=100)
    assert int(done.stdout) < 330


def test_declared_drops_survive_a_crash_and_being_absorbed(open_store: Open, batches: Make, tmp_path: Path) -> None:
    store = open_store()
    store.commit(batches([], [("gm0402/a-1", 1, 9, Outcome.STORED, 0)], drops=[("gm0402/a-1", 1, 2, 4)]))
    torn = _segment(tmp_path).read_bytes()
    store.close()
    shutil.rmtree(tmp_path / "store")
    open_store().close()
    _segment(tmp_path).write_bytes(torn)  # what a killed process leaves
    for _ in range(2):
        store = open_store()
        assert [tuple(row.values()) for row in store.dropped().to_pylist()] == [("gm0402/a-1", 1, 2, 4)]
        assert store.progress()["ranges"].to_pylist() == [[2, 4, 9, 9]]
        store.checkpoint()
        store.close()


def test_a_journal_of_before_the_drops_is_still_read(open_store: Open, tmp_path: Path) -> None:
    open_store().close()
    _segment(tmp_path).write_bytes((VECTORS / "lmj1.journal").read_bytes())
    store = open_store()
    assert store.offset("READINGS") == 2
    assert store.count(1, *ALWAYS) == 2
    assert store.progress().to_pylist() == [{"device": "gm0402/a-1", "epoch": 7, "upto": 2, "ranges": [6, 7]}]
    assert store.quarantine(9).num_rows == 2
    assert store.dropped().num_rows == 0


def test_a_database_of_before_the_drops_is_migrated(open_store: Open, batches: Make, tmp_path: Path) -> None:
    store = open_store()
    store.commit(batches([(1, NOON_US)], [("gm0402/a-1", 1, 1, Outcome.STORED, 1)]))
    store.checkpoint()
    store.close()
    with duckdb.connect(str(tmp_path / "store" / "hot.duckdb")) as connection:
        connection.execute("DROP TABLE drops")
        connection.execute("DROP TABLE released")
        connection.execute("DELETE FROM schema_version WHERE version > 1")
    store = open_store()
    store.commit(batches([], [("gm0402/a-1", 1, 5, Outcome.STORED, 0)], drops=[("gm0402/a-1", 1, 2, 4)]))
    assert store.progress()["upto"].to_pylist() == [5]
    assert store.count(1, *ALWAYS) == 1


def test_an_empty_batch_moves_the_offset(open_store: Open, batches: Make) -> None:
    store = open_store()
    empty = batches()
    assert empty.ledger.schema.equals(LEDGER_SCHEMA)
    store.commit(empty)
    store.close()
    assert open_store().offset("READINGS") == 1
