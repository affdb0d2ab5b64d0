"""The outbox in a thread of its own: an fsync on a card can take a second, and a disk can fail for a day.

Never an exception for what a disk does: drafts wait in bounded memory while the file is closed and opened anew, ever
more rarely, and everything is counted. A commit that failed is looked for after the file was opened: what was durable
all the same is not put twice.

Will not: hurry a disk that hangs. The calls then wait; the drafts of further puts are safe in memory meanwhile.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from lichtmast.edge.clock import Clock
from lichtmast.edge.outbox import limits
from lichtmast.edge.outbox.errors import OutboxBrokenError, OutboxError
from lichtmast.edge.outbox.outbox import Outbox
from lichtmast.edge.outbox.storage import Connect, connect_sqlite
from lichtmast.edge.outbox.values import Draft, OutboxSettings, OutboxStatistics, Packed
from lichtmast.edge.timekeeping.values import Stamp
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.numbers import Numbers

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Doubt:
    """Where the file stood before a commit that failed, and the numbers that waited to be stamped by it."""

    epoch: int
    puts: int
    next_seq: int
    waiting: Numbers


class OutboxThread:
    """The outbox for asyncio. Opened by `async with`, which raises only what waiting cannot mend.

    When `epoch` changes, the file was beyond repair and was replaced: numbers of before mean nothing any more, and
    `sendable` has what was salvaged.
    """

    def __init__(
        self,
        path: Path,
        device: DeviceId,
        *,
        settings: OutboxSettings,
        clock: Clock,
        connect: Connect = connect_sqlite,
    ) -> None:
        self._open: Callable[[], Outbox] = lambda: Outbox.open(
            path, device, settings=settings, clock=clock, connect=connect
        )
        self._clock = clock
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._incoming: deque[Draft] = deque()
        self._stamp_given: Stamp | None = None
        self._lost = 0
        self._last = _unopened(settings)
        # Touched in the thread only.
        self._outbox: Outbox | None = None
        self._healthy = False
        self._chunk: list[Draft] = []
        self._doubt: _Doubt | None = None
        self._fresh: list[int] = []
        self._failures = 0
        self._retry_at_s = float("-inf")

    async def __aenter__(self) -> Self:
        try:
            await self._run(self._is_ready)
        except OutboxError:
            self._executor.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run(self._close)
        self._executor.shutdown(wait=False)

    @property
    def epoch(self) -> int:
        """The numbering of the file; 0 while it could never be opened."""
        return self._last.epoch

    @property
    def floor_us(self) -> int:
        """No wall time before this is to be believed."""
        return limits.FLOOR_US if self._outbox is None else self._outbox.floor_us

    async def put(self, drafts: Sequence[Draft], stamp: Stamp | None) -> list[int]:
        """Keep drafts; returns the numbers that can be sent now, also of drafts that had waited in memory.

        Empty while the disk cannot be written, and while there is no stamp. Never raises for what the disk does.
        """
        self._incoming.extend(drafts)
        self._stamp_given = stamp
        while len(self._incoming) > limits.DRAFTS_IN_MEMORY_MAX:
            self._incoming.popleft()
            self._lost += 1
        await self._run(lambda: self._drain(stamp))
        return self._take_fresh()

    async def stamp_waiting(self, stamp: Stamp) -> list[int]:
        """Give what waited for a trusted clock its time; returns the numbers that can be sent now."""
        await self._run(lambda: self._stamp(stamp))
        return self._take_fresh()

    async def load(self, seqs: Sequence[int]) -> list[Packed]:
        """The packs to send; a number that is not returned was dropped or is damaged, and will not come.

        Waits while the file cannot be read.
        """
        return await self._wait_done(lambda outbox: outbox.load(seqs))

    async def sendable(self) -> Numbers:
        """All numbers that can be sent. Waits while the file cannot be read."""
        return await self._wait_done(lambda outbox: outbox.sendable())

    async def settle(self, seqs: Iterable[int], *, epoch: int) -> None:
        """The server has these of that epoch; written with the next put. Of another epoch they are other packs."""
        settled = list(seqs)
        await self._run(lambda: self._settle(settled, epoch))

    async def flush(self) -> None:
        """Write what is settled now."""
        with contextlib.suppress(OutboxBrokenError):
            await self._run(lambda: self._with_outbox(lambda outbox: outbox.flush()))

    def statistics(self) -> OutboxStatistics:
        """As of the last call that ended; never waits for the disk."""
        return replace(
            self._last,
            memory_drafts=len(self._incoming) + len(self._chunk),
            lost_drafts=self._last.lost_drafts + self._lost,
        )

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _wait_done(self, work: Callable[[Outbox], _T]) -> _T:
        while True:
            with contextlib.suppress(OutboxBrokenError):
                return await self._run(lambda: self._with_outbox(work))
            await asyncio.sleep(max(limits.RETRY_LEAST_S, self._retry_at_s - self._clock.monotonic_s()))

    def _take_fresh(self) -> list[int]:
        fresh, self._fresh = self._fresh, []
        return fresh

    # In the thread --------------------------------------------------------------------------------------------------

    def _is_ready(self) -> bool:
        if self._healthy:
            return True
        if self._clock.monotonic_s() < self._retry_at_s:
            return False
        try:
            if self._outbox is None:
                self._outbox = self._open()
            else:
                self._outbox.reopen()
        except OutboxBrokenError as error:
            self._failed(error)
            return False
        self._last = replace(self._last, reopened=self._last.reopened + (1 if self._failures else 0))
        self._healthy, self._failures = True, 0
        self._resolve_doubt(self._outbox)
        self._look(self._outbox)
        return True

    def _failed(self, error: OutboxBrokenError) -> None:
        self._healthy = False
        pause_s = min(limits.RETRY_MAX_S, limits.RETRY_S * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._retry_at_s = self._clock.monotonic_s() + pause_s
        self._last = replace(self._last, healthy=False, fault=str(error))

    def _resolve_doubt(self, outbox: Outbox) -> None:
        doubt, self._doubt = self._doubt, None
        if doubt is not None and outbox.epoch == doubt.epoch:
            if outbox.puts > doubt.puts:
                self._chunk = []
            self._fresh += [seq for seq in outbox.sendable() if seq >= doubt.next_seq or seq in doubt.waiting]

    def _with_outbox(self, work: Callable[[Outbox], _T]) -> _T:
        if not self._is_ready() or self._outbox is None:
            raise OutboxBrokenError(self._last.fault)
        try:
            done = work(self._outbox)
            self._look(self._outbox)
        except OutboxBrokenError as error:
            self._failed(error)
            raise
        return done

    def _drain(self, stamp: Stamp | None) -> None:
        with contextlib.suppress(OutboxBrokenError):
            self._with_outbox(lambda outbox: self._put_all(outbox, stamp))

    def _put_all(self, outbox: Outbox, stamp: Stamp | None) -> None:
        while self._chunk or self._incoming:
            while self._incoming and len(self._chunk) < limits.PUT_DRAFTS_MAX:
                self._chunk.append(self._incoming.popleft())
            self._doubt = _Doubt(outbox.epoch, outbox.puts, outbox.next_seq, Numbers())
            outbox.count_lost(self._lost)
            self._fresh += outbox.put(self._chunk, stamp)
            self._chunk, self._doubt, self._lost = [], None, 0

    def _stamp(self, stamp: Stamp) -> None:
        with contextlib.suppress(OutboxBrokenError):
            self._with_outbox(lambda outbox: self._stamp_all(outbox, stamp))

    def _stamp_all(self, outbox: Outbox, stamp: Stamp) -> None:
        self._doubt = _Doubt(outbox.epoch, outbox.puts, outbox.next_seq, outbox.waiting())
        self._fresh += outbox.stamp_waiting(stamp)
        self._doubt = None

    def _settle(self, seqs: list[int], epoch: int) -> None:
        """Remembered by the object even while its file is broken; it survives opening anew."""
        if self._outbox is not None and self._outbox.epoch == epoch:
            try:
                self._outbox.settle(seqs)
            except OutboxBrokenError as error:
                if self._healthy:
                    self._failed(error)

    def _look(self, outbox: Outbox) -> None:
        self._last = replace(outbox.statistics(), reopened=self._last.reopened)

    def _close(self) -> None:
        """Write first what a cancelled put left behind; a disk that had failed is asked one last time."""
        if self._chunk or self._incoming:
            self._retry_at_s = float("-inf")
            self._drain(self._stamp_given)
        if self._outbox is not None:
            with contextlib.suppress(OutboxError):
                self._outbox.close()


def _unopened(settings: OutboxSettings) -> OutboxStatistics:
    return OutboxStatistics(
        healthy=False,
        fault="not opened yet",
        policy=settings.drop,
        epoch=0,
        next_seq=1,
        packs=0,
        payload_bytes=0,
        file_bytes=0,
        unstamped=0,
        oldest_s=None,
        dropped_packs=0,
        dropped_readings=0,
        turned_away_drafts=0,
        turned_away_readings=0,
        damaged_packs=0,
        salvaged_packs=0,
        files_replaced=0,
    )
