"""The way up as one task: joins the outbox, the courier, and the link that is in use.

Everything that decides is in `courier` and `failover`; here is waiting, loading, sending and settling.

Will not hold packs: they are loaded from the outbox one by one, when the link has a hand free for them.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Never

from lichtmast.edge.clock import Clock
from lichtmast.edge.outbox import OutboxThread
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.courier import AckRefused, Courier, CourierStatistics
from lichtmast.edge.uplink.errors import UplinkError
from lichtmast.edge.uplink.failover import Failover, FailoverStatistics
from lichtmast.edge.uplink.link import Conversation, Handed, Kind, Later, Link, Refused, Report, Session, Stored
from lichtmast.edge.uplink.pace import backoff_s, share
from lichtmast.wire.acknowledgement import AcknowledgementError, decode_acknowledgement
from lichtmast.wire.faultpoint import faultpoint
from lichtmast.wire.numbers import Numbers

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryStatistics:
    """How the way up is, and counts since the start of the process. Times are monotonic seconds of this boot."""

    connected: bool
    connects: int
    interruptions: int
    last_trouble: str
    confirmed_at_s: float | None
    events_waiting: int
    events_dropped: int
    acks_unreadable: int
    courier: CourierStatistics
    failover: FailoverStatistics


class Delivery:
    """Run `run()` as a task. The callables are called in the event loop and must not wait."""

    def __init__(
        self,
        outbox: OutboxThread,
        links: Sequence[Link],
        failover: Failover,
        *,
        clock: Clock,
        seed: int,
        on_cfg: Callable[[bytes], None],
        on_cmd: Callable[[bytes], None],
        on_ack_refused: Callable[[str], None],
    ) -> None:
        self._outbox = outbox
        self._file = (0, 0)
        self._courier = Courier(epoch=0, next_seq=1, seed=seed, sendable=Numbers())
        self._links: Mapping[str, Link] = {link.name: link for link in links}
        self._failover = failover
        self._now_s = clock.monotonic_s
        self._seed = seed
        self._on_cfg, self._on_cmd, self._on_ack_refused = on_cfg, on_cmd, on_ack_refused
        self._packs_changed = asyncio.Event()
        self._reports_changed = asyncio.Event()
        self._outbox_changed = asyncio.Event()
        self._failover_changed = asyncio.Event()
        self._to_settle: list[int] = []
        self._state: bytes | None = None
        self._state_is_due = False
        self._events: deque[bytes] = deque()
        self._attempts = dict.fromkeys(self._links, 0)
        self._open: tuple[Link, Session] | None = None
        self._proven = False
        self._connects = 0
        self._interruptions = 0
        self._last_trouble = ""
        self._confirmed_at_s: float | None = None
        self._events_dropped = 0
        self._acks_unreadable = 0
        self._complained_at_s = float("-inf")

    def added_nowait(self, seqs: Iterable[int]) -> None:
        """The outbox has new packs that can be sent."""
        if self._file[0]:  # else they are among what the outbox says at the start
            self._courier.added(seqs)
            self._packs_changed.set()
        self._look_at_outbox()

    def report_nowait(self, kind: Report, payload: bytes) -> None:
        """Report a state (the last one wins) or an event (the oldest makes room) as soon as a link takes it."""
        if kind is Report.STATE:
            self._state, self._state_is_due = payload, True
        else:
            if len(self._events) >= limits.EVENTS_MAX:
                self._events.popleft()
                self._events_dropped += 1
            self._events.append(payload)
        self._reports_changed.set()

    async def run(self) -> Never:
        """Deliver for ever; ends by cancellation."""
        await asyncio.sleep(share(self._seed, 0) * limits.START_SPREAD_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_step(), name="uplink keeps step with the outbox")
            while True:
                name = self._failover.choose(self._now_s())
                serving = group.create_task(self._serve(self._links[name]), name=f"uplink {name}")
                while self._failover.choose(self._now_s()) == name:
                    self._failover_changed.clear()
                    await self._wait(self._failover_changed, self._failover.wake_at_s())
                serving.cancel()
                await asyncio.wait([serving])
                _LOG.warning("uplink_changed", extra={"left": name, "link": self._failover.link})

    def statistics(self) -> DeliveryStatistics:
        """How it goes."""
        return DeliveryStatistics(
            self._open is not None,
            self._connects,
            self._interruptions,
            self._last_trouble,
            self._confirmed_at_s,
            len(self._events),
            self._events_dropped,
            self._acks_unreadable,
            self._courier.statistics(),
            self._failover.statistics(),
        )

    async def _serve(self, link: Link) -> Never:
        """Keep one link open; ends by cancellation."""
        while True:
            opened_at_s = self._now_s()
            self._proven = False
            try:
                await self._use(link)
            except* UplinkError as errors:
                self._interruptions += 1
                self._last_trouble = str(_first(errors))
                _LOG.info("uplink_interrupted", extra={"link": link.name, "reason": self._last_trouble})
            if self._proven or self._now_s() - opened_at_s >= limits.PROVEN_S:
                self._attempts[link.name] = 0
            pause_s = backoff_s(self._attempts[link.name], self._seed, limits.RETRY_S, limits.RETRY_MAX_S)
            self._attempts[link.name] += 1
            await asyncio.sleep(pause_s)

    async def _use(self, link: Link) -> None:
        """Open the link and deliver until it breaks: raises UplinkError, alone or in groups."""
        self._owe()
        async with link.open() as session:
            self._connects += 1
            self._open = link, session
            self._failover.connected(outstanding=self._courier.outstanding)
            self._state_is_due = self._state is not None
            self._join(link, session)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(link, session), name=f"uplink {link.name} sends")
                    if session.conversation is not None:
                        group.create_task(self._hear(session.conversation), name=f"uplink {link.name} hears")
                        group.create_task(self._report(session.conversation), name=f"uplink {link.name} reports")
            finally:
                self._open = None
                self._courier.disconnected()

    def _join(self, link: Link, session: Session) -> None:
        self._courier.connected(link.name, window=link.window, hears_acks=session.conversation is not None)
        self._packs_changed.set()

    async def _send(self, link: Link, session: Session) -> Never:
        hands = asyncio.Semaphore(link.at_once)

        def carried(_: asyncio.Task[None]) -> None:
            hands.release()
            self._packs_changed.set()

        async with asyncio.TaskGroup() as group:
            while True:
                await hands.acquire()
                seq = await self._wait_pack()
                carrying = group.create_task(self._carry(self._courier, seq, session), name=f"pack {seq}")
                carrying.add_done_callback(carried)

    async def _wait_pack(self) -> int:
        while True:
            self._packs_changed.clear()
            seq = self._courier.take(self._now_s())
            if seq is not None:
                return seq
            await self._wait(self._packs_changed, self._courier.wake_at_s())

    async def _carry(self, courier: Courier, seq: int, session: Session) -> None:
        """Bring one pack as far as this link brings it. `courier` is the one that gave it."""
        packs = await self._outbox.load([seq])
        self._look_at_outbox()
        if not packs:
            courier.dropped([seq])
            return
        self._owe()
        faultpoint("edge.before_send")
        outcome = await session.deliver(packs[0])
        faultpoint("edge.after_send")
        match outcome:
            case Handed():
                courier.sent(seq, self._now_s())
            case Stored() if courier.settled(seq):
                self._confirm(courier, [seq])
            case Refused(reason) if courier.refused(seq, reason):
                self._confirm(courier, [seq])
            case Later(pause_s, reason):
                self._last_trouble = f"the server wants {seq} later: {reason}"
                courier.failed(seq, self._now_s(), pause_s)

    async def _hear(self, conversation: Conversation) -> Never:
        while True:
            heard = await conversation.wait_heard()
            match heard.kind:
                case Kind.ACK:
                    self._acknowledge(heard.payload)
                case Kind.CFG:
                    self._on_cfg(heard.payload)
                case Kind.CMD:
                    self._on_cmd(heard.payload)

    def _acknowledge(self, payload: bytes) -> None:
        try:
            settled = self._courier.acknowledged(decode_acknowledgement(payload))
        except AcknowledgementError as error:
            self._acks_unreadable += 1
            self._complain(f"it cannot be read: {error}")
            return
        if isinstance(settled, AckRefused):
            self._complain(settled.reason)
        elif settled:
            self._confirm(self._courier, settled)
            self._packs_changed.set()

    def _complain(self, reason: str) -> None:
        _LOG.warning("acknowledgement_refused", extra={"reason": reason})
        now_s = self._now_s()
        if now_s - self._complained_at_s >= limits.ACK_COMPLAINT_S:
            self._complained_at_s = now_s
            self._on_ack_refused(reason)

    def _confirm(self, courier: Courier, seqs: list[int]) -> None:
        self._confirmed_at_s = self._now_s()
        self._proven = True
        self._failover.confirmed()
        self._failover_changed.set()
        if courier is self._courier:  # else these numbers are of a file that is gone
            self._to_settle += seqs
            self._outbox_changed.set()

    def _look_at_outbox(self) -> None:
        if self._file_now() != self._file:
            self._outbox_changed.set()

    def _file_now(self) -> tuple[int, int]:
        """Changes when the file was opened anew: what we think is in it may then be wrong."""
        told = self._outbox.statistics()
        return told.epoch, told.reopened

    async def _keep_step(self) -> Never:
        """Tell the outbox what is delivered, and begin anew when it does: apart from connections, which come and go."""
        while True:
            if not self._file[0] or self._file_now() != self._file:
                await self._begin()
                continue
            seqs, self._to_settle = self._to_settle, []
            if seqs:
                faultpoint("edge.before_settle")
                await self._outbox.settle(seqs)
                faultpoint("edge.after_settle")
            else:
                self._outbox_changed.clear()
                await self._outbox_changed.wait()

    async def _begin(self) -> None:
        """Go on with what the file holds now. What is on its way may be sent twice by this, but never not at all."""
        file = self._file_now()
        sendable = await self._outbox.sendable()
        if self._file_now() != file:
            return  # opened anew by just this call
        self._file = file
        next_seq = self._outbox.statistics().next_seq
        self._courier = Courier(epoch=file[0], next_seq=next_seq, seed=self._seed, sendable=sendable)
        self._to_settle.clear()
        if self._open is not None:
            self._join(*self._open)

    async def _report(self, conversation: Conversation) -> Never:
        while True:
            self._reports_changed.clear()
            if self._state_is_due and self._state is not None:
                self._state_is_due = False
                try:
                    await conversation.report(Report.STATE, self._state)
                except BaseException:  # also cancellation, which is how a broken connection ends this task
                    self._state_is_due = True
                    raise
            elif self._events:
                event = self._events[0]
                await conversation.report(Report.EVENT, event)
                if self._events and self._events[0] is event:  # else it had to make room meanwhile
                    self._events.popleft()
            else:
                await self._reports_changed.wait()

    def _owe(self) -> None:
        self._failover.owes(self._now_s())
        self._failover_changed.set()

    async def _wait(self, changed: asyncio.Event, wake_at_s: float | None) -> None:
        """Until the event, or until the time; never a hair before it, which would only ask again at once."""
        delay_s = None if wake_at_s is None else max(wake_at_s - self._now_s(), 0.0) + limits.HAIR_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await changed.wait()


def _first(errors: BaseExceptionGroup[UplinkError]) -> BaseException:
    """One of the errors that ended a session; mostly they all tell of the same end."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
