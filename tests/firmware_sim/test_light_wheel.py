"""The timer wheel: everything goes off, in its tick, and once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.firmware_sim.light.wheel import Wheel

TICK_S = 0.05


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 30))), st.lists(st.floats(0.001, 10), max_size=40))
def test_a_deadline_goes_off_in_the_first_turn_that_reaches_it(
    deadlines: list[tuple[int, float]], steps: list[float]
) -> None:
    wheel: Wheel[int] = Wheel(0.0, TICK_S)
    wanted: dict[int, float] = {}
    for item, at_s in deadlines:
        wheel.set(item, at_s)
        wanted[item] = min(at_s, wanted.get(item, at_s))
    assert len(wheel) == len(wanted)
    now_s = 0.0
    for step_s in (*steps, 100.0):
        now_s += step_s
        due = wheel.turn(now_s)
        assert len(due) == len(set(due))
        for item in due:
            assert wanted.pop(item) <= now_s + TICK_S
        assert all(at_s > now_s - 2 * TICK_S for at_s in wanted.values())
    assert wanted == {}
    assert len(wheel) == 0


def test_a_deadline_may_move_forward_and_is_shown_early_where_it_moves_back() -> None:
    wheel: Wheel[str] = Wheel(0.0, TICK_S)
    wheel.set("a", 10.0)
    wheel.set("a", 1.0)
    wheel.set("b", 1.0)
    wheel.set("b", 10.0)
    assert wheel.turn(0.9) == []
    assert wheel.turn(1.1) == ["a", "b"]
    assert wheel.turn(20.0) == []


def test_a_deadline_that_is_past_goes_off_in_the_next_tick() -> None:
    wheel: Wheel[str] = Wheel(100.0, TICK_S)
    wheel.set("a", 3.0)
    assert wheel.turn(100.06) == ["a"]
    wheel.set("a", 0.0)
    assert wheel.turn(100.0601) == []
    assert wheel.turn(1e9) == ["a"], "after a long pause, too"
