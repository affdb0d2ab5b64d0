"""The alert engine against a naive oracle: whatever the log is cut into, published twice, or killed in between."""

import random

import numpy as np
import pytest
from alert_oracle import Came, Oracle, S
from alert_town import (
    START_US,
    History,
    NothingUsual,
    by_subject,
    live,
    oracle,
    plan_of,
    published,
    rule,
    table_of,
)

from lichtmast.ingest import observations
from lichtmast.ingest.alerting.engine import Engine, Place
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.wire.quality import Quality

pytestmark = pytest.mark.slow


def messages_of(seed: int, expected: Oracle, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    monkeypatch.setattr(observations, "ROWS_MAX", 3)
    return list(published(History(seed, 160), expected.take))


@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_the_engine_finds_the_oracles_episodes_and_none_twice(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = oracle()
    messages = messages_of(seed, expected, monkeypatch)
    book = live(plan_of(), messages, random.Random(seed), kills=0.04)  # noqa: S311 - dice
    assert by_subject(expected.transitions) == by_subject(book.transitions)
    assert len({one[0] for one in expected.transitions}) >= 5, "a history in which little happens proves little"


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_more_lives_and_deaths_come_to_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    test_killed_anywhere_the_engine_finds_the_oracles_episodes_and_none_twice(seed, monkeypatch)


def test_one_reading_from_the_far_future_makes_none_after_it_late_and_its_own_alert_ends() -> None:
    bright = rule(1, "bright", {"kind": "threshold", "above": 50})
    clock = rule(2, "clock", {"kind": "quality", "flags": ["TIME_IN_FUTURE"], "within_s": 60})
    engine = Engine(plan_of((bright, clock)), NothingUsual())

    def came(after_s: int, value: float, time_us: int | None = None) -> list[tuple[int, str]]:
        received_us = START_US + after_s * S
        quality = 0 if time_us is None else int(Quality.TIME_IN_FUTURE)
        table = table_of([Came(received_us, 1, "gm0402/lm-0", time_us or received_us, value, quality)])
        return [(one.rule_id, one.kind.value) for one in engine.step(Rows.of(table, np.arange(1)), Place()).transitions]

    assert came(0, 70.0) == [(1, "raised")]
    assert came(10, 70.0, 4_000_000_000 * S) == [(2, "raised")]
    assert sorted(came(20, 10.0)) == [(1, "cleared"), (2, "cleared")]
    assert came(30, 70.0) == [(1, "raised")]
