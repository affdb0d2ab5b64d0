"""Rates over many readings: few are held, and the time that a rate looks back over stays the one that was asked."""

import random

import numpy as np
import pytest
from alert_oracle import Came, Oracle, S
from alert_town import START_US, NothingUsual, by_subject, plan_of, rule, table_of

from lichtmast.ingest.alerting.engine import Engine, Place
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.ingest.alerting.limits import RATE_PARTS
from lichtmast.ingest.alerting.walk import Window

HOUR_S = 3600


@pytest.mark.parametrize(("every_s", "over_s"), [(1, HOUR_S), (600, 30 * 24 * HOUR_S), (300, 2 * HOUR_S)])
def test_however_many_readings_lie_in_it_a_rate_looks_back_over_its_time_and_holds_few(
    every_s: int, over_s: int
) -> None:
    window = Window()
    for at_s in range(0, 2 * over_s, every_s):
        # The square of the time: its rate over any span tells how long that span is.
        rate = window.rate_per_s(START_US + at_s * S, float(at_s**2), over_s * S)
        assert len(window.held()) <= RATE_PARTS + 3
        if at_s >= over_s * (1 + 1 / RATE_PARTS):
            back_s = 2 * at_s - rate
            assert over_s <= round(back_s, 3) <= over_s + max(over_s / RATE_PARTS, every_s)


def test_dense_readings_give_the_oracles_episodes_over_an_hour() -> None:
    leaps = rule(1, "leaps", {"kind": "rate", "above_per_s": 0.01, "over_s": HOUR_S}, datastreams=[1])
    dice, value, came = random.Random(7), 0.0, []  # noqa: S311 - dice
    for number in range(4_000):
        value += dice.uniform(-2, 2)
        at_us = START_US + number * 5 * S
        came.append(Came(at_us, 1, "gm0402/lm-0", at_us, value))
    expected = Oracle([leaps], lambda _: ["datastream/1"])
    for one in came:
        expected.take(one)
    engine = Engine(plan_of((leaps,)), NothingUsual())
    step = engine.step(Rows.of(table_of(came), np.arange(len(came))), Place())
    found = [(one.rule_id, one.subject, one.kind.value, one.at_us) for one in step.transitions]
    assert by_subject(expected.transitions) == by_subject(found)
    assert len(found) >= 4, "a history in which little happens proves little"
