"""A writer that is killed at any moment, and a disk that is really full: real processes and file systems."""

import asyncio
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox_parts import DEVICE, StillClock, draft, open_outbox, pack_of, values_of

from lichtmast.edge.outbox import OutboxSettings, OutboxThread, limits
from lichtmast.wire.faultpoint import EXIT_CODE
from lichtmast.wire.senml import decode

SUPPORT = Path(__file__).parents[1] / "support"
WRITER = """
import os, sys, time
from pathlib import Path
from outbox_parts import StillClock, draft, open_outbox, pack_of
from lichtmast.edge.outbox import OutboxSettings
from lichtmast.wire.faultpoint import arm, parse_faults
arm(parse_faults(sys.argv[2]), leave=os._exit, sleep=time.sleep)
clock = StillClock()
outbox = open_outbox(Path(sys.argv[1]), clock, OutboxSettings(bytes_max=320 * 1024))
while True:
    first = outbox.next_seq
    given = outbox.put([draft(float(seq), readings=8) for seq in range(first, first + 3)], clock.stamp())
    # What the server has, it has with the declarations in it: settle one that carries none.
    settled = [seq for seq in given if not pack_of(outbox, seq).dropped][-1]
    print(outbox.epoch, settled, *given, flush=True)
    outbox.settle([settled])
"""


def write_until_killed(path: Path, faults: str, lines: int) -> tuple[int, list[list[int]]]:
    """Run the writer, kill it after so many reported puts; returns its exit code and what it reported."""
    reported = []
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), faults],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(SUPPORT)},
    ) as writer:
        assert writer.stdout is not None
        for raw in writer.stdout:
            if raw.endswith(b"\n"):
                reported.append([int(word) for word in raw.split()])
            if len(reported) == lines:
                writer.send_signal(signal.SIGKILL)
        return writer.wait(20), reported


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_gives_no_number_twice_and_leaves_no_hole_undeclared(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    chance = random.Random(11)  # noqa: S311 - repeatable
    reported: list[list[int]] = []
    for _ in range(6):
        code, more = write_until_killed(path, "", chance.randrange(1, 60))
        assert code == -signal.SIGKILL, "the kill came too late"
        reported += more
    numbers = [seq for _, _, *given in reported for seq in given]
    assert len(numbers) == len(set(numbers)), "a number was given twice"
    assert len({epoch for epoch, *_ in reported}) == 1
    outbox = open_outbox(path, StillClock(), OutboxSettings(bytes_max=320 * 1024))
    assert outbox.statistics().dropped_packs > 0, "it was never full, so no number had to be declared"
    outbox.put([draft()], StillClock().stamp())
    there = set(outbox.sendable())
    declared = set()
    for packed in outbox.load(sorted(there)):
        pack = decode(packed.payload, packed.content_format, StillClock().wall_us())
        declared |= {seq for first, last in pack.dropped for seq in range(first, last + 1)}
    settled = {one for _, one, *_ in reported}
    assert set(range(1, outbox.next_seq)) - there - declared - settled == set()
    assert not there & declared
    outbox.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "on_disk"), [("edge.before_put=exit@5", 12), ("edge.after_put=exit@5", 15)], ids=["before", "after"]
)
def test_a_writer_that_dies_at_a_faultpoint_keeps_what_its_commit_had(tmp_path: Path, fault: str, on_disk: int) -> None:
    code, reported = write_until_killed(tmp_path / "outbox.db", fault, 100)
    assert (code, len(reported)) == (EXIT_CODE, 4)
    outbox = open_outbox(tmp_path / "outbox.db", StillClock())
    assert on_disk + 1 == outbox.next_seq
    outbox.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own."""
    if os.geteuid():
        pytest.skip("a file system can only be mounted by root")
    folder = tmp_path / "disk"
    folder.mkdir()
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4 * 1024 * 1024))
    for words in (
        ["mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(folder)],
    ):
        done = subprocess.run(words, check=False, capture_output=True)
        if done.returncode:
            # No loop devices in here: a file system in memory has the same end.
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=True)
            break
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a test that failed may still have a file open


def fill_up(folder: Path, *, leave: int = 0) -> Path:
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (65_536, 4_096, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    if leave:
        os.truncate(filler, filler.stat().st_size - leave)
    return filler


@pytest.mark.slow
@pytest.mark.parametrize("drop", ["oldest", "newest"])
def test_on_a_full_disk_the_policy_holds_and_the_count_is_what_is_missing(small_disk: Path, drop: str) -> None:
    clock = StillClock()
    settings = OutboxSettings(bytes_max=16 * 1024 * 1024, drop=drop)  # more than the disk has
    outbox = open_outbox(small_disk / "outbox.db", clock, settings)
    given: list[int] = []
    puts = 0

    def put(count: int) -> None:
        nonlocal puts
        for _ in range(count):
            given.extend(outbox.put([draft(float(outbox.next_seq), readings=10)], clock.stamp()))
            puts += 1

    put(100)
    assert outbox.statistics().dropped_packs + outbox.statistics().turned_away_drafts == 0
    filler = fill_up(small_disk)
    put(600)
    told = outbox.statistics()
    assert told.healthy
    there = sorted(outbox.sendable())
    if drop == "oldest":
        assert told.dropped_packs > 100, "the disk was not full"
        assert given[-len(there) :] == there
        assert told.dropped_packs == len(given) - len(there) == puts - len(there)
        declared = {
            one for seq in there for first, last in pack_of(outbox, seq).dropped for one in range(first, last + 1)
        }
        assert declared == set(given) - set(there)
    else:
        assert told.turned_away_drafts > 100, "the disk was not full"
        assert given == there == list(range(1, len(given) + 1))
        assert puts == len(given) + told.turned_away_drafts
    outbox.settle(there[:20])
    put(5)
    outbox.close()
    filler.unlink()
    again = open_outbox(small_disk / "outbox.db", clock, settings)
    before = again.statistics()
    assert (before.files_replaced, before.damaged_packs) == (0, 0)
    for _ in range(100):
        again.put([draft(readings=10)], clock.stamp())
    after = again.statistics()
    assert after.packs == before.packs + 100, "it grows again once there is room"
    again.close()


@pytest.mark.slow
def test_a_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    clock = StillClock()
    outbox = open_outbox(tmp_path / "outbox.db", clock, OutboxSettings(bytes_max=16 * 1024 * 1024))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, before[1]))
    try:
        given = [seq for _ in range(1_200) for seq in outbox.put([draft(readings=40)], clock.stamp())]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    told = outbox.statistics()
    assert told.dropped_packs > 100
    assert told.packs + told.dropped_packs == len(given) == 1_200
    outbox.close()


EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2


@pytest.mark.slow
def test_a_disk_that_drops_dead_costs_nothing_once_it_is_mounted_again(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("a file system can only be mounted by root")
    folder, image, clock = tmp_path / "disk", tmp_path / "disk.img", StillClock()
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    mount = ["mount", "-o", "loop", str(image), str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("there are no loop devices here")

    async def life() -> None:
        async with OutboxThread(folder / "outbox.db", DEVICE, settings=OutboxSettings(), clock=clock) as outbox:
            given = await outbox.put([draft(1.0), draft(2.0)], clock.stamp())
            handle = os.open(folder, os.O_RDONLY)
            try:
                # As a card that is pulled out: what was not synced is gone, and everything fails.
                fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH.to_bytes(4, sys.byteorder))
            finally:
                os.close(handle)
            assert await outbox.put([draft(3.0)], clock.stamp()) == []
            assert not outbox.statistics().healthy
            clock.now_s += limits.RETRY_MAX_S
            assert await outbox.put([draft(4.0)], clock.stamp()) == [], "it is still dead"
            await asyncio.to_thread(subprocess.run, ["umount", str(folder)], check=True)  # nothing is held open
            await asyncio.to_thread(subprocess.run, mount, check=True)
            clock.now_s += limits.RETRY_MAX_S
            given += await outbox.put([draft(5.0)], clock.stamp())
            assert given == [1, 2, 3, 4, 5]

    try:
        asyncio.run(life())
        again = open_outbox(folder / "outbox.db", clock)
        assert values_of(again) == {seq: float(seq) for seq in range(1, 6)}
        again.close()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
