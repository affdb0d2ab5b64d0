"""Flipped bits, cut tails and files of nonsense: found, isolated, counted, and never a number twice."""

import random
import sqlite3
from pathlib import Path

import pytest
from crash_disk import CrashDisk
from outbox_parts import DEVICE, StillClock, draft, filled, flip, open_outbox, pack_of, values_of

from lichtmast.edge.outbox import Outbox, OutboxSettings, limits
from lichtmast.edge.outbox.log_check import log_is_damaged
from lichtmast.edge.outbox.salvage import fresh_path, take_place
from lichtmast.edge.outbox.storage import log_path


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def payload_regions(path: Path) -> dict[int, range]:
    """Where in the file each pack's bytes are."""
    raw = path.read_bytes()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT seq, payload FROM pack").fetchall()
    connection.close()
    return {seq: range(raw.index(payload), raw.index(payload) + len(payload)) for seq, payload in rows}


@pytest.mark.slow
def test_every_flipped_bit_of_a_pack_is_found_and_the_pack_is_declared(path: Path, clock: StillClock) -> None:
    epoch = filled(path, clock)
    region = payload_regions(path)[7]
    sound = path.read_bytes()
    for at in region:
        path.write_bytes(sound)
        log_path(path).unlink(missing_ok=True)
        flip(path, at, at % 8)
        outbox = open_outbox(path, clock)
        assert (1, 0, epoch) == (outbox.statistics().damaged_packs, outbox.statistics().files_replaced, outbox.epoch)
        assert {seq: float(seq) for seq in range(1, 21) if seq != 7} == values_of(outbox)
        outbox.put([draft()], clock.stamp())
        assert pack_of(outbox, 21).dropped == ((7, 7),)
        outbox.close()


def used_pages(raw: bytes | bytearray) -> list[int]:
    """Where pages begin that hold something."""
    starts = range(0, len(raw), limits.PAGE_BYTES)
    return [at for at in starts if raw[at : at + limits.PAGE_BYTES].count(0) < limits.PAGE_BYTES - 64]


SHARE = pytest.mark.parametrize(
    "flips",
    [pytest.param(40, marks=pytest.mark.slow, id="some"), pytest.param(600, marks=pytest.mark.faults, id="many")],
)


@SHARE
@pytest.mark.timeout(600)
def test_a_flipped_bit_anywhere_in_the_file_never_alters_a_pack_or_gives_a_number_twice(
    path: Path, clock: StillClock, flips: int
) -> None:
    epoch = filled(path, clock, 60)
    sound = path.read_bytes()
    chance = random.Random(3)  # noqa: S311 - repeatable
    replaced = damaged = 0
    # Where the file says that it is a database, and anywhere but in free pages: a few random ones may all miss what
    # holds it together.
    used = used_pages(sound)
    places = [0, *(chance.choice(used) + chance.randrange(limits.PAGE_BYTES) for _ in range(flips))]
    for place in places:
        for left in path.parent.glob("outbox.db*"):
            left.unlink()
        path.write_bytes(sound)
        flip(path, place, chance.randrange(8))
        outbox = open_outbox(path, clock)
        told = outbox.statistics()
        values = values_of(outbox)
        if outbox.epoch == epoch:
            assert all(value == float(seq) for seq, value in values.items())
            assert outbox.next_seq == 61
            missing = set(range(1, 61)) - set(values)
            assert bool(missing) == bool(told.damaged_packs)
            outbox.put([draft(61.0)], clock.stamp())
            declared = {one for first, last in pack_of(outbox, 61).dropped for one in range(first, last + 1)}
            assert missing == declared
        else:
            assert told.files_replaced == 1
            assert set(values.values()) <= {float(seq) for seq in range(1, 61)}
        replaced += told.files_replaced
        damaged += told.damaged_packs
        outbox.close()
    assert replaced > flips / 50 if flips > 100 else replaced > 0
    assert damaged > flips / 10


def test_two_power_cuts_between_two_checkpoints_are_no_damage(path: Path, tmp_path: Path, clock: StillClock) -> None:
    first = grown_log(path, clock)
    whole = len(log_path(path).read_bytes().rstrip(b"\0"))
    first.put([draft(float(one), readings=40) for one in range(20)], clock.stamp())  # one commit of many frames
    once = copy_of(path, tmp_path / "once")
    first.close()
    torn_at = 32 + -(-(whole - 32) // FRAME_BYTES) * FRAME_BYTES
    tear(log_path(once), torn_at)
    second = open_outbox(once, clock)
    before = log_path(once).read_bytes()
    second.put([draft()], clock.stamp())
    after = log_path(once).read_bytes()
    twice = copy_of(once, tmp_path / "twice")
    second.close()
    changed = next(
        at
        for at in range(32, len(before), FRAME_BYTES)
        if before[at : at + FRAME_BYTES] != after[at : at + FRAME_BYTES]
    )
    tear(log_path(twice), changed)
    third = open_outbox(twice, clock)
    assert (second.epoch, 0) == (third.epoch, third.statistics().files_replaced)
    third.close()


def test_opening_costs_no_fsync_where_the_log_is_empty(path: Path, clock: StillClock) -> None:
    with CrashDisk("opening-disk") as disk:
        open_outbox(path, clock, connect=disk.connect).close()
        before = disk.syncs()
        outbox = open_outbox(path, clock, connect=disk.connect)
        assert disk.syncs() == before
        outbox.close()


def test_a_file_of_nonsense_is_put_aside_and_a_new_epoch_begins(path: Path, clock: StillClock) -> None:
    path.write_bytes(b"this is no database" * 1_000)
    outbox = open_outbox(path, clock)
    assert outbox.statistics().files_replaced == 1
    assert "is damaged" in outbox.statistics().fault
    assert outbox.put([draft()], clock.stamp()) == [1]
    outbox.close()
    assert path.with_name("outbox.db.damaged").read_bytes().startswith(b"this is no database")
    again = open_outbox(path, clock)
    assert (outbox.epoch, 1.0) == (again.epoch, again.statistics().files_replaced)
    again.close()


@pytest.mark.slow
def test_what_reads_of_a_damaged_file_is_carried_over_with_its_times(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    for _ in range(400):
        outbox.put([draft(float(outbox.next_seq), at_s=float(outbox.next_seq))], clock.stamp(error_s=3.0))
    outbox.put([draft(401.0, at_s=401.0)], None)
    old_times = {value: pack_of(outbox, seq).records[0].time_us for seq, value in values_of(outbox).items()}
    outbox.close()
    raw = bytearray(path.read_bytes())
    for at in used_pages(raw)[10:12]:
        raw[at : at + limits.PAGE_BYTES] = bytes(limits.PAGE_BYTES)
    path.write_bytes(raw)
    again = open_outbox(path, clock)
    told = again.statistics()
    assert (1, again.next_seq - 1) == (told.files_replaced, told.salvaged_packs)
    assert again.epoch != outbox.epoch
    assert told.salvaged_packs > 350
    assert told.unstamped == 1, "what waited for a clock waits on"
    for seq, value in values_of(again).items():
        pack = pack_of(again, seq)
        assert (old_times[value], 3.0, again.epoch) == (pack.records[0].time_us, pack.time_error_s, pack.epoch)
    assert len(again.stamp_waiting(clock.stamp())) == 1
    again.close()


def grown_log(path: Path, clock: StillClock) -> Outbox:
    """An outbox with many commits in its write-ahead log, left as a power cut leaves it: copied while open."""
    outbox = open_outbox(path, clock)
    for _ in range(10):
        outbox.put([draft(float(outbox.next_seq))], clock.stamp())
    return outbox


def copy_of(path: Path, folder: Path) -> Path:
    folder.mkdir()
    copy = folder / path.name
    copy.write_bytes(path.read_bytes())
    log_path(copy).write_bytes(log_path(path).read_bytes())
    return copy


FRAME_BYTES = 4_096 + 24


def tear(log: Path, at: int) -> None:
    """The first sector of a frame's page did not reach the disk."""
    raw = bytearray(log.read_bytes())
    assert any(raw[at : at + 24]), "there is no frame"
    raw[at + 24 : at + 24 + 512] = bytes(512)
    log.write_bytes(raw)


@SHARE
@pytest.mark.timeout(600)
def test_a_flipped_bit_in_the_log_never_gives_a_number_twice(
    path: Path, tmp_path: Path, clock: StillClock, flips: int
) -> None:
    outbox = grown_log(path, clock)
    raw = log_path(path).read_bytes()
    written = len(raw.rstrip(b"\0"))
    copy_of(path, tmp_path / "sound")
    assert not log_is_damaged(tmp_path / "sound" / "outbox.db-wal")
    chance = random.Random(5)  # noqa: S311 - repeatable
    found = 0
    for number in range(flips):
        copy = copy_of(path, tmp_path / str(number))
        # Not the last commit: a flipped bit there cannot be told from a write that the power cut tore.
        at = chance.randrange(written - 6 * 4_120)
        flip(log_path(copy), at, chance.randrange(8))
        again = open_outbox(copy, clock)
        told = again.statistics()
        if again.epoch == outbox.epoch:
            assert (again.next_seq, told.files_replaced) == (11, 0), f"numbers went back, byte {at}"
            assert values_of(again) == values_of(outbox)
        else:
            found += 1
        again.close()
    outbox.close()
    assert found > flips / 2


def test_a_log_that_is_cut_in_its_last_commit_is_a_power_cut(path: Path, tmp_path: Path, clock: StillClock) -> None:
    outbox = grown_log(path, clock)
    copy = copy_of(path, tmp_path / "cut")
    raw = log_path(copy).read_bytes().rstrip(b"\0")
    log_path(copy).write_bytes(raw[:-3_000])
    again = open_outbox(copy, clock)
    assert (outbox.epoch, 10, 0) == (again.epoch, again.next_seq, again.statistics().files_replaced)
    again.close()
    outbox.close()


def test_a_log_whose_last_commit_is_torn_inside_is_a_power_cut(path: Path, tmp_path: Path, clock: StillClock) -> None:
    outbox = grown_log(path, clock)
    copy = copy_of(path, tmp_path / "torn")
    raw = bytearray(log_path(copy).read_bytes())
    frames = range(32, len(raw.rstrip(b"\0")), 4_096 + 24)
    commits = [at for at in frames if any(raw[at + 4 : at + 8])]
    assert commits[-1] - commits[-2] > 4_096 + 24, "the last commit has one frame only"
    torn = commits[-1] - 1_000
    raw[torn : torn + 512] = bytes(512)  # the frame before the one that commits
    log_path(copy).write_bytes(raw)
    again = open_outbox(copy, clock)
    assert (again.epoch, again.next_seq, again.statistics().files_replaced) == (outbox.epoch, 10, 0)
    again.close()
    raw[commits[-2] - 1_000 : commits[-2] - 488] = bytes(512)  # and in the commit before it, that cannot be
    log_path(copy).write_bytes(raw)
    assert log_is_damaged(log_path(copy))
    outbox.close()


@pytest.mark.parametrize("raw", [b"", bytes(4_096)], ids=["empty", "claimed"])
def test_a_log_that_was_never_written_is_sound(tmp_path: Path, raw: bytes) -> None:
    log = tmp_path / "log"
    assert not log_is_damaged(log)
    log.write_bytes(raw)
    assert not log_is_damaged(log)


@pytest.mark.parametrize("raw", [b"x", b"x" * 4_096], ids=["short", "nonsense"])
def test_a_log_without_its_header_is_damaged(tmp_path: Path, raw: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(raw)
    assert log_is_damaged(log)


def test_an_exchange_that_a_crash_cut_short_is_finished(path: Path, clock: StillClock) -> None:
    filled(path, clock, 3)
    new_epoch = filled(fresh_path(path), clock, 5)
    path.replace(path.with_name("outbox.db.damaged"))
    log_path(path).write_bytes(b"of the old file")
    outbox = open_outbox(path, clock)
    assert (new_epoch, 6, 0) == (outbox.epoch, outbox.next_seq, outbox.statistics().files_replaced)
    outbox.close()


def test_a_new_file_that_never_became_complete_is_cleared_away(path: Path, clock: StillClock) -> None:
    epoch = filled(path, clock, 3)
    filled(fresh_path(path), clock, 5)
    outbox = open_outbox(path, clock)
    assert (epoch, 4) == (outbox.epoch, outbox.next_seq)
    assert not fresh_path(path).exists()
    outbox.close()


def test_a_table_whose_name_is_no_text_any_more_is_a_damaged_file(path: Path, clock: StillClock) -> None:
    filled(path, clock, 3)
    raw = path.read_bytes()
    # SQLite quotes the name in its complaint about the statement, and the standard library cannot decode it.
    path.write_bytes(
        raw.replace(b"tablepackpack", b"table\xd9ackpack").replace(b"CREATE TABLE pack", b"CREATX TABLE pack")
    )
    outbox = open_outbox(path, clock)
    assert outbox.statistics().files_replaced == 1
    outbox.close()


def test_one_damaged_file_is_kept_and_no_more(path: Path, clock: StillClock) -> None:
    for number in (1, 2, 3):
        path.write_bytes(b"nonsense %d" % number * 1_000)
        open_outbox(path, clock).close()
    assert path.with_name("outbox.db.damaged").read_bytes().startswith(b"nonsense 3")
    assert sorted(one.name for one in path.parent.iterdir()) == ["outbox.db", "outbox.db.damaged", "outbox.db.lock"]


def test_counters_go_with_a_file_that_is_replaced(path: Path, clock: StillClock) -> None:
    settings = OutboxSettings(hours=1)
    outbox = open_outbox(path, clock, settings)
    outbox.put([draft()] * 4, clock.stamp())
    clock.now_s += 7_200
    outbox.put([draft()], clock.stamp())
    outbox.close()
    raw = path.read_bytes()
    # A b-tree page that is no page: the packs are gone, the counters are not.
    with sqlite3.connect(path) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'pack'").fetchone()[0]
    connection.close()
    path.write_bytes(raw[: (root - 1) * 4096] + bytes(4096) + raw[root * 4096 :])
    again = open_outbox(path, clock, settings)
    assert (again.statistics().dropped_packs, again.statistics().files_replaced, again.next_seq) == (4, 1, 1)
    assert str(DEVICE) == again._book.meta.device
    again.close()


def test_take_place_keeps_the_old_file(path: Path, clock: StillClock) -> None:
    old = filled(path, clock, 2)
    filled(fresh_path(path), clock, 2)
    take_place(path)
    aside = path.with_name("outbox.db.damaged")
    outbox = open_outbox(aside, clock)
    assert old == outbox.epoch
    outbox.close()
