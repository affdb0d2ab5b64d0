"""The way up as one task: joins the outbox, the courier, and the link that is in use.

Everything that decides is in `courier` and `failover`; here is waiting, loading, sending and settling.

Will not hold packs: they are loaded from the outbox one by one, when the link has a hand free for them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Never

from lichtmast.edge.clock import Clock
from lichtmast.edge.identity.refusals import Refusal
from lichtmast.edge.outbox import OutboxThread
from lichtmast.edge.pace import backoff_s, share, spread_over_s
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.courier import AckRefused, Courier, CourierStatistics
from lichtmast.edge.uplink.errors import LinkRefusedError, RenewedError, UplinkError
from lichtmast.edge.uplink.events import Events
from lichtmast.edge.uplink.failover import Failover, FailoverStatistics
from lichtmast.edge.uplink.groups import end_if_cancelled, first_of
from lichtmast.edge.uplink.link import Conversation, Handed, Kind, Later, Link, Refused, Report, Session, Stored
from lichtmast.edge.uplink.telling import Telling
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
    last_refusal: str
    confirmed_at_s: float | None
    events_waiting: int
    events_dropped: int
    acks_unreadable: int
    courier: CourierStatistics
    failover: FailoverStatistics


class Delivery:
    """Run `run()` as a task. The callables are called in the event loop and must not wait.

    `spread_s` is the longest pause after a connection that worked was lost.
    `state` is asked for how the device is whenever that is published: after each connect, and after
    `state_changed_nowait`. Without it no state is published. `on_judged` hears why a server refuses this device, or the
    device a server, and None when one lets it in.
    """

    def __init__(  # noqa: PLR0913 - a seam between six rooms
        self,
        outbox: OutboxThread,
        links: Sequence[Link],
        failover: Failover,
        *,
        clock: Clock,
        seed: int,
        spread_s: float,
        on_cfg: Callable[[bytes], None],
        on_cmd: Callable[[bytes], None],
        on_ack_refused: Callable[[str], None],
        on_pack_refused: Callable[[str], None] = lambda _: None,
        on_judged: Callable[[Refusal | None], None] = lambda _: None,
        state: Callable[[], bytes] | None = None,
    ) -> None:
        self._outbox = outbox
        self._file = (0, 0)
        self._courier = Courier(epoch=0, next_seq=1, seed=seed, sendable=Numbers())
        self._links: Mapping[str, Link] = {link.name: link for link in links}
        self._failover = failover
        self._now_s = clock.monotonic_s
        self._seed = seed
        self._spread_s = spread_s
        self._on_cfg, self._on_cmd = on_cfg, on_cmd
        self._on_judged = on_judged
        self._telling = Telling(on_ack_refused, on_pack_refused)
        self._renewed = asyncio.Event()
        self._packs_changed = asyncio.Event()
        self._reports_changed = asyncio.Event()
        self._outbox_changed = asyncio.Event()
        self._failover_changed = asyncio.Event()
        self._to_settle: list[int] = []
        self._state = state
        self._state_is_due = False
        self._state_fails = False
        self._events = Events()
        self._attempts = dict.fromkeys(self._links, 0)
        self._open: tuple[Link, Session] | None = None
        self._proven = False
        self._connects = 0
        self._interruptions = 0
        self._last_trouble = ""
        self._confirmed_at_s: float | None = None
        self._acks_unreadable = 0

    def added_nowait(self, seqs: Iterable[int]) -> None:
        """The outbox has new packs that can be sent."""
        if self._file[0]:  # else they are among what the outbox says at the start
            self._courier.added(seqs)
            self._packs_changed.set()
        self._look_at_outbox()

    def state_changed_nowait(self) -> None:
        """Publish how the device is as soon as a link takes it: as it is then."""
        self._state_is_due = True
        self._reports_changed.set()

    def report_nowait(self, event: bytes, *, is_answer: bool) -> None:
        """Report an event as soon as a link takes it. An answer to a command makes room for none."""
        self._events.add(event, is_answer=is_answer)
        self._reports_changed.set()

    def reconnect_nowait(self) -> None:
        """Open the link anew, with another certificate: at once where it is not open, else when nothing is on its way.

        No pack is sent twice for it: the connection stands until what is in its hands has been confirmed.
        """
        self._attempts = dict.fromkeys(self._links, 0)  # what failed before says nothing of this one
        self._renewed.set()
        self._packs_changed.set()

    async def run(self) -> Never:
        """Deliver for ever; ends by cancellation."""
        await asyncio.sleep(share(self._seed, 0) * limits.START_SPREAD_S)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_step(), name="uplink keeps step with the outbox")
            while True:
                name = self._failover.choose(self._now_s())
                serving = group.create_task(self._serve(self._links[name]), name=f"uplink {name}")
                serving.add_done_callback(lambda _: self._failover_changed.set())  # whatever ends it, it begins anew
                while self._failover.choose(self._now_s()) == name and not serving.done():
                    self._failover_changed.clear()
                    await self._wait(self._failover_changed, self._failover.wake_at_s())
                while not serving.done():
                    serving.cancel()
                    await asyncio.wait([serving], timeout=limits.LEAVING_S)
                _LOG.warning("uplink_changed", extra={"left": name, "link": self._failover.link})

    def statistics(self) -> DeliveryStatistics:
        """How it goes."""
        return DeliveryStatistics(
            self._open is not None,
            self._connects,
            self._interruptions,
            self._last_trouble,
            self._telling.last_refusal,
            self._confirmed_at_s,
            len(self._events),
            self._events.dropped,
            self._acks_unreadable,
            self._courier.statistics(),
            self._failover.statistics(),
        )

    async def _serve(self, link: Link) -> Never:
        """Keep one link open; ends by cancellation."""
        while True:
            opened_at_s = self._now_s()
            self._proven = False
            self._renewed.clear()
            try:
                await self._use(link)
            except* RenewedError:
                self._renewed.set()
            except* UplinkError as errors:
                self._ended(link, first_of(errors))
            end_if_cancelled()
            if self._proven or self._now_s() - opened_at_s >= limits.PROVEN_S:
                self._attempts[link.name] = 0
                pause_s = spread_over_s(self._connects, self._seed, limits.LOST_S, self._spread_s)
            else:
                pause_s = backoff_s(self._attempts[link.name], self._seed, limits.RETRY_S, limits.RETRY_MAX_S)
                self._attempts[link.name] += 1
            await self._wait(self._renewed, self._now_s() + pause_s)

    def _ended(self, link: Link, error: BaseException) -> None:
        """A link broke, or was refused."""
        self._interruptions += 1
        self._last_trouble = str(error)
        self._telling.interrupted(link.name, self._last_trouble)
        if isinstance(error, LinkRefusedError):
            self._on_judged(error.refusal)

    async def _use(self, link: Link) -> None:
        """Open the link and deliver until it breaks: raises UplinkError, alone or in groups."""
        self._owe()
        async with link.open() as session:
            self._connects += 1
            self._open = link, session
            self._telling.opened(link.name, speaks=session.conversation is not None)
            if session.conversation is not None:
                self._on_judged(None)
            self._failover.connected(outstanding=self._courier.outstanding)
            self._state_is_due = True
            self._join(link, session)
            try:
                async with asyncio.TaskGroup() as group:
                    if session.conversation is not None:
                        group.create_task(self._hear(session.conversation), name=f"uplink {link.name} hears")
                        group.create_task(self._report(session.conversation), name=f"uplink {link.name} reports")
                    await self._send(link, session)  # here and not as a task: see end_if_cancelled
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
                if seq is None:
                    break  # the group waits for what is still in hand
                carrying = group.create_task(self._carry(self._courier, seq, session), name=f"pack {seq}")
                carrying.add_done_callback(carried)
        raise RenewedError("the certificate is another")

    async def _wait_pack(self) -> int | None:
        """The next pack to send; None where the link is to be opened anew first."""
        while True:
            self._packs_changed.clear()
            if self._renewed.is_set():
                return None
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
                self._telling.handed(self._now_s())
            case Stored() if courier.settled(seq):
                self._confirm(courier, [seq])
            case Refused(reason) if courier.refused(seq, reason):
                self._telling.pack_refused(seq, reason, self._now_s())
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
        self._telling.acknowledged()
        try:
            ack = decode_acknowledgement(payload)
        except AcknowledgementError as error:
            self._acks_unreadable += 1
            self._telling.ack_refused(f"it cannot be read: {error}", self._now_s())
            return
        settled = self._courier.acknowledged(ack)
        if isinstance(settled, AckRefused):
            self._telling.ack_refused(settled.reason, self._now_s())
        elif settled:
            for one in ack.refused:
                if one.seq in settled:
                    self._telling.pack_refused(one.seq, one.reason, self._now_s(), one.detail)
            self._confirm(self._courier, settled)
            self._packs_changed.set()

    def _confirm(self, courier: Courier, seqs: list[int]) -> None:
        self._confirmed_at_s = self._now_s()
        self._proven = True
        self._telling.confirmed()
        self._on_judged(None)
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
                await self._outbox.settle(seqs, epoch=self._courier.epoch)
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
            event = self._events.first()
            if self._state_is_due:
                self._state_is_due = False
                await self._report_state(conversation)
            elif event is not None:
                await conversation.report(Report.EVENT, event.payload)
                self._events.sent(event)
            else:
                await self._reports_changed.wait()

    async def _report_state(self, conversation: Conversation) -> None:
        payload = self._state_now()
        if payload is None:
            return
        try:
            await conversation.report(Report.STATE, payload)
        except BaseException:  # also cancellation, which is how a broken connection ends this task
            self._state_is_due = True
            raise

    def _state_now(self) -> bytes | None:
        """How the device is; a state that cannot be told is no reason to deliver nothing."""
        if self._state is None:
            return None
        try:
            payload = self._state()
        except Exception:  # noqa: BLE001 - it asks every room, and any may fail
            if not self._state_fails:
                _LOG.exception("state_unavailable")
            self._state_fails = True
            return None
        self._state_fails = False
        return payload

    def _owe(self) -> None:
        self._failover.owes(self._now_s())
        self._failover_changed.set()

    async def _wait(self, changed: asyncio.Event, wake_at_s: float | None) -> None:
        """Until the event, or until the time; never a hair before it, which would only ask again at once."""
        delay_s = None if wake_at_s is None else max(wake_at_s - self._now_s(), 0.0) + limits.HAIR_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await changed.wait()
