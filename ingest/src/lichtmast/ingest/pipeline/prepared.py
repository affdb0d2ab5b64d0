"""A batch between its two steps: what is decided, and what only the store can answer. Values; no rules."""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.pipeline.arrivals import Arrivals
from lichtmast.ingest.pipeline.judge import Ranges, Row
from lichtmast.store.port import Outcome, PackKey
from lichtmast.wire.refusal import Refusal

PENDING: Final = -1
"""The outcome of a pack that is not settled yet."""
Drop: TypeAlias = tuple[str, int, int, int, int]
"""Device, epoch, first, last, declared at: the columns of DROPS_SCHEMA."""
_KEY_SCHEMA: Final = pa.schema([("datastream_id", pa.int32()), ("phenomenon_time", pa.int64())])


@dataclass(slots=True)
class Rows:
    """Observations being gathered: arrays from the fast way, then those of judged packs."""

    pack: npt.NDArray[np.intp]
    datastream: npt.NDArray[np.int32]
    time_us: npt.NDArray[np.int64]
    result: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int32]
    judged: list[tuple[int, Row]] = field(default_factory=list)


@dataclass(slots=True)
class Prepared:
    """A batch with open questions. `doubtful` are packs whose key may be known, `loose` those without a sequence."""

    arrivals: Arrivals
    digests: list[int]
    epochs: list[int | None]
    seqs: list[int | None]
    outcome: npt.NDArray[np.int8]
    refusals: dict[int, tuple[Refusal, str]]
    rows: Rows
    doubtful: list[int] = field(default_factory=list)
    conflicts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Packs whose number belongs to another pack, and that number."""
    loose: list[int] = field(default_factory=list)
    declared: dict[int, Ranges] = field(default_factory=dict)
    """Numbers that a pack declares as dropped, for the few that declare any."""
    kept: dict[int, tuple[Refusal, str] | None] = field(default_factory=dict)
    """Entries of the quarantine that an order did not close, and why again; None where no such entry is open."""
    drops: list[Drop] = field(default_factory=list)
    """What of it is news, for the store."""

    def doubtful_keys(self) -> list[PackKey]:
        """What to ask the store's ledger."""
        return [self.key(row) for row in self.doubtful]

    def key(self, row: int) -> PackKey:
        """The pack's identity; only for packs with a sequence."""
        epoch, seq = self.epochs[row], self.seqs[row]
        assert epoch is not None  # noqa: S101 - by construction
        assert seq is not None  # noqa: S101
        return PackKey(self.arrivals.sender[row], epoch, seq)

    def loose_keys(self) -> pa.Table:
        """(datastream, time) of packs without a sequence, to ask the store which it has."""
        wanted = set(self.loose)
        rows = [row for pack, row in self.rows.judged if pack in wanted]
        return pa.table([[row.datastream_id for row in rows], [row.time_us for row in rows]], schema=_KEY_SCHEMA)

    def numbered_results(self) -> dict[tuple[int, int], float | str | None]:
        """(datastream, time) and result of this batch's numbered packs, on the datastreams that loose packs name."""
        wanted = set(self.loose)
        streams = {row.datastream_id for pack, row in self.rows.judged if pack in wanted}
        stored = (self.outcome == Outcome.STORED) | (self.outcome == Outcome.REPLAYED)
        mask = np.isin(self.rows.datastream, list(streams)) & stored[self.rows.pack]
        columns = (
            self.rows.datastream[mask].tolist(),
            self.rows.time_us[mask].tolist(),
            self.rows.result[mask].tolist(),
        )
        found: dict[tuple[int, int], float | str | None] = {
            (one, time_us): result for one, time_us, result in zip(*columns, strict=True)
        }
        for pack, row in self.rows.judged:
            if pack not in wanted and stored[pack]:
                found[row.datastream_id, row.time_us] = row.text if row.result is None else row.result
        return found


def no_rows() -> Rows:
    """Rows to begin with."""
    return Rows(np.zeros(0, np.intp), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int32))
