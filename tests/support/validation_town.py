"""A few neighbouring devices whose readings a test writes down one by one, and a validator that judges them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from lichtmast.ingest.pipeline.origin import Origin
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.validation import REMEMBERED, Validator
from lichtmast.registry import DeviceEntry, DeviceStatus, Directory
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import (
    DROPS_SCHEMA,
    LEDGER_SCHEMA,
    OBSERVATION_SCHEMA,
    PROGRESS_SCHEMA,
    QUARANTINE_SCHEMA,
    Batch,
)
from lichtmast.wire import DeviceId, Quality, load_profiles
from lichtmast.wire.validation import parse_rules

NOON_US: Final = 1_795_000_000_000_000
MINUTE_US: Final = 60_000_000
OUT_OF_ORDER: Final = int(Quality.LATE | Quality.TIME_IN_FUTURE)
RULES: Final[Mapping[str, Any]] = {
    "profile": {
        "weather": {
            "temperature": {
                "minimum": -40,
                "maximum": 55,
                "step": 0.1,
                "rate_per_s": 0.5,
                "stuck_after": 5,
                "spike_sigma": 6,
                "spike_floor": 3,
                "neighbour_tolerance": 5,
            }
        }
    }
}


@dataclass(frozen=True)
class Said:
    """One reading: which device, when by its clock, what, with which number, and when it was received."""

    device: int
    time_us: int
    value: float
    seq: int
    received_us: int
    quality: int = 0
    epoch: int = 7


def roster(count: int = 6, rules: Mapping[str, Any] = RULES, *, first: int = 0, revision: int = 1) -> Roster:
    """Weather stations in one cell, of which the temperature is datastream 10, 20, 30 ..."""
    size = len(load_profiles()["weather"].uplinks)
    entries = {}
    for number in range(first, first + count):
        device = DeviceId("gm0402", f"w-{number}")
        ids = tuple(range(10 * (number + 1), 10 * (number + 1) + size))
        entries[str(device)] = DeviceEntry(
            number + 1, device, DeviceStatus.ACTIVE, "weather", number, ids, 5.1700 + number * 1e-5, 52.2200
        )
    return Roster.build(Directory(revision, entries, (), parse_rules(rules, revision)), load_profiles())


class Station:
    """A validator and the store that its outcome goes to."""

    def __init__(self, by: Roster | None = None) -> None:
        self.roster = by or roster()
        self.validator = Validator(self.roster)
        self.store = MemoryStore()
        self.position = 0
        self.numbers: dict[int, tuple[int, int]] = {}

    def hear(self, readings: Sequence[Said]) -> list[Quality]:
        """Judge these as one batch, and store them; returns the quality of each."""
        received = [one.received_us for one in readings]
        rows = {
            "datastream_id": [10 * (one.device + 1) for one in readings],
            "phenomenon_time": [one.time_us for one in readings],
            "result": [one.value for one in readings],
            "result_text": [None] * len(readings),
            "quality": [one.quality for one in readings],
            "result_time": received,
        }
        positions = np.arange(self.position + 1, self.position + 1 + len(readings))
        origin = Origin(
            log_seq=positions,
            device=np.array([one.device for one in readings], np.int32),
            epoch=np.array([one.epoch for one in readings], np.int64),
            seq=np.array([one.seq for one in readings], np.int64),
            replayed=np.zeros(len(readings), np.bool_),
        )
        judged = self.validator.judge(pa.table(rows, schema=OBSERVATION_SCHEMA), origin)
        self.position += max(1, len(readings))
        self.store.commit(
            Batch(
                judged,
                LEDGER_SCHEMA.empty_table(),
                QUARANTINE_SCHEMA.empty_table(),
                "READINGS",
                self.position,
                DROPS_SCHEMA.empty_table(),
            )
        )
        for one in readings:
            self.numbers[one.device] = max(self.numbers.get(one.device, (-1, -1)), (one.epoch, one.seq))
        return [Quality(one) for one in judged.column("quality").to_pylist()]

    def start_again(self) -> None:
        """Forget all but what the store holds."""
        told: Iterable[tuple[str, int, int, list[int]]] = (
            (self.roster.names[device], epoch, seq, []) for device, (epoch, seq) in self.numbers.items()
        )
        columns = [list(column) for column in zip(*told, strict=True)] or [[], [], [], []]
        self.validator = Validator(self.roster)
        self.validator.restore(
            self.store.recent(REMEMBERED, without=OUT_OF_ORDER), pa.table(columns, schema=PROGRESS_SCHEMA)
        )


def steady(
    device: int, values: Iterable[float], *, first_us: int = NOON_US, every_us: int = MINUTE_US, seq: int = 1
) -> list[Said]:
    """Readings at an even pace, received at once."""
    return [
        Said(device, first_us + at * every_us, value, seq + at, first_us + at * every_us + device)
        for at, value in enumerate(values)
    ]
