"""The store in memory: plain Python, for all tests that need a store, and the oracle of DuckStore's own tests.

Keeps nothing when the process ends. Answers like DuckStore, to the row.
"""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from lichtmast.store.audit import COUNTS_SCHEMA
from lichtmast.store.errors import OffsetError, StoreError
from lichtmast.store.export import spreadsheet_safe
from lichtmast.store.port import (
    DROPPED_SCHEMA,
    ENTRY_SCHEMA,
    EXISTING_SCHEMA,
    GROUPS_SCHEMA,
    LEDGER_SCHEMA,
    OBSERVATION_SCHEMA,
    PROGRESS_SCHEMA,
    QUARANTINE_SCHEMA,
    RECENT_SCHEMA,
    RELEASED_SCHEMA,
    Batch,
    Outcome,
    PackKey,
    Selection,
)
from lichtmast.store.reading import AGGREGATE_SCHEMA
from lichtmast.store.settings import DAY_US, HOUR_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Row = dict[str, Any]


class MemoryStore:
    """An ObservationStore of lists."""

    def __init__(self) -> None:
        self._observations: list[_Row] = []
        self._ledger: list[_Row] = []
        self._quarantine: list[_Row] = []
        self._drops: list[_Row] = []
        self._released: list[_Row] = []
        self._offsets: dict[str, int] = {}
        self._erased = 0

    def commit(self, batch: Batch) -> None:
        """Take the batch whole. Raises OffsetError where it does not advance its log."""
        if batch.offset <= self.offset(batch.log):
            raise OffsetError(f"offset {batch.offset} of log {batch.log!r} does not advance {self.offset(batch.log)}")
        self._observations += batch.observations.to_pylist()
        self._ledger += batch.ledger.to_pylist()
        self._quarantine += batch.quarantine.to_pylist()
        self._released += batch.released.to_pylist()
        closed = {tuple(row[name] for name in ENTRY_SCHEMA.names) for row in batch.released.to_pylist()}
        self._quarantine = [
            row for row in self._quarantine if tuple(row[name] for name in ENTRY_SCHEMA.names) not in closed
        ]
        self._drops += batch.drops.to_pylist()
        self._offsets[batch.log] = batch.offset

    def offset(self, log: str) -> int:
        """The last log position that was committed; 0 where there is none."""
        return self._offsets.get(log, 0)

    def range(
        self, datastream_ids: Sequence[int], start_us: int, end_us: int, *, limit: int, descending: bool = False
    ) -> pa.Table:
        """Observations of a period by time then datastream."""
        if limit < 0:
            raise StoreError(f"limit {limit} is negative")
        found = sorted(self._select(datastream_ids, start_us, end_us), key=_time_then_datastream, reverse=descending)
        return pa.Table.from_pylist(found[:limit], OBSERVATION_SCHEMA)

    def count(self, datastream_id: int, start_us: int, end_us: int) -> int:
        """How many observations one datastream has in a period."""
        return len(self._select([datastream_id], start_us, end_us))

    def latest(self, datastream_ids: Sequence[int] | None = None) -> pa.Table:
        """The latest observation of each datastream, by ascending id."""
        newest: dict[int, _Row] = {}
        for row in self._observations:
            held = newest.get(row["datastream_id"])
            if held is None or row["phenomenon_time"] > held["phenomenon_time"]:
                newest[row["datastream_id"]] = row
        wanted = newest.keys() if datastream_ids is None else newest.keys() & set(datastream_ids)
        return pa.Table.from_pylist([newest[one] for one in sorted(wanted)], OBSERVATION_SCHEMA)

    def recent(self, window: int, *, without: int = 0) -> pa.Table:
        """RECENT_SCHEMA by datastream then time: the last `window` observations of each with no bit of `without`."""
        by_datastream: dict[int, list[_Row]] = {}
        for row in sorted(self._observations, key=_time_then_datastream):
            if not row["quality"] & without:
                by_datastream.setdefault(row["datastream_id"], []).append(row)
        rows = [row for _, held in sorted(by_datastream.items()) for row in held[-window:]]
        return pa.Table.from_pylist([{name: row[name] for name in RECENT_SCHEMA.names} for row in rows], RECENT_SCHEMA)

    def aggregate(self, datastream_id: int, start_us: int, end_us: int, bucket_us: int) -> pa.Table:
        """Count, mean, minimum and maximum of the numeric results per bucket."""
        if bucket_us <= 0:
            raise StoreError(f"a bucket of {bucket_us} µs: it must be positive")
        buckets: dict[int, list[float]] = {}
        for row in self._select([datastream_id], start_us, end_us):
            if row["result"] is not None:
                buckets.setdefault(row["phenomenon_time"] // bucket_us * bucket_us, []).append(row["result"])
        rows = [
            {
                "bucket": start,
                "count": len(results),
                "mean": sum(results) / len(results),
                "minimum": min(results),
                "maximum": max(results),
            }
            for start, results in sorted(buckets.items())
        ]
        return pa.Table.from_pylist(rows, AGGREGATE_SCHEMA)

    def existing(self, keys: pa.Table) -> pa.Table:
        """EXISTING_SCHEMA: of (datastream_id, phenomenon_time) keys those that are stored, each with its result."""
        asked = {(row["datastream_id"], row["phenomenon_time"]) for row in keys.to_pylist()}
        found: dict[tuple[int, int], dict[str, object]] = {}
        for row in self._observations:
            key = (row["datastream_id"], row["phenomenon_time"])
            if key in asked:
                found.setdefault(key, {name: row[name] for name in EXISTING_SCHEMA.names})
        return pa.Table.from_pylist([found[key] for key in sorted(found)], EXISTING_SCHEMA)

    def digests(self, keys: Sequence[PackKey], *, stored_only: bool = False) -> dict[PackKey, int]:
        """The payload digest of each pack that the ledger holds as stored (replayed too) or quarantined."""
        wanted = set(keys)
        outcomes = {Outcome.STORED, Outcome.REPLAYED} | (set() if stored_only else {Outcome.QUARANTINED})
        found: dict[PackKey, int] = {}
        for row in sorted(self._ledger, key=lambda row: (row["outcome"], row["log_seq"], row["part"])):
            if row["epoch"] is None or row["seq"] is None or row["outcome"] not in outcomes:
                continue
            key = PackKey(row["device"], row["epoch"], row["seq"])
            if key in wanted:
                found.setdefault(key, row["digest"])
        return found

    def digests_at(self, log_seq: int) -> list[int]:
        """Digests of the first pack taken from this log position, by any log."""
        return [row["digest"] for row in self._ledger if row["log_seq"] == log_seq and row["part"] == 0]

    def progress(self) -> pa.Table:
        """PROGRESS_SCHEMA: which numbers of each device and epoch have arrived or were declared as dropped."""
        settled = self._arrived()
        for key, numbers in self._declared().items():
            settled.setdefault(key, set()).update(numbers)
        rows = []
        for (device, epoch), numbers in sorted(settled.items()):
            spans = _spans(numbers)
            upto = spans.pop(0)[1] if spans[0][0] <= 1 else 0
            ranges = [edge for span in spans for edge in span]
            rows.append({"device": device, "epoch": epoch, "upto": upto, "ranges": ranges})
        return pa.Table.from_pylist(rows, PROGRESS_SCHEMA)

    def dropped(self) -> pa.Table:
        """DROPPED_SCHEMA: declared numbers of which no pack arrived, as ascending ranges by device and epoch."""
        arrived = self._arrived()
        rows = [
            {"device": device, "epoch": epoch, "first": first, "last": last}
            for (device, epoch), numbers in sorted(self._declared().items())
            for first, last in _spans(numbers - arrived.get((device, epoch), set()))
        ]
        return pa.Table.from_pylist(rows, DROPPED_SCHEMA)

    def _arrived(self) -> dict[tuple[str, int], set[int]]:
        arrived: dict[tuple[str, int], set[int]] = {}
        for row in self._ledger:
            if row["epoch"] is not None and row["seq"] is not None:
                arrived.setdefault((row["device"], row["epoch"]), set()).add(row["seq"])
        return arrived

    def _declared(self) -> dict[tuple[str, int], set[int]]:
        declared: dict[tuple[str, int], set[int]] = {}
        for row in self._drops:
            numbers = range(row["first"], row["last"] + 1)
            declared.setdefault((row["device"], row["epoch"]), set()).update(numbers)
        return declared

    def quarantine(self, limit: int, *, device: str | None = None, reason: str | None = None) -> pa.Table:
        """The newest refused packs first."""
        found = self._selected(Selection(reason=reason, device=device))[::-1]
        return pa.Table.from_pylist(found[:limit], QUARANTINE_SCHEMA)

    def quarantine_page(self, selection: Selection, after: tuple[int, int, int] | None, limit: int) -> pa.Table:
        """Selected packs, oldest first, behind a (received_at, log_seq, part)."""
        found = [row for row in self._selected(selection) if after is None or _entry_order(row) > after]
        return pa.Table.from_pylist(found[:limit], QUARANTINE_SCHEMA)

    def quarantine_groups(self, selection: Selection, limit: int) -> pa.Table:
        """Selected packs by reason and device, the largest groups first."""
        found: dict[tuple[str, str], list[_Row]] = {}
        for row in self._selected(selection):
            found.setdefault((row["reason"], row["device"]), []).append(row)
        rows = [
            (*key, len(held), held[0]["received_at"], held[-1]["received_at"], held[-1]["detail"])
            for key, held in sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
        ]
        return pa.Table.from_pylist(
            [dict(zip(GROUPS_SCHEMA.names, row, strict=True)) for row in rows[:limit]], GROUPS_SCHEMA
        )

    def open_entries(self, wanted: pa.Table) -> pa.Table:
        """Those of `wanted` that the quarantine holds, with the same device, and payload where given."""
        same = (*ENTRY_SCHEMA.names, "device")
        held = {tuple(row[name] for name in same): row["payload"] for row in self._quarantine}
        found = [
            {name: row[name] for name in ENTRY_SCHEMA.names}
            for row in wanted.to_pylist()
            if (key := tuple(row[name] for name in same)) in held and row["payload"] in (None, held[key])
        ]
        return pa.Table.from_pylist(found, ENTRY_SCHEMA)

    def released(self, log_seq: int, part: int) -> pa.Table:
        """How an entry of the quarantine was closed; empty where none was."""
        found = [row for row in self._released if (row["log_seq"], row["part"]) == (log_seq, part)]
        return pa.Table.from_pylist(found[::-1], RELEASED_SCHEMA)

    def _selected(self, selection: Selection) -> list[_Row]:
        """Oldest first."""
        return sorted(
            (
                row
                for row in self._quarantine
                if selection.reason in (None, row["reason"])
                and selection.device in (None, row["device"])
                and row["device"].startswith("" if selection.tenant is None else f"{selection.tenant}/")
                and (selection.since_us is None or row["received_at"] >= selection.since_us)
                and (selection.entries is None or (row["log_seq"], row["part"]) in selection.entries)
            ),
            key=_entry_order,
        )

    def ledger_counts(self, start_us: int, end_us: int) -> pa.Table:
        """Packs and readings per device, hour of reception, outcome and transport."""
        sums: dict[tuple[str, int, int, int], list[int]] = {}
        for row in self._ledger:
            if start_us <= row["received_at"] < end_us:
                hour_us = row["received_at"] // HOUR_US * HOUR_US
                count = sums.setdefault((row["device"], hour_us, row["outcome"], row["transport"]), [0, 0])
                count[0] += 1
                count[1] += row["readings"]
        rows = [dict(zip(COUNTS_SCHEMA.names, (*key, *count), strict=True)) for key, count in sorted(sums.items())]
        return pa.Table.from_pylist(rows, COUNTS_SCHEMA)

    def ledger_range(self, device: str, epoch: int) -> pa.Table:
        """Every arrival of one device and epoch."""
        found = [row for row in self._ledger if row["device"] == device and row["epoch"] == epoch]
        found.sort(key=lambda row: (row["seq"], row["log_seq"], row["part"]))
        return pa.Table.from_pylist(found, LEDGER_SCHEMA)

    def audit_counts(self) -> dict[str, int]:
        """observations_total, readings_by_ledger, erased_total, double_packs."""
        came, stored = (
            [
                (row["device"], row["epoch"], row["seq"])
                for row in self._ledger
                if None not in (row["epoch"], row["seq"]) and row["outcome"] in outcomes
            ]
            for outcomes in ((Outcome.STORED, Outcome.QUARANTINED), (Outcome.STORED, Outcome.REPLAYED))
        )
        return {
            "observations_total": len(self._observations),
            "readings_by_ledger": sum(
                row["readings"] for row in self._ledger if row["outcome"] in (Outcome.STORED, Outcome.REPLAYED)
            ),
            "erased_total": self._erased,
            "double_packs": sum(1 for key in set(came) if came.count(key) > 1 or stored.count(key) > 1),
            "positions_unaccounted": self._unaccounted(),
        }

    def _unaccounted(self) -> int:
        positions = {row["log_seq"] for row in self._ledger}
        return max(positions) - min(positions) + 1 - len(positions) if len(self._offsets) == 1 and positions else 0

    def erase(self, datastream_id: int, start_us: int, end_us: int) -> int:
        """Remove observations for good; returns how many rows went."""
        return self._remove([datastream_id], start_us, end_us)

    def drop_day(self, day: int) -> int:
        """Remove all observations of one UTC day."""
        return self._remove(None, day * DAY_US, (day + 1) * DAY_US)

    def maintain(self, now_us: int) -> list[int]:
        """Nothing to tidy up in memory."""
        del now_us
        return []

    def export(self, path: Path, *, form: str, start_us: int, end_us: int, datastream_ids: Sequence[int] | None) -> int:
        """Write observations to `path` as `parquet` or `csv`; returns the rows written."""
        found = self._select(datastream_ids, start_us, end_us)
        found.sort(key=lambda row: (row["datastream_id"], row["phenomenon_time"]))
        rows = [
            {**row, "phenomenon_time": _moment(row["phenomenon_time"]), "result_time": _moment(row["result_time"])}
            for row in found
        ]
        if form == "parquet":
            times = pa.timestamp("us", tz="UTC")
            fields = [one.with_type(times) if one.name.endswith("_time") else one for one in OBSERVATION_SCHEMA]
            pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), path, compression="zstd")
        elif form == "csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, OBSERVATION_SCHEMA.names, lineterminator="\r\n")
                writer.writeheader()
                for row in rows:
                    text = row["result_text"]
                    row["result_text"] = None if text is None else spreadsheet_safe(text)
                    for name in ("phenomenon_time", "result_time"):
                        row[name] = row[name].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                writer.writerows(rows)
        else:
            raise StoreError(f"cannot export as {form!r}: choose parquet or csv")
        return len(rows)

    def close(self) -> None:
        """Nothing to release."""

    def _select(self, datastream_ids: Sequence[int] | None, start_us: int, end_us: int) -> list[_Row]:
        wanted = None if datastream_ids is None else set(datastream_ids)
        return [
            row
            for row in self._observations
            if (wanted is None or row["datastream_id"] in wanted) and start_us <= row["phenomenon_time"] < end_us
        ]

    def _remove(self, datastream_ids: Sequence[int] | None, start_us: int, end_us: int) -> int:
        gone = self._select(datastream_ids, start_us, end_us)
        self._observations = [row for row in self._observations if not any(row is one for one in gone)]
        self._erased += len(gone)
        return len(gone)


def _spans(numbers: set[int]) -> list[list[int]]:
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return spans


def _entry_order(row: _Row) -> tuple[int, int, int]:
    return row["received_at"], row["log_seq"], row["part"]


def _time_then_datastream(row: _Row) -> tuple[int, int, int]:
    return row["phenomenon_time"], row["datastream_id"], row["result_time"]


def _moment(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)
