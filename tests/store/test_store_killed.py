"""kill -9 at random moments: what commit returned for is there, and nothing is there twice."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from lichtmast.store import DuckStore

NOON_US = 20_000 * 86_400_000_000 + 43_200_000_000
SEED = 20_261_121
ROUNDS = 10

_WRITER = """
import sys, threading
from pathlib import Path
import pyarrow as pa
from lichtmast.store import Batch, DuckStore
from lichtmast.store.port import LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA
NOON = 20_000 * 86_400_000_000 + 43_200_000_000
store = DuckStore.open(Path(sys.argv[1]), clock_us=lambda: NOON)
def tidy():
    while True:
        store.seal(20_000)
        store.checkpoint()
threading.Thread(target=tidy, daemon=True).start()
while True:
    offset = store.offset("R") + 1
    rows = [dict(datastream_id=one, phenomenon_time=NOON + offset, result=float(offset), result_text=None, quality=0,
        result_time=NOON) for one in range(10)]
    pack = dict(device="gm0402/a-1", epoch=1, seq=offset, received_at=NOON, log_seq=offset, part=0, outcome=0,
        readings=10, digest=offset, transport=0)
    store.commit(Batch(pa.Table.from_pylist(rows, OBSERVATION_SCHEMA), pa.Table.from_pylist([pack], LEDGER_SCHEMA),
        QUARANTINE_SCHEMA.empty_table(), "R", offset))
    print(offset, flush=True)
"""


@pytest.mark.slow
def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the moment of a kill, repeatable
    last = 0
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 12)):
                last = int(writer.stdout.readline())
            writer.kill()
            last = max([last, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        store = DuckStore.open(tmp_path, clock_us=lambda: NOON_US)
        offset = store.offset("R")
        assert offset >= last, "a commit returned and its batch is gone"
        assert store.audit_counts() == {
            "observations_total": offset * 10,
            "readings_by_ledger": offset * 10,
            "erased_total": 0,
            "double_packs": 0,
            "positions_unaccounted": 0,
        }
        assert store.range([3], 0, 2**62, limit=10**6)["result"].to_pylist() == [float(n + 1) for n in range(offset)]
        assert store.progress()["upto"].to_pylist() == [offset]
        assert store.latest()["result"].to_pylist() == [float(offset)] * 10
        store.close()
    assert last > ROUNDS, "the kills came before any commit: this run proved nothing"
