"""The worker of the outbox: asks the book what is due, hands it to the post, and notes the answers.

Stateless but for what is under way: the book knows everything else, so a process that dies anywhere goes on where it
was. A letter that was accepted in the moment before is sent once more then, under the same id.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final, Protocol
from uuid import uuid4

from lichtmast.ingest.notifying.limits import FORGET_EVERY_S, POLL_S, SENDERS_MAX
from lichtmast.ingest.notifying.patience import next_try_us
from lichtmast.registry.errors import RegistryError
from lichtmast.registry.notifying import Answer, DeliveryState, Letter, Notice, NotificationBook
from lichtmast.wire.faultpoint import faultpoint

_log = logging.getLogger(__name__)

_FORGET_ROUNDS: Final = int(FORGET_EVERY_S / POLL_S)


class Sends(Protocol):
    """What carries a letter out of the house."""

    async def send(self, letter: Letter) -> Answer:
        """One attempt."""


class Notifier:
    """Run `run()` as a task for as long as the program lives."""

    def __init__(
        self,
        book: NotificationBook,
        post: Sends,
        clock_us: Callable[[], int] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._book = book
        self._post = post
        self._clock_us = clock_us or _now_us
        self._chance = chance
        self._busy: set[int] = set()
        self._slots = asyncio.Semaphore(SENDERS_MAX)
        self._wake = asyncio.Event()
        self.sent = 0
        self.failed = 0

    async def run(self) -> None:
        """Keep the outbox empty until cancelled."""
        rounds = 0
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._start_due(group)
                    if rounds % _FORGET_ROUNDS == 0:
                        await asyncio.to_thread(self._book.forget, self._clock_us())
                except RegistryError as error:
                    _log.warning("notifications_wait reason=%s", error)
                except Exception:  # noqa: BLE001 - the outermost loop of this task: a full disk ends no Lichtmast
                    _log.exception("notifications_wait")
                rounds += 1
                await self._wait_for_work()

    async def send_test(self, channel_id: int) -> Answer:
        """Send a test message now, past the outbox; what the other side said. Raises UnknownChannelError."""
        channel = await asyncio.to_thread(self._book.channel, channel_id)
        tenant, name = channel.draft.tenant, channel.draft.name
        notice = Notice(0, 0, "test", self._clock_us(), tenant, name, "info", f"channel/{name}", name, "")
        return await self._post.send(Letter(uuid4().hex, channel, (notice,)))

    async def _start_due(self, group: asyncio.TaskGroup) -> None:
        while await asyncio.to_thread(self._book.advance, self._clock_us()):
            pass
        # A channel that was busy when the book was asked may have settled since: what the book said is old then. What
        # waits for it comes at the next round, which its end asks for.
        was_busy = frozenset(self._busy)
        for letter in await asyncio.to_thread(self._book.letters, self._clock_us()):
            if letter.channel.id not in was_busy:
                self._busy.add(letter.channel.id)
                group.create_task(self._carry(letter), name=f"notify-{letter.channel.id}")

    async def _carry(self, letter: Letter) -> None:
        try:
            async with self._slots:
                faultpoint("notifying.before_send")
                answer = await self._post.send(letter)
            if answer.accepted:
                faultpoint("notifying.answered")
            await self._settle(letter, answer)
        except Exception:  # noqa: BLE001 - the outermost loop of this task, as is said below
            # One letter that cannot even be tried must not stop the others; it is tried again at the next round.
            _log.exception("notification_not_sent message=%s channel=%s", letter.id, letter.channel.draft.name)
            await asyncio.sleep(POLL_S)
        finally:
            self._busy.discard(letter.channel.id)
            self._wake.set()

    async def _settle(self, letter: Letter, answer: Answer) -> None:
        """Note the answer, until the register takes it: forgetting a yes would double a message."""
        at_us = self._clock_us()
        next_us = None
        state = DeliveryState.SENT if answer.accepted else DeliveryState.FAILED
        if not answer.accepted and not answer.final:
            first_us = letter.first_tried_at_us or at_us
            next_us = next_try_us(letter.attempts + 1, first_us, at_us, self._chance())
            state = DeliveryState.FAILED if next_us is None else DeliveryState.WAITING
        while True:
            try:
                await asyncio.to_thread(self._book.settle, letter, state, answer.words, at_us=at_us, next_us=next_us)
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, a full disk too: the answer was given
                _log.warning("notification_answer_not_noted message=%s reason=%s", letter.id, error)
                await asyncio.sleep(POLL_S)
        self._tell(letter, state, answer.words)

    def _tell(self, letter: Letter, state: DeliveryState, words: str) -> None:
        name = f"{letter.channel.draft.tenant}/{letter.channel.draft.name}"
        if state is DeliveryState.SENT:
            self.sent += 1
            _log.info("notification_sent channel=%s message=%s notices=%d", name, letter.id, len(letter.notices))
        elif state is DeliveryState.WAITING:
            _log.warning("notification_postponed channel=%s message=%s answer=%r", name, letter.id, words)
        else:
            self.failed += 1
            _log.error("notification_given_up channel=%s message=%s answer=%r", name, letter.id, words)

    async def _wait_for_work(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()


def _now_us() -> int:
    return time.time_ns() // 1_000
