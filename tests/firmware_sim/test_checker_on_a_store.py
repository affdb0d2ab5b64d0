"""The checker on a store that a real Lichtmast has written: what is done to its database by hand is found and named."""

import asyncio
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from fault_run import FaultRun, judge_folder, wait_acknowledged, write_history
from mqtt_bytes import connect, publish
from running_lichtmast import Running

from lichtmast.firmware_sim.checker import Books, Report
from lichtmast.firmware_sim.history import Entry, digest
from lichtmast.firmware_sim.under_test import AckListener
from lichtmast.store import DuckStore
from lichtmast.suite.folder import Folder
from lichtmast.wire import DeviceId, Reading, encode, topics

pytestmark = pytest.mark.slow
SEED = 20261122
EPOCH = 9
DROPPER = DeviceId("gm0402", "dropper-1")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaultRun, Books]:
    """A run that is sound, with a refused pack and two declared drops in it; all of it in the database."""
    folder = tmp_path_factory.mktemp("run")
    running = Running(Folder.choose(folder / "data"), folder / "output.log")
    run = FaultRun.prepare(running, folder, seed=SEED, devices=6)
    running.register(DROPPER.device, profile="noise")
    running.start()
    try:
        asyncio.run(live(run))
        drop(run)
        assert running.audit()["faults"] == []
        assert running.stop() == 0
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.kill()
            running.process.wait()
    store = DuckStore.open(running.folder.store, clock_us=lambda: 0)
    store.absorb()
    store.close()
    return run, run.books()


async def live(run: FaultRun) -> None:
    async with run.town() as town:
        await wait_acknowledged(town, 18)
        device = next(one for one in town.devices if one.spec.transport.value == "mqtt")
        assert device.misbehave(0, time.time_ns() // 1_000) is not None
        await wait_acknowledged(town, 30)


def drop(run: FaultRun) -> None:
    """A device that had to drop its first two packs, and says so in the third."""
    now_us = time.time_ns() // 1_000
    reading = Reading("/noise/0/level", 61.5, "dB", now_us)
    packs = [encode(DROPPER, [reading], epoch=EPOCH, seq=seq) for seq in (1, 2)]
    packs.append(encode(DROPPER, [reading], epoch=EPOCH, seq=3, dropped=[(1, 2)]))
    path = run.history.parent / "dropper.jsonl"
    entries = [Entry("attempt", DROPPER, EPOCH, 3, digest(packs[2]), now_us, packs[2])]
    entries += [Entry("dropped", DROPPER, EPOCH, seq, digest(packs[seq - 1]), now_us) for seq in (1, 2)]
    entries.append(Entry("ack", DROPPER, EPOCH, 3, digest(packs[2]), now_us))
    write_history(path, *entries)
    run.others.append(path)
    with (
        AckListener(DROPPER, ("::1", run.running.mqtt_port)) as ear,
        socket.create_connection(("::1", run.running.mqtt_port)) as link,
    ):
        link.sendall(connect("dropper") + publish(topics.up_topic(DROPPER), packs[2]))
        until_s = time.monotonic() + 30
        while not any(ack.covers(3) for ack in ear.heard):
            assert time.monotonic() < until_s
            time.sleep(0.05)


def fullest(database: duckdb.DuckDBPyConnection, kind: str) -> str:
    """The table that holds the rows: that of the day, or of those whose day has none yet."""
    tables: list[str] = [name for (name,) in database.execute("SHOW TABLES").fetchall() if name.startswith(kind)]
    return max(tables, key=lambda name: database.table(name).shape[0])


def judged(run: FaultRun, books: Books, folder: Path, *commands: str) -> Report:
    """The verdict on a copy of the store to which this was done."""
    shutil.copytree(run.running.folder.store, folder / "store")
    shutil.copy(run.running.folder.registry, folder / "registry.sqlite")
    with duckdb.connect(folder / "store/hot.duckdb") as database:
        of = {kind: fullest(database, kind) for kind in ("observations", "ledger")}
        places = {"row": ROW.format(**of), "pack": PACK.format(**of)}
        for one in commands:
            assert database.execute(one.format(**of, **places)).fetchall() == [(1,)], "vacuous: this changed nothing"
    return judge_folder(replace(run, running=replace(run.running, folder=Folder(folder))), books, {})


ROW = "rowid = (SELECT min(rowid) FROM {observations} WHERE result NOT IN (0, 1))"
PACK = "rowid = (SELECT min(rowid) FROM {ledger} WHERE outcome = 0 AND device <> 'gm0402/dropper-1')"
CORRUPTIONS = {
    "an acknowledged row is deleted": ("DELETE FROM {observations} WHERE {row}", {"row_lost"}),
    "a row is doubled": ("INSERT INTO {observations} SELECT * FROM {observations} WHERE {row}", {"row_twice"}),
    "a value is changed": ("UPDATE {observations} SET result = result * 1.000001 WHERE {row}", {"altered"}),
    "a row is invented": (
        """INSERT INTO {observations} SELECT * REPLACE (phenomenon_time + 1 AS phenomenon_time, result / 2 AS result)
        FROM {observations} WHERE {row}""",
        {"phantom_row"},
    ),
    "a time is shifted": (
        "UPDATE {observations} SET phenomenon_time = phenomenon_time + 1 WHERE {row}",
        {"shifted"},
    ),
    "a declared drop is forgotten": ("DELETE FROM drops", {"drop_uncounted"}),
    "a quarantined pack is thrown away": ("DELETE FROM quarantine", {"quarantine_lost"}),
    "an acknowledged pack leaves the ledger": (
        "DELETE FROM {ledger} WHERE {pack}",
        {"acknowledged_and_lost", "row_unbooked"},
    ),
    "a pack stands in the ledger twice": (
        "INSERT INTO {ledger} SELECT * FROM {ledger} WHERE {pack}",
        {"stored_twice"},
    ),
    "a digest is changed": ("UPDATE {ledger} SET digest = digest - 1 WHERE {pack}", {"other_bytes"}),
}


def test_the_store_is_sound_before_anything_is_done_to_it(sound: tuple[FaultRun, Books], tmp_path: Path) -> None:
    report = judged(*sound, tmp_path)
    assert report.faults == (), report.text()
    assert (report.counts.quarantined, report.counts.dropped) == (1, 2)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_is_done_to_the_store_turns_the_checker_red(
    sound: tuple[FaultRun, Books], tmp_path: Path, name: str
) -> None:
    command, kinds = CORRUPTIONS[name]
    report = judged(*sound, tmp_path, command)
    assert {one.kind for one in report.faults} == kinds, report.text()
    named = [one.message for one in report.faults if one.kind != "phantom_row"]
    assert all(" epoch " in message and " seq " in message for message in named), "a fault does not name its pack"
