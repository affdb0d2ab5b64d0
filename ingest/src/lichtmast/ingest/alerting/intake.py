"""From messages of the OBSERVATIONS log to rows in order: whole batches only, and no row twice.

The pipeline publishes before it commits. After a crash it publishes the same rows again, in batches with other
boundaries, and the last batch before the crash may lack its end. Rows of a batch are in no order of their position, so
a batch counts when it is whole; what an unfinished one held comes again.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.observations import part_of


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings in the order in which they came. `value` is NaN where the result is text."""

    stream: npt.NDArray[np.int64]
    time_us: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int64]
    received_us: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stream)

    @classmethod
    def of(cls, table: pa.Table, order: npt.NDArray[np.intp]) -> "Rows":
        """The rows of a table with the columns of OBSERVATION_SCHEMA, in this order."""

        def column(name: str, kind: npt.DTypeLike) -> npt.NDArray[np.int64]:
            found = table.column(name).combine_chunks()
            return np.asarray(found.to_numpy(zero_copy_only=False))[order].astype(kind, copy=False)

        return cls(
            column("datastream_id", np.int64),
            column("phenomenon_time", np.int64),
            column("result", np.float64).view(np.float64),
            column("quality", np.int64),
            column("result_time", np.int64),
        )


class Intake:
    """What is had of the READINGS log: everything of `log_name` up to `upto`."""

    def __init__(self, log_name: str = "", upto: int = 0) -> None:
        self.log_name = log_name
        self.upto = upto
        self._parts: list[pa.Table] = []

    @property
    def between_batches(self) -> bool:
        """Whether nothing is held back; only then may the position be saved."""
        return not self._parts

    def take(self, table: pa.Table) -> Rows | None:
        """The new rows of the batch that this message makes whole; None where it makes none whole, or is a tick."""
        part = part_of(table)
        if "log_seq" not in table.schema.names:
            self._parts = []
            return None
        if part.first:
            self._parts = []
        elif not self._parts:
            return None  # its beginning was cut off by a crash, or is before where reading began: it comes again
        self._parts.append(table)
        if not part.last:
            return None
        batch = pa.concat_tables(self._parts)
        self._parts = []
        if part.log_name != self.log_name:  # the log was made anew and counts from one
            self.log_name, self.upto = part.log_name, 0
        log_seq = batch.column("log_seq").combine_chunks().to_numpy()
        order = np.lexsort((batch.column("phenomenon_time").combine_chunks().to_numpy(), log_seq))
        rows = Rows.of(batch, order[np.searchsorted(log_seq[order], self.upto, side="right") :])
        self.upto = max(self.upto, int(log_seq.max()))
        return rows
