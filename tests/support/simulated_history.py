"""One history: a pole and a server, faults by a seeded schedule, peace, and the verdict.

scripts/history SEED        tells everything that happened in the history of this seed
"""

import asyncio
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulated_links import Broker
from simulated_pole import Pole, seed_epochs
from simulated_server import DEVICE, DEVICE_ROW, ROSTER
from simulated_world import World, run_virtually
from xxhash import xxh3_64_intdigest

from lichtmast.firmware_sim.checker import Arrival, Books, Evidence, Fate, PackKey, Row, check
from lichtmast.store.memory import MemoryStore
from lichtmast.store.port import Outcome
from lichtmast.wire import Quality, faultpoint

FAULTS_S = 100.0
"""How long things go wrong."""
PEACE_S = 20.0
"""How long it goes on measuring after that: what was dropped at the end still wants a pack to say so."""
DRAINED_WITHIN_S = 400.0
"""I12: then, at the latest, nothing is left in the outbox, and everything in the log is in the store."""
UNCERTAIN_S = 2.0
"""A clock that may be off by more says so, and its readings are flagged (docs/adr/0022)."""

MEMORY = Path("/dev/shm")  # noqa: S108 - no disk need turn for a simulation
FATES = {
    Outcome.STORED: Fate.STORED,
    Outcome.QUARANTINED: Fate.QUARANTINED,
    Outcome.DUPLICATE: Fate.DUPLICATE,
    Outcome.REPLAYED: Fate.REPLAYED,
}
SUFFIXES = ("/air/0/pm10", "/air/0/pm25")
SERIES = {
    (str(DEVICE), suffix): int(ROSTER.datastreams[DEVICE_ROW, ROSTER.suffix_codes[suffix]]) for suffix in SUFFIXES
}
Fault = Callable[[World, Broker, Pole], None]


@dataclass(frozen=True)
class Lived:
    """What a history left behind, for the checker."""

    seed: int
    books: Books
    evidence: Evidence
    qualities: dict[tuple[int, int], int]
    true_us: dict[float, int]
    given: dict[int, int]
    lost_with_card: set[PackKey]
    drafts: int
    turned_away: int
    uncertain: int
    left: int
    twice: list[str]
    bites: Counter[str]
    diary: list[str]

    @property
    def faults(self) -> list[str]:
        """What is wrong; nothing, if all is well."""
        report = check(self.books, self.evidence, fingerprint=xxh3_64_intdigest, seed=self.seed)
        found = [f"{one.kind}: {one.message}" for one in report.faults]
        if self.left:
            found.append(f"not_drained: {self.left} packs are in the outbox {DRAINED_WITHIN_S} s after the last fault")
        found += [f"measured_once_sent_twice: {one}" for one in self.twice]
        return found + self._numbers() + self._times()

    def _numbers(self) -> list[str]:
        """Every number that was given has a fate on the server, and every draft a number or a counter."""
        told = {one.key for one in self.evidence.arrivals or ()} | set(self.evidence.dropped or ())
        found = [
            f"unaccounted: {key}"
            for epoch, count in self.given.items()
            for key in (PackKey(str(DEVICE), epoch, seq) for seq in range(1, count + 1))
            if key not in told and key not in self.lost_with_card
        ]
        given = sum(self.given.values()) + self.turned_away
        if not self.drafts - self.uncertain <= given <= self.drafts:
            found.append(f"drafts: {self.drafts} measured, {given} numbered or counted, {self.uncertain} uncertain")
        return found

    def _times(self) -> list[str]:
        """A reading has the time at which it was measured, or says that its clock was uncertain."""
        found = []
        for row in self.evidence.paths["memory"]:
            true_us = self.true_us.get(float(row.value))
            sure = not self.qualities.get((row.datastream, row.time_us), 0) & Quality.TIME_UNCERTAIN
            if true_us is not None and sure and abs(row.time_us - true_us) > UNCERTAIN_S * 1.05 * 1e6:
                found.append(
                    f"wrong_time: {row.value} is {(row.time_us - true_us) / 1e6:+.3f} s off and does not say so"
                )
        return found


def live(seed: int, *, verbose: bool = False, script: Sequence[tuple[float, str]] = ()) -> Lived:
    """Live through the history of a seed; a script says when which fault befalls instead of chance."""
    world = World(seed, verbose=verbose)
    folder = Path(tempfile.mkdtemp(prefix="history-", dir=MEMORY if MEMORY.is_dir() else None))
    lived: list[Lived] = []

    async def story() -> None:
        broker = Broker(world)
        pole = Pole(world, broker, folder)
        pole.keeper = asyncio.current_task()  # type: ignore[assignment]  # there is one
        await _go_through(world, broker, pole, script or _draw_script(world))
        lived.append(_left_behind(world, broker.ingest.store, pole))
        pole.kill(1e9)
        await asyncio.sleep(0.1)

    try:
        with _seeded_epochs(world):
            run_virtually(story())
    finally:
        faultpoint.disarm()
        shutil.rmtree(folder)
    return lived[0]


def live_through(seeds: Sequence[int]) -> tuple[Counter[str], dict[int, list[str]]]:
    """Many histories: how often each fault bit, and what was wrong, by seed."""
    logging.disable(logging.CRITICAL)  # what the agent says of thousands of faults
    bites: Counter[str] = Counter()
    failed: dict[int, list[str]] = {}
    for seed in seeds:
        try:
            lived = live(seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it has a seed
            failed[seed] = [f"{type(error).__name__}: {error}"]
            continue
        bites += lived.bites
        if lived.faults:
            failed[seed] = lived.faults
    return bites, failed


class _seeded_epochs:  # noqa: N801 - used as a function
    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> None:
        self._undo: list[tuple[object, str, object]] = []

        def replace(owner: object, name: str, value: object) -> None:
            self._undo.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)

        seed_epochs(self._world, replace)

    def __exit__(self, *_: object) -> None:
        for owner, name, value in self._undo:
            setattr(owner, name, value)


def _draw_script(world: World) -> list[tuple[float, str]]:
    chance, names = world.chance, sorted(FAULTS)
    return [(chance.uniform(0.0, FAULTS_S), chance.choice(names)) for _ in range(chance.randint(2, 6))]


async def _go_through(world: World, broker: Broker, pole: Pole, script: Sequence[tuple[float, str]]) -> None:
    pole.boot()
    for at_s, name in script:
        world.loop.call_at(at_s, _befall, name, world, broker, pole)
    await asyncio.sleep(FAULTS_S)
    world.note("peace")
    world.loss = world.duplication = world.ack_loss = 0.0
    world.blocked.clear()
    world.delay_s = (0.01, 0.2)
    broker.door.busy = broker.ingest.silent = False
    broker.ingest.dies_at = broker.door.dies_at = ""
    broker.ingest.kick()
    pole.loosen_card(0)
    faultpoint.disarm()
    await asyncio.sleep(PEACE_S)
    pole.measuring = False
    until_s = world.now_s + DRAINED_WITHIN_S
    while world.now_s < until_s:
        await asyncio.sleep(2.0)
        if pole.outbox is not None and not await _waiting(pole) and broker.ingest.has_all:
            break
    pole.end()


async def _waiting(pole: Pole) -> int:
    assert pole.outbox is not None
    await pole.outbox.flush()
    told = pole.outbox.statistics()
    return told.packs + told.memory_drafts if told.healthy else 1


def _befall(name: str, world: World, broker: Broker, pole: Pole) -> None:
    world.note("befalls", name)
    FAULTS[name](world, broker, pole)


def _left_behind(world: World, store: MemoryStore, pole: Pole) -> Lived:
    books = pole.books
    arrivals = [
        Arrival(PackKey(row["device"], row["epoch"], row["seq"]), FATES[row["outcome"]], row["digest"])
        for row in store._ledger
        if row["seq"] is not None
    ]
    came = {one.key for one in arrivals}
    for key in pole.lost_with_card & books.packs.keys():
        if key in came:  # nobody could hear its answer
            books.packs[key].acked_us = books.packs[key].acked_us or world.now_us()
        elif books.packs[key].acked_us is None:
            del books.packs[key]
    told = pole.outbox.statistics() if pole.outbox is not None else None
    world.bites["turned_away"] += told.turned_away_drafts if told else 0
    world.bites["quarantined"] += store._quarantine != []
    evidence = Evidence(
        paths={
            "memory": [Row(row["datastream_id"], row["phenomenon_time"], row["result"]) for row in store._observations]
        },
        arrivals=arrivals,
        quarantine=[row["payload"] for row in store._quarantine],
        dropped={
            PackKey(row["device"], row["epoch"], seq)
            for row in store.dropped().to_pylist()
            for seq in range(row["first"], row["last"] + 1)
        },
        outbox=(),
        series=SERIES,
    )
    return Lived(
        world.seed,
        books,
        evidence,
        {(row["datastream_id"], row["phenomenon_time"]): row["quality"] for row in store._observations},
        pole.true_us,
        pole.given,
        pole.lost_with_card,
        pole.drafts,
        pole.turned_away + (told.turned_away_drafts + told.lost_drafts if told else 0),
        pole.uncertain,
        told.packs + told.memory_drafts if told else 1,
        pole.twice,
        world.bites,
        world.diary,
    )


# The faults ---------------------------------------------------------------------------------------------------------


def _for_a_while(world: World, longest_s: float, begin: Callable[[], None], end: Callable[[], None]) -> None:
    begin()
    world.loop.call_later(world.chance.uniform(1.0, longest_s), end)


def _partition(name: str, *directions: str) -> Fault:
    def befall(world: World, _: Broker, __: Pole) -> None:
        world.bite(f"partition_{name}")
        _for_a_while(
            world,
            60.0,
            lambda: world.blocked.update(directions),
            lambda: world.blocked.difference_update(directions),
        )

    return befall


def _bad_air(world: World, _: Broker, __: Pole) -> None:
    def begin() -> None:
        world.loss, world.duplication, world.delay_s = 0.3, 0.3, (0.05, 2.5)

    def end() -> None:
        world.loss, world.duplication, world.delay_s = 0.0, 0.0, (0.01, 0.2)

    _for_a_while(world, 80.0, begin, end)


def _lose_acks(world: World, _: Broker, __: Pole) -> None:
    _for_a_while(world, 60.0, lambda: setattr(world, "ack_loss", 0.7), lambda: setattr(world, "ack_loss", 0.0))


def _spoil_acks(world: World, broker: Broker, _: Pole) -> None:
    for __ in range(6):
        world.loop.call_later(world.chance.uniform(0.0, 40.0), _lie, world, broker)


def _lie(world: World, broker: Broker) -> None:
    kinds = ("ack_garbled", "ack_stale", "ack_of_another_epoch", "ack_of_what_was_never_sent")
    broker.whisper(world.chance.choice(kinds))


def _kill_pole(world: World, _: Broker, pole: Pole) -> None:
    world.bite("agent_killed")
    pole.kill(world.chance.uniform(1.0, 30.0))


def _take_card(world: World, _: Broker, pole: Pole) -> None:
    pole.kill(world.chance.uniform(1.0, 10.0), new_card=True)


def _kill_pole_at_a_point(world: World, _: Broker, pole: Pole) -> None:
    point = world.chance.choice([one for one in faultpoint.POINTS if one.startswith("edge.") and "config" not in one])
    if pole.outbox is not None:
        pole.arm(point, world.chance.randint(1, 3), world.chance.uniform(1.0, 15.0))


def _loosen_card(world: World, _: Broker, pole: Pole) -> None:
    pole.loosen_card(world.chance.randint(1, 3))


def _jump_clock(world: World, _: Broker, pole: Pole) -> None:
    pole.lie_about_time(world.chance.choice((-3_600.0, 3_600.0, 86_400.0, -30.0)))


def _measure_wrongly(world: World, _: Broker, pole: Pole) -> None:
    pole.measure_wrongly(world.chance.randint(1, 3))


def _kill_broker(world: World, broker: Broker, _: Pole) -> None:
    if broker.up:
        world.bite("broker_killed")
        broker.kill(world.chance.uniform(0.5, 30.0), cut=world.chance.choice((0, 0, 1, 3, 6)))


def _lose_what_the_broker_took(world: World, broker: Broker, pole: Pole) -> None:
    """PUBACKs go out, nobody reads the log, and then a power cut takes its tail."""

    def cut() -> None:
        broker.ingest.silent = False
        if broker.up and world.now_s < FAULTS_S:
            world.bite("broker_killed")
            broker.kill(world.chance.uniform(0.5, 20.0), cut=len(broker.log.messages) - broker.ingest.offset)

    del pole
    broker.ingest.silent = True
    after_s = world.chance.uniform(8.0, 30.0)
    world.loop.call_later(after_s - 2.0, _lie, world, broker)
    world.loop.call_later(after_s, cut)


def _replace_log(world: World, broker: Broker, pole: Pole) -> None:
    if broker.up:
        _kill_broker(world, broker, pole)
        broker.replace_log()


def _kill_ingest(world: World, broker: Broker, _: Pole) -> None:
    if broker.ingest.up:
        world.bite("ingest_killed")
        broker.ingest.kill(world.chance.uniform(0.5, 30.0))


def _kill_ingest_at_a_point(world: World, broker: Broker, _: Pole) -> None:
    broker.ingest.dies_at = world.chance.choice([one for one in faultpoint.POINTS if one.startswith("ingest.")])


def _silence(world: World, broker: Broker, _: Pole) -> None:
    def end() -> None:
        broker.ingest.silent = False
        broker.ingest.kick()

    world.bite("server_silent")
    _for_a_while(world, 60.0, lambda: setattr(broker.ingest, "silent", True), end)


def _kill_door_at_a_point(world: World, broker: Broker, _: Pole) -> None:
    broker.door.dies_at = world.chance.choice([one for one in faultpoint.POINTS if one.startswith("coap.")])


def _overload_door(world: World, broker: Broker, _: Pole) -> None:
    _for_a_while(world, 40.0, lambda: setattr(broker.door, "busy", True), lambda: setattr(broker.door, "busy", False))


def _break_connection(world: World, broker: Broker, _: Pole) -> None:
    world.bites["connection_reset"] += len(broker.connections)
    broker.break_connections()


def _publish_twice(world: World, broker: Broker, _: Pole) -> None:
    broker.twice += world.chance.randint(1, 4)


FAULTS: dict[str, Fault] = {
    "partition": _partition("full", "mqtt_up", "mqtt_down", "coap_up", "coap_down"),
    "one way up": _partition("up", "mqtt_up", "coap_up"),
    "one way down": _partition("down", "mqtt_down", "coap_down"),
    "no mqtt": _partition("mqtt", "mqtt_up", "mqtt_down"),
    "bad air": _bad_air,
    "lose acks": _lose_acks,
    "spoil acks": _spoil_acks,
    "kill pole": _kill_pole,
    "kill pole at a point": _kill_pole_at_a_point,
    "take card": _take_card,
    "loosen card": _loosen_card,
    "jump clock": _jump_clock,
    "measure wrongly": _measure_wrongly,
    "kill broker": _kill_broker,
    "lose what the broker took": _lose_what_the_broker_took,
    "replace log": _replace_log,
    "kill ingest": _kill_ingest,
    "kill ingest at a point": _kill_ingest_at_a_point,
    "silence": _silence,
    "kill door at a point": _kill_door_at_a_point,
    "overload door": _overload_door,
    "break connection": _break_connection,
    "publish twice": _publish_twice,
}


def main() -> None:
    """Tell one history."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        raise SystemExit("usage: scripts/history SEED, the number that a failed simulation printed")
    lived = live(int(sys.argv[1]), verbose=True)
    print(*lived.diary, sep="\n")  # noqa: T201 - it is a command
    print("bites:", dict(sorted(lived.bites.items())))  # noqa: T201
    print(*(lived.faults or ["sound"]), sep="\n")  # noqa: T201
    raise SystemExit(1 if lived.faults else 0)


if __name__ == "__main__":
    main()
