"""The server of a simulation: a log that can be rewound, the real ingest core, the real store in memory, two doors.

What decides is real: Transform, Sequences, Acks, judge, locate, MemoryStore. Here is only what carries things about.
"""

import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ingest_town import LogMessage, make_roster
from simulated_world import World

from lichtmast.ingest.log import Extent
from lichtmast.ingest.pipeline.acks import Acks
from lichtmast.ingest.pipeline.arrivals import collect
from lichtmast.ingest.pipeline.judge import Rejected, judge
from lichtmast.ingest.pipeline.position import locate
from lichtmast.ingest.pipeline.sequence import Sequences
from lichtmast.ingest.pipeline.transform import Transform
from lichtmast.store.memory import MemoryStore
from lichtmast.wire import topics
from lichtmast.wire.envelope import Enclosed, enclose
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.refusal import ANSWERS

DEVICE = DeviceId("gm0402", "lm-0")
ROSTER = make_roster(1)
DEVICE_ROW = ROSTER.device_of_name[str(DEVICE)]
_T = TypeVar("_T")


class Log:
    """READINGS: durable, but for what a power cut takes from its tail."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.created = 1
        self.messages: list[LogMessage] = []
        self.promised: set[int] = set()
        """Positions whose sender was told that the log has them on disk."""

    def append(self, subject: str, payload: bytes) -> int:
        position = len(self.messages) + 1
        self.messages.append(LogMessage(subject, payload, position, self._world.now_us()))
        return position

    def cut(self, behind: int) -> None:
        del self.messages[behind:]
        self.promised = {one for one in self.promised if one <= behind}

    async def extent(self, _: str) -> Extent:
        return Extent(self.created, 1, len(self.messages), 0, 1)

    async def message_at(self, _: str, position: int) -> LogMessage | None:
        return self.messages[position - 1] if position <= len(self.messages) else None


def now(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")


class Ingest:
    """The pipeline, in rounds. `dies_at` names the point of the next round at which it is killed."""

    def __init__(self, world: World, log: Log, tell: Callable[[bytes], None]) -> None:
        self._world = world
        self._log = log
        self._tell_device = tell
        self.store = MemoryStore()
        self.dies_at = ""
        self.up = False
        self.silent = False
        self._lives = itertools.count(1)
        self._life = 0
        self.start()

    def start(self) -> None:
        """Read everything anew from the store, as after any restart."""

        async def at_once(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - passes any result through
            return work()

        self.up = True
        self._life = next(self._lives)
        self._position = now(locate(self._log, self.store, at_once))  # type: ignore[arg-type]  # what is used of a log
        if "#" in self._position.name:
            self._world.bite("log_read_again", self._position)
        self.offset = self._position.offset
        progress = self.store.progress()
        rows = zip(*(column.to_pylist() for column in progress.columns), strict=True)
        self._transform = Transform(ROSTER, Sequences.restored(rows))
        self._acks = Acks()
        self._busy = False
        self._telling = False
        self.kick()

    @property
    def has_all(self) -> bool:
        """Whether the store has everything that is in the log."""
        return self.up and self.offset >= len(self._log.messages)

    def kill(self, down_s: float) -> None:
        self._world.note("ingest dies")
        self.up = False
        self._life = 0
        self.dies_at = ""
        self._world.loop.call_later(down_s, self._start_again)

    def _start_again(self) -> None:
        if not self.up:
            self.start()

    def kick(self) -> None:
        """There may be something in the log."""
        if self.up and not self.silent and not self._busy:
            self._busy = True
            self._world.loop.call_later(self._world.chance.uniform(0.1, 1.0), self._round, self._life)

    def _round(self, life: int) -> None:
        if life != self._life:
            return
        self._busy = False
        messages = self._log.messages[self.offset : self.offset + self._world.chance.choice((1, 50, 50))]
        if self.silent or not messages:
            return
        transform = self._transform
        prepared = transform.prepare(collect(messages, transform.roster))
        known = self.store.digests(prepared.doubtful_keys()) if prepared.doubtful else {}
        loose = self.store.existing(prepared.loose_keys()) if prepared.loose else None
        settled = transform.settle(prepared, known, loose, self._position.name)
        if self._dies("ingest.before_commit"):
            return
        self.store.commit(settled.batch)
        self.offset = settled.batch.offset
        self._world.bites["duplicate_received"] += settled.duplicates
        self._world.note("committed", f"upto {self.offset}, {settled.standings}")
        if self._dies("ingest.after_commit"):
            return
        self._acks.offer(settled.standings)
        self._tell(life)
        self.kick()

    def _tell(self, life: int) -> None:
        if life != self._life or self._telling:
            return
        due = list(self._acks.due(self._world.now_s))
        if due and self._dies("ingest.before_ack"):
            return
        for _, payload in due:
            self._tell_device(payload)
        if due and self._dies("ingest.after_ack"):
            return
        if len(self._acks):
            self._telling = True
            self._world.loop.call_later(0.1, self._tell_again, life)

    def _tell_again(self, life: int) -> None:
        if life == self._life:
            self._telling = False
            self._tell(life)

    def _dies(self, point: str) -> bool:
        if self.dies_at != point:
            return False
        self._world.bite(point)
        self.kill(self._world.chance.uniform(0.5, 20))
        return True


class Door:
    """The CoAP door: answers when the log has it. Remembers message ids as long as it lives."""

    def __init__(self, world: World, log: Log, kick: Callable[[], None], has_log: Callable[[], bool]) -> None:
        self._world = world
        self._log = log
        self._kick = kick
        self._has_log = has_log
        self.up = True
        self.busy = False
        self.dies_at = ""
        self._answers: dict[int, tuple[str, int | None, bytes]] = {}

    def kill(self, down_s: float) -> None:
        self.up = False
        self.dies_at = ""
        self._answers.clear()
        self._world.loop.call_later(down_s, self._start)

    def _start(self) -> None:
        self.up = True

    def take(self, message_id: int, content_format: int, payload: bytes) -> tuple[str, int | None, bytes] | None:
        """The answer; None where there is none."""
        if not self.up:
            return None
        if message_id in self._answers:
            self._world.bite("datagram_twice")
            return self._answers[message_id]
        if self.busy or not self._has_log():
            self._world.bite("coap_later")
            return "5.03", 3, b"the log takes nothing now"
        now_us = self._world.now_us()
        verdict = judge(payload, content_format, now_us, DEVICE_ROW, str(DEVICE), ROSTER)
        if self._dies("coap.before_log"):
            return None
        message = enclose([Enclosed(str(DEVICE), now_us, content_format, payload)])
        position = self._log.append(topics.COAP_DOOR_SUBJECT, message)
        self._kick()
        if self._dies("coap.after_log"):
            return None
        self._log.promised.add(position)
        answer: tuple[str, int | None, bytes] = ("2.04", None, b"")
        if isinstance(verdict, Rejected):
            answer = "{}.{:02}".format(*ANSWERS[verdict.refusal].coap), None, verdict.detail.encode()
        self._answers[message_id] = answer
        return answer

    def _dies(self, point: str) -> bool:
        if self.dies_at != point:
            return False
        self._world.bite(point)
        self.kill(self._world.chance.uniform(0.5, 15))
        return True
