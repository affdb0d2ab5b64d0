"""Where each observation of a batch comes from: what checks across packs need, and no observation says itself."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.pipeline.prepared import Prepared


@dataclass(frozen=True, slots=True)
class Origin:
    """Columns, one element an observation row, in the order of the batch's observations.

    `log_seq` is the READINGS position that brought the row, `device` the roster's row of its sender. `epoch` and `seq`
    are -1 where the pack has no number. `replayed` rows came back from the quarantine: their pack was received long
    before this position of the log.
    """

    log_seq: npt.NDArray[np.int64]
    device: npt.NDArray[np.int32]
    epoch: npt.NDArray[np.int64]
    seq: npt.NDArray[np.int64]
    replayed: npt.NDArray[np.bool_]


def origin_of(prepared: Prepared, pack: npt.NDArray[np.intp]) -> Origin:
    """The origin of rows, given which pack of the batch each of them is from."""
    arrivals = prepared.arrivals
    return Origin(
        log_seq=np.array(arrivals.log_seq, np.int64)[pack],
        device=arrivals.device_rows()[pack],
        epoch=_numbers(prepared.epochs)[pack],
        seq=_numbers(prepared.seqs)[pack],
        replayed=arrivals.ordered()[pack],
    )


def _numbers(column: list[int | None]) -> npt.NDArray[np.int64]:
    return np.array([-1 if one is None else one for one in column], np.int64)
