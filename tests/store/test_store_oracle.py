"""DuckStore answers like MemoryStore after any sequence of commits, seals, erasures, drops and reopenings."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lichtmast.store import Batch, DuckStore, PackKey
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import DROPS_SCHEMA, LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA

DAY_US = 86_400_000_000
TODAY = 20_000
NOW_US = TODAY * DAY_US + DAY_US // 2
ALWAYS = (-(2**62), 2**62)

_times = st.builds(lambda day, at: (TODAY + day) * DAY_US + at, st.integers(-4, 1), st.integers(0, 3))
_readings = st.lists(
    st.tuples(st.integers(1, 3), _times, st.one_of(st.integers(-5, 5), st.text(max_size=3))), max_size=8
)
_packs = st.lists(
    st.tuples(st.sampled_from(["gm0402/a-1", "gm0402/b-1"]), st.integers(1, 2), st.integers(1, 9), st.integers(0, 2)),
    max_size=5,
)


_drops = st.lists(
    st.tuples(st.sampled_from(["gm0402/a-1", "gm0402/b-1"]), st.integers(1, 2), st.integers(1, 12), st.integers(0, 4)),
    max_size=2,
)


class Oracle(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lichtmast-oracle-"))
        self.duck = DuckStore.open(self.folder, clock_us=lambda: NOW_US)
        self.memory = MemoryStore()
        self.offset = 0

    def teardown(self) -> None:
        if hasattr(self, "duck"):
            self.duck.close()
            shutil.rmtree(self.folder)

    @rule(readings=_readings, packs=_packs, drops=_drops)
    def commit(
        self,
        readings: list[tuple[int, int, Any]],
        packs: list[tuple[str, int, int, int]],
        drops: list[tuple[str, int, int, int]],
    ) -> None:
        self.offset += 1
        rows = [
            {
                "datastream_id": one,
                "phenomenon_time": time_us,
                "result": None if isinstance(result, str) else float(result),
                "result_text": result if isinstance(result, str) else None,
                "quality": 0,
                "result_time": NOW_US + self.offset * 100 + number,
            }
            for number, (one, time_us, result) in enumerate(readings)
        ]
        ledger = [
            {
                "device": device,
                "epoch": epoch,
                "seq": seq,
                "received_at": NOW_US + (self.offset % 3 - 1) * DAY_US,
                "log_seq": self.offset,
                "part": part,
                "outcome": outcome,
                "readings": 0,
                "digest": self.offset * 10 + part,
                "transport": 0,
            }
            for part, (device, epoch, seq, outcome) in enumerate(packs)
        ]
        batch = Batch(
            pa.Table.from_pylist(rows, OBSERVATION_SCHEMA),
            pa.Table.from_pylist(ledger, LEDGER_SCHEMA),
            QUARANTINE_SCHEMA.empty_table(),
            "READINGS",
            self.offset,
            pa.Table.from_pylist(
                [
                    {"device": device, "epoch": epoch, "first": first, "last": first + more, "declared_at": NOW_US}
                    for device, epoch, first, more in drops
                ],
                DROPS_SCHEMA,
            ),
        )
        self.duck.commit(batch)
        self.memory.commit(batch)

    @rule(day=st.integers(-4, 1))
    def seal(self, day: int) -> None:
        self.duck.seal(TODAY + day)

    @rule()
    def checkpoint(self) -> None:
        assert self.duck.checkpoint()

    @rule()
    def reopen(self) -> None:
        self.duck.close()
        self.duck = DuckStore.open(self.folder, clock_us=lambda: NOW_US)

    @rule(datastream=st.integers(1, 3), start=_times, length=st.integers(0, 3 * DAY_US))
    def erase(self, datastream: int, start: int, length: int) -> None:
        expected = self.memory.erase(datastream, start, start + length)
        assert self.duck.erase(datastream, start, start + length) == expected

    @rule(day=st.integers(-4, 1))
    def drop_day(self, day: int) -> None:
        assert self.duck.drop_day(TODAY + day) == self.memory.drop_day(TODAY + day)

    @invariant()
    def answers_are_equal(self) -> None:
        if not hasattr(self, "duck"):
            return
        assert self.duck.latest().to_pylist() == self.memory.latest().to_pylist()
        for descending in (False, True):
            asked = {"limit": 5, "descending": descending}
            found = self.duck.range([1, 2, 3], *ALWAYS, **asked)  # type: ignore[arg-type]
            assert found.to_pylist() == self.memory.range([1, 2, 3], *ALWAYS, **asked).to_pylist()  # type: ignore[arg-type]
        assert self.duck.progress().to_pylist() == self.memory.progress().to_pylist()
        assert self.duck.dropped().to_pylist() == self.memory.dropped().to_pylist()
        assert self.duck.audit_counts() == self.memory.audit_counts()
        keys = [PackKey("gm0402/a-1", 1, seq) for seq in range(1, 10)]
        assert self.duck.digests(keys) == self.memory.digests(keys)


@pytest.mark.slow
def test_duckdb_answers_like_memory_whatever_happens() -> None:
    Oracle.TestCase.settings = settings(
        max_examples=6,
        stateful_step_count=10,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    Oracle.TestCase().runTest()
