"""Where to read on: the store's position in the log, once it is certain that it is still the same log.

A log can be replaced (its folder was deleted) or rewound (the machine lost power and the last messages with it). Then
a position that the store holds would point at other messages, and reading on from it would skip some. So the log has a
name in the store, made of its creation and a generation, and the message at the position is compared with what the
store took from there.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from xxhash import xxh3_64_intdigest

from lichtmast.ingest.log import Log
from lichtmast.ingest.pipeline.arrivals import first_payload
from lichtmast.wire import topics


class Position(NamedTuple):
    """The log's name in the store, and the last position that is on disk."""

    name: str
    offset: int


class Offsets(Protocol):
    """What is asked of the store."""

    def offset(self, log: str) -> int:
        """The last position on disk; 0 where there is none."""

    def digests_at(self, log_seq: int) -> list[int]:
        """Digests of the first pack at this position, of each generation; empty where the ledger has it no more."""


async def locate(log: Log, store: Offsets, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]) -> Position:
    """Find the position to read on from; begins a new generation where the log was rewound."""
    extent = await log.extent(topics.READINGS_STREAM)
    base = f"{topics.READINGS_STREAM}@{extent.created}"
    generation = 0
    while await in_thread(partial(store.offset, _name(base, generation + 1))):
        generation += 1
    name = _name(base, generation)
    offset = await in_thread(lambda: store.offset(name))
    if offset == 0:
        return Position(name, 0)
    if offset <= extent.last:
        message = await log.message_at(topics.READINGS_STREAM, offset)
        taken = await in_thread(lambda: store.digests_at(offset))
        gone = message is None or message.stream_sequence != offset
        if message is None or gone or not taken or _digest(message.subject, message.payload) in taken:
            return Position(name, offset)
    # Rewound: the store has other messages of these positions. Read all there is; sequences sort out what comes twice.
    # Nothing needs to be remembered of this: until the new generation's first commit the next start finds the same.
    return Position(_name(base, generation + 1), max(extent.first - 1, 0))


def _name(base: str, generation: int) -> str:
    return f"{base}#{generation}" if generation else base


def _digest(subject: str, payload: bytes) -> int:
    """The digest of the first pack of a log message, as the pipeline takes it."""
    return xxh3_64_intdigest(first_payload(subject, payload))
