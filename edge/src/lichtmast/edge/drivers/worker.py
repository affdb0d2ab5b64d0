"""A driver in a thread of its own: it may hang, raise or lie, and nobody else waits for it.

One call is out at a time. A call that is over its deadline leaves the driver *hanging*: it is skipped until the call
returns, and its late result is thrown away. After REPLACE_AFTER_S a fresh driver in a fresh thread takes its place.

Will not: end a thread, because nothing can. One that never returns stays, with what its driver has opened, and holds
nothing up (it is a daemon); at most ABANDONED_MAX are left behind, then only a restart of the agent helps.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from random import Random
from typing import Any, Final

from lichtmast.edge.drivers import limits
from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.port import Channel, Driver, Value
from lichtmast.edge.drivers.values import checked_channels, checked_values, fault_of, reason_of
from lichtmast.edge.errors import EdgeError

_RETRY_EXPONENT_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """What became of the calls.

    `skipped` reads were not tried: the driver hung or was given time to recover. `last_reason` is what is wrong now,
    told or not; "" after a clean read.
    """

    reads: int
    failures: int
    skipped: int
    refused_values: int
    hangs: int
    hanging: bool
    abandoned_threads: int
    last_reason: str


class Worker:
    """One driver and its thread. Construct and use it on the event loop; raises what `build` raises.

    `on_refused(name, reason)` is called on the loop with what the operator should know, at most once in TELL_EVERY_S.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Driver],
        *,
        wanted: frozenset[str],
        seed: int,
        monotonic_s: Callable[[], float],
        on_refused: Callable[[str, str], None],
        timeout_s: float = limits.READ_TIMEOUT_S,
    ) -> None:
        self.name = name
        self._build = build
        self._wanted = wanted
        self._chance = Random(seed)  # noqa: S311 - spreads retries
        self._monotonic_s = monotonic_s
        self._on_refused = on_refused
        self._timeout_s = timeout_s
        driver = build()
        self.channels: tuple[Channel, ...] = checked_channels(driver)
        # A driver that sees addresses might put one into the text of an error; only the error's kind is repeated.
        private = any(one.kind == "identifiers" for one in self.channels)
        self._words: Callable[[object], str] = (lambda cause: type(cause).__name__) if private else reason_of
        self._hand = _Hand(driver, name)
        self._abandoned: list[_Hand] = []
        self._turn = asyncio.Lock()
        self._overdue: asyncio.Future[Any] | None = None
        self._overdue_since_s = 0.0
        self._failures_in_row = 0
        self._retry_at_s = float("-inf")
        self._trouble = self._told = ""
        self._tell_at_s = float("-inf")
        self._reads = self._failures = self._skipped = self._refused_values = self._hangs = 0

    def statistics(self) -> WorkerStatistics:
        """What became of the calls so far."""
        self._abandoned = [one for one in self._abandoned if one.is_alive()]
        return WorkerStatistics(
            self._reads,
            self._failures,
            self._skipped,
            self._refused_values,
            self._hangs,
            self._overdue is not None,
            len(self._abandoned),
            self._trouble,
        )

    async def read(self) -> Mapping[str, Value]:
        """The clean values that the driver has now. Empty where it fails, hangs or recovers; never raises for it."""
        async with self._turn:
            now_s = self._monotonic_s()
            if not self._can_be_asked(now_s) or now_s < self._retry_at_s:
                self._skipped += 1
                return {}
            self._reads += 1
            try:
                good, refused = await self._ask(
                    lambda driver: checked_values(self.channels, self._wanted, driver.read(), self._words)
                )
            except DriverError as error:
                self._failed(str(error))
                return {}
            self._refused_values += len(refused)
            if not good and refused:
                self._failed(_joined(refused))
                return {}
            self._failures_in_row = 0
            self._tell(_joined(refused))
            return dict(good)

    async def write(self, channel: str, value: float | bool) -> None:  # noqa: FBT001 - it is the value
        """Move an actuator; a switch is on at any level above 0. Raises DriverError.

        Takes at most the driver's timeout, after that of a read that is out.
        """
        found = next((one for one in self.channels if one.name == channel), None)
        if found is None or not found.writable:
            raise DriverError(f"driver {self.name}: there is no writable channel {channel}")
        if found.kind == "boolean" and type(value) is float:
            value = value > 0
        fault = fault_of(found, value)
        if fault is not None:
            raise DriverError(f"driver {self.name}: {channel} cannot be set: {fault}")
        async with self._turn:
            if not self._can_be_asked(self._monotonic_s()):
                raise DriverError(f"driver {self.name} hangs; {channel} was not set")
            await self._ask(lambda driver: driver.write(channel, value))

    async def close(self) -> None:
        """Let the driver let go of its devices, for CLOSE_TIMEOUT_S at most."""
        self._hand.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.CLOSE_TIMEOUT_S):
                await self._hand.wait_left()

    def _can_be_asked(self, now_s: float) -> bool:
        """Whether a call may go out now; puts a fresh driver in the place of one that hangs for too long."""
        if self._overdue is None:
            return True
        self._abandoned = [one for one in self._abandoned if one.is_alive()]
        if now_s - self._overdue_since_s < limits.REPLACE_AFTER_S:
            return False
        if len(self._abandoned) >= limits.ABANDONED_MAX:
            self._tell(f"{len(self._abandoned) + 1} calls never returned; only a restart of the agent helps")
            return False
        try:
            fresh = _Hand(self._build(), self.name)
        except EdgeError as error:
            self._failed(f"cannot be made anew: {self._words(error)}")
            self._overdue_since_s = now_s
            return False
        self._hand.leave()
        self._abandoned.append(self._hand)
        self._hand = fresh
        self._overdue = None
        return True

    async def _ask(self, call: Callable[[Driver], Any]) -> Any:  # noqa: ANN401 - what the call returns
        """Have the thread make the call. Raises DriverError with harmless words, also when the deadline passes."""
        asked_s = self._monotonic_s()
        answer = self._hand.ask(call)
        try:
            async with asyncio.timeout(self._timeout_s):
                outcome = await asyncio.shield(answer)
        except TimeoutError:
            self._hangs += 1
            self._leave_behind(answer, asked_s)
            raise DriverError(f"has not answered for {self._timeout_s:g} s; it is skipped until it does") from None
        except asyncio.CancelledError:
            self._leave_behind(answer, asked_s)
            raise
        if isinstance(outcome, _Raised):
            raise DriverError(self._words(outcome.error))
        return outcome

    def _leave_behind(self, answer: asyncio.Future[Any], asked_s: float) -> None:
        self._overdue, self._overdue_since_s = answer, asked_s
        answer.add_done_callback(self._returned)

    def _returned(self, answer: asyncio.Future[Any]) -> None:
        if self._overdue is answer:
            self._overdue = None

    def _failed(self, reason: str) -> None:
        self._failures += 1
        exponent = min(self._failures_in_row, _RETRY_EXPONENT_MAX)
        full_s = min(limits.RETRY_S_MAX, limits.RETRY_S * 2.0**exponent)
        self._failures_in_row += 1
        self._retry_at_s = self._monotonic_s() + full_s * (1 - self._chance.random() / 2)
        self._tell(reason)

    def _tell(self, reason: str) -> None:
        """Report what is new; "" takes the last report back silently, so that the same trouble is told again later."""
        now_s = self._monotonic_s()
        self._trouble = reason
        if not reason:
            self._told = ""
        elif reason != self._told and now_s >= self._tell_at_s:
            self._told, self._tell_at_s = reason, now_s + limits.TELL_EVERY_S
            self._on_refused(self.name, reason)


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


class _Hand:
    """A daemon thread that makes one driver's calls, in order, until it is told to leave."""

    def __init__(self, driver: Driver, name: str) -> None:
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[tuple[Callable[[Driver], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self._left = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name=f"driver {name}", daemon=True)
        self._thread.start()

    def ask(self, call: Callable[[Driver], Any]) -> asyncio.Future[Any]:
        """The future outcome; an error comes as a _Raised, so that one nobody waits for makes no noise."""
        answer = self._loop.create_future()
        self._jobs.put((call, answer))
        return answer

    def leave(self) -> None:
        """Close the driver after the calls that are out, and end."""
        self._jobs.put(None)

    async def wait_left(self) -> None:
        """Return when the driver is closed."""
        await self._left.wait()

    def is_alive(self) -> bool:
        """Whether a call is still out, or the thread waits for one."""
        return self._thread.is_alive()

    def _work(self) -> None:
        # The loop may be closed when a call returns late; then nobody waits for the answer any more.
        with suppress(RuntimeError):
            while (job := self._jobs.get()) is not None:
                call, answer = job
                outcome: Any
                try:
                    outcome = call(self._driver)
                except BaseException as error:  # noqa: BLE001 - the thread's outermost; a driver may even exit
                    outcome = _Raised(error)
                self._loop.call_soon_threadsafe(_settle, answer, outcome)
                del job, call, answer, outcome  # else the last values, identifiers among them, stay until the next call
        with suppress(BaseException):  # whatever it raises now, it is gone
            self._driver.close()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._left.set)


def _settle(answer: asyncio.Future[Any], outcome: object) -> None:
    if not answer.done():
        answer.set_result(outcome)


def _joined(refused: Mapping[str, str]) -> str:
    """All refusals of a read as one bounded line."""
    text = "; ".join(f"{name}: {reason}" if name else reason for name, reason in sorted(refused.items()))
    return text[: limits.REASON_LENGTH_MAX]
