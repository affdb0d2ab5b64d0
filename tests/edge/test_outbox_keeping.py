"""The outbox as its users know it: numbers, order, policies, times, and what it says about itself."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox_parts import DEVICE, START_US, StillClock, draft, open_outbox, pack_of, values_of

from lichtmast.edge.outbox import (
    Draft,
    Outbox,
    OutboxBrokenError,
    OutboxDamagedError,
    OutboxError,
    OutboxForeignError,
    OutboxInUseError,
    OutboxSettings,
    inspect_outbox,
    limits,
)
from lichtmast.edge.outbox.rows import Kept
from lichtmast.wire.envelope import SENML_CBOR
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.limits import PACK_BYTES_MAX
from lichtmast.wire.senml import EncodingError

SMALL = OutboxSettings(bytes_max=256 * 1024)


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path, clock: StillClock) -> Iterator[Outbox]:
    one = open_outbox(path, clock)
    yield one
    one.close()


def fill(outbox: Outbox, clock: StillClock, packs: int, readings: int = 10) -> list[int]:
    seqs = []
    for index in range(packs):
        seqs += outbox.put([draft(float(index), readings=readings)], clock.stamp())
    return seqs


def test_packs_are_numbered_from_one_and_read_back_as_they_were_put(outbox: Outbox, clock: StillClock) -> None:
    assert outbox.put([draft(41.5), draft(42.5)], clock.stamp()) == [1, 2]
    pack = pack_of(outbox, 2)
    assert (pack.epoch, pack.seq, pack.device) == (outbox.epoch, 2, DEVICE)
    assert pack.records[0].value == 42.5
    assert pack.records[0].time_us == START_US + 100_000_000
    assert outbox.load([1])[0].created_s == 100.0


def test_what_was_put_is_there_after_opening_again_with_the_same_epoch(path: Path, clock: StillClock) -> None:
    first = open_outbox(path, clock)
    first.put([draft(1.0), draft(2.0)], clock.stamp())
    epoch = first.epoch
    first.close()
    clock.boot = "boot-2"
    again = open_outbox(path, clock)
    assert (epoch, {1: 1.0, 2: 2.0}) == (again.epoch, values_of(again))
    assert again.load([1])[0].created_s == 0.0, "monotonic times of another boot mean nothing"
    assert again.put([draft()], clock.stamp()) == [3]
    again.close()


def test_a_number_is_not_given_again_when_everything_was_delivered(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    outbox.settle(outbox.put([draft()] * 3, clock.stamp()))
    outbox.close()
    again = open_outbox(path, clock)
    assert (again.statistics().packs, again.next_seq) == (0, 4)
    again.close()


def test_settled_packs_go_with_the_next_put(outbox: Outbox, clock: StillClock) -> None:
    outbox.put([draft()] * 3, clock.stamp())
    outbox.settle([1, 3])
    assert list(outbox.sendable()) == [2]
    assert outbox.load([1]) == []
    assert outbox.statistics().packs == 3
    outbox.put([draft()], clock.stamp())
    assert outbox.statistics().packs == 2


def test_so_many_settled_packs_that_a_crash_would_hurt_are_written_at_once(outbox: Outbox, clock: StillClock) -> None:
    while outbox.next_seq <= limits.SETTLED_MAX:
        outbox.put([draft()] * 50, clock.stamp())
    outbox.settle(range(1, limits.SETTLED_MAX))
    assert outbox.statistics().packs == limits.SETTLED_MAX
    outbox.settle([limits.SETTLED_MAX])
    assert outbox.statistics().packs == 0


@pytest.mark.slow
def test_a_full_outbox_drops_the_oldest_and_declares_them(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, SMALL)
    seqs = fill(outbox, clock, 400)
    told = outbox.statistics()
    kept = sorted(outbox.sendable())
    assert told.dropped_packs > 100
    assert seqs[-told.packs :] == kept, "the newest are kept"
    assert told.dropped_packs == len(seqs) - told.packs
    assert told.dropped_readings == 10 * told.dropped_packs
    assert declared_in(outbox) == set(seqs) - set(kept), "every number comes or is declared"
    outbox.close()


def declared_in(outbox: Outbox) -> set[int]:
    """What the packs that can be sent declare."""
    ranges = [one for seq in outbox.sendable() for one in pack_of(outbox, seq).dropped]
    return {number for first, last in ranges for number in range(first, last + 1)}


@pytest.mark.slow
def test_a_declaration_is_made_again_when_its_own_pack_was_dropped(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, SMALL)
    seqs = fill(outbox, clock, 600, readings=20)
    kept = set(outbox.sendable())
    assert len(kept) < 250, "no pack that declares was dropped"
    assert declared_in(outbox) == set(seqs) - kept
    outbox.close()


def test_a_declaration_is_forgotten_once_its_pack_was_delivered(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(hours=1))
    outbox.put([draft()], clock.stamp())
    clock.now_s += 4_000
    outbox.put([draft()] * 2, clock.stamp())
    assert pack_of(outbox, 2).dropped == ((1, 1),)
    outbox.settle([2])
    clock.now_s += 4_000
    outbox.put([draft()], clock.stamp())
    assert pack_of(outbox, 4).dropped == ((3, 3),)
    outbox.close()


def test_more_holes_than_one_pack_declares_go_with_the_next(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft()] * 60, clock.stamp())
    with outbox._storage.transaction():
        outbox._book._execute("UPDATE pack SET payload = 'x' WHERE seq % 2 = 0 AND seq <= 40")
    with pytest.raises(OutboxDamagedError, match="pack 2 is not as it was written"):
        outbox.load(range(1, 61))
    outbox.reopen()
    assert outbox.statistics().damaged_packs == 20
    outbox.put([draft()] * 2, clock.stamp())
    assert pack_of(outbox, 61).dropped == tuple((seq, seq) for seq in range(2, 34, 2))
    assert pack_of(outbox, 62).dropped == tuple((seq, seq) for seq in range(34, 41, 2))
    outbox.close()


@pytest.mark.slow
def test_a_full_outbox_turns_the_newest_away_where_that_is_the_policy(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(bytes_max=256 * 1024, drop="newest"))
    seqs = fill(outbox, clock, 400)
    told = outbox.statistics()
    assert told.turned_away_drafts > 100
    assert told.turned_away_readings == 10 * told.turned_away_drafts
    assert seqs == list(range(1, 400 - told.turned_away_drafts + 1)), "numbers have no holes"
    assert (0, len(seqs)) == (told.dropped_packs, told.packs)
    outbox.close()
    again = open_outbox(path, clock, OutboxSettings(bytes_max=256 * 1024, drop="newest"))
    assert told.turned_away_drafts == again.statistics().turned_away_drafts, "the count is durable"
    again.settle(seqs[:50])
    assert len(again.put([draft(readings=10)], clock.stamp())) == 1, "there is room again"
    again.close()


@pytest.mark.slow
@pytest.mark.parametrize("drop", ["oldest", "newest"])
def test_the_files_stay_within_the_bytes(path: Path, clock: StillClock, drop: str) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(bytes_max=512 * 1024, drop=drop))
    fill(outbox, clock, 900, readings=12)
    told = outbox.statistics()
    assert told.dropped_packs + told.turned_away_drafts > 100, "it was not full"
    assert told.file_bytes <= 512 * 1024
    assert told.payload_bytes > 200 * 1024, "more than half of it is packs"
    outbox.close()


def test_a_declaration_that_finds_no_room_in_its_pack_goes_with_the_next(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(hours=1))
    outbox.put([draft()] * 2, clock.stamp())
    clock.now_s += 3_601
    full = next(  # the largest that a pack can be
        one
        for length in range(1_000, 0, -1)
        if encodes(
            outbox, one := Draft([Kept("/a", "x" * 1_000, None, 1.0)] * 64 + [Kept("/a", "x" * length, None, 1.0)])
        )
    )
    assert outbox.put([full, draft()], clock.stamp()) == [3, 4]
    assert (pack_of(outbox, 3).dropped, pack_of(outbox, 4).dropped) == ((), ((1, 2),))
    assert len(outbox.load([3])[0].payload) > PACK_BYTES_MAX - 20
    outbox.close()
    again = open_outbox(path, clock, OutboxSettings(hours=1))
    again.put([draft()], clock.stamp())
    assert pack_of(again, 5).dropped == (), "said once"
    again.close()


def encodes(outbox: Outbox, one: Draft) -> bool:
    try:
        outbox._packer.pack(3, one.readings, START_US, 0.0)
    except EncodingError:
        return False
    return True


def test_what_cannot_be_written_as_senml_gets_no_number_and_is_counted(outbox: Outbox, clock: StillClock) -> None:
    hopeless = [
        draft(float("nan")),
        Draft([Kept("no-slash", 1.0, "dB", 1.0)]),
        Draft([]),
        Draft([Kept("/a", "x" * 1_000, None, 1.0)] * 100),
    ]
    for stamp in (clock.stamp(), None):
        assert outbox.put(hopeless, stamp) == []
    assert (outbox.statistics().turned_away_drafts, outbox.statistics().turned_away_readings) == (8, 204)
    assert outbox.put([draft()], clock.stamp()) == [1]


def test_a_pack_larger_than_the_file_drops_nothing_for_itself(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(bytes_max=1))  # the least that works
    outbox.put([draft()] * 3, clock.stamp())
    assert outbox.put([Draft([Kept("/a", "x" * 1_000, None, 1.0)] * 60)], clock.stamp()) == []
    assert (outbox.statistics().packs, outbox.statistics().turned_away_drafts) == (3, 1)
    outbox.close()


def test_more_drafts_than_one_transaction_takes_are_refused(outbox: Outbox, clock: StillClock) -> None:
    assert len(outbox.put([draft()] * limits.PUT_DRAFTS_MAX, clock.stamp())) == limits.PUT_DRAFTS_MAX
    with pytest.raises(OutboxError, match="at most 64"):
        outbox.put([draft()] * (limits.PUT_DRAFTS_MAX + 1), clock.stamp())


def test_a_second_agent_is_told_that_the_file_is_in_use(outbox: Outbox, path: Path, clock: StillClock) -> None:
    assert outbox.epoch
    with pytest.raises(OutboxInUseError, match="a state folder of its own"):
        open_outbox(path, clock)


def test_the_outbox_of_another_device_is_refused_and_left_as_it_is(path: Path, clock: StillClock) -> None:
    open_outbox(path, clock).close()
    with pytest.raises(OutboxForeignError, match="gm0402/lm-0001, not of gm0402/lm-0002"):
        Outbox.open(path, DeviceId("gm0402", "lm-0002"), settings=SMALL, clock=clock)
    open_outbox(path, clock).close()


def test_a_folder_that_is_not_there_is_a_broken_outbox(tmp_path: Path, clock: StillClock) -> None:
    with pytest.raises(OutboxBrokenError, match="mend disk or rights"):
        open_outbox(tmp_path / "nowhere" / "outbox.db", clock)


def test_a_running_outbox_can_be_looked_into_from_outside(outbox: Outbox, path: Path, clock: StillClock) -> None:
    outbox.put([draft()] * 5, clock.stamp())
    told = inspect_outbox(path, DEVICE, settings=OutboxSettings(), clock=clock)
    assert (5, outbox.epoch, 6) == (told.packs, told.epoch, told.next_seq)
    assert outbox.put([draft()], clock.stamp()) == [6]


def test_looking_into_an_outbox_that_is_not_there_makes_none(path: Path, clock: StillClock) -> None:
    with pytest.raises(OutboxError, match="is not there"):
        inspect_outbox(path, DEVICE, settings=OutboxSettings(), clock=clock)
    assert not path.exists()


def test_cbor_packs_are_smaller_and_read_the_same(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(content_format=SENML_CBOR))
    outbox.put([draft(42.25, readings=6)], clock.stamp())
    assert outbox.load([1])[0].content_format == SENML_CBOR
    assert len(outbox.load([1])[0].payload) < 260
    assert pack_of(outbox, 1).records[5].value == 42.25
    outbox.close()


def test_epochs_of_new_files_differ_and_fit_53_bits(tmp_path: Path, clock: StillClock) -> None:
    epochs = set()
    for index in range(20):
        outbox = open_outbox(tmp_path / f"{index}.db", clock)
        epochs.add(outbox.epoch)
        outbox.close()
    assert len(epochs) == 20
    assert all(0 < epoch < 2**53 for epoch in epochs)


def test_a_file_of_a_newer_agent_still_opens(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft()], clock.stamp())
    told = outbox._book._execute("SELECT body FROM meta").fetchone()[0]
    newer = json.dumps(json.loads(told) | {"invented_later": 1})
    with outbox._storage.transaction():
        from lichtmast.edge.outbox.rows import checksum_of

        outbox._book._execute("UPDATE meta SET body = ?, checksum = ?", (newer, checksum_of((newer,))))
    outbox.close()
    again = open_outbox(path, clock)
    assert (again.next_seq, again.statistics().files_replaced) == (2, 0)
    again.close()


def test_disk_that_was_claimed_is_never_given_back(path: Path, clock: StillClock) -> None:
    """A checkpoint of SQLite's cuts it off; on a disk that has filled up meanwhile it would be gone for good."""
    outbox = open_outbox(path, clock, OutboxSettings(bytes_max=262_144))
    sizes = []
    for number in range(60):
        outbox.put([draft(float(number), at_s=clock.now_s)], clock.stamp(error_s=0.0))
        sizes.append(path.stat().st_size)
    outbox.close()
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("packs_before", [1, 5, 60, 200])
def test_a_disk_that_fills_up_leaves_the_newest_packs_their_place(
    path: Path, clock: StillClock, monkeypatch: pytest.MonkeyPatch, packs_before: int
) -> None:
    """What was claimed behind the last page goes with the next checkpoint, and on a full disk it does not come back."""
    outbox = open_outbox(path, clock, OutboxSettings(bytes_max=262_144))
    claim = os.posix_fallocate

    def refusing(handle: int, offset: int, size: int) -> None:
        if size > os.fstat(handle).st_size:
            raise OSError(errno.ENOSPC, "no space left on device")
        claim(handle, offset, size)

    def put() -> None:
        outbox.put([draft(float(outbox.next_seq), at_s=clock.now_s)], clock.stamp(error_s=0.0))

    for _ in range(packs_before):
        put()
    monkeypatch.setattr(os, "posix_fallocate", refusing)
    for _ in range(400):
        put()
        assert outbox.statistics().turned_away_drafts == 0
    kept = sorted(outbox.sendable())
    assert len(kept) > 20
    assert kept[-1] == packs_before + 400, "the newest"
    outbox.close()
