"""Live readings: what the pipeline publishes, gathered for a second, the latest of each datastream, to all who listen.

`publish_nowait` costs the pipeline an append. What nobody listens to is forgotten at once. Every queue has an end: a
client that does not read fast enough is dropped (and counted), comes back by itself and gets a fresh picture. Late
readings travel too; the client keeps what it shows where that is newer. This is not the record: a reader that must miss
nothing reads the store.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa

from lichtmast.api import limits
from lichtmast.store.port import OBSERVATION_SCHEMA

_COLUMNS: Final = ("datastream_id", "phenomenon_time", "result", "result_text", "quality")


@dataclass(frozen=True, slots=True)
class LiveReading:
    """The latest of one datastream. `value` is a number (truth values as 0 and 1) or text, as in the store."""

    datastream_id: int
    time_us: int
    value: float | str | None
    quality: int


@dataclass(frozen=True, slots=True)
class LiveBatch:
    """What one event carries. `id` is what a client gives back as Last-Event-ID; `log_seq` is how far the log was."""

    id: str
    log_seq: int
    readings: tuple[LiveReading, ...]


def latest_of(table: pa.Table) -> list[LiveReading]:
    """The reading with the latest phenomenon time of each datastream, in order of datastream; the first of equals."""
    if not table.num_rows:
        return []
    keys = table.column("datastream_id").to_numpy()
    times = table.column("phenomenon_time").to_numpy()
    # Stable and by (datastream, time, position from behind): the last of each group is the latest, first come.
    order = np.lexsort((-np.arange(len(keys)), times, keys))
    grouped = keys[order]
    last = np.append(grouped[1:] != grouped[:-1], True)
    rows = table.select(_COLUMNS).take(pa.array(order[last]))
    columns = (rows.column(name).to_pylist() for name in _COLUMNS)
    return [
        LiveReading(key, time_us, text if number is None else number, quality)
        for key, time_us, number, text, quality in zip(*columns, strict=True)
    ]


class Subscription:
    """One client's queue of batches. Leave it with `with`; iterate with `wait_batch`."""

    def __init__(self, broadcaster: "Broadcaster", missed: tuple[LiveBatch, ...] | None) -> None:
        self._broadcaster = broadcaster
        self._queue: asyncio.Queue[LiveBatch | None] = asyncio.Queue(limits.LIVE_QUEUE_BATCHES_MAX + 1)
        self.missed = missed
        """What was sent since the client's Last-Event-ID; None where that is not known and it needs a snapshot."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broadcaster.unsubscribe(self)

    async def wait_batch(self) -> LiveBatch | None:
        """The next batch; None where the stream is over: the client was too slow, or the server stops."""
        return await self._queue.get()

    def offer_nowait(self, batch: LiveBatch) -> bool:
        """Queue a batch; False where the queue is full, which ends the subscription behind what is queued."""
        if self._queue.qsize() >= limits.LIVE_QUEUE_BATCHES_MAX:
            return False
        self._queue.put_nowait(batch)
        return True

    def end_nowait(self) -> None:
        """Say that nothing follows. There is always room for this."""
        if not self._queue.full():
            self._queue.put_nowait(None)


class Broadcaster:
    """Between the pipeline and the live pages. All methods belong to one event loop, except `publish_nowait`."""

    def __init__(self, *, clients_max: int = 256, interval_s: float = 1.0) -> None:
        self._clients_max = clients_max
        self._interval_s = interval_s
        self._incoming: deque[tuple[pa.Table, int]] = deque()
        self._incoming_rows = 0
        self._waiting: dict[int, LiveReading] = {}
        self._subscriptions: set[Subscription] = set()
        self._sent: deque[LiveBatch] = deque(maxlen=limits.LIVE_REPLAY_BATCHES_MAX)
        # Another process, another series of ids: an id of the one before is unknown and gets a snapshot.
        self._life = secrets.token_hex(4)
        self._number = 0
        self._log_seq = 0
        self._closed = False
        self._counts = {
            "published_rows": 0,
            "sent_batches": 0,
            "dropped_clients": 0,
            "refused_clients": 0,
            "lost_rows": 0,
        }

    def publish_nowait(self, table: pa.Table, log_seq: int) -> None:
        """Offer a batch of the OBSERVATIONS log; `table` has OBSERVATION_SCHEMA. Any thread; never blocks, never fails.

        Where rows come faster than they can be gathered, the oldest are left out and counted as `lost_rows`.
        """
        self._counts["published_rows"] += table.num_rows
        self._log_seq = max(self._log_seq, log_seq)
        if not self._subscriptions or not table.num_rows:
            return
        self._incoming.append((table, log_seq))
        self._incoming_rows += table.num_rows
        while self._incoming_rows > limits.LIVE_PENDING_ROWS_MAX and len(self._incoming) > 1:
            oldest = self._incoming.popleft()[0].num_rows
            self._incoming_rows -= oldest
            self._counts["lost_rows"] += oldest

    def subscribe(self, last_event_id: str | None = None) -> Subscription | None:
        """Listen from now on; None where there are too many listeners, or the server stops."""
        if self._closed or len(self._subscriptions) >= self._clients_max:
            self._counts["refused_clients"] += 1
            return None
        subscription = Subscription(self, self._since(last_event_id))
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Listen no longer; without listeners nothing is kept."""
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            self._sent.clear()
            self._waiting.clear()

    def _since(self, last_event_id: str | None) -> tuple[LiveBatch, ...] | None:
        life, _, number = (last_event_id or "").partition("-")
        if life != self._life or not (number.isascii() and number.isdecimal()) or len(number) > 15:  # noqa: PLR2004
            return None
        after = int(number)
        first = self._number - len(self._sent)
        return tuple(self._sent)[after - first :] if first <= after <= self._number and self._sent else None

    @property
    def last_id(self) -> str:
        """The id of the last batch that was sent."""
        return f"{self._life}-{self._number}"

    async def run(self) -> None:
        """Gather and send until `close`; belongs in the program's TaskGroup."""
        while not self._closed:
            await asyncio.sleep(self._interval_s)
            await self._send_gathered()

    async def _send_gathered(self) -> None:
        incoming: list[pa.Table] = []
        log_seq = self._log_seq
        while self._incoming:
            table, log_seq = self._incoming.popleft()
            self._incoming_rows -= table.num_rows
            incoming.append(table)
        if not self._subscriptions:
            return
        if incoming:
            # A second of a whole country's rows takes tens of milliseconds to sort: not on the event loop.
            self._merge(await asyncio.to_thread(_gather, incoming))
        if self._waiting:
            self._send(self._take(), log_seq)

    def _merge(self, latest: Iterable[LiveReading]) -> None:
        for reading in latest:
            before = self._waiting.get(reading.datastream_id)
            if before is None or reading.time_us > before.time_us:
                self._waiting[reading.datastream_id] = reading

    def _take(self) -> tuple[LiveReading, ...]:
        # Dictionaries keep the order of arrival of their keys, so who waits longest goes first.
        keys = list(self._waiting)[: limits.LIVE_BATCH_READINGS_MAX]
        return tuple(self._waiting.pop(key) for key in keys)

    def _send(self, readings: tuple[LiveReading, ...], log_seq: int) -> None:
        self._number += 1
        batch = LiveBatch(self.last_id, log_seq, readings)
        self._sent.append(batch)
        self._counts["sent_batches"] += 1
        for subscription in list(self._subscriptions):
            if not subscription.offer_nowait(batch):
                self._counts["dropped_clients"] += 1
                subscription.end_nowait()
                self.unsubscribe(subscription)

    def close(self) -> None:
        """End every stream and refuse new ones. Call it before the HTTP server stops: it waits for open streams."""
        self._closed = True
        for subscription in list(self._subscriptions):
            subscription.end_nowait()
            self.unsubscribe(subscription)

    def statistics(self) -> dict[str, int]:
        """Counters since start, and clients and rows as they are now."""
        return {
            **self._counts,
            "clients": len(self._subscriptions),
            "pending_rows": self._incoming_rows,
            "waiting_readings": len(self._waiting),
        }


def _gather(tables: list[pa.Table]) -> list[LiveReading]:
    return latest_of(pa.concat_tables([table.cast(OBSERVATION_SCHEMA) for table in tables]))
