"""Fail-over by examples, and under any order of events."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.failover import Failover

PATIENCE_S, RETURN_S = 120.0, 600.0
TRIAL_S = PATIENCE_S / limits.TRIAL_SHARE


def failover_of(*order: str) -> Failover:
    return Failover(order or ("mqtt", "coap"), patience_s=PATIENCE_S, return_s=RETURN_S, seed=3)


def failed_over() -> tuple[Failover, float]:
    """Over CoAP since PATIENCE_S, where it works; and the time at which MQTT is tried again."""
    failover = failover_of()
    failover.owes(0.0)
    assert failover.choose(PATIENCE_S) == "coap"
    failover.owes(PATIENCE_S)
    failover.confirmed()
    trial_at_s = failover.wake_at_s()
    assert trial_at_s is not None
    return failover, trial_at_s


def test_the_first_of_the_order_is_used() -> None:
    assert failover_of().choose(0.0) == "mqtt"


def test_a_link_that_connects_and_confirms_is_kept_for_ever() -> None:
    failover = failover_of()
    failover.owes(0.0)
    failover.connected(outstanding=False)
    assert failover.choose(10 * PATIENCE_S) == "mqtt"
    for second in range(0, 10_000, 60):
        failover.owes(float(second))
        failover.confirmed()
        assert failover.choose(second + 59.0) == "mqtt"


def test_a_link_that_does_not_connect_is_left_when_patience_is_over() -> None:
    failover = failover_of()
    for second in range(0, 120, 10):
        failover.owes(float(second))
        assert failover.choose(float(second)) == "mqtt"
    assert failover.wake_at_s() == PATIENCE_S
    assert failover.choose(PATIENCE_S) == "coap"


def test_a_broker_that_takes_packs_which_nobody_confirms_is_left_too() -> None:
    failover = failover_of()
    failover.owes(0.0)
    failover.connected(outstanding=True)
    failover.owes(60.0)
    assert failover.choose(PATIENCE_S) == "coap"


def test_reconnecting_again_and_again_proves_nothing_while_packs_wait() -> None:
    failover = failover_of()
    for second in range(0, 130, 10):
        failover.owes(float(second))
        failover.connected(outstanding=True)
    assert failover.choose(PATIENCE_S) == "coap"


def test_the_preferred_link_is_tried_again_and_kept_when_it_confirms() -> None:
    failover, trial_at_s = failed_over()
    assert RETURN_S <= trial_at_s - PATIENCE_S <= RETURN_S * 1.25
    assert failover.choose(trial_at_s - 1) == "coap"
    assert failover.choose(trial_at_s) == "mqtt"
    failover.owes(trial_at_s)
    failover.confirmed()
    assert failover.choose(trial_at_s + 10 * RETURN_S) == "mqtt"


def test_a_failed_trial_is_short_and_the_pause_before_the_next_is_longer() -> None:
    failover, trial_at_s = failed_over()
    assert failover.choose(trial_at_s) == "mqtt"
    failover.owes(trial_at_s)
    assert failover.choose(trial_at_s + TRIAL_S - 1) == "mqtt"
    assert failover.choose(trial_at_s + TRIAL_S) == "coap"
    next_at_s = failover.wake_at_s()
    assert next_at_s is not None
    assert next_at_s - (trial_at_s + TRIAL_S) >= 2 * RETURN_S
    assert failover.statistics().failed_trials == 1


def test_when_no_link_works_each_gets_its_turn() -> None:
    failover = failover_of()
    seen = []
    for second in range(0, 1_200, 10):
        seen.append(failover.choose(float(second)))
        failover.owes(float(second))
    assert 4 <= failover.statistics().changes <= 10
    assert {"mqtt", "coap"} == set(seen)


@pytest.mark.parametrize("name", ["mqtt", "coap"])
def test_a_single_link_is_never_left(name: str) -> None:
    failover = failover_of(name)
    failover.owes(0.0)
    assert failover.choose(1e9) == name
    assert failover.wake_at_s() is None


STEPS = st.lists(st.tuples(st.sampled_from(["owes", "up", "up_waiting", "confirmed"]), st.floats(0, 400)), max_size=120)


@given(steps=STEPS, order=st.sampled_from([("mqtt", "coap"), ("coap", "mqtt")]))
def test_any_history_changes_links_seldom_and_names_the_time_of_the_next_change(
    steps: list[tuple[str, float]], order: tuple[str, str]
) -> None:
    failover = failover_of(*order)
    now_s = 0.0
    changed_at_s = [0.0]
    for step, pause_s in steps:
        before, wake_s = failover.link, failover.wake_at_s()
        if wake_s is None or now_s + pause_s < wake_s:
            now_s += pause_s
            assert failover.choose(now_s) == before, "nothing changes before the time that was named"
        else:
            now_s = max(now_s, wake_s)
            assert failover.choose(now_s) != before, "at that time it does"
            changed_at_s.append(now_s)
        match step:
            case "owes":
                failover.owes(now_s)
            case "confirmed":
                failover.confirmed()
            case _:
                failover.connected(outstanding=step == "up_waiting")
    pauses = [later - sooner for sooner, later in pairwise(changed_at_s)]
    assert all(pause_s >= TRIAL_S - 1e-6 for pause_s in pauses), "hysteresis"
    assert failover.statistics().changes == len(changed_at_s) - 1
