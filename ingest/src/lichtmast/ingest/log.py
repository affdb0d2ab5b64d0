"""The durable log: the two JetStream streams, appended to and read in order.

READINGS holds what arrived, byte for byte, until its term ends; OBSERVATIONS holds validated batches. Reading is by
position: the caller says behind which position to start, and gets every message once and in order, or an error. Nothing
is acknowledged to the log, because the position that counts is the one in the store.
"""

import logging
import sys
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

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
    StreamConfig,
)

from lichtmast.ingest.errors import LogError
from lichtmast.wire import topics

_log = logging.getLogger(__name__)

FETCH_MAX: Final = 4_000
"""Messages a fetch brings at most: what one store transaction takes well."""
FETCH_BYTES_MAX: Final = 16 * 1024 * 1024
"""And bytes: the server cuts off a client that owes it 64 MiB, and what was on its way is gone."""
FETCH_WAIT_S: Final = 0.5
"""How long an empty log is waited on before the fetch returns with nothing."""
FETCH_TIMEOUT_S: Final = 15.0
ALIVE_CHECK_S: Final = 1.0
APPEND_TIMEOUT_S: Final = 5.0
IDLE_CONSUMER_S: Final = 60.0
GIB: Final = 1024**3
READINGS_BYTES: Final = 20 * GIB
OBSERVATIONS_BYTES: Final = 5 * GIB
EVENTS_BYTES: Final = GIB
_FAILURES: Final = (NatsrpyBaseError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How long and how much the log keeps.

    READINGS forgets nothing by itself: the pipeline lets go of what is stored, when it is `readings_days` old or when
    the stream grows large. A full one refuses new messages: the doors then answer 5.03 or withhold the PUBACK, and
    devices keep what they have. OBSERVATIONS forgets its oldest, and so does EVENTS, what devices report beside their
    readings: of each device it keeps the last `events_per_subject_max` states and as many events. None stands for a
    share of the free disk when the stream is made.
    """

    readings_days: float = 7.0
    readings_bytes_max: int | None = None
    observations_days: float = 2.0
    observations_bytes_max: int | None = None
    events_days: float = 30.0
    events_bytes_max: int | None = None
    events_per_subject_max: int = 100


@dataclass(frozen=True, slots=True)
class Extent:
    """What a stream holds: positions first..last (last < first where it is empty), and which stream it is."""

    created: int
    first: int
    last: int
    bytes: int
    bytes_max: int


class Log:
    """A connection to the log. Use as `async with Log(url, user, password) as log`."""

    def __init__(
        self, url: str, user: str, password: str, settings: LogSettings | None = None, *, free_bytes: int = 10 * GIB
    ) -> None:
        """Connect at `async with`. `free_bytes` is what the disk has, for sizes that the settings leave open."""
        self.settings = settings or LogSettings()
        self._free_bytes = free_bytes
        self._nats = Nats([url], user_and_pass=(user, password), sender_capacity=4096)

    async def __aenter__(self) -> Self:
        try:
            await self._nats.startup()
            self._js: JetStream = await self._nats.jetstream(
                ack_timeout=APPEND_TIMEOUT_S, timeout=APPEND_TIMEOUT_S, max_ack_inflight=256
            )
            for config in self._streams():
                await self._make(config)
        except _FAILURES as error:
            raise LogError("the log cannot be reached or its streams not made") from error
        return self

    async def _make(self, config: StreamConfig) -> None:
        """Make a stream where it is missing. One that is there is left as it is: a full disk would refuse an update."""
        try:
            await self._js.streams.get(config.name)
        except _FAILURES:
            try:
                await self._js.streams.create_or_update(config)
            except _FAILURES:
                # Two that make it at once count twice against the disk, and one is refused: then it is there.
                await self._js.streams.get(config.name)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._nats.shutdown()
        except _FAILURES:
            _log.warning("log_shutdown_incomplete")

    def _streams(self) -> tuple[StreamConfig, StreamConfig, StreamConfig]:
        kept = self.settings
        return (
            StreamConfig(
                topics.READINGS_STREAM,
                [topics.READINGS_SUBJECT],
                storage=StorageType.FILE,
                retention=RetentionPolicy.LIMITS,
                discard=DiscardPolicy.NEW,
                max_bytes=kept.readings_bytes_max or min(READINGS_BYTES, self._free_bytes * 2 // 5),
            ),
            StreamConfig(
                topics.OBSERVATIONS_STREAM,
                [topics.OBSERVATIONS_SUBJECT],
                storage=StorageType.FILE,
                retention=RetentionPolicy.LIMITS,
                discard=DiscardPolicy.OLD,
                max_age=timedelta(days=kept.observations_days),
                max_bytes=kept.observations_bytes_max or min(OBSERVATIONS_BYTES, self._free_bytes // 10),
            ),
            StreamConfig(
                topics.EVENTS_STREAM,
                list(topics.EVENTS_SUBJECTS),
                storage=StorageType.FILE,
                retention=RetentionPolicy.LIMITS,
                discard=DiscardPolicy.OLD,
                max_age=timedelta(days=kept.events_days),
                max_bytes=kept.events_bytes_max or min(EVENTS_BYTES, self._free_bytes // 20),
                max_messages_per_subject=kept.events_per_subject_max,
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
        return Extent(
            told.created, state.first_sequence, state.last_sequence, state.bytes, told.config.max_bytes or sys.maxsize
        )

    async def message_at(self, stream_name: str, position: int) -> JetStreamMessage | None:
        """The message at one position, or the next there is; None where there is none from there on."""
        consumer = await self.consumer(
            stream_name, deliver_policy=DeliverPolicy.BY_START_SEQUENCE, delivery_start_sequence=max(position, 1)
        )
        return await self._first_of(consumer)

    async def message_since(self, stream_name: str, moment_s: int) -> JetStreamMessage | None:
        """The first message that the log took at or after a moment (seconds since 1970)."""
        consumer = await self.consumer(
            stream_name, deliver_policy=DeliverPolicy.BY_START_TIME, delivery_start_time=moment_s
        )
        return await self._first_of(consumer)

    async def held_of(self, stream_name: str, subject: str, most: int) -> list[JetStreamMessage]:
        """What the stream holds of one subject, oldest first; for streams that keep no more than `most` of it."""
        consumer = await self.consumer(stream_name, deliver_policy=DeliverPolicy.ALL, filter_subject=subject)
        return await self._fetched(consumer, most)

    async def consumer(self, stream_name: str, **start: Any) -> PullConsumer:  # noqa: ANN401 - of PullConsumerConfig
        """A consumer that lives in the server's memory and acknowledges nothing."""
        try:
            return await (await self._js.streams.get(stream_name)).consumers.create(
                PullConsumerConfig(
                    ack_policy=AckPolicy.NONE,
                    inactive_threshold=timedelta(seconds=IDLE_CONSUMER_S),
                    memory_storage=True,
                    **start,
                )
            )
        except _FAILURES as error:
            raise LogError(f"stream {stream_name} cannot be read") from error

    async def _first_of(self, consumer: PullConsumer) -> JetStreamMessage | None:
        found = await self._fetched(consumer, 1)
        return found[0] if found else None

    async def _fetched(self, consumer: PullConsumer, most: int) -> list[JetStreamMessage]:
        try:
            return await consumer.fetch(max_messages=most, expires=FETCH_WAIT_S, timeout=FETCH_TIMEOUT_S)
        except _FAILURES as error:
            raise LogError(f"reading stream {consumer.stream_name} broke off") from error

    async def forget(self, stream_name: str, upto: int) -> None:
        """Remove messages up to and including a position."""
        try:
            await (await self._js.streams.get(stream_name)).purge(sequence=upto + 1)
        except _FAILURES as error:
            raise LogError(f"stream {stream_name} did not forget what is stored") from error


class Reader:
    """Reads one stream in order and without a hole, from behind a position.

    Use as `async with Reader(log, name, after) as reader`. The consumer lives in the server's memory alone: when the
    server restarts it is gone, the next fetch raises, and the caller starts again from the store's position. So no
    hidden position can ever disagree with the store.
    """

    def __init__(self, log: Log, stream_name: str, after: int) -> None:
        self._log = log
        self._name = stream_name
        self._after = after
        self._checked_at_s = 0.0

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the consumer to end by itself after IDLE_CONSUMER_S: the connection may be what broke."""

    async def _begin(self) -> None:
        self._consumer: PullConsumer = await self._log.consumer(
            self._name,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            delivery_start_sequence=self._after + 1,
        )

    async def fetch(self, most: int = FETCH_MAX) -> list[JetStreamMessage]:
        """The next messages, what is there but at most `most`; empty after FETCH_WAIT_S without any.

        Raises LogError when the read broke; messages may have gone with it, so read anew from the store's position.
        """
        messages = await self._fetch(most) or await self._fetch_if_alive(most)
        whole = messages[: await self._whole(messages)]
        if whole:
            self._after = whole[-1].stream_sequence
        if len(whole) < len(messages):
            # The broker had answered too late for the client library's patience, or a connection was replaced: the
            # consumer is past what nobody got. One that begins at the hole costs less than all anew.
            _log.warning("log_read_again stream=%s from=%d", self._name, self._after + 1)
            await self._begin()
        return whole

    async def _fetch(self, most: int) -> list[JetStreamMessage]:
        try:
            return await self._consumer.fetch(
                max_messages=most, max_bytes=FETCH_BYTES_MAX, expires=FETCH_WAIT_S, timeout=FETCH_TIMEOUT_S
            )
        except _FAILURES as error:
            raise LogError(f"reading stream {self._name} broke off") from error

    async def _fetch_if_alive(self, most: int) -> list[JetStreamMessage]:
        """A fetch from a consumer that is gone brings nothing either: ask once a second whether there was something."""
        now_s = monotonic()
        if now_s - self._checked_at_s < ALIVE_CHECK_S:
            return []
        self._checked_at_s = now_s
        if (await self._log.extent(self._name)).last == self._after:
            return []
        late = await self._fetch(most)
        if not late:
            raise LogError(
                f"stream {self._name} does not stand at position {self._after}, and its reader brings nothing"
            )
        return late

    async def _whole(self, messages: list[JetStreamMessage]) -> int:
        """How many messages there are before the first hole: of a fetch, parts may be lost on the way, in silence."""
        expected, count = self._after + 1, len(messages)
        if not messages or (messages[0].stream_sequence, messages[-1].stream_sequence) == (
            expected,
            self._after + count,
        ):
            return count
        for at, message in enumerate(messages):
            position = message.stream_sequence
            if position < expected:
                raise LogError(f"stream {self._name} gave position {position} where {expected} was due")
            if position > expected:
                # A consumer of its own, asked for one message, can lose it but not skip to another.
                found = await self._log.message_at(self._name, expected)
                if found is None:
                    raise LogError(
                        f"positions {expected} to {position - 1} of stream {self._name} were lost on the way"
                    )
                if found.stream_sequence != position:
                    return at
                _log.error("log_positions_gone stream=%s from=%d to=%d", self._name, expected, position - 1)
            expected = position + 1
        return count
