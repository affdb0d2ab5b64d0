"""What rots under a running outbox, a first page that lies, another disk in its place: nothing surprises the agent."""

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest
from outbox_parts import StillClock, draft, filled, flip, open_outbox, pack_of, values_of

from lichtmast.edge.outbox import OutboxBrokenError, OutboxDamagedError, OutboxSettings
from lichtmast.edge.outbox.storage import log_path


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def test_a_pack_that_is_damaged_while_the_outbox_is_open_is_left_out_and_declared(
    path: Path, clock: StillClock
) -> None:
    filled(path, clock)
    outbox = open_outbox(path, clock)
    with outbox._storage.transaction():
        outbox._book._execute("UPDATE pack SET payload = replace(payload, '9', '8') WHERE seq = 9")
    with pytest.raises(OutboxDamagedError, match="pack 9 is not as it was written"):
        outbox.load([8, 9, 10])
    outbox.reopen()
    assert [packed.seq for packed in outbox.load([8, 9, 10])] == [8, 10]
    assert outbox.statistics().damaged_packs == 1
    outbox.put([draft()], clock.stamp())
    assert pack_of(outbox, 21).dropped == ((9, 9),)
    outbox.close()


@pytest.mark.parametrize(
    "step", [pytest.param(97, marks=pytest.mark.slow, id="some"), pytest.param(1, marks=pytest.mark.faults, id="all")]
)
@pytest.mark.timeout(900)
def test_no_flipped_bit_of_the_first_page_ends_in_anything_but_a_working_outbox(
    path: Path, clock: StillClock, step: int
) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft(float(seq)) for seq in range(1, 11)], clock.stamp())
    outbox.put([draft()] * 2, None)
    outbox.close()
    sound = path.read_bytes()
    told = [at for at in range(4_096) if sound[at] or at < 120]
    replaced = kept = 0
    for at, bit in [(at, bit) for at in told for bit in range(8)][::step]:
        for left in path.parent.glob("outbox.db*"):
            left.unlink()
        path.write_bytes(sound)
        flip(path, at, bit)
        again = open_outbox(path, clock)
        if again.epoch == outbox.epoch:
            assert values_of(again) == {seq: float(seq) for seq in range(1, 11)}, (at, bit)
            assert again.stamp_waiting(clock.stamp()) == [11, 12]
        else:
            replaced += 1
            kept += len(values_of(again)) == 10
            again.stamp_waiting(clock.stamp())
        assert len(again.put([draft()], clock.stamp())) == 1
        again.close()
    assert replaced > 0
    assert kept > replaced / 2, "a damaged description of the tables does not cost the packs"


@pytest.mark.parametrize(("at", "bit"), [(18, 3), (19, 3), (47, 3)], ids=["who writes", "who reads", "schema format"])
def test_a_header_that_asks_for_another_sqlite_is_damage_and_not_a_disk_that_can_only_be_read(
    path: Path, clock: StillClock, at: int, bit: int
) -> None:
    filled(path, clock, 5)
    flip(path, at, bit)
    outbox = open_outbox(path, clock)
    assert outbox.statistics().files_replaced == 1
    assert len(outbox.put([draft()], clock.stamp())) == 1
    outbox.close()


def test_an_index_that_is_damaged_hides_no_pack_that_waits(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft()] * 5, None)
    outbox.close()
    with sqlite3.connect(path) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'waiting'").fetchone()[0]
    connection.close()
    flip(path, root * 4_096 - 1, 1)  # the number in the first cell
    again = open_outbox(path, clock)
    assert (again.statistics().unstamped, again.statistics().files_replaced) == (5, 1)
    assert len(again.stamp_waiting(clock.stamp())) == 5
    again.close()


@pytest.mark.parametrize(
    "rot",
    [
        "UPDATE pack SET payload = NULL WHERE seq = 1",
        "UPDATE pack SET payload = X'7b' || substr(payload, 2) WHERE seq = 1",
        "UPDATE pack SET created_s = 'x' WHERE seq = 1",
        "UPDATE pack SET created_us = 'x', boot = 'other' WHERE seq = 1",
        "UPDATE pack SET created_us = NULL, boot = NULL, created_s = NULL WHERE seq = 1",
        "UPDATE pack SET readings = 'x' WHERE seq = 1",
    ],
)
@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("call", ["put", "settle", "expire", "stamp_waiting", "load", "statistics", "boots"])
def test_a_row_that_rots_while_the_outbox_is_open_is_found_whoever_reads_it(
    path: Path, clock: StillClock, rot: str, call: str, *, stamped: bool
) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft()] * 3, clock.stamp() if stamped else None)
    with outbox._storage.transaction():
        outbox._book._execute(rot)
    try:
        match call:
            case "put":
                outbox.put([draft()], clock.stamp())
            case "settle":
                outbox.settle([1, 2])
                outbox.flush()
            case "expire":
                clock.now_s += 200 * 3_600
                outbox.put([], clock.stamp())
            case "stamp_waiting":
                outbox.stamp_waiting(clock.stamp())
            case "load":
                outbox.load([1, 2])
            case "statistics":
                outbox.statistics()
            case "boots":
                clock.boot = "boot-2"
                outbox.stamp_waiting(clock.stamp())
    except OutboxBrokenError:
        pass
    outbox.close()
    clock.boot = "boot-3"
    again = open_outbox(path, clock)
    again.stamp_waiting(clock.stamp())
    last = again.put([draft(9.0)], clock.stamp())[-1]
    declared = {seq for low, high in pack_of(again, last).dropped for seq in range(low, high + 1)}
    settled = {1, 2} if call == "settle" else set()
    assert set(range(1, last)) <= set(again.sendable()) | declared | settled
    assert again.statistics().files_replaced == 0
    again.close()


def test_a_declaration_that_rots_while_the_outbox_is_open_is_damage_and_no_surprise(
    path: Path, clock: StillClock
) -> None:
    settings = OutboxSettings(hours=1)
    outbox = open_outbox(path, clock, settings)
    outbox.put([draft()], clock.stamp())
    clock.now_s += 4_000
    outbox.put([draft()], clock.stamp())
    with outbox._storage.transaction():
        outbox._book._execute("UPDATE gone SET first = 'x'")
    clock.now_s += 4_000
    with pytest.raises(OutboxDamagedError, match="what pack 2 declares is not as it was written"):
        outbox.put([draft()], clock.stamp())
    outbox.reopen()
    assert outbox.put([draft()], clock.stamp()) == [3]
    outbox.close()


def test_what_was_delivered_is_not_sent_anew_when_the_file_is_replaced(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft(float(seq)) for seq in range(1, 11)], clock.stamp())
    epoch = outbox.epoch
    outbox.settle(range(1, 8))
    with outbox._storage.transaction():
        outbox._book._execute("UPDATE meta SET checksum = checksum + 1")
    outbox.reopen()
    assert outbox.epoch != epoch
    assert set(values_of(outbox).values()) == {8.0, 9.0, 10.0}
    assert outbox.statistics().packs == 3
    outbox.put([], clock.stamp())
    assert len(outbox.sendable()) == 3, "numbers of the old epoch settle nothing in the new one"
    outbox.close()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_disk_that_comes_back_as_another_one_loses_nothing_to_what_was_settled_on_the_first(
    path: Path, tmp_path: Path, clock: StillClock, *, damaged: bool
) -> None:
    other = tmp_path / "other" / "outbox.db"
    other.parent.mkdir()
    filled(other, clock, 5)
    if damaged:
        flip(other, other.read_bytes().index(b'"next_seq":6') + len(b'"next_seq":'), 0)
    outbox = open_outbox(path, clock)
    outbox.put([draft()] * 5, clock.stamp())
    outbox.settle([1, 2, 3])
    log_path(path).unlink()
    other.replace(path)
    outbox.reopen()
    outbox.put([], clock.stamp())
    assert len(outbox.sendable()) == 5
    outbox.close()


def test_a_disk_that_can_only_be_read_is_broken_and_heals(tmp_path: Path, clock: StillClock) -> None:
    if os.geteuid():
        pytest.skip("a file system can only be mounted by root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=True)
    try:
        path = folder / "outbox.db"
        epoch = filled(path, clock, 3)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(OutboxBrokenError, match="mend disk or rights") as raised:
            open_outbox(path, clock)
        assert not isinstance(raised.value, OutboxDamagedError)
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        outbox = open_outbox(path, clock)
        assert (epoch, 3, 0) == (outbox.epoch, outbox.statistics().packs, outbox.statistics().files_replaced)
        outbox.close()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
