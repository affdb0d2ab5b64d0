"""Batches and stores for the store's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lichtmast.store import Batch, DuckStore, StoreSettings
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import DROPS_SCHEMA, LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA

DAY_US = 86_400_000_000
TODAY = 20_000  # 2024-10-04
NOON_US = TODAY * DAY_US + DAY_US // 2


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_us: int = NOON_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


class Batches:
    """Makes batches whose offsets advance; each observation is (datastream, time[, result])."""

    def __init__(self) -> None:
        self.offset = 0

    def __call__(
        self,
        observations: list[tuple[Any, ...]] | None = None,
        packs: list[tuple[Any, ...]] | None = None,
        quarantine: list[dict[str, Any]] | None = None,
        drops: list[tuple[str, int, int, int]] | None = None,
        *,
        log: str = "READINGS",
        offset: int | None = None,
    ) -> Batch:
        self.offset = self.offset + 1 if offset is None else offset
        rows = []
        for datastream, time_us, *rest in observations or []:
            result = rest[0] if rest else float(datastream)
            text = result if isinstance(result, str) else None
            number = None if isinstance(result, str) else result
            rows.append(
                {
                    "datastream_id": datastream,
                    "phenomenon_time": time_us,
                    "result": number,
                    "result_text": text,
                    "quality": 0,
                    "result_time": NOON_US + self.offset,
                }
            )
        ledger = []
        for part, (device, epoch, seq, outcome, readings, *rest) in enumerate(packs or []):
            ledger.append(
                {
                    "device": device,
                    "epoch": epoch,
                    "seq": seq,
                    "received_at": rest[0] if rest else NOON_US + self.offset,
                    "log_seq": self.offset,
                    "part": part,
                    "outcome": outcome,
                    "readings": readings,
                    "digest": 2**63 + self.offset * 1000 + part,
                    "transport": part % 2,
                }
            )
        refused = [
            {
                "log_seq": self.offset,
                "part": part,
                "device": "gm0402/lm-1",
                "received_at": NOON_US,
                "transport": 0,
                "reason": "bad_value",
                "detail": "record 1",
                "content_format": 110,
                "payload": b"\x00\xff",
                **fields,
            }
            for part, fields in enumerate(quarantine or [])
        ]
        return Batch(
            pa.Table.from_pylist(rows, OBSERVATION_SCHEMA),
            pa.Table.from_pylist(ledger, LEDGER_SCHEMA),
            pa.Table.from_pylist(refused, QUARANTINE_SCHEMA),
            log,
            self.offset,
            pa.Table.from_pylist(
                [
                    {"device": device, "epoch": epoch, "first": first, "last": last, "declared_at": NOON_US}
                    for device, epoch, first, last in drops or []
                ],
                DROPS_SCHEMA,
            ),
        )


@pytest.fixture
def batches() -> Batches:
    return Batches()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., DuckStore]]:
    """Opens the store of this test's folder; closes what the test left open."""
    opened: list[DuckStore] = []

    def opening(settings: StoreSettings | None = None) -> DuckStore:
        opened.append(DuckStore.open(tmp_path / "store", clock_us=clock, settings=settings))
        return opened[-1]

    yield opening
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., DuckStore]) -> DuckStore:
    return open_store()


@pytest.fixture(params=["memory", "hot", "sealed"])
def any_store(request: pytest.FixtureRequest) -> DuckStore | MemoryStore:
    """Each implementation; `sealed` seals after every commit, so that questions meet files and hot rows alike."""
    if request.param == "memory":
        return MemoryStore()
    opened: DuckStore = request.getfixturevalue("store")
    if request.param == "sealed":
        return Sealing(opened)  # type: ignore[return-value] # same methods, forwarded
    return opened


class Sealing:
    """A DuckStore that seals every second commit."""

    def __init__(self, store: DuckStore) -> None:
        self._store = store
        self._commits = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - forwards whatever the store has
        return getattr(self._store, name)

    def commit(self, batch: Batch) -> None:
        self._store.commit(batch)
        self._commits += 1
        if self._commits % 2:
            times = batch.observations["phenomenon_time"].to_pylist() + batch.ledger["received_at"].to_pylist()
            for day in {time_us // DAY_US for time_us in times}:
                self._store.seal(day)
