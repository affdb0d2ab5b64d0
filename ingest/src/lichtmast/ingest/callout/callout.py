"""The shell of the callout: answers the server's questions, and drops the sessions that the register took back.

Two connections to our own server, each with a user that can do nothing else. Where this is not running, or does not
know, nobody is let in: the server refuses whom it gets no answer for.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from lichtmast.ingest.broker import Broker
from lichtmast.ingest.broker_settings import ACCOUNT, AUTH_TIMEOUT_S, CALLOUT_USER, OWN_HOST, SYSTEM_USER
from lichtmast.ingest.callout import limits
from lichtmast.ingest.callout.line import Line, Message, open_line
from lichtmast.ingest.callout.pace import Pace
from lichtmast.ingest.callout.refusals import Refusals
from lichtmast.ingest.callout.request import read_request
from lichtmast.ingest.callout.rules import CalloutReason, RefusedConnection, answer, judge
from lichtmast.ingest.callout.server_log import LogFile, refusal_of
from lichtmast.ingest.callout.sessions import Session, Sessions, Traffic, read_listing
from lichtmast.ingest.errors import BrokerError
from lichtmast.registry.identity.admission import Admission
from lichtmast.wire import DeviceId

_log = logging.getLogger(__name__)

QUESTIONS: Final = "$SYS.REQ.USER.AUTH"


@dataclass(frozen=True, slots=True)
class CalloutStatistics:
    """What has been asked and answered since the start, and how the last look at all sessions ended."""

    admitted: int
    refused: dict[str, int]
    unreadable: int
    sessions: int
    dropped: int
    swept_revision: int
    """The revision of the register that every session standing at the last look was admitted by."""


class Callout:
    """Asks `admission()` for each connection. Run `run()` as a task, and call `renew` with each new admission."""

    def __init__(
        self,
        broker: Broker,
        admission: Callable[[], Admission],
        *,
        on_refused: Callable[[RefusedConnection], None],
    ) -> None:
        self._broker = broker
        self._admission = admission
        self._on_refused = on_refused
        self._refusals = Refusals()
        self._known = Sessions()
        self._pace = Pace(time.monotonic())
        self._renewed = asyncio.Event()
        self._admitted = self._unreadable = self._sessions = self._dropped = 0
        self._swept_revision = -1

    def statistics(self) -> CalloutStatistics:
        """A snapshot of the counters."""
        return CalloutStatistics(
            self._admitted,
            dict(self._refusals.by_reason),
            self._unreadable,
            self._sessions,
            self._dropped,
            self._swept_revision,
        )

    def renew(self, admission: Admission) -> None:
        """Drop, as soon as possible, every session that this admission refuses; `admission()` gives it from now on."""
        if admission.revision != self._swept_revision:
            self._renewed.set()

    async def run(self) -> None:
        """Answer and watch until cancelled, through restarts of the server."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(CALLOUT_USER, self._broker.callout_password, self._answer_all), name="callout")
            group.create_task(
                self._keep(SYSTEM_USER, self._broker.system_password, self._watch), name="callout-sessions"
            )
            group.create_task(self._read_along(), name="callout-server-log")

    async def _keep(self, user: str, password: str, work: Callable[[Line], Awaitable[None]]) -> None:
        """Do the work on a line of this user; on a new one whenever it breaks."""
        said = False
        while True:
            try:
                async with open_line(OWN_HOST, self._broker.client_port, user, password) as line:
                    said = False
                    await work(line)
            except (OSError, BrokerError) as error:
                if not said:
                    _log.warning("callout_disconnected user=%s reason=%r", user, error)
                said = True
            await asyncio.sleep(limits.RECONNECT_S)

    async def _answer_all(self, line: Line) -> None:
        if self._known.begin(line.server_id):
            self._pace.begin()
        line.subscribe(QUESTIONS)
        async for portion in line.messages():
            for message in portion:
                self._answer(line, message)

    def _answer(self, line: Line, message: Message) -> None:
        """One question. Whatever goes wrong here, no answer is sent, and that is a refusal too."""
        now_us = wall_clock_us()
        request = read_request(message.payload, line.server_id)
        if request is None or not message.reply:
            self._unreadable += 1
            _log.error("callout_question_unreadable bytes=%d", len(message.payload))
            return
        now_s = time.monotonic()
        verdict = judge(request, self._admission(), now_us, is_held=lambda device: self._pace.is_held(device, now_s))
        token = answer(request, verdict, self._broker.issuer, line.server_id, now_us)
        if token is not None:
            line.publish(message.reply, token.encode("ascii"))
        if isinstance(verdict, Session):
            self._admitted += 1
            self._known.admit(verdict, now_s)
        else:
            self._refused(verdict)

    def _refused(self, refused: RefusedConnection) -> None:
        said = self._refusals.count(refused, time.monotonic())
        if said:
            _log.warning(said)
        self._on_refused(refused)

    async def _read_along(self) -> None:
        """Count what the server refuses by itself."""
        own_users = (self._broker.user, CALLOUT_USER, SYSTEM_USER)
        with contextlib.closing(LogFile(self._broker.log_file)) as log:
            while True:
                for line in log.new_lines():
                    refused = refusal_of(line, own_users)
                    if refused is not None:
                        self._refused(refused)
                await asyncio.sleep(limits.LOG_POLL_S)

    async def _watch(self, line: Line) -> None:
        """Compare what stands with register and allowances: at once, after each change, and every few seconds."""
        while line.server_id != self._known.server_id:  # the other line is not open yet
            await asyncio.sleep(limits.RECONNECT_S)
        unlisted_until_s = 0.0
        while True:
            self._renewed.clear()
            if await self._sweep(line):
                unlisted_until_s = time.monotonic() + AUTH_TIMEOUT_S
            pause_s = limits.UNLISTED_S if time.monotonic() < unlisted_until_s else limits.RECONCILE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._renewed.wait()

    async def _sweep(self, line: Line) -> bool:
        """Drop what is not admitted, and look again until it is gone.

        True where some of it was not listed: gone already, or about to stand, which the order to drop it came too early
        for. It is nobody's then, and falls to one of the next looks.
        """
        is_unlisted = False
        dropped: dict[int, DeviceId | None] = {}
        began_s = time.monotonic()
        for _ in range(limits.KICK_ROUNDS_MAX):
            told = await line.request(f"$SYS.REQ.SERVER.{line.server_id}.CONNZ", self._listing_options)
            listed = read_listing(told, self._broker.user)
            if line.server_id != self._known.server_id:
                raise BrokerError("the broker was restarted meanwhile")
            self._known.forget_gone(listed.keys(), time.monotonic())
            admission = self._admission()
            unwanted = self._known.unwanted(listed.keys(), admission, wall_clock_us()) | self._too_fast(listed)
            if not unwanted:
                self._sessions, self._swept_revision = len(listed), admission.revision
                if dropped:
                    self._say_dropped(dropped.values(), time.monotonic() - began_s)
                return is_unlisted
            is_unlisted |= not unwanted.keys() <= listed.keys()
            line.order(f"$SYS.REQ.SERVER.{line.server_id}.KICK", [b'{"cid":%d}' % number for number in unwanted])
            self._known.drop(unwanted)
            dropped.update(unwanted | dropped)
            await asyncio.sleep(limits.KICK_WAIT_S)
        raise BrokerError(f"{len(dropped)} sessions could not be dropped")

    def _too_fast(self, listed: Mapping[int, Traffic]) -> dict[int, DeviceId | None]:
        """The connections of devices that have to pause."""
        now_s, devices = time.monotonic(), self._known.devices()
        for device, pause in self._pace.look(listed, devices, now_s).items():
            _log.warning("device_sends_too_much device=%s kept_out_s=%.0f", device, pause.length_s)
            self._refused(RefusedConnection(device, CalloutReason.RATE_LIMITED, "", ""))
        return {number: device for number, device in devices.items() if self._pace.is_held(device, now_s)}

    def _say_dropped(self, dropped: Collection[DeviceId | None], took_s: float) -> None:
        self._dropped += len(dropped)
        names = ",".join(sorted({str(device or "unknown") for device in dropped})[: limits.SHOWN_DEVICES_MAX])
        _log.warning("sessions_dropped count=%d took_s=%.3f devices=%s", len(dropped), took_s, names)

    @property
    def _listing_options(self) -> bytes:
        wanted = {"auth": True, "acc": ACCOUNT, "limit": self._broker.settings.connections_max}
        return json.dumps(wanted).encode("ascii")


def wall_clock_us() -> int:
    """The wall clock: certificates end by it."""
    return time.time_ns() // 1_000
