"""The durable log: the two JetStream streams, appended to and read in order.

READINGS holds what arrived, byte for byte, until its term ends; OBSERVATIONS holds validated batches. Reading is by
position: the caller says behind which position to start, and gets every message once and in order, or an error. Nothing
is acknowledged to the log, because the position that counts is the one in the store.
"""

import contextlib
import logging
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Final, Self

from natsrpy import Nats
from natsrpy.exceptions import NatsrpyBaseError
from natsrpy.js import (
    AckPolicy,
    DeliverPolicy,
    DiscardPolicy,
    JetStream,
    JetStreamMessage,
    PullConsumer,
    PullConsumerConfig,
    RetentionPolicy,
    StorageType,
    Stream,
    StreamConfig,
)

from lichtmast.ingest.errors import LogError
from lichtmast.wire import topics

_log = logging.getLogger(__name__)

FETCH_MAX: Final = 4_000
"""Messages a fetch brings at most: what one store transaction takes well."""
FETCH_WAIT_S: Final = 0.5
"""How long an empty log is waited on before the fetch returns with nothing."""
FETCH_TIMEOUT_S: Final = 15.0
ALIVE_CHECK_S: Final = 1.0
APPEND_TIMEOUT_S: Final = 5.0
IDLE_CONSUMER_S: Final = 60.0
_FAILURES: Final = (NatsrpyBaseError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How long and how much the log keeps.

    A full READINGS stream refuses new messages rather than forget old ones: the doors then answer 5.03 or withhold the
    PUBACK, and devices keep what they have.
    """

    readings_days: float = 7.0
    readings_bytes_max: int = 20 * 1024**3
    observations_days: float = 2.0
    observations_bytes_max: int = 5 * 1024**3


@dataclass(frozen=True, slots=True)
class Extent:
    """What a stream holds: positions first..last (last < first where it is empty), and which stream it is."""

    created: int
    first: int
    last: int
    bytes: int


class Log:
    """A connection to the log. Use as `async with Log(url, user, password) as log`."""

    def __init__(self, url: str, user: str, password: str, settings: LogSettings | None = None) -> None:
        self.settings = settings or LogSettings()
        self._nats = Nats([url], user_and_pass=(user, password), sender_capacity=4096)

    async def __aenter__(self) -> Self:
        try:
            await self._nats.startup()
            self._js: JetStream = await self._nats.jetstream(
                ack_timeout=APPEND_TIMEOUT_S, timeout=APPEND_TIMEOUT_S, max_ack_inflight=256
            )
            for config in self._streams():
                await self._js.streams.create_or_update(config)
        except _FAILURES as error:
            raise LogError("the log cannot be reached or its streams not made") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._nats.shutdown()
        except _FAILURES:
            _log.warning("log_shutdown_incomplete")

    def _streams(self) -> tuple[StreamConfig, StreamConfig]:
        kept = self.settings
        return (
            StreamConfig(
                topics.READINGS_STREAM,
                [topics.READINGS_SUBJECT],
                storage=StorageType.FILE,
                retention=RetentionPolicy.LIMITS,
                discard=DiscardPolicy.NEW,
                max_age=timedelta(days=kept.readings_days),
                max_bytes=kept.readings_bytes_max,
            ),
            StreamConfig(
                topics.OBSERVATIONS_STREAM,
                [topics.OBSERVATIONS_SUBJECT],
                storage=StorageType.FILE,
                retention=RetentionPolicy.LIMITS,
                discard=DiscardPolicy.OLD,
                max_age=timedelta(days=kept.observations_days),
                max_bytes=kept.observations_bytes_max,
            ),
        )

    async def append(self, subject: str, payload: bytes) -> int:
        """Write one message and wait until the log has it (fsynced where the broker says `always`).

        Returns its position. Raises LogError where that did not happen in time; it may still have been written.
        """
        try:
            written = await self._js.publish(subject, payload, wait=True)
        except _FAILURES as error:
            raise LogError(f"the log did not take a message of {len(payload)} bytes on {subject}") from error
        return written.sequence

    async def extent(self, stream_name: str) -> Extent:
        """What the stream holds now."""
        try:
            told = await (await self._js.streams.get(stream_name)).get_info()
        except _FAILURES as error:
            raise LogError(f"stream {stream_name} cannot be asked") from error
        state = told.state
        return Extent(told.created, state.first_sequence, state.last_sequence, state.bytes)

    async def message_at(self, stream_name: str, position: int) -> bytes | None:
        """The payload at one position; None where the log holds none there any more."""
        extent = await self.extent(stream_name)
        if not extent.first <= position <= extent.last:
            return None
        async with Reader(self, stream_name, position - 1) as reader:
            batch = await reader.fetch(1)
        return batch[0].payload if batch and batch[0].stream_sequence == position else None

    async def forget(self, stream_name: str, upto: int) -> None:
        """Remove messages up to and including a position."""
        try:
            await (await self._js.streams.get(stream_name)).purge(sequence=upto + 1)
        except _FAILURES as error:
            raise LogError(f"stream {stream_name} did not forget what is stored") from error

    async def stream(self, name: str) -> Stream:
        """The stream's handle. Raises LogError where it cannot be had."""
        try:
            return await self._js.streams.get(name)
        except _FAILURES as error:
            raise LogError(f"stream {name} cannot be opened") from error


class Reader:
    """Reads one stream in order, from behind a position. Use as `async with Reader(log, name, after) as reader`.

    The consumer lives in the server's memory alone: when the server restarts it is gone, the next fetch raises, and
    the caller starts again from the store's position. So no hidden position can ever disagree with the store.
    """

    def __init__(self, log: Log, stream_name: str, after: int) -> None:
        self._log = log
        self._name = stream_name
        self._after = after
        self._checked_at_s = 0.0

    async def __aenter__(self) -> Self:
        self._stream = await self._log.stream(self._name)
        try:
            self._consumer: PullConsumer = await self._stream.consumers.create(
                PullConsumerConfig(
                    ack_policy=AckPolicy.NONE,
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    delivery_start_sequence=self._after + 1,
                    inactive_threshold=timedelta(seconds=IDLE_CONSUMER_S),
                    memory_storage=True,
                )
            )
        except _FAILURES as error:
            raise LogError(f"stream {self._name} cannot be read from position {self._after + 1}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(*_FAILURES):  # It ends by itself after IDLE_CONSUMER_S.
            await self._stream.consumers.delete(self._consumer.name)

    async def fetch(self, most: int = FETCH_MAX) -> list[JetStreamMessage]:
        """The next messages, what is there but at most `most`; empty after FETCH_WAIT_S without any.

        Raises LogError when the read broke; messages may have gone with it, so read anew from the store's position.
        """
        try:
            messages = await self._consumer.fetch(max_messages=most, expires=FETCH_WAIT_S, timeout=FETCH_TIMEOUT_S)
        except _FAILURES as error:
            raise LogError(f"reading stream {self._name} broke off") from error
        if not messages:
            messages = await self._fetch_if_alive()
        if messages:
            self._after = messages[-1].stream_sequence
        return messages

    async def _fetch_if_alive(self) -> list[JetStreamMessage]:
        """A fetch from a consumer that is gone brings nothing either: ask once a second whether there was something."""
        now_s = monotonic()
        if now_s - self._checked_at_s < ALIVE_CHECK_S:
            return []
        self._checked_at_s = now_s
        if (await self._log.extent(self._name)).last == self._after:
            return []
        try:
            late = await self._consumer.fetch(max_messages=FETCH_MAX, expires=FETCH_WAIT_S, timeout=FETCH_TIMEOUT_S)
        except _FAILURES as error:
            raise LogError(f"reading stream {self._name} broke off") from error
        if not late:
            raise LogError(
                f"stream {self._name} does not stand at position {self._after}, and its reader brings nothing"
            )
        return late
