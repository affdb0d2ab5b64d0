"""A driver that hangs, raises or lies is skipped, counted and reported, and nobody else waits for it."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from lichtmast.edge.drivers import Channel, Driver, DriverError, Identifiers, Worker, limits

TEMPERATURE = Channel("temp", "number", "Cel")
LAMP = Channel("lamp", "number", "/", writable=True)
RELAY = Channel("relay", "boolean", None, writable=True)


class Scripted:
    """A driver whose next read is whatever the test says."""

    def __init__(self, *channels: Channel) -> None:
        self._channels = channels
        self.answer: Callable[[], Any] = lambda: {"temp": 20.0}
        self.written: list[tuple[str, object]] = []
        self.closed = threading.Event()

    @property
    def channels(self) -> Sequence[Channel]:
        return self._channels or (TEMPERATURE,)

    def read(self) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.answer()
        return answer

    def write(self, channel: str, value: float | bool) -> None:  # noqa: FBT001 - the port's signature
        self.answer()
        self.written.append((channel, value))

    def close(self) -> None:
        self.closed.set()


class Bench:
    """A worker with a clock that the test turns, and everything that it reported."""

    def __init__(self, *drivers: Driver, timeout_s: float = 10) -> None:
        self.now_s = 1_000.0
        self.told: list[str] = []
        supply = iter(drivers)
        self.worker = Worker(
            "weather",
            lambda: next(supply),
            wanted=frozenset(one.name for one in drivers[0].channels),
            seed=1,
            monotonic_s=lambda: self.now_s,
            on_refused=lambda _, reason: self.told.append(reason),
            timeout_s=timeout_s,
        )

    def later(self, seconds: float) -> None:
        self.now_s += seconds

    def patient(self) -> None:
        """No deadline that a busy machine could miss, for the reads that are to succeed."""
        self.worker._timeout_s = 10


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until the loop has seen what another thread did."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def test_a_driver_that_hangs_is_skipped_until_its_call_returns_and_the_late_value_is_thrown_away() -> None:
    async def scenario() -> None:
        driver, gate = Scripted(), threading.Event()
        bench = Bench(driver, timeout_s=0.05)
        driver.answer = lambda: (gate.wait(10), {"temp": 99.0})[1]
        assert await bench.worker.read() == {}
        assert bench.told == ["has not answered for 0.05 s; it is skipped until it does"]
        bench.later(200)
        assert await bench.worker.read() == {}
        assert bench.worker.statistics().hanging
        driver.answer = lambda: {"temp": 20.0}
        bench.patient()
        gate.set()
        await settled(lambda: not bench.worker.statistics().hanging)
        bench.later(limits.RETRY_S_MAX)
        assert await bench.worker.read() == {"temp": 20.0}
        assert (bench.worker.statistics().hangs, bench.worker.statistics().skipped) == (1, 1)
        await bench.worker.close()

    asyncio.run(scenario())


def test_a_hanging_driver_holds_up_no_other() -> None:
    async def scenario() -> None:
        gate = threading.Event()
        hanging, well = Scripted(), Scripted()
        hanging.answer = lambda: (gate.wait(10), {})[1]
        first, second = Bench(hanging, timeout_s=5), Bench(well)
        waiting = asyncio.create_task(first.worker.read(), name="hangs")
        for _ in range(3):
            assert await second.worker.read() == {"temp": 20.0}
        assert not waiting.done()
        gate.set()
        await waiting

    asyncio.run(scenario())


def test_a_call_that_never_returns_gets_a_successor_and_only_so_many_are_left_behind() -> None:
    async def scenario() -> None:
        gate = threading.Event()
        drivers = [Scripted() for _ in range(limits.ABANDONED_MAX + 1)]
        for one in drivers:
            one.answer = lambda: (gate.wait(20), {"temp": 1.0})[1]
        bench = Bench(*drivers, timeout_s=0.02)
        for _ in drivers:
            assert await bench.worker.read() == {}
            bench.later(limits.REPLACE_AFTER_S + limits.RETRY_S_MAX)
        assert await bench.worker.read() == {}  # there is no next driver to take: the supply would raise StopIteration
        assert bench.worker.statistics().abandoned_threads == limits.ABANDONED_MAX
        assert bench.told[-1] == f"{limits.ABANDONED_MAX + 1} calls never returned; only a restart of the agent helps"
        bench.patient()
        gate.set()
        await settled(lambda: all(one.closed.is_set() for one in drivers[:-1]))
        await settled(lambda: bench.worker.statistics().abandoned_threads == 0)
        bench.later(limits.RETRY_S_MAX)
        assert await bench.worker.read() == {"temp": 1.0}

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_a_driver_that_raises_anything_is_reported_and_backs_off(error: BaseException) -> None:
    async def scenario() -> None:
        driver = Scripted()
        bench = Bench(driver)

        def raising() -> Mapping[str, object]:
            raise error

        driver.answer = raising
        assert await bench.worker.read() == {}
        assert bench.told == [f"{type(error).__name__}: {error}"]
        assert await bench.worker.read() == {}
        assert (bench.worker.statistics().failures, bench.worker.statistics().skipped) == (1, 1)
        bench.later(limits.RETRY_S)
        driver.answer = lambda: {"temp": 7}
        assert await bench.worker.read() == {"temp": 7.0}

    asyncio.run(scenario())


def test_pauses_between_failures_grow_up_to_their_limit_and_the_same_trouble_is_told_once() -> None:
    async def scenario() -> None:
        driver = Scripted()
        bench = Bench(driver)

        def raising() -> Mapping[str, object]:
            raise DriverError("no answer from the chip")

        driver.answer = raising
        tries = []
        for _ in range(4_000):
            before = bench.worker.statistics().failures
            await bench.worker.read()
            if bench.worker.statistics().failures > before:
                tries.append(bench.now_s)
            bench.later(1)
        gaps = [later - earlier for earlier, later in pairwise(tries)]
        assert gaps[0] <= 2
        assert limits.RETRY_S_MAX / 2 <= max(gaps) <= limits.RETRY_S_MAX + 1
        assert bench.told == ["no answer from the chip"]
        await bench.worker.close()

    asyncio.run(scenario())


def test_a_lying_driver_gives_only_what_is_clean_and_its_troubles_are_told_at_most_once_a_minute() -> None:
    async def scenario() -> None:
        driver = Scripted(TEMPERATURE, Channel("wet", "boolean"))
        bench = Bench(driver)
        driver.answer = lambda: {"temp": float("nan"), "wet": True, "other": 3}
        assert await bench.worker.read() == {"wet": True}
        assert bench.told == [
            "read returned 1 values of channels that the driver does not have; temp: not a finite number"
        ]
        for number in range(1_000):
            strangers = dict.fromkeys(map(str, range(number % 7 + 1)), 0.0)
            driver.answer = partial(dict, strangers, temp="warm", wet=True)  # another reason each time
            await bench.worker.read()
            bench.later(0.1)
        assert len(bench.told) == 1 + 1_000 * 0.1 // limits.TELL_EVERY_S
        assert bench.worker.statistics().refused_values == 2_002
        await bench.worker.close()

    asyncio.run(scenario())


def test_trouble_that_comes_back_within_the_minute_is_not_told_again_but_stands_in_the_statistics() -> None:
    async def scenario() -> None:
        driver = Scripted()
        bench = Bench(driver)
        for answer, trouble in (({}, "temp: no value"), ({"temp": 1.0}, ""), ({}, "temp: no value")):
            driver.answer = partial(dict, answer)
            await bench.worker.read()
            assert bench.worker.statistics().last_reason == trouble
            bench.later(2 * limits.RETRY_S)
        assert bench.told == ["temp: no value"]
        bench.later(limits.TELL_EVERY_S)
        await bench.worker.read()
        assert bench.told == ["temp: no value"] * 2
        await bench.worker.close()

    asyncio.run(scenario())


def test_the_words_of_a_driver_that_sees_addresses_are_not_repeated() -> None:
    async def scenario() -> None:
        driver = Scripted(Channel("people", "identifiers"), TEMPERATURE)
        bench = Bench(driver)

        def raising() -> Mapping[str, object]:
            raise DriverError("cannot parse 02:00:5e:00:53:01")

        driver.answer = raising
        await bench.worker.read()
        bench.later(limits.TELL_EVERY_S)
        driver.answer = lambda: {"people": Identifiers([]), "temp": DriverError("lost 02:00:5e:00:53:01")}
        await bench.worker.read()
        bench.later(limits.TELL_EVERY_S)
        driver.answer = lambda: {"people": "02:00:5e:00:53:01", "temp": 1.0}
        await bench.worker.read()
        assert bench.told == ["DriverError", "temp: DriverError", "people: str where Identifiers belong"]
        await bench.worker.close()

    asyncio.run(scenario())


def test_an_actuator_takes_levels_and_switches_and_refuses_all_else() -> None:
    async def scenario() -> None:
        driver = Scripted(LAMP, RELAY, TEMPERATURE)
        bench = Bench(driver)
        await bench.worker.write("lamp", 0.5)
        await bench.worker.write("relay", 0.5)
        await bench.worker.write("relay", 0.0)
        assert driver.written == [("lamp", 0.5), ("relay", True), ("relay", False)]
        for channel, value in (("temp", 1.0), ("nothing", 1.0), ("lamp", float("inf")), ("lamp", True)):
            with pytest.raises(DriverError):
                await bench.worker.write(channel, value)
        assert len(driver.written) == 3
        await bench.worker.close()
        assert driver.closed.is_set()

    asyncio.run(scenario())


def test_a_write_to_a_hanging_driver_fails_within_the_deadline_and_works_when_reads_fail() -> None:
    async def scenario() -> None:
        driver, gate = Scripted(LAMP), threading.Event()
        bench = Bench(driver)
        driver.answer = dict
        assert await bench.worker.read() == {}
        await bench.worker.write("lamp", 1.0)
        driver.answer = lambda: gate.wait(10)
        bench.worker._timeout_s = 0.05
        for reason in ("has not answered for 0.05 s", "hangs; lamp was not set"):
            with pytest.raises(DriverError, match=reason):
                await bench.worker.write("lamp", 0.5)
        gate.set()

    asyncio.run(scenario())


def test_a_mapping_that_hangs_when_looked_at_hangs_only_its_own_thread() -> None:
    class Sticky(dict[str, float]):
        def get(self, *_: object) -> None:  # type: ignore[override] # it hangs
            gate.wait(10)

    gate = threading.Event()

    async def scenario() -> None:
        driver = Scripted()
        bench = Bench(driver, timeout_s=0.05)
        driver.answer = Sticky
        assert await bench.worker.read() == {}
        assert bench.worker.statistics().hanging
        gate.set()

    asyncio.run(scenario())


def test_cancelling_a_read_leaves_the_worker_in_order() -> None:
    async def scenario() -> None:
        driver, gate = Scripted(), threading.Event()
        bench = Bench(driver, timeout_s=5)
        driver.answer = lambda: (gate.wait(10), {"temp": 1.0})[1]
        reading = asyncio.create_task(bench.worker.read(), name="read")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        gate.set()
        await settled(lambda: not bench.worker.statistics().hanging)
        assert await bench.worker.read() == {"temp": 1.0}
        await bench.worker.close()

    asyncio.run(scenario())
