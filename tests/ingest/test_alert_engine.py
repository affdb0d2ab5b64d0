"""The alert engine against a naive oracle: whatever the log is cut into, published twice, or killed in between."""

import random

import pytest
from alert_oracle import Oracle
from alert_town import History, by_subject, live, oracle, plan_of, published

from lichtmast.ingest import observations

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
