"""Who sends more over MQTT than a device may, by the server's counts, and how long it has to pause. No sockets."""

from hypothesis import given
from hypothesis import strategies as st

from lichtmast.ingest.callout import limits
from lichtmast.ingest.callout.pace import Pace
from lichtmast.ingest.callout.sessions import Traffic
from lichtmast.wire import DeviceId

FLOOD, CALM = DeviceId("gm0402", "lm-flood"), DeviceId("gm0402", "lm-calm")
DEVICES = {7: FLOOD, 8: CALM}
LOOK_S = limits.RECONCILE_S


def test_a_flood_is_held_and_its_calm_neighbour_is_not() -> None:
    pace = Pace(0.0)
    assert pace.look({7: Traffic(0, 0), 8: Traffic(0, 0)}, DEVICES, 0.0) == {}
    begun = pace.look({7: Traffic(30_000, 3_000_000), 8: Traffic(10, 4_000)}, DEVICES, LOOK_S)
    assert list(begun) == [FLOOD]
    assert begun[FLOOD].length_s == limits.HELD_S
    assert pace.is_held(FLOOD, LOOK_S)
    assert not pace.is_held(CALM, LOOK_S)
    assert pace.is_held(FLOOD, LOOK_S + limits.HELD_S - 0.1)
    assert not pace.is_held(FLOOD, LOOK_S + limits.HELD_S)


def test_bytes_count_too() -> None:
    pace = Pace(0.0)
    assert list(pace.look({7: Traffic(40, limits.DEVICE_BURST_BYTES + 1)}, DEVICES, 0.0)) == [FLOOD]


def test_a_burst_from_an_outbox_and_the_full_rate_for_ever_are_allowed() -> None:
    pace, sent = Pace(0.0), limits.DEVICE_BURST_MESSAGES
    assert pace.look({7: Traffic(sent, sent * 300)}, DEVICES, 0.0) == {}
    for look in range(1, 1_000):
        now_s = look * LOOK_S
        total = sent + int(now_s * limits.DEVICE_MESSAGES_PER_S)
        assert pace.look({7: Traffic(total, total * 300)}, DEVICES, now_s) == {}, look


def test_connecting_anew_brings_no_new_allowance() -> None:
    pace, now_s = Pace(0.0), 0.0
    for number in range(100, 200):
        begun = pace.look({number: Traffic(1_600, 0)}, {number: FLOOD}, now_s)
        if begun:
            break
        now_s += 1.0
    assert number == 101


def test_each_flood_pauses_longer_up_to_an_hour_and_a_quiet_hour_forgives() -> None:
    pace, now_s, sent, lengths = Pace(0.0), 0.0, 0, []
    for _ in range(10):
        sent += 1_000_000
        pause = pace.look({7: Traffic(sent, 0)}, DEVICES, now_s)[FLOOD]
        lengths.append(pause.length_s)
        now_s = pause.until_s
    assert lengths == [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]
    now_s += limits.HELD_MAX_S
    assert pace.look({7: Traffic(sent + 1_000_000, 0)}, DEVICES, now_s)[FLOOD].length_s == limits.HELD_S


def test_a_server_that_starts_anew_counts_anew() -> None:
    pace = Pace(0.0)
    pace.look({7: Traffic(1_900, 0)}, DEVICES, 0.0)
    pace.begin()
    assert pace.look({7: Traffic(2, 0)}, {7: CALM}, 100.0) == {}
    assert pace.look({7: Traffic(1_990, 0)}, {7: CALM}, 100.0) == {}
    assert list(pace.look({7: Traffic(2_100, 0)}, {7: CALM}, 100.0)) == [CALM]


def test_a_connection_of_nobody_is_nobodys_flood() -> None:
    assert Pace(0.0).look({9: Traffic(10**9, 10**12)}, DEVICES, 0.0) == {}


@given(st.lists(st.tuples(st.floats(0.01, 60), st.integers(0, 10_000)), min_size=1, max_size=60))
def test_who_stays_within_the_allowance_is_never_held_and_who_leaves_it_is(steps: list[tuple[float, int]]) -> None:
    """Held against the plain definition: more than burst + rate x time since any earlier look."""
    pace, now_s, total = Pace(0.0), 0.0, 0
    history: list[tuple[float, int]] = [(0.0, 0)]
    for passed_s, messages in steps:
        now_s += passed_s
        total += messages
        begun = pace.look({7: Traffic(total, 0)}, DEVICES, now_s)
        excess = max(
            total - before - limits.DEVICE_MESSAGES_PER_S * (now_s - at_s) - limits.DEVICE_BURST_MESSAGES
            for at_s, before in history
        )
        if abs(excess) < 1e-6:
            return  # rounding decides
        assert bool(begun) == (excess > 0)
        if begun:
            return
        history.append((now_s, total))
