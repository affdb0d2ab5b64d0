"""The courier by examples: order, window, patience, pauses, and what it believes."""

from collections import Counter
from itertools import pairwise

import pytest

from lichtmast.edge.pace import backoff_s
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.courier import AckRefused, Courier
from lichtmast.wire.acknowledgement import Acknowledgement, Refused
from lichtmast.wire.numbers import Numbers

EPOCH = 7


def numbers(*ranges: tuple[int, int]) -> Numbers:
    out = Numbers()
    for first, last in ranges:
        out.add_range(first, last)
    return out


def courier_of(*waiting: tuple[int, int], next_seq: int = 1, window: int = 32, hears_acks: bool = True) -> Courier:
    courier = Courier(epoch=EPOCH, next_seq=next_seq, seed=1, sendable=numbers(*waiting))
    if window:
        courier.connected("mqtt", window=window, hears_acks=hears_acks)
    return courier


def taken(courier: Courier, now_s: float = 0.0) -> list[int]:
    """All that it gives now; nothing of it is confirmed."""
    out = []
    while (seq := courier.take(now_s)) is not None:
        out.append(seq)
    return out


def carry(courier: Courier, now_s: float = 0.0) -> list[int]:
    """The same, with the broker's PUBACK for each."""
    out = taken(courier, now_s)
    for seq in out:
        courier.sent(seq, now_s)
    return out


def test_nothing_goes_without_a_link() -> None:
    courier = courier_of((1, 3), next_seq=4, window=0)
    assert courier.take(0.0) is None
    assert courier.wake_at_s() is None


def test_the_newest_pack_goes_before_the_backlog_and_the_backlog_from_its_oldest_on() -> None:
    courier = courier_of((1, 3), next_seq=4)
    courier.added([4])
    assert taken(courier) == [4, 1, 2, 3]


def test_a_pack_that_a_newer_one_overtakes_becomes_backlog() -> None:
    courier = courier_of((1, 1), next_seq=2, window=0)
    courier.added([2, 3])
    courier.added([4])
    courier.connected("mqtt", window=32, hears_acks=True)
    assert taken(courier) == [4, 1, 2, 3]


def test_no_more_than_the_window_is_on_its_way() -> None:
    courier = courier_of((1, 100), next_seq=101, window=32)
    assert len(taken(courier)) == 32 - 32 // limits.LIVE_SHARE, "places kept for live packs"
    for seq in range(101, 120):
        courier.added([seq])
        courier.take(0.0)
    assert courier.statistics().in_flight == 32


def test_a_full_window_of_backlog_does_not_make_a_live_pack_wait() -> None:
    courier = courier_of((1, 100), next_seq=101)
    carry(courier)
    courier.added([101])
    assert courier.take(0.0) == 101


def test_live_packs_without_end_do_not_starve_the_backlog() -> None:
    courier = courier_of((1, 50), next_seq=51, window=4)
    order = []
    for seq in range(51, 91):
        courier.added([seq])
        taking = courier.take(0.0)
        assert taking is not None
        order.append(taking)
        assert courier.settled(taking)
    assert [seq for seq in order if seq <= 50] == list(range(1, 9)), "every fifth, oldest first"


def test_the_backlog_drains_at_twenty_times_the_live_rate_with_an_acknowledgement_a_second() -> None:
    """A reading a second for a day, offline; then live goes on, and the store acknowledges once a second."""
    day = 86_400
    courier = courier_of((1, day), next_seq=day + 1)
    stored = Numbers()
    for second in range(120):
        live = day + 1 + second
        courier.added([live])
        moved = carry(courier, float(second))
        assert moved[0] == live, "live data waits for nothing"
        for seq in moved:
            stored.add(seq)
        upto, *ranges = stored.ranges
        courier.acknowledged(Acknowledgement(EPOCH, upto[1], tuple(ranges[:16])))
    assert (len(stored) - 120) / 120 >= 20


def test_what_the_broker_has_is_sent_again_only_when_patience_is_over() -> None:
    courier = courier_of((1, 2), next_seq=3)
    carry(courier, 0.0)
    assert courier.wake_at_s() == limits.ACK_PATIENCE_S
    assert courier.take(limits.ACK_PATIENCE_S - 0.1) is None
    assert courier.take(limits.ACK_PATIENCE_S) == 1


def test_a_silent_store_hears_one_probe_ever_more_rarely() -> None:
    courier = courier_of((1, 20), next_seq=21)
    carry(courier, 0.0)
    probes = []
    now_s = 0.0
    while now_s < 3600:
        wake_s = courier.wake_at_s()
        assert wake_s is not None
        now_s = max(wake_s, now_s)
        assert len(carry(courier, now_s)) == 1
        probes.append(now_s)
    pauses = [later - sooner for sooner, later in pairwise(probes)]
    assert max(pauses) <= limits.ACK_PATIENCE_MAX_S
    assert min(pauses[5:]) >= limits.ACK_PATIENCE_MAX_S / 2
    assert len(probes) <= 3600 / (limits.ACK_PATIENCE_MAX_S / 2) + 5


def test_a_new_connection_does_not_end_patience() -> None:
    courier = courier_of((1, 20), next_seq=21)
    carry(courier, 0.0)
    for _ in range(10):
        courier.disconnected()
        courier.connected("mqtt", window=32, hears_acks=True)
    assert taken(courier, 1.0) == []
    assert len(taken(courier, 100.0)) == 1


def test_a_sign_of_life_allows_a_handful() -> None:
    courier = courier_of((1, 20), next_seq=21)
    carry(courier, 0.0)
    assert carry(courier, 100.0) == [1]
    assert courier.acknowledged(Acknowledgement(EPOCH, 1)) == [1]
    assert carry(courier, 101.0) == list(range(2, 2 + limits.RESEND_BURST_PACKS))


def test_what_was_in_the_hands_of_a_broken_link_is_sent_again_and_the_rest_is_not() -> None:
    courier = courier_of((1, 3), next_seq=4)
    taken(courier)
    courier.sent(1, 0.0)
    courier.disconnected()
    courier.connected("mqtt", window=32, hears_acks=True)
    assert taken(courier) == [2, 3]


def test_what_waits_for_an_acknowledgement_is_sent_again_over_a_link_that_hears_none() -> None:
    courier = courier_of((1, 2), next_seq=3)
    carry(courier)
    courier.disconnected()
    courier.connected("coap", window=1, hears_acks=False)
    assert taken(courier) == [1]
    assert courier.settled(1)
    assert taken(courier) == [2]


def test_later_makes_a_pause_and_the_pause_grows() -> None:
    courier = courier_of((1, 3), next_seq=4, window=1, hears_acks=False)
    now_s = 0.0
    pauses = []
    for _ in range(12):
        seq = courier.take(now_s)
        assert seq is not None
        courier.failed(seq, now_s)
        wake_s = courier.wake_at_s()
        assert wake_s is not None
        assert courier.take(wake_s - 0.01) is None
        pauses.append(wake_s - now_s)
        now_s = wake_s
    assert pauses == pytest.approx([backoff_s(n, 1, limits.RETRY_S, limits.RETRY_MAX_S) for n in range(12)])
    assert max(pauses) <= limits.RETRY_MAX_S


def test_the_pause_that_the_server_asks_for_is_kept_by_its_link_and_by_no_other() -> None:
    courier = courier_of((1, 1), next_seq=2, window=0)

    def connect(link: str) -> None:
        courier.disconnected()
        courier.connected(link, window=1, hears_acks=False)

    connect("coap")
    assert courier.take(0.0) == 1
    courier.failed(1, 0.0, pause_s=600.0)
    assert courier.wake_at_s() == 600.0
    connect("coap")
    assert courier.take(599.0) is None, "a new socket to the same server does not end its pause"
    connect("mqtt")
    assert courier.take(599.0) == 1


def test_a_pack_that_the_server_cannot_take_holds_up_nobody() -> None:
    courier = courier_of((1, 5), next_seq=6, window=1, hears_acks=False)
    order = []
    now_s = 0.0
    for _ in range(8):
        now_s = max(now_s, courier.wake_at_s() or 0.0)
        seq = courier.take(now_s)
        if seq is None:
            break
        order.append(seq)
        if seq == 1:
            courier.failed(seq, now_s)
        else:
            courier.settled(seq)
    assert order == [1, 2, 3, 4, 5, 1, 1, 1]


def test_an_acknowledgement_settles_what_it_covers_accepted_or_refused() -> None:
    courier = courier_of((1, 6), next_seq=7)
    carry(courier)
    ack = Acknowledgement(EPOCH, 2, ((4, 5),), (Refused(2, "unknown_name", "x"),))
    settled = courier.acknowledged(ack)
    assert not isinstance(settled, AckRefused)
    assert sorted(settled) == [1, 2, 4, 5]
    told = courier.statistics()
    assert (told.accepted, told.refused, told.refusal_reasons) == (3, 1, {"unknown_name": 1})
    assert courier.acknowledged(ack) == [], "the second time it is no news"


def test_what_waited_at_the_start_is_settled_only_after_it_was_sent_in_this_run() -> None:
    """Nobody wrote down what an earlier run had sent: a repetition costs less than an only copy."""
    courier = courier_of((5, 900), next_seq=901)
    assert courier.take(0.0) == 5
    assert courier.acknowledged(Acknowledgement(EPOCH, 900, (), (Refused(7, "unit", ""),))) == [5]
    assert courier.take(0.0) == 6
    assert courier.acknowledged(Acknowledgement(EPOCH, 900)) == [6]
    assert courier.statistics().acks_refused == 0, "it may be true: an earlier run may have sent them"
    assert courier.statistics().unsent == 894
    assert courier.statistics().refused == 0


def test_what_was_sent_in_this_run_is_settled_wherever_it_waits() -> None:
    courier = courier_of((1, 4), next_seq=5, window=0)
    courier.connected("coap", window=1, hears_acks=False)
    assert courier.take(0.0) == 1
    courier.failed(1, 0.0)
    courier.disconnected()
    courier.connected("mqtt", window=32, hears_acks=True)
    assert courier.take(0.0) == 2
    courier.disconnected()
    courier.connected("mqtt", window=32, hears_acks=True)
    assert courier.acknowledged(Acknowledgement(EPOCH, 4)) == [1, 2]


def named(courier: Courier, *seqs: int) -> list[int] | AckRefused:
    return courier.acknowledged(Acknowledgement(EPOCH, 0, tuple((seq, seq) for seq in seqs)))


def live_until(courier: Courier, first: int, *, until_s: float) -> dict[int, int]:
    """A live pack every ten seconds. Each pack is answered at once, only live ones are named. How often each went."""
    told: Counter[int] = Counter()
    now_s = 0.0
    for live in range(first, first + round(until_s / 10)):
        courier.added([live])
        while now_s < (live - first + 1) * 10.0:
            for seq in carry(courier, now_s):
                told[seq] += 1
                named(courier, *(one for one in [seq] if one >= first))
            now_s += 0.5
    return told


def test_packs_that_no_acknowledgement_names_take_the_place_of_no_live_pack_for_ever() -> None:
    courier = courier_of((2, 33), next_seq=34)
    first_hour = live_until(courier, 34, until_s=3_600.0)
    assert len([seq for seq in first_hour if seq >= 34]) == 360
    assert courier.statistics().in_flight <= 32 // limits.LIVE_SHARE
    assert all(first_hour[seq] > limits.PASSED_OVER_REPEATS for seq in range(2, 34))
    told = courier.statistics()
    assert told.passed_over + told.in_flight == 32, "they are kept, and the statistics say so"


def test_packs_that_stepped_aside_are_tried_ever_more_rarely_and_settled_when_they_are_named() -> None:
    courier = courier_of((2, 33), next_seq=34)
    live_until(courier, 34, until_s=600.0)
    assert courier.statistics().passed_over == 32
    attempts = []
    for start_s in range(600, 20_000, 10):
        attempts += [float(start_s) for _ in carry(courier, float(start_s))]
        named(courier)
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert min(pauses[-4:]) >= limits.PASSED_OVER_MAX_S / 2
    settled = courier.acknowledged(Acknowledgement(EPOCH, 40))
    assert not isinstance(settled, AckRefused)
    assert sorted(settled) == list(range(2, 34))
    assert not courier.outstanding


def test_packs_that_stepped_aside_hold_a_part_of_the_window_while_nobody_answers() -> None:
    courier = courier_of((2, 33), next_seq=34)
    live_until(courier, 34, until_s=600.0)
    for now_s in range(600, 100_000, 60):
        carry(courier, float(now_s))
    assert courier.statistics().in_flight == 32 // limits.LIVE_SHARE


def test_packs_that_stepped_aside_go_over_a_link_that_answers_each() -> None:
    courier = courier_of((2, 33), next_seq=34)
    live_until(courier, 34, until_s=600.0)
    courier.disconnected()
    courier.connected("coap", window=1, hears_acks=False)
    for seq in range(2, 34):
        assert courier.take(600.0) == seq
        assert courier.settled(seq)
    assert not courier.outstanding


def test_an_acknowledgement_may_come_before_the_puback() -> None:
    courier = courier_of((1, 1), next_seq=2)
    assert courier.take(0.0) == 1
    assert courier.acknowledged(Acknowledgement(EPOCH, 1)) == [1]
    courier.sent(1, 0.0)
    assert not courier.outstanding


def test_an_acknowledgement_of_another_epoch_is_counted_and_nothing_else() -> None:
    courier = courier_of((1, 3), next_seq=4)
    carry(courier)
    assert courier.acknowledged(Acknowledgement(EPOCH + 1, 3)) == []
    assert courier.statistics().acks_of_other_epochs == 1
    assert courier.statistics().in_flight == 3


@pytest.mark.parametrize(
    "ack",
    [
        Acknowledgement(EPOCH, 2**53 - 1),
        Acknowledgement(EPOCH, 4),
        Acknowledgement(EPOCH, 1, ((2, 2**53 - 1),)),
        Acknowledgement(EPOCH, 1, (), (Refused(4, "x", ""),)),
        Acknowledgement(EPOCH, 0, ((1, 1), (9, 9))),
    ],
)
def test_an_acknowledgement_that_names_what_was_never_sent_settles_nothing(ack: Acknowledgement) -> None:
    courier = courier_of((1, 3), next_seq=4)
    carry(courier)
    verdict = courier.acknowledged(ack)
    assert isinstance(verdict, AckRefused)
    assert "never sent" in verdict.reason or "ever sent" in verdict.reason
    assert courier.statistics().in_flight == 3
    assert courier.statistics().acks_refused == 1


def test_an_acknowledgement_that_covers_an_unsent_pack_below_a_sent_one_settles_nothing() -> None:
    courier = courier_of(window=0)
    courier.added([1, 2, 3])
    courier.connected("mqtt", window=32, hears_acks=True)
    assert courier.take(0.0) == 3
    assert courier.acknowledged(Acknowledgement(EPOCH, 3)) == AckRefused(
        "it confirms number 1, which is still in the outbox and was never sent"
    )
    assert courier.acknowledged(Acknowledgement(EPOCH, 0, ((3, 3),))) == [3]
    assert taken(courier) == [1, 2]


def test_what_the_outbox_had_to_drop_is_not_sent_and_may_be_acknowledged() -> None:
    courier = courier_of((1, 2), next_seq=3)
    courier.added([3, 4])
    courier.dropped([1, 3])
    assert taken(courier) == [4, 2]
    assert courier.acknowledged(Acknowledgement(EPOCH, 4)) == [4, 2]
    assert not courier.outstanding


def test_a_pack_that_is_told_twice_is_sent_once() -> None:
    courier = courier_of((1, 2), next_seq=3)
    courier.added([2, 3])
    courier.added([3])
    assert taken(courier) == [3, 1, 2]


def test_reasons_of_a_hostile_server_are_bounded() -> None:
    courier = courier_of((1, 100), next_seq=101)
    for seq in range(1, 101):
        courier.refused(seq, f"{seq}" * 1000)
    reasons = courier.statistics().refusal_reasons
    assert len(reasons) == limits.REASONS_MAX + 1
    assert sum(reasons.values()) == 100
    assert max(len(one) for one in reasons) <= limits.REASON_LENGTH_MAX


def test_pauses_of_different_seeds_do_not_move_in_step() -> None:
    firsts = {round(backoff_s(0, seed, 2.0, 60.0), 3) for seed in range(500)}
    assert len(firsts) > 300
    assert all(1.0 <= one <= 2.0 for one in firsts)
