"""From values to readings: intervals, deadbands, units and what is live; then the loop with a real worker."""

import asyncio
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from lichtmast.edge.drivers import Channel, DriverContext, Worker, build_driver
from lichtmast.edge.sampling import Measured, Sampler, Schedule, collect, read_drivers, with_wishes
from lichtmast.wire.twin import SensorWish

NUMBER = Channel("c", "number", "Cel")


def sampler(line: str, channel: Channel = NUMBER) -> Sampler:
    text = f'[[driver]]\nname = "d"\nkind = "x"\n[[driver.reading]]\nchannel = "c"\nsample_s = 1\n{line}\n'
    drivers = read_drivers(tomllib.loads(text)["driver"])
    return Sampler(drivers, {"d": (channel,)}, now_s=0.0, fresh_salt=lambda: b"salt")


def sent(one: Sampler, now_s: float, *values: float | bool | str) -> list[Any]:
    """Take values a second apart up to now, then the values that the report sends."""
    for back, value in enumerate(reversed(values)):
        one.take("d", {"c": value}, now_s - len(values) + 1 + (len(values) - 1 - back))
    return [reading.value for reading in one.report(now_s).readings]


def test_an_interval_is_told_once_with_its_unit_and_the_time_of_its_last_sample() -> None:
    one = sampler('statistics = { mean = "/a/0/mean", max = "/a/0/max", count = "/a/0/count" }')
    for second in range(1, 4):
        one.take("d", {"c": float(second), "stranger": 1.0}, float(second))
    assert one.report(60.0).readings == (
        Measured("/a/0/mean", 2.0, "Cel", 3.0),
        Measured("/a/0/max", 3.0, "Cel", 3.0),
        Measured("/a/0/count", 3.0, "count", 3.0),
    )
    assert one.report(120.0).readings == ()
    assert one.statistics().empty == 1


def test_scale_offset_and_unit_make_another_quantity_of_a_voltage() -> None:
    one = sampler('suffix = "/air/0/pm10"\nscale = 2e-7\noffset = -1e-7\nunit = "kg/m3"', Channel("c", "number", "V"))
    one.take("d", {"c": 3.0}, 1.0)
    (reading,) = one.report(60.0).readings
    assert reading.value == pytest.approx(5e-7)
    assert reading.unit == "kg/m3"


def test_samples_are_taken_no_more_often_than_the_reading_wants() -> None:
    one = sampler('statistics = { count = "/a/0/count" }')
    for tenth in range(1_000):
        one.take("d", {"c": 1.0}, tenth / 10)
    assert one.report(100.0).readings[0].value in {100.0, 101.0}


def test_a_part_of_a_sum_is_never_left_out_however_often_the_driver_is_read() -> None:
    one = sampler('statistics = { sum = "/a/0/sum" }')
    for tenth in range(100):
        one.take("d", {"c": 1.0}, tenth / 10)
    assert one.report(10.0).readings[0].value == 100.0


def test_a_quicker_sampling_begins_at_once() -> None:
    text = '[[driver]]\nname = "d"\nkind = "x"\n[[driver.reading]]\nchannel = "c"\nsuffix = "/a/0/b"\nsample_s = 3600\n'
    drivers = read_drivers(tomllib.loads(text)["driver"])
    one = Sampler(drivers, {"d": (NUMBER,)}, now_s=0.0, fresh_salt=bytes)
    assert sent(one, 60.0, 1.0) == [1.0]
    assert sent(one, 120.0, 2.0) == []
    one.apply(with_wishes(drivers, {"/a/0/b": SensorWish(sample_s=10.0)}))
    assert sent(one, 180.0, 3.0) == [3.0]


def test_a_value_within_its_deadband_is_sent_only_after_the_longest_silence() -> None:
    one = sampler('suffix = "/a/0/b"\ndeadband = 0.5\nsilence_max_s = 300')
    history = [20.0, 20.4, 20.5, 20.51, 20.6, 20.6, 20.6, 20.6, 20.6]
    assert [sent(one, 60.0 * minute, value) for minute, value in enumerate(history, 1)] == [
        *([20.0], [], [], [20.51], [], [], [], []),
        [20.6],
    ]
    assert one.statistics().still == 6


def test_a_slow_drift_does_not_hide_in_the_deadband() -> None:
    one = sampler('suffix = "/a/0/b"\ndeadband = 0.5')
    values = [value for minute in range(100) for value in sent(one, 60.0 * minute, minute * 0.1)]
    assert len(values) == pytest.approx(100 / 6, abs=2)


@pytest.mark.parametrize(
    ("channel", "history"),
    [(Channel("c", "boolean"), (True, True, False, False)), (Channel("c", "text"), ("on", "on", "off", "off"))],
)
def test_switches_and_texts_with_a_deadband_are_sent_when_they_change(
    channel: Channel, history: tuple[bool | str, ...]
) -> None:
    one = sampler('suffix = "/a/0/b"\ndeadband = 0', channel)
    told = [sent(one, 60.0 * minute, value) for minute, value in enumerate(history, 1)]
    assert told == [[history[0]], [], [history[2]], []]


def test_a_counters_bad_read_is_neither_sent_nor_shown_and_its_reason_is_told() -> None:
    one = sampler('statistics = { last = "/a/0/energy" }', Channel("c", "counter", "J"))
    assert sent(one, 60.0, 5_000.0) == [5_000.0]
    assert sent(one, 120.0, 0.0) == []
    assert one.latest()["/a/0/energy"].value == 5_000.0
    assert (one.statistics().refused, one.statistics().last_refusal) == (1, "/a/0/energy: fell from 5000 to 0")
    assert sent(one, 180.0, 5_010.0) == [5_010.0]
    assert one.statistics().refused == 1


def test_the_increase_of_a_counter_waits_for_a_second_value() -> None:
    one = sampler('statistics = { increase = "/a/0/rain" }', Channel("c", "counter", "count"))
    assert sent(one, 60.0, 1_000.0) == []
    assert sent(one, 120.0, 1_004.0) == [4.0]
    assert sent(one, 180.0, 1_004.0) == [0.0]


def test_the_latest_value_is_the_last_sample_of_a_gauge_and_the_last_sent_of_the_rest() -> None:
    one = sampler('statistics = { mean = "/a/0/mean", max = "/a/0/max" }')
    one.take("d", {"c": 7.0}, 1.0)
    assert one.latest() == {"/a/0/mean": Measured("/a/0/mean", 7.0, "Cel", 1.0)}
    one.take("d", {"c": 3.0}, 2.0)
    one.report(60.0)
    one.take("d", {"c": 1.0}, 61.0)
    assert {suffix: reading.value for suffix, reading in one.latest().items()} == {"/a/0/mean": 1.0, "/a/0/max": 7.0}


def test_a_wish_takes_effect_without_losing_what_was_taken() -> None:
    text = '[[driver]]\nname = "d"\nkind = "x"\n[[driver.reading]]\nchannel = "c"\nsuffix = "/a/0/b"\nsample_s = 1\n'
    drivers = read_drivers(tomllib.loads(text)["driver"])
    one = Sampler(drivers, {"d": (NUMBER,)}, now_s=0.0, fresh_salt=bytes)
    one.take("d", {"c": 5.0}, 1.0)
    one.apply(with_wishes(drivers, {"/a/0/b": SensorWish(deadband=2.0, sample_s=30.0)}))
    assert [reading.value for reading in one.report(60.0).readings] == [5.0]
    assert sent(one, 120.0, 6.0) == []
    one.take("d", {"c": 50.0}, 121.0)  # not due for another half minute
    assert one.report(180.0).readings == ()


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def test_a_driver_is_read_on_its_schedule_and_its_values_reach_the_report() -> None:
    text = (
        '[[driver]]\nname = "d"\nkind = "simulated"\n[driver.channel.c]\nshape = "constant"\nunit = "Cel"\nvalue = 21\n'
        '[[driver.reading]]\nchannel = "c"\nsuffix = "/a/0/b"\nsample_s = 0.1\n'
    )

    async def scenario() -> None:
        (driver,) = drivers = read_drivers(tomllib.loads(text)["driver"])
        clock = asyncio.get_running_loop().time
        context = DriverContext("d", 1, driver.wanted, clock, lambda _: None)
        worker = Worker(
            "d",
            lambda: build_driver(driver.kind, driver.options, context),
            wanted=driver.wanted,
            seed=1,
            monotonic_s=clock,
            on_refused=lambda _, reason: pytest.fail(reason),
        )
        one = Sampler(drivers, {"d": worker.channels}, now_s=clock(), fresh_salt=bytes)
        schedule = Schedule(0.02, seed=1, now_s=clock())
        loop = asyncio.create_task(collect(worker, one, schedule, clock), name="collect")
        await settled(lambda: one.statistics().samples >= 2)
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop
        assert [reading.value for reading in one.report(clock()).readings] == [21.0]
        await worker.close()

    asyncio.run(scenario())
