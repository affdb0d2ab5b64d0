"""The OBSERVATIONS log: validated batches as Arrow IPC, written by the pipeline, read by each consumer at its own pace.

At least once: after a crash a batch may come again, so a consumer keys on (datastream, phenomenon time).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import pyarrow as pa

from lichtmast.ingest.errors import LogError
from lichtmast.ingest.log import Log, Reader
from lichtmast.wire import topics

_log = logging.getLogger(__name__)

ROWS_MAX: Final = 16_000
BYTES_MAX: Final = 768 * 1024
"""Rows of one message, and bytes before compression, where results are long texts: below the broker's max_payload."""
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")
RETRY_DELAY_S: Final = 0.5


def encode(table: pa.Table) -> Iterator[bytes]:
    """The table as messages of at most ROWS_MAX rows and about BYTES_MAX bytes."""
    parts = [table.slice(start, ROWS_MAX) for start in range(0, table.num_rows, ROWS_MAX)]
    while parts:
        part = parts.pop(0)
        if part.nbytes > BYTES_MAX and part.num_rows > 1:
            half = part.num_rows // 2
            parts[:0] = [part.slice(0, half), part.slice(half)]
            continue
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
            writer.write_table(part)
        yield sink.getvalue().to_pybytes()


def decode(message: bytes) -> pa.Table:
    """A message of the log as a table. Raises LogError where it is none."""
    try:
        with pa.ipc.open_stream(message) as reader:
            return reader.read_all()
    except pa.ArrowException as error:
        raise LogError("a message of the OBSERVATIONS log is no Arrow stream") from error


async def follow(connect: Callable[[], Log], after: int | None = None) -> AsyncIterator[tuple[int, pa.Table]]:
    """(position, table) of each message from behind `after`, or from now on where None. Reconnects by itself."""
    while True:
        try:
            async with _reader(connect, after) as reader:
                while True:
                    for message in await reader.fetch(64):
                        after = message.stream_sequence
                        yield after, decode(message.payload)
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
