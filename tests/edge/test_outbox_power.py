"""The outbox on a disk that loses power or fails: every prefix of what was written, every operation that can fail.

The product's statements run on a real SQLite over `crash_disk`; what is left on the disk is opened with the standard
library's SQLite, another version. The quick share of the images runs always, all of them with the marker `faults`.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from crash_disk import CrashDisk, image
from outbox_parts import StillClock, draft, open_outbox, pack_of, values_of

from lichtmast.edge.outbox import Outbox, OutboxBrokenError, OutboxSettings

SETTINGS: Final = OutboxSettings(bytes_max=256 * 1024, hours=10)
FATES: Final = (("kept", 0), ("lost", 0), *(("torn", seed) for seed in range(4)))


@dataclass(frozen=True)
class Promise:
    """What was promised when so many events were on the disk."""

    events: int
    next_seq: int
    kept: frozenset[int]
    epoch: int


@dataclass(frozen=True)
class History:
    """What was written, what was promised when, and what was settled in the end."""

    disk: CrashDisk
    promises: list[Promise]
    settled: set[int]


def work(outbox: Outbox, clock: StillClock, promised: Callable[[set[int]], None]) -> set[int]:
    """A life with everything in it: puts, settling, no clock, drops, checkpoints. Returns what was settled."""
    kept: set[int] = set()

    def put(count: int, *, stamped: bool = True, readings: int = 1) -> None:
        nonlocal kept
        before = outbox.statistics()
        outbox.put(
            [draft(float(outbox.next_seq + one), readings=readings) for one in range(count)],
            clock.stamp() if stamped else None,
        )
        kept = kept | set(range(before.next_seq, outbox.next_seq))
        if outbox.statistics().dropped_packs > before.dropped_packs:
            kept = set(outbox.sendable()) | set(outbox.waiting())
        promised(kept)

    for _ in range(12):
        put(1)
        clock.now_s += 60
    for seq in (1, 2, 3, 7):
        kept.discard(seq)  # from here on it may be there or not
    promised(kept)
    outbox.settle([1, 2, 3, 7])
    put(3)
    put(2, stamped=False)
    put(2, stamped=False)
    outbox.stamp_waiting(clock.stamp())
    promised(kept)
    for _ in range(10):
        put(5, readings=12)
    clock.now_s += 11 * 3600  # all of these are too old now
    kept = set()
    promised(kept)
    put(4)
    settled = set(sorted(kept)[1:3])  # the first carries the declarations
    kept -= settled
    promised(kept)
    outbox.settle(settled)
    put(1)
    return settled | {1, 2, 3, 7}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    with CrashDisk() as disk:
        clock = StillClock()
        outbox = open_outbox(tmp_path_factory.mktemp("power") / "outbox.db", clock, SETTINGS, disk.connect)
        promises = [Promise(len(disk.events), 1, frozenset(), outbox.epoch)]

        def promised(kept: set[int]) -> None:
            promises.append(Promise(len(disk.events), outbox.next_seq, frozenset(kept), outbox.epoch))

        settled = work(outbox, clock, promised)
        outbox.close()
        promised(set(promises[-1].kept))
    return History(disk, promises, settled)


def check(history: History, folder: Path, events: int, fate: str, seed: int) -> None:
    """Cut the power after so many events and start again."""
    disk, promises = history.disk, history.promises
    where = f"after {events} of {len(disk.events)} events, {fate} {seed}"
    folder.mkdir()
    for name, content in image(disk.events[:events], fate, seed).items():
        (folder / name).write_bytes(content)
    clock = StillClock("boot-2", 5.0, StillClock().started_us + 20 * 3600 * 1_000_000)
    outbox = open_outbox(folder / "outbox.db", clock, SETTINGS)
    told = outbox.statistics()
    assert (told.files_replaced, told.damaged_packs) == (0, 0), f"a power cut is no damage: {where}"
    made = [one for one in promises if one.events <= events]
    if made:
        assert made[-1].epoch == outbox.epoch, where
        assert made[-1].next_seq <= outbox.next_seq, f"a number would be given twice: {where}"
        # What is promised now and later, or was promised and may be gone by what comes next.
        coming = next((one for one in promises if one.events > events), made[-1])
        there = set(outbox.sendable()) | set(outbox.waiting())
        assert made[-1].kept & coming.kept <= there, f"a pack is lost: {where}"
        for seq, value in values_of(outbox).items():
            assert value == float(seq), f"pack {seq} is another: {where}"
    before = outbox.next_seq
    outbox.stamp_waiting(clock.stamp())
    assert [before] == outbox.put([draft(at_s=5.0)], clock.stamp()), where
    there = set(outbox.sendable())
    declared = {one for seq in there for first, last in pack_of(outbox, seq).dropped for one in range(first, last + 1)}
    assert set(range(1, before)) - there - declared - history.settled == set(), f"a hole is not explained: {where}"
    outbox.close()


@pytest.mark.slow
def test_no_power_cut_loses_a_promised_pack_or_gives_a_number_twice(history: History, tmp_path: Path) -> None:
    total = len(history.disk.events)
    assert history.disk.syncs() > 20
    # A step that is prime, so that all kinds of events and fates meet.
    for number, events in enumerate(range(0, total + 1, 23)):
        fate, seed = FATES[number % len(FATES)]
        check(history, tmp_path / str(events), events, fate, seed)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_no_power_cut_at_any_write_loses_a_promised_pack(history: History, tmp_path: Path) -> None:
    for events in range(len(history.disk.events) + 1):
        for fate, seed in FATES:
            check(history, tmp_path / f"{events}-{fate}-{seed}", events, fate, seed)


def test_the_checker_sees_a_lost_fsync(history: History, tmp_path: Path) -> None:
    lying = CrashDisk("unused")
    lying.events = [event for event in history.disk.events if event.kind != "sync"]
    with pytest.raises(AssertionError):
        check(History(lying, history.promises, history.settled), tmp_path / "lied", len(lying.events), "lost", 0)


@pytest.mark.parametrize(
    "step", [pytest.param(11, marks=pytest.mark.slow, id="some"), pytest.param(1, marks=pytest.mark.faults, id="all")]
)
def test_whatever_operation_fails_no_number_is_given_that_is_not_on_the_disk(tmp_path: Path, step: int) -> None:
    operations, failed_at, bitten = 1, 0, 0
    with CrashDisk("failing-disk") as disk:
        while failed_at < operations:
            failed_at += step
            folder = tmp_path / str(failed_at)
            folder.mkdir()
            disk.events, disk.operations, disk.failed = [], 0, 0
            disk.fail_at = frozenset({failed_at})
            clock = StillClock()
            given, failures = live_through(folder / "outbox.db", clock, disk)
            operations = max(operations, disk.operations)
            disk.fail_at = frozenset()
            after = open_outbox(folder / "outbox.db", clock, SETTINGS)
            assert set(given) <= set(values_of(after)), f"given and not on the disk, operation {failed_at}"
            assert given == {seq: value for seq, value in values_of(after).items() if seq in given}
            assert (after.statistics().files_replaced, after.statistics().damaged_packs) == (0, 0)
            # A checkpoint that fails is done again by SQLite with all its writes; nothing was promised by it.
            assert failures <= disk.failed <= 1
            bitten += disk.failed
            after.close()
    assert operations > 100
    assert bitten > operations / step * 0.8, "the fault did not bite"


def live_through(path: Path, clock: StillClock, disk: CrashDisk) -> tuple[dict[int, float], int]:
    """Put thirty packs, opening anew after each failure. Returns what was given a number, and how often it failed."""
    given: dict[int, float] = {}
    failures = 0
    outbox: Outbox | None = None
    value = 0.0
    while value < 30:
        try:
            if outbox is None:
                outbox = open_outbox(path, clock, SETTINGS, disk.connect)
            value += 1
            for seq in outbox.put([draft(value)], clock.stamp()):
                assert seq not in given, "a number was given twice"
                given[seq] = value
        except OutboxBrokenError:
            failures += 1
            if outbox is not None:
                with pytest.raises(OutboxBrokenError, match="opened anew"):
                    outbox.put([draft()], clock.stamp())
                outbox.reopen()
    assert outbox is not None
    with contextlib.suppress(OutboxBrokenError):
        outbox.close()
    return given, failures


@pytest.mark.slow
def test_a_day_of_one_pack_a_minute_costs_little_more_than_one_fsync_each(tmp_path: Path) -> None:
    with CrashDisk("counting-disk") as disk:
        clock = StillClock()
        outbox = open_outbox(tmp_path / "outbox.db", clock, OutboxSettings(), disk.connect)
        before = disk.syncs()
        for minute in range(600):
            outbox.put([draft(readings=6)], clock.stamp())
            outbox.settle([minute + 1])
            outbox.load([minute + 1])
            outbox.statistics()
            clock.now_s += 60
        spent = disk.syncs() - before
        assert 600 <= spent <= 660
        for _ in range(10):
            outbox.settle([])
            outbox.load([600])
            outbox.flush()
        assert disk.syncs() - before <= spent + 1, "one for the last settled pack, and none while nothing happens"
        outbox.close()
