"""Ticks do not drift, do not burst after a pause, and do not fall together on a thousand devices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.edge.sampling.schedule import JITTER_SHARE, Schedule


def ticks(schedule: Schedule, until_s: float) -> list[float]:
    """Come at every tick exactly when it is due."""
    found = []
    while schedule.next_s <= until_s:
        now_s = schedule.next_s
        assert schedule.due(now_s)
        assert not schedule.due(now_s)
        found.append(now_s)
    return found


@pytest.mark.slow
def test_a_year_of_minutes_has_not_drifted() -> None:
    schedule = Schedule(60, seed=1, now_s=1_000.0)
    found = ticks(schedule, 1_000 + 365 * 86_400)
    assert len(found) in {365 * 1_440, 365 * 1_440 + 1}
    assert 0 <= found[-1] - (1_000 + 60 * (len(found) - 1)) <= 60 * JITTER_SHARE
    assert schedule.missed == 0


def test_after_a_pause_comes_one_tick_and_the_missed_ones_are_counted() -> None:
    schedule = Schedule(60, seed=1, now_s=0.0)
    assert schedule.due(0.0)
    assert schedule.due(3_630.0)
    assert not schedule.due(3_630.0)
    assert (schedule.missed, 3_660 <= schedule.next_s <= 3_663) == (59, True)


def test_a_thousand_devices_that_start_together_speak_at_different_moments() -> None:
    firsts = sorted(Schedule(60, seed=seed, now_s=0.0, spread_s=60).next_s for seed in range(1_000))
    assert firsts[-1] < 60
    for second in range(0, 60, 10):
        assert 100 < sum(second <= one < second + 10 for one in firsts) < 240
    assert Schedule(60, seed=7, now_s=0.0, spread_s=60).next_s == Schedule(60, seed=7, now_s=0.0, spread_s=60).next_s


def test_a_new_interval_holds_from_now_and_the_same_one_changes_nothing() -> None:
    schedule = Schedule(60, seed=1, now_s=0.0)
    schedule.due(0.0)
    before = schedule.next_s
    schedule.change(60, 30.0)
    assert schedule.next_s == before
    schedule.change(10, 30.0)
    assert (schedule.next_s, schedule.interval_s) == (40.0, 10)


@given(
    st.floats(0.1, 86_400),
    st.integers(),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=50).map(sorted),
)
def test_every_tick_is_come_for_or_counted_as_missed(interval_s: float, seed: int, moments: list[float]) -> None:
    schedule = Schedule(interval_s, seed=seed, now_s=0.0)
    came = sum(schedule.due(now_s) for now_s in moments)
    assert schedule.next_s > moments[-1]
    passed = schedule.next_s / interval_s
    assert came + schedule.missed <= passed + 1e-6
    assert came + schedule.missed >= passed - 1 - 1e-6
