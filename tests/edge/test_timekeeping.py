"""What time is believed: jumps, drift, floors and sources that contradict themselves; and what the kernel says."""

import ctypes
import errno
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbox_parts import START_US, StillClock

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.outbox import limits as outbox_limits
from lichtmast.edge.timekeeping import (
    Observation,
    Source,
    Timekeeper,
    kernel,
    observe_assumed,
    observe_kernel,
    read_kernel,
)
from lichtmast.edge.timekeeping.limits import (
    BELOW_FLOOR_S,
    CONFIRM_S,
    FAR_S,
    FAR_US,
    FLOOR_US,
    NEAR_US,
    TIME_BELOW_US,
)

DAY_US = 86_400 * 1_000_000
ROLLOVER_US = 1_024 * 7 * DAY_US


def seen(at_s: float, *, off_us: int = 0, error_s: float = 0.05, source: Source = Source.KERNEL) -> Observation:
    """What a source says whose clock is off by so much."""
    return Observation(source, START_US + round(at_s * 1e6) + off_us, error_s)


@pytest.fixture
def keeper() -> Timekeeper:
    return Timekeeper(floor_us=START_US)


def test_no_time_is_trusted_before_somebody_vouches_for_it(keeper: Timekeeper) -> None:
    assert keeper.stamp(10.0) is None
    assert not keeper.statistics(10.0).trusted
    keeper.observe(seen(20.0), 20.0)
    stamp = keeper.stamp(20.0)
    assert stamp is not None
    assert (stamp.offset_us, stamp.error_s) == (START_US, 0.05)
    assert stamp.wall_us(10.0) == START_US + 10_000_000


def test_the_error_grows_by_500_ppm_while_nobody_confirms(keeper: Timekeeper) -> None:
    keeper.observe(seen(0.0), 0.0)
    stamp = keeper.stamp(86_400.0)
    assert stamp is not None
    assert stamp.error_s == pytest.approx(0.05 + 43.2)
    assert stamp.offset_us == START_US, "a day offline changes what is known by nothing else"


def test_a_more_certain_observation_replaces_a_less_certain_one_and_not_the_other_way(keeper: Timekeeper) -> None:
    keeper.observe(seen(0.0, off_us=40_000, error_s=0.1, source=Source.SNTP), 0.0)
    keeper.observe(seen(10.0, off_us=1_000, error_s=0.01), 10.0)
    assert keeper.statistics(10.0).source is Source.KERNEL
    keeper.observe(seen(11.0, off_us=90_000, error_s=0.1, source=Source.SNTP), 11.0)
    stamp = keeper.stamp(11.0)
    assert stamp is not None
    assert stamp.offset_us == START_US + 1_000


@pytest.mark.parametrize("jump_us", [DAY_US, 3_600_000_000, 1_000_000], ids=["a day", "an hour", "a second"])
def test_a_jump_ends_trust_until_the_source_has_stood_by_it(keeper: Timekeeper, jump_us: int) -> None:
    keeper.observe(seen(0.0), 0.0)
    keeper.observe(seen(10.0, off_us=jump_us), 10.0)
    assert keeper.stamp(10.0) is None
    assert keeper.statistics(10.0).jumps == 1
    keeper.observe(seen(10.0 + CONFIRM_S - 1, off_us=jump_us), 10.0 + CONFIRM_S - 1)
    assert keeper.stamp(40.0) is None
    keeper.observe(seen(10.0 + CONFIRM_S, off_us=jump_us), 10.0 + CONFIRM_S)
    stamp = keeper.stamp(41.0)
    assert stamp is not None
    assert stamp.offset_us == START_US + jump_us
    assert keeper.statistics(41.0).jumps == 1


def test_a_jump_that_is_taken_back_restores_what_was_known(keeper: Timekeeper) -> None:
    keeper.observe(seen(0.0), 0.0)
    keeper.observe(seen(10.0, off_us=DAY_US), 10.0)
    keeper.observe(seen(20.0), 20.0)
    stamp = keeper.stamp(20.0)
    assert stamp is not None
    assert stamp.offset_us == START_US


def test_a_source_that_jumps_about_is_never_believed(keeper: Timekeeper) -> None:
    keeper.observe(seen(0.0), 0.0)
    for number in range(1, 50):
        keeper.observe(seen(number * 60.0, off_us=number * DAY_US), number * 60.0)
        assert keeper.stamp(number * 60.0) is None


@pytest.mark.parametrize("wall_us", [0, START_US - 1, 2**31 * 1_000_000 - 3 * 10**15, TIME_BELOW_US, 2**62], ids=str)
def test_times_before_the_floor_and_after_the_century_are_refused(keeper: Timekeeper, wall_us: int) -> None:
    keeper.observe(seen(0.0), 0.0)
    keeper.observe(Observation(Source.KERNEL, wall_us, 0.0), 1.0)
    assert keeper.stamp(1.0) is not None, "what was known is known"
    assert keeper.statistics(1.0).refused == 1
    fresh = Timekeeper(floor_us=START_US)
    fresh.observe(Observation(Source.KERNEL, wall_us, 0.0), 1.0)
    assert fresh.stamp(1.0) is None


def test_2038_is_a_year_like_any_other(keeper: Timekeeper) -> None:
    for at_s in (5.0, 5.0 + CONFIRM_S):
        keeper.observe(Observation(Source.KERNEL, round((2**31 + at_s) * 1_000_000), 0.1), at_s)
    stamp = keeper.stamp(5.0)
    assert stamp is not None
    assert stamp.wall_us(5.0) == (2**31 + 5) * 1_000_000


@pytest.mark.parametrize(
    ("floor_us", "off_us", "needed_s"),
    [
        (START_US, 0, 0.0),
        (START_US, NEAR_US, 0.0),
        (START_US, NEAR_US + 1, CONFIRM_S),
        (START_US, FAR_US - DAY_US, CONFIRM_S),
        (START_US, FAR_US + 1, FAR_S),
        (START_US, ROLLOVER_US, FAR_S),
        (FLOOR_US, START_US - FLOOR_US + 10 * 365 * DAY_US, 0.0),
        (FLOOR_US, START_US - FLOOR_US + ROLLOVER_US, FAR_S),
        (START_US, -2 * DAY_US, BELOW_FLOOR_S),
        (START_US, FLOOR_US - START_US, BELOW_FLOOR_S),
    ],
)
def test_a_first_time_must_stand_the_longer_the_stranger_it_is(floor_us: int, off_us: int, needed_s: float) -> None:
    """A floor of FLOOR_US is that of an agent that has never known the time."""
    keeper = Timekeeper(floor_us=floor_us)
    told_s = [at_s for at_s in (0.0, needed_s / 2, needed_s - 1) if 0 <= at_s < needed_s]
    for at_s in [*told_s, needed_s]:
        assert keeper.stamp(at_s) is None, at_s
        keeper.observe(Observation(Source.KERNEL, floor_us + off_us + round(at_s * 1e6), 0.05), at_s)
    stamp = keeper.stamp(needed_s)
    assert stamp is not None
    assert stamp.offset_us == floor_us + off_us


def test_an_outbox_that_never_knew_the_time_has_the_floor_that_counts_as_unknown() -> None:
    assert outbox_limits.FLOOR_US == FLOOR_US


def test_a_source_that_does_not_stand_by_its_first_time_begins_anew(keeper: Timekeeper) -> None:
    keeper.observe(seen(10.0, off_us=5 * DAY_US), 10.0)
    keeper.observe(seen(35.0, off_us=6 * DAY_US), 35.0)
    keeper.observe(seen(10.0 + CONFIRM_S, off_us=5 * DAY_US), 10.0 + CONFIRM_S)
    assert keeper.stamp(10.0 + CONFIRM_S) is None
    keeper.observe(seen(10.0 + 2 * CONFIRM_S, off_us=5 * DAY_US), 10.0 + 2 * CONFIRM_S)
    assert keeper.stamp(10.0 + 2 * CONFIRM_S) is not None


def test_a_server_that_lies_does_not_keep_the_one_that_does_not_from_being_believed(keeper: Timekeeper) -> None:
    for at_s in (0.0, 100.0):
        assert keeper.stamp(at_s) is None
        for teller, off_us in (("a liar", ROLLOVER_US), ("an honest one", 5 * DAY_US)):
            told_us = START_US + off_us + round(at_s * 1e6)
            keeper.observe(Observation(Source.SNTP, told_us, 0.05, teller), at_s)
    stamp = keeper.stamp(100.0)
    assert stamp is not None
    assert stamp.offset_us == START_US + 5 * DAY_US


def test_a_last_known_time_that_was_wrong_is_given_up_after_a_day_of_denial() -> None:
    keeper = Timekeeper(floor_us=START_US + ROLLOVER_US)
    for hour in range(24):
        keeper.observe(seen(hour * 3_600.0), hour * 3_600.0)
        assert keeper.stamp(hour * 3_600.0) is None
    keeper.observe(seen(BELOW_FLOOR_S), BELOW_FLOOR_S)
    stamp = keeper.stamp(BELOW_FLOOR_S)
    assert stamp is not None
    assert stamp.offset_us == START_US
    keeper.observe(seen(BELOW_FLOOR_S + 60, off_us=3_600_000_000), BELOW_FLOOR_S + 60)
    keeper.observe(seen(BELOW_FLOOR_S + 90, off_us=3_600_000_000), BELOW_FLOOR_S + 90)
    stamp = keeper.stamp(BELOW_FLOOR_S + 90)
    assert stamp is not None
    assert stamp.offset_us == START_US + 3_600_000_000, "the old floor bounds nothing any more"


def test_it_tells_what_it_does_not_believe_yet(keeper: Timekeeper) -> None:
    assert keeper.statistics(0.0).doubt == ""
    keeper.observe(seen(0.0, off_us=5 * DAY_US), 0.0)
    told = keeper.statistics(0.0)
    assert told.doubt == "kernel is +5.0 days off the last known time; believed when it has said so for 30 s"
    keeper.observe(seen(30.0, off_us=5 * DAY_US), 30.0)
    assert keeper.statistics(30.0).doubt == ""
    keeper.observe(seen(31.0, off_us=5 * DAY_US - 3_600_000_000), 31.0)
    assert keeper.statistics(31.0).doubt.startswith("kernel is -0.0 days off")


@given(st.lists(st.tuples(st.floats(0.1, 5_000), st.integers(-80_000, 80_000), st.floats(0.08, 0.5)), max_size=40))
def test_true_time_is_within_the_bound_whatever_honest_sources_say(steps: list[tuple[float, int, float]]) -> None:
    keeper = Timekeeper(floor_us=FLOOR_US)
    now_s, drift_us = 0.0, 0.0
    for wait_s, off_us, error_s in steps:
        now_s += wait_s
        drift_us += wait_s * 400  # our oscillator is 400 ppm slow: true time runs ahead of it
        true_us = START_US + round(now_s * 1e6 + drift_us)
        keeper.observe(Observation(Source.SNTP, true_us + off_us, error_s), now_s)
        stamp = keeper.stamp(now_s)
        assert stamp is not None
        assert abs(stamp.wall_us(now_s) - true_us) <= stamp.error_s * 1e6 + 1


def test_the_layout_of_timex_is_the_kernels() -> None:
    told = read_kernel()
    assert abs(told.wall_s - time.time()) < 2
    assert 0 <= told.error_s <= 16.0, "NTP_PHASE_LIMIT"
    if ctypes.sizeof(ctypes.c_long) == 8:
        assert ctypes.sizeof(kernel._Timex) == 208


@pytest.mark.parametrize(
    ("state", "status", "tick", "synchronised"),
    [(0, 0x0001, 10_000, True), (0, 0x0041, 10_000, False), (5, 0x0001, 10_000, False), (0, 0x0001, 0, False)],
    ids=["synchronised", "unsynchronised", "error", "another layout"],
)
def test_the_kernel_is_believed_only_when_it_is_synchronised(
    monkeypatch: pytest.MonkeyPatch, state: int, status: int, tick: int, *, synchronised: bool
) -> None:
    class Libc:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def adjtimex(self, reference: object) -> int:
            timex = reference._obj  # type: ignore[attr-defined] # what byref points to
            timex.status, timex.tick, timex.maxerror, timex.time_s = status, tick, 250_000, 7
            return state

    monkeypatch.setattr(ctypes, "CDLL", Libc)
    assert read_kernel() == kernel.KernelTime(synchronised, 0.25, 7)
    clock = StillClock()
    expected = Observation(Source.KERNEL, clock.wall_us(), 0.25) if synchronised else None
    assert observe_kernel(clock) == expected


def test_a_sandbox_that_forbids_the_call_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def adjtimex(self, _: object) -> int:
            ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Libc)
    with pytest.raises(OSError, match="allow the call"):
        read_kernel()


def test_an_assumed_clock_is_believed_and_noticed_when_it_jumps(keeper: Timekeeper) -> None:
    clock = StillClock()
    keeper.observe(observe_assumed(clock), clock.monotonic_s())
    assert keeper.statistics(100.0).source is Source.ASSUMED
    clock.started_us += DAY_US
    keeper.observe(observe_assumed(clock), clock.monotonic_s())
    assert keeper.stamp(100.0) is None


def test_the_system_clock_counts_from_the_boot_and_tells_which() -> None:
    clock = SystemClock()
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(clock.monotonic_s() - uptime_s) < 1
    assert abs(clock.wall_us() / 1e6 - time.time()) < 1
    assert len(clock.boot) == 36
    assert clock.boot == SystemClock().boot
