"""The OBSERVATIONS log: validated batches as Arrow IPC, written by the pipeline, read by each consumer at its own pace.

At least once: after a crash a batch may come again, with other boundaries. A row carries `log_seq`, the position in
READINGS that it came from, so that a consumer can tell what it has had; others key on (datastream, phenomenon time).
The parts of one batch are marked, first and last: its rows are in no order of `log_seq`, so only a whole batch can be
counted as had. A tick is a message without rows that tells the time, for whoever waits for what does not come.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.errors import LogError
from lichtmast.ingest.log import Log, Reader
from lichtmast.store.port import OBSERVATION_SCHEMA
from lichtmast.wire import topics

_log = logging.getLogger(__name__)

ROWS_MAX: Final = 16_000
BYTES_MAX: Final = 768 * 1024
"""Rows of one message, and bytes before compression, where results are long texts: below the broker's max_payload."""
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")
_LOG_SEQ: Final = pa.field("log_seq", pa.int64(), nullable=False)
RETRY_DELAY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """What a message tells beside its rows: its place in its batch, the name of the READINGS log, or the time."""

    log_name: str
    first: bool
    last: bool
    now_us: int | None


def encode(table: pa.Table, log_seq: npt.NDArray[np.int64] | None = None, *, log_name: str = "") -> Iterator[bytes]:
    """The table as messages of at most ROWS_MAX rows and about BYTES_MAX bytes.

    `log_seq` lines up with the rows; `log_name` is the name of the log that it counts in, as in `Batch.log`.
    """
    if log_seq is not None:
        table = table.append_column(_LOG_SEQ, pa.array(log_seq, pa.int64()))
    waiting = [table.slice(start, ROWS_MAX) for start in range(0, table.num_rows, ROWS_MAX)]
    parts: list[pa.Table] = []
    while waiting:
        part = waiting.pop(0)
        if part.nbytes > BYTES_MAX and part.num_rows > 1:
            half = part.num_rows // 2
            waiting[:0] = [part.slice(0, half), part.slice(half)]
        else:
            parts.append(part)
    for at, part in enumerate(parts):
        told = {"log": log_name, "first": str(int(at == 0)), "last": str(int(at == len(parts) - 1))}
        yield _written(part.replace_schema_metadata(told))


def encode_tick(now_us: int) -> bytes:
    """A message without rows that tells the time."""
    return _written(OBSERVATION_SCHEMA.empty_table().replace_schema_metadata({"now_us": str(now_us)}))


def _written(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def decode(message: bytes) -> pa.Table:
    """A message of the log as a table. Raises LogError where it is none."""
    try:
        with pa.ipc.open_stream(message) as reader:
            return reader.read_all()
    except pa.ArrowException as error:
        raise LogError("a message of the OBSERVATIONS log is no Arrow stream") from error


def part_of(table: pa.Table) -> Part:
    """What a decoded message tells beside its rows; one that tells nothing is a batch of its own."""
    told = table.schema.metadata or {}
    now_us = told.get(b"now_us")
    return Part(
        told.get(b"log", b"").decode(),
        told.get(b"first", b"1") == b"1",
        told.get(b"last", b"1") == b"1",
        None if now_us is None else int(now_us),
    )


async def follow(connect: Callable[[], Log], after: int | None = None) -> AsyncIterator[tuple[int, pa.Table]]:
    """(position, table) of each message from behind `after`, or from now on where None. Reconnects by itself.

    The tables have OBSERVATION_SCHEMA and nothing else; ticks are left out.
    """
    while True:
        try:
            async with _reader(connect, after) as reader:
                while True:
                    for message in await reader.fetch(64):
                        after = message.stream_sequence
                        table = decode(message.payload)
                        if table.num_rows:
                            yield after, table.select(OBSERVATION_SCHEMA.names).replace_schema_metadata(None)
        except LogError as error:
            _log.warning("observations_read_broken %s", error)
        await asyncio.sleep(RETRY_DELAY_S)


@asynccontextmanager
async def _reader(connect: Callable[[], Log], after: int | None) -> AsyncIterator[Reader]:
    async with connect() as log:
        extent = await log.extent(topics.OBSERVATIONS_STREAM)
        start = extent.last if after is None else min(after, extent.last)
        async with Reader(log, topics.OBSERVATIONS_STREAM, start) as reader:
            yield reader
