"""What the way up says of its troubles: once where it is news, and rarely where it is not."""

import logging

import pytest

from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.telling import Telling


@pytest.fixture
def upstream() -> list[str]:
    return []


@pytest.fixture
def telling(upstream: list[str], caplog: pytest.LogCaptureFixture) -> Telling:
    caplog.set_level(logging.INFO)
    return Telling(lambda reason: upstream.append(f"ack: {reason}"), lambda reason: upstream.append(f"pack: {reason}"))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Each line since the last look, as its level and its name."""
    lines = [f"{one.levelname} {one.message}" for one in caplog.records]
    caplog.clear()
    return lines


def test_a_dead_broker_is_warned_of_once_for_each_reason_and_its_return_too(
    telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    telling.opened("mqtt", speaks=True)
    assert told(caplog) == [], "a start without trouble is no news"
    for reason in ("refused", "refused", "no route"):
        telling.interrupted("mqtt", reason)
    assert told(caplog) == [f"{level} uplink_interrupted" for level in ("WARNING", "INFO", "WARNING")]
    telling.opened("mqtt", speaks=True)
    assert told(caplog) == ["WARNING uplink_connected"]
    telling.interrupted("mqtt", "no route")
    telling.opened("mqtt", speaks=True)
    assert told(caplog) == ["INFO uplink_interrupted"], "a link that comes and goes and delivers nothing is one trouble"
    telling.confirmed()
    telling.interrupted("mqtt", "no route")
    assert told(caplog) == ["WARNING uplink_interrupted"], "after it was well, trouble is news again"


def test_over_coap_only_a_confirmation_ends_trouble(telling: Telling, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        telling.opened("coap", speaks=False)
        telling.interrupted("coap", "no answer")
    assert told(caplog) == [f"{level} uplink_interrupted" for level in ("WARNING", "INFO", "INFO")]
    telling.opened("coap", speaks=False)
    telling.confirmed()
    assert told(caplog) == ["WARNING uplink_connected"]


def test_a_refusal_is_told_once_a_minute_for_each_reason(
    telling: Telling, upstream: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for seq, at_s in ((1, 0.0), (2, limits.REFUSAL_S - 1), (3, limits.REFUSAL_S)):
        telling.pack_refused(seq, "unknown_device", at_s)
    assert told(caplog) == [f"{level} pack_refused" for level in ("WARNING", "INFO", "WARNING")]
    telling.pack_refused(4, "wrong_unit", limits.REFUSAL_S)
    assert upstream == ["pack: unknown_device", "pack: unknown_device", "pack: wrong_unit"]
    assert telling.last_refusal == "wrong_unit"
    for number in range(1_000):
        telling.pack_refused(number, f"{number} " + "x" * 1_000, limits.REFUSAL_S)
    assert len(upstream) <= 3 + limits.REASONS_MAX, "a server that always finds a new reason is told of no oftener"
    assert len(telling.last_refusal) == limits.REASON_LENGTH_MAX


def test_a_broker_behind_which_nobody_acknowledges_is_told_once(
    telling: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    telling.opened("mqtt", speaks=True)
    for at_s in (10.0, 9 + limits.UNHEARD_S, 10 + limits.UNHEARD_S, 900.0):
        assert told(caplog) == []
        telling.handed(at_s)
        if at_s == 10 + limits.UNHEARD_S:
            assert told(caplog) == ["WARNING nobody_acknowledges"]
    assert told(caplog) == []


def test_a_server_that_once_acknowledged_is_only_away(telling: Telling, caplog: pytest.LogCaptureFixture) -> None:
    telling.opened("mqtt", speaks=True)
    telling.handed(0.0)
    telling.acknowledged()
    telling.handed(10 * limits.UNHEARD_S)
    assert told(caplog) == []
