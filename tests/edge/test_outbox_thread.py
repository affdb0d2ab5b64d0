"""The outbox under asyncio: all that a failing or slow disk does to the agent is waiting and counting."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from crash_disk import CrashDisk
from outbox_parts import DEVICE, StillClock, draft, open_outbox, pack_of, values_of

from lichtmast.edge.outbox import Outbox, OutboxBrokenError, OutboxInUseError, OutboxSettings, OutboxThread, limits
from lichtmast.edge.outbox.storage import Connect, Connection, connect_sqlite
from lichtmast.wire.faultpoint import arm, disarm

LONG_S = limits.RETRY_MAX_S + 1


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@asynccontextmanager
async def running(path: Path, clock: StillClock, connect: Connect = connect_sqlite) -> AsyncIterator[OutboxThread]:
    async with asyncio.timeout(30):
        async with OutboxThread(path, DEVICE, settings=OutboxSettings(), clock=clock, connect=connect) as outbox:
            yield outbox


def test_packs_go_in_and_out_and_are_settled(path: Path, clock: StillClock) -> None:
    async def life() -> None:
        async with running(path, clock) as outbox:
            assert outbox.statistics().healthy
            assert await outbox.put([draft(1.0), draft(2.0)], clock.stamp()) == [1, 2]
            assert await outbox.put([draft(3.0)], None) == []
            assert await outbox.stamp_waiting(clock.stamp()) == [3]
            assert [one.seq for one in await outbox.load([1, 3])] == [1, 3]
            await outbox.settle([1, 2], epoch=outbox.epoch)
            assert list(await outbox.sendable()) == [3]
            await outbox.flush()
            assert (outbox.statistics().packs, outbox.statistics().next_seq) == (1, 4)
            epoch = outbox.epoch
        again = open_outbox(path, clock)
        assert (epoch, [3]) == (again.epoch, list(again.sendable()))
        again.close()

    asyncio.run(life())


def test_more_drafts_than_one_transaction_takes_are_put_in_several(path: Path, clock: StillClock) -> None:
    async def life() -> None:
        async with running(path, clock) as outbox:
            assert list(range(1, 201)) == await outbox.put([draft()] * 200, clock.stamp())

    asyncio.run(life())


def test_a_second_agent_is_refused_at_the_start(path: Path, clock: StillClock) -> None:
    first = open_outbox(path, clock)

    async def life() -> None:
        with pytest.raises(OutboxInUseError):
            async with running(path, clock):
                pass

    asyncio.run(life())
    first.close()


def test_a_disk_that_fails_costs_no_reading_and_no_number_is_given_twice(path: Path, clock: StillClock) -> None:
    async def life() -> None:
        with CrashDisk("thread-disk") as disk:
            async with running(path, clock, disk.connect) as outbox:
                given = await outbox.put([draft(1.0)], clock.stamp())
                disk.fail_at = frozenset(range(disk.operations + 1, disk.operations + 100_000))
                for value in (2.0, 3.0):
                    assert await outbox.put([draft(value)], clock.stamp()) == []
                told = outbox.statistics()
                assert (told.healthy, told.memory_drafts) == (False, 2)
                assert "failed" in told.fault
                clock.now_s += 1
                assert await outbox.put([draft(4.0)], clock.stamp()) == [], "the pause is not over"
                disk.fail_at = frozenset()
                clock.now_s += LONG_S
                given += await outbox.put([draft(5.0)], clock.stamp())
                told = outbox.statistics()
                assert (told.healthy, told.memory_drafts, told.reopened, told.lost_drafts) == (True, 0, 1, 0)
        again = open_outbox(path, clock)
        assert given == [1, 2, 3, 4, 5]
        assert [pack_of(again, seq).records[0].value for seq in given] == [1.0, 2.0, 3.0, 4.0, 5.0]
        again.close()

    asyncio.run(life())


class LyingConnection:
    """A commit that is durable, and reports an error all the same: what a failed fsync may mean."""

    def __init__(self, path: Path) -> None:
        self._connection = connect_sqlite(path)
        self.lies = 0
        self.close = self._connection.close

    def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> object:
        done = self._connection.execute(sql, parameters)
        if sql == "COMMIT" and self.lies:
            self.lies -= 1
            raise OSError(5, "Input/output error")
        return done


@pytest.mark.parametrize("stamped", [True, False])
def test_a_commit_that_was_durable_although_it_failed_is_not_done_twice(
    path: Path, clock: StillClock, *, stamped: bool
) -> None:
    connections: list[LyingConnection] = []

    def connect(path: Path) -> Connection:
        connections.append(LyingConnection(path))
        return connections[-1]  # type: ignore[return-value] # the part that is used

    async def life() -> None:
        async with running(path, clock, connect) as outbox:
            assert await outbox.put([draft(1.0)], clock.stamp()) == [1]
            connections[-1].lies = 1
            assert await outbox.put([draft(2.0), draft(3.0)], clock.stamp() if stamped else None) == []
            clock.now_s += LONG_S
            given = await outbox.put([], clock.stamp())
            assert ([2, 3] if stamped else []) == given
            assert (
                outbox.statistics().next_seq,
                outbox.statistics().memory_drafts,
                outbox.statistics().packs,
            ) == (4, 0, 3)
            if not stamped:
                connections[-1].lies = 1
                assert await outbox.stamp_waiting(clock.stamp()) == []
                clock.now_s += LONG_S
                assert await outbox.put([], clock.stamp()) == [2, 3], "stamped by the commit that failed"

    asyncio.run(life())


def test_memory_is_bounded_while_the_disk_fails_and_what_goes_is_counted_durably(path: Path, clock: StillClock) -> None:
    async def life() -> None:
        with CrashDisk("bounded-disk") as disk:
            async with running(path, clock, disk.connect) as outbox:
                disk.fail_at = frozenset(range(disk.operations + 1, disk.operations + 100_000))
                for _ in range(400):
                    await outbox.put([draft()], clock.stamp())
                told = outbox.statistics()
                assert told.memory_drafts <= limits.DRAFTS_IN_MEMORY_MAX + limits.PUT_DRAFTS_MAX
                assert told.memory_drafts + told.lost_drafts == 400
                lost = told.lost_drafts
                assert lost > 0
                disk.fail_at = frozenset()
                clock.now_s += LONG_S
                assert len(await outbox.put([], clock.stamp())) == 400 - lost
                assert lost == outbox.statistics().lost_drafts
        again = open_outbox(path, clock)
        assert lost == again.statistics().lost_drafts
        again.close()

    asyncio.run(life())


def test_what_was_settled_while_the_disk_failed_is_settled(path: Path, clock: StillClock) -> None:
    async def life() -> None:
        with CrashDisk("settling-disk") as disk:
            async with running(path, clock, disk.connect) as outbox:
                await outbox.put([draft()] * 3, clock.stamp())
                disk.fail_at = frozenset(range(disk.operations + 1, disk.operations + 100_000))
                await outbox.put([draft()], clock.stamp())
                await outbox.settle([1, 2], epoch=outbox.epoch)
                disk.fail_at = frozenset()
                clock.now_s += LONG_S
                assert await outbox.put([], clock.stamp()) == [4]
                assert list(await outbox.sendable()) == [3, 4]
                assert outbox.statistics().packs == 2

    asyncio.run(life())


def test_what_was_confirmed_of_an_earlier_epoch_settles_nothing_in_this_one(path: Path, clock: StillClock) -> None:
    async def life() -> None:
        async with running(path, clock) as outbox:
            await outbox.put([draft()] * 3, clock.stamp())
            await outbox.settle([1, 2], epoch=outbox.epoch - 1)
            await outbox.flush()
            assert list(await outbox.sendable()) == [1, 2, 3]

    asyncio.run(life())


def test_a_confirmation_that_waits_behind_the_replacement_of_the_file_settles_nothing(
    path: Path, clock: StillClock
) -> None:
    opened: list[LyingConnection] = []

    def connect(path: Path) -> Connection:
        opened.append(LyingConnection(path))
        return opened[-1]  # type: ignore[return-value] # the part that is used

    async def life() -> None:
        async with running(path, clock, connect) as outbox:
            await outbox.put([draft(float(one)) for one in range(6)], clock.stamp())
            epoch = outbox.epoch
            await outbox._run(lambda: bool(opened[0].execute("UPDATE meta SET checksum = checksum + 1")))
            await outbox._run(lambda: outbox._failed(OutboxBrokenError("the disk failed")))
            clock.now_s += LONG_S
            async with asyncio.TaskGroup() as group:  # both are under way while the file is replaced
                group.create_task(outbox.put([], clock.stamp()), name="put")
                group.create_task(outbox.settle([1, 2, 3], epoch=epoch), name="settle")
            await outbox.flush()
            assert outbox.epoch != epoch
            assert len(await outbox.sendable()) == 6

    asyncio.run(life())


def test_a_put_that_is_cancelled_while_the_disk_is_slow_is_written_when_the_outbox_closes(
    path: Path, clock: StillClock
) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        go_on.wait(20)

    async def life() -> None:
        async with running(path, clock) as outbox, asyncio.TaskGroup() as group:
            group.create_task(outbox._run(hang), name="slow")
            while not hanging.is_set():
                await asyncio.sleep(0.005)
            put = group.create_task(outbox.put([draft(2.0)], clock.stamp()), name="put")
            await asyncio.sleep(0)
            put.cancel()
            go_on.set()

    asyncio.run(life())
    again = open_outbox(path, clock)
    assert values_of(again) == {1: 2.0}, "with the time that was known when it was put"
    again.close()


def test_what_waits_in_memory_is_written_at_the_end_although_the_pause_is_not_over(
    path: Path, clock: StillClock
) -> None:
    async def life() -> None:
        with CrashDisk("ending-disk") as disk:
            async with running(path, clock, disk.connect) as outbox:
                disk.fail_at = frozenset(range(disk.operations + 1, disk.operations + 100_000))
                await outbox.put([draft(1.0), draft(2.0)], clock.stamp())
                assert outbox.statistics().memory_drafts == 2
                disk.fail_at = frozenset()

    asyncio.run(life())
    again = open_outbox(path, clock)
    assert values_of(again) == {1: 1.0, 2: 2.0}
    again.close()


def test_a_pack_that_rots_costs_itself_and_no_exception(path: Path, clock: StillClock) -> None:
    opened: list[LyingConnection] = []

    def connect(path: Path) -> Connection:
        opened.append(LyingConnection(path))
        return opened[-1]  # type: ignore[return-value] # the part that is used

    async def life() -> None:
        async with running(path, clock, connect) as outbox:
            await outbox.put([draft()] * 3, clock.stamp())
            await outbox._run(lambda: bool(opened[0].execute("UPDATE pack SET created_s = 'x' WHERE seq = 1")))
            await outbox.put([draft()], clock.stamp())
            told = outbox.statistics()
            assert (told.healthy, "pack 1 is not as it was written" in told.fault) == (False, True)
            clock.now_s += LONG_S
            await outbox.put([draft()], clock.stamp())
            told = outbox.statistics()
            assert (told.healthy, told.damaged_packs, told.files_replaced) == (True, 1, 0)
            sendable = list(await outbox.sendable())
            assert sendable == [2, 3, 4, 5]

    asyncio.run(life())


def test_loading_waits_until_the_file_can_be_read(path: Path, clock: StillClock) -> None:
    async def life() -> None:
        with CrashDisk("waiting-disk") as disk:
            async with running(path, clock, disk.connect) as outbox:
                await outbox.put([draft()], clock.stamp())
                disk.fail_at = frozenset(range(disk.operations + 1, disk.operations + 100_000))
                await outbox.put([draft()], clock.stamp())
                async with asyncio.TaskGroup() as group:
                    loading = group.create_task(outbox.load([1]), name="load")
                    await asyncio.sleep(0)
                    assert not loading.done()
                    disk.fail_at = frozenset()
                    clock.now_s += LONG_S
                assert [one.seq for one in loading.result()] == [1]

    asyncio.run(life())


def test_an_agent_starts_without_a_disk_and_writes_once_there_is_one(tmp_path: Path, clock: StillClock) -> None:
    folder = tmp_path / "card"

    async def life() -> None:
        async with running(folder / "outbox.db", clock) as outbox:
            assert (outbox.statistics().healthy, outbox.epoch) == (False, 0)
            assert outbox.floor_us == limits.FLOOR_US
            assert await outbox.put([draft()], clock.stamp()) == []
            await outbox.settle([1], epoch=outbox.epoch)
            folder.mkdir()
            clock.now_s += LONG_S
            assert await outbox.put([draft()], clock.stamp()) == [1, 2]
            assert outbox.epoch > 0

    asyncio.run(life())


def test_a_file_that_is_damaged_while_it_is_open_is_replaced_and_the_epoch_tells(path: Path, clock: StillClock) -> None:
    opened: list[LyingConnection] = []

    def connect(path: Path) -> Connection:
        if len(opened) == 1:
            path.write_bytes(b"nonsense" * 4_096)
        opened.append(LyingConnection(path))
        return opened[-1]  # type: ignore[return-value] # the part that is used

    async def life() -> None:
        async with running(path, clock, connect) as outbox:
            await outbox.put([draft()], clock.stamp())
            epoch = outbox.epoch
            opened[0].lies = 1
            assert await outbox.put([draft(2.0)], clock.stamp()) == []
            clock.now_s += LONG_S
            given = await outbox.put([draft(3.0)], clock.stamp())
            assert outbox.epoch != epoch
            assert set(given) <= set(await outbox.sendable())
            assert outbox.statistics().files_replaced == 1
            assert outbox.statistics().healthy

    asyncio.run(life())


def test_drafts_of_other_puts_are_safe_while_the_disk_hangs(path: Path, clock: StillClock) -> None:
    hanging, go_on = threading.Event(), threading.Event()

    def hang(_: float) -> None:
        hanging.set()
        go_on.wait(20)

    async def life() -> None:
        async with running(path, clock) as outbox:
            arm({"edge.before_put": "sleep=1"}, leave=lambda _: None, sleep=hang)
            try:
                async with asyncio.TaskGroup() as group:
                    first = group.create_task(outbox.put([draft(1.0)], clock.stamp()), name="first")
                    while not hanging.is_set():
                        await asyncio.sleep(0.005)
                    second = group.create_task(outbox.put([draft(2.0)], clock.stamp()), name="second")
                    await asyncio.sleep(0)
                    assert outbox.statistics().memory_drafts == 2
                    disarm()
                    go_on.set()
            finally:
                disarm()
                go_on.set()
            assert sorted(first.result() + second.result()) == [1, 2]

    asyncio.run(life())


def test_an_armed_point_that_raises_is_not_taken_for_a_disk(path: Path, clock: StillClock) -> None:
    outbox: Outbox = open_outbox(path, clock)
    arm({"edge.after_put": "raise@1"}, leave=lambda _: None, sleep=lambda _: None)
    try:
        with pytest.raises(RuntimeError, match=r"edge\.after_put"):
            outbox.put([draft()], clock.stamp())
    finally:
        disarm()
    assert list(outbox.sendable()) == [1], "it is on the disk all the same"
    outbox.close()
