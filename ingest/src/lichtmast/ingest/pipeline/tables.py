"""A settled batch as the tables that the store takes: observations, ledger, quarantine and declared drops."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.pipeline.prepared import Prepared
from lichtmast.store.port import DROPS_SCHEMA, LEDGER_SCHEMA, OBSERVATION_SCHEMA, QUARANTINE_SCHEMA, Outcome
from lichtmast.wire.quality import Quality

_NO_DROPS: Final = DROPS_SCHEMA.empty_table()


def observations(prepared: Prepared, dropped: set[tuple[int, int]]) -> tuple[pa.Table, npt.NDArray[np.intp]]:
    """The rows of stored packs as a table, and of which pack each row is."""
    rows, outcome = prepared.rows, prepared.outcome
    received_us = np.array(prepared.arrivals.received_us, np.int64)
    pack, datastream, time_us, result, quality = rows.pack, rows.datastream, rows.time_us, rows.result, rows.quality
    stored = (outcome == Outcome.STORED) | (outcome == Outcome.REPLAYED)
    keep = stored[pack]
    if not keep.all():
        pack, datastream, time_us, result, quality = (one[keep] for one in (pack, datastream, time_us, result, quality))
    judged = [(row, one) for index, (row, one) in enumerate(rows.judged) if stored[row] and (row, index) not in dropped]
    text = pa.nulls(len(pack), pa.string())
    results = pa.array(result)
    if judged:
        pack = np.concatenate((pack, [row for row, _ in judged])).astype(np.intp)
        datastream = np.concatenate((datastream, [one.datastream_id for _, one in judged])).astype(np.int32)
        time_us = np.concatenate((time_us, [one.time_us for _, one in judged])).astype(np.int64)
        quality = np.concatenate((quality, [one.quality for _, one in judged])).astype(np.int32)
        results = pa.concat_arrays([results, pa.array([one.result for _, one in judged], pa.float64())])
        text = pa.concat_arrays([text, pa.array([one.text for _, one in judged], pa.string())])
    if prepared.arrivals.orders:
        quality = quality | np.where(prepared.arrivals.ordered()[pack], np.int32(Quality.REPLAYED), np.int32(0))
    table = pa.table(
        [pa.array(datastream), pa.array(time_us), results, text, pa.array(quality), pa.array(received_us[pack])],
        schema=OBSERVATION_SCHEMA,
    )
    return table, pack


def ledger(prepared: Prepared, pack: npt.NDArray[np.intp]) -> pa.Table:
    """A line for each pack that came, with how many readings it brought; `pack` says of which pack each reading is."""
    arrivals = prepared.arrivals
    readings = np.bincount(pack, minlength=len(prepared.outcome)).astype(np.int32)
    return pa.table(
        [
            pa.array(arrivals.sender, pa.string()),
            pa.array(prepared.epochs, pa.int64()),
            pa.array(prepared.seqs, pa.int64()),
            pa.array(arrivals.received_us, pa.int64()),
            pa.array(arrivals.log_seq, pa.int64()),
            pa.array(arrivals.part, pa.int32()),
            pa.array(prepared.outcome),
            pa.array(readings),
            pa.array(prepared.digests, pa.uint64()),
            pa.array(arrivals.transport, pa.int8()),
        ],
        schema=LEDGER_SCHEMA,
    )


def drops(prepared: Prepared) -> pa.Table:
    """What devices declared as dropped, as far as it is news."""
    if not prepared.drops:
        return _NO_DROPS
    return pa.table([list(column) for column in zip(*prepared.drops, strict=True)], schema=DROPS_SCHEMA)


def quarantine(prepared: Prepared) -> pa.Table:
    """The packs that were refused, byte for byte, and why."""
    arrivals = prepared.arrivals
    rows = sorted(prepared.refusals)
    refused = [prepared.refusals[row] for row in rows]
    return pa.table(
        [
            [arrivals.log_seq[row] for row in rows],
            [arrivals.part[row] for row in rows],
            [arrivals.sender[row] for row in rows],
            [arrivals.received_us[row] for row in rows],
            [arrivals.transport[row] for row in rows],
            [refusal.value for refusal, _ in refused],
            [detail for _, detail in refused],
            [arrivals.content_format[row] for row in rows],
            [arrivals.payload[row] for row in rows],
        ],
        schema=QUARANTINE_SCHEMA,
    )
