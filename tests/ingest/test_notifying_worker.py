"""The worker: everything once, a crash loses nothing, and only an answer that was never noted is given twice."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import copyfile
from typing import Any, cast

import pytest
from notification_town import HERE, MINUTE_US, NotificationTown, notification_town
from smtp_server import SmtpServer, smtp_server

from lichtmast.ingest.notifying import Notifier
from lichtmast.ingest.notifying.limits import GIVE_UP_S, RETRY_MAX_S, RETRY_S, SENDERS_MAX
from lichtmast.ingest.notifying.patience import next_try_us
from lichtmast.registry import Registry, RegistryBusyError
from lichtmast.registry.notifying import Answer, DeliveryState, Letter, NotificationBook, UnknownChannelError
from lichtmast.wire.faultpoint import EXIT_CODE

SUPPORT = Path(__file__).parents[1] / "support"
YES = Answer(accepted=True, words="taken")
WORKER = """
import asyncio, os, sys, time
from pathlib import Path
from lichtmast.ingest.notifying import BrokerLine, NotifyingSettings, SmtpSecurity, SmtpSettings, notifying
from lichtmast.registry import Registry
from lichtmast.wire.faultpoint import arm, parse_faults
arm(parse_faults(sys.argv[3]), leave=os._exit, sleep=time.sleep)
smtp = SmtpSettings("::1", "lichtmast@example.nl", int(sys.argv[2]), SmtpSecurity.NONE)
settings = NotifyingSettings("https://lichtmast.example.nl/", smtp)
with Registry.open(Path(sys.argv[1])) as registry:
    clock = lambda: time.time_ns() // 1000
    asyncio.run(notifying(registry.notifying, None, BrokerLine("::1", 1, "", ""), settings, clock).run())
"""


class Sends:
    """A post that answers as it is told, and counts who is out at the same time."""

    def __init__(self, answer: Callable[[Letter], Answer] = lambda _: YES) -> None:
        self.answer = answer
        self.letters: list[Letter] = []
        self.out: Counter[int] = Counter()
        self.most = 0
        self.hold: asyncio.Event | None = None

    async def send(self, letter: Letter) -> Answer:
        self.letters.append(letter)
        self.out[letter.channel.id] += 1
        assert self.out[letter.channel.id] == 1, "two letters of one channel at the same time"
        self.most = max(self.most, self.out.total())
        if self.hold is not None:
            await self.hold.wait()
        self.out[letter.channel.id] -= 1
        return self.answer(letter)


@pytest.fixture(scope="module")
def empty_register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated register to copy, because migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("registry") / "empty.sqlite"
    Registry.open(path).close()
    return path


@pytest.fixture
def path(tmp_path: Path, empty_register: Path) -> Path:
    return Path(copyfile(empty_register, tmp_path / "register.sqlite"))


@pytest.fixture
def town(path: Path) -> Iterator[NotificationTown]:
    with notification_town(path) as opened:
        yield opened


@asynccontextmanager
async def working(town: NotificationTown, post: Sends) -> AsyncIterator[Notifier]:
    notifier = Notifier(town.book, post, lambda: town.now_us, lambda: 0.0)
    task = asyncio.create_task(notifier.run())
    yield notifier
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def states(town: NotificationTown) -> list[str]:
    return sorted(one.state for one in town.book.deliveries(HERE, limit=1000))


@pytest.mark.slow
def test_a_message_that_was_refused_is_tried_again_and_then_given_up_in_the_open(
    town: NotificationTown, caplog: pytest.LogCaptureFixture
) -> None:
    town.channel()
    town.notice()
    post = Sends(lambda _: Answer(accepted=False, words="451 later"))

    async def scenario() -> None:
        async with working(town, post) as notifier:
            await until(lambda: states(town) == ["waiting"] and town.book.deliveries(HERE)[0].attempts == 1)
            town.now_us += int(RETRY_S * 1_000_000)
            await until(lambda: town.book.deliveries(HERE)[0].attempts == 2)
            town.now_us += GIVE_UP_S * 1_000_000
            await until(lambda: notifier.failed == 1)

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert states(town) == ["failed"]
    assert len({one.id for one in post.letters}) == 1
    assert "notification_given_up" in caplog.text


class SlowBook:
    """The book, whose second answer about letters is on its way until somebody lets it go."""

    def __init__(self, book: NotificationBook) -> None:
        self._book = book
        self._asked = 0
        self.has_answered = threading.Event()
        self.may_go = threading.Event()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the book has
        return getattr(self._book, name)

    def letters(self, now_us: int) -> list[Letter]:
        found = self._book.letters(now_us)
        self._asked += 1
        if self._asked == 2:
            self.has_answered.set()
            assert self.may_go.wait(60)
        return found


@pytest.mark.slow
def test_a_letter_that_arrives_while_the_book_is_asked_is_not_sent_again(town: NotificationTown) -> None:
    post, book = Sends(), SlowBook(town.book)
    town.channel()
    town.notice()

    async def scenario() -> None:
        post.hold = asyncio.Event()
        notifier = Notifier(cast("NotificationBook", book), post, lambda: town.now_us, lambda: 0.0)
        task = asyncio.create_task(notifier.run())
        await until(book.has_answered.is_set)
        post.hold.set()
        await until(lambda: states(town) == ["sent"])
        await until(lambda: notifier.sent == 1)
        book.may_go.set()
        town.notice()
        await until(lambda: states(town) == ["sent", "sent"])
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert len(post.letters) == 2, "one for each notice"


@pytest.mark.slow
def test_channels_go_beside_each_other_up_to_a_bound_and_each_in_order(town: NotificationTown) -> None:
    post = Sends()
    for number in range(SENDERS_MAX + 2):
        town.channel(f"c{number}")
    first = town.notice()

    async def scenario() -> None:
        post.hold = asyncio.Event()
        async with working(town, post):
            await until(lambda: post.out.total() == SENDERS_MAX)
            second = town.notice()
            post.hold.set()
            await until(lambda: states(town) == ["sent"] * 2 * (SENDERS_MAX + 2))
            for channel in town.book.channels():
                ids = [one.id for letter in post.letters if letter.channel.id == channel.id for one in letter.notices]
                assert ids == [first, second]

    asyncio.run(scenario())
    assert post.most == SENDERS_MAX


@pytest.mark.slow
def test_a_letter_that_breaks_its_sender_stops_nobody_else(
    town: NotificationTown, caplog: pytest.LogCaptureFixture
) -> None:
    broken, _ = town.channel("broken"), town.channel("good")
    town.notice()

    def answer(letter: Letter) -> Answer:
        if letter.channel.id == broken.id and len(post.letters) < 3:
            raise RuntimeError("a defect of ours")
        return YES

    post = Sends(answer)

    async def scenario() -> None:
        async with working(town, post):
            await until(lambda: states(town) == ["sent", "sent"])

    asyncio.run(scenario())
    assert "notification_not_sent" in caplog.text


@pytest.mark.slow
def test_a_yes_is_noted_again_and_again_while_the_register_is_busy_and_the_message_not_sent_again(
    town: NotificationTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.channel()
    town.notice()
    really, tries = town.book.settle, 0

    def settle(*args: Any, **fields: Any) -> None:  # noqa: ANN401 - as the book's
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RegistryBusyError("another process writes")
        really(*args, **fields)

    monkeypatch.setattr(town.book, "settle", settle)
    post = Sends()

    async def scenario() -> None:
        async with working(town, post):
            await until(lambda: states(town) == ["sent"])

    asyncio.run(scenario())
    assert (tries, len(post.letters)) == (2, 1)


@pytest.mark.slow
def test_the_test_button_gives_the_answer_of_the_other_side_and_writes_nothing(town: NotificationTown) -> None:
    channel = town.channel()
    post = Sends(lambda _: Answer(accepted=False, words="550 no such user", final=True))
    notifier = Notifier(town.book, post, lambda: town.now_us)
    assert asyncio.run(notifier.send_test(channel.id)).words == "550 no such user"
    assert [one.event for one in post.letters[0].notices] == ["test"]
    assert town.book.deliveries() == []
    with pytest.raises(UnknownChannelError):
        asyncio.run(notifier.send_test(99))


def test_waiting_doubles_to_a_bound_and_ends_with_a_last_try_after_a_day() -> None:
    at_us, attempts, waits = 0, 1, []
    while (next_us := next_try_us(attempts, 0, at_us, 0.0)) is not None:
        waits.append((next_us - at_us) / 1_000_000)
        at_us, attempts = next_us, attempts + 1
    assert waits[:4] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S, 8 * RETRY_S]
    assert max(waits) == RETRY_MAX_S
    assert at_us == GIVE_UP_S * 1_000_000
    assert next_try_us(1, 0, 0, 1.0) == int(RETRY_S / 2 * 1_000_000)


def work(town_path: Path, server: SmtpServer, faults: str = "") -> "subprocess.Popen[bytes]":
    """The real worker in a process of its own."""
    command = [sys.executable, "-c", WORKER, str(town_path), str(server.port), faults]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(SUPPORT)})


def finish(worker: "subprocess.Popen[bytes]", town: NotificationTown) -> None:
    """Let it work until the outbox is empty, and then kill it too."""
    try:
        asyncio.run(until(lambda: set(states(town)) == {"sent"}))
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(20)


@pytest.mark.slow
def test_a_worker_that_dies_loses_nothing_and_doubles_only_what_was_answered_and_not_noted(path: Path) -> None:
    with notification_town(path) as town, smtp_server() as server:
        town.now_us -= 365 * 24 * 60 * MINUTE_US  # due for the real clock
        town.channel()
        town.notice()
        for point, taken in (("notifying.before_send", 0), ("notifying.answered", 1)):
            with work(path, server, f"{point}=exit@1") as worker:
                assert worker.wait(60) == EXIT_CODE
            assert states(town) == ["waiting"]
            assert len(server.taken) == taken
        finish(work(path, server), town)
        assert len(server.taken) == 2
        assert len({mail["Message-ID"] for mail in server.taken}) == 1, "a copy is known by its id"


@pytest.mark.faults
def test_a_worker_killed_at_any_moment_tells_everything_and_each_copy_is_known_by_its_id(path: Path) -> None:
    kills = 6
    with notification_town(path) as town, smtp_server() as server:
        town.now_us -= 365 * 24 * 60 * MINUTE_US
        town.channel()
        town.channel("other", target="other@example.nl")
        notices: set[int] = set()
        for _ in range(kills):
            worker = work(path, server)
            before = len(server.taken)
            for _ in range(8):
                notices.add(town.notice())
            server.after_data = lambda worker=worker, until=before + 3: (  # type: ignore[misc] # bound per round
                worker.send_signal(signal.SIGKILL) if len(server.taken) >= until else None
            )
            while worker.poll() is None and len(server.taken) < before + 3:
                if len(notices) < 400:  # as many as one page of deliveries shows
                    notices.add(town.notice())
                with suppress(subprocess.TimeoutExpired):
                    worker.wait(0.2)
            assert worker.wait(60) == -signal.SIGKILL
        server.after_data = lambda: None
        finish(work(path, server), town)
        told = town.book.deliveries(HERE, limit=1000)
        assert {one.notice.id for one in told} == notices
        assert len(told) == 2 * len(notices)
        messages = Counter(mail["Message-ID"].partition("@")[0].strip("<") for mail in server.taken)
        assert set(messages) == {one.message for one in told}
        # At a kill each of the two channels may have one message between the other side's yes and its note.
        assert messages.total() - len(messages) <= 2 * kills
        assert {one.state for one in told} == {DeliveryState.SENT}


def test_a_full_disk_neither_ends_the_worker_nor_doubles_what_was_accepted(
    town: NotificationTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.channel()
    town.notice()
    post, tried = Sends(), Counter[str]()

    def full_at_first(name: str) -> None:
        work = getattr(town.book, name)

        def attempt(*told: Any, **more: Any) -> Any:  # noqa: ANN401 - stands for two methods
            tried[name] += 1
            if tried[name] <= 2:
                raise OSError("the disk is full, says the test")  # the driver's own error is none of the register's
            return work(*told, **more)

        monkeypatch.setattr(town.book, name, attempt)

    full_at_first("advance")
    full_at_first("settle")
    monkeypatch.setattr("lichtmast.ingest.notifying.notifier.POLL_S", 0.01)

    async def scenario() -> None:
        async with working(town, post):
            await until(lambda: states(town) == ["sent"])

    asyncio.run(scenario())
    assert (len(post.letters), tried["settle"]) == (1, 3)
