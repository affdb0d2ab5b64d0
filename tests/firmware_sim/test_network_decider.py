"""What happens to packets, in virtual time: each knob by what it does and by what it counts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.firmware_sim.network import Burst, Decider, Direction, Flapping, Impairment, Schedule, Step, limits

UP, DOWN = Direction.UP, Direction.DOWN
PACKET = bytes(100)


def carried(
    impairment: Impairment, packets: int = 1_000, *, seed: int = 7, every_s: float = 0.001, packet: bytes = PACKET
) -> tuple[Decider, list[tuple[tuple[float, bytes], ...]]]:
    """The decider, and what it made of each of the packets, one a millisecond."""
    decider = Decider(Schedule.of(impairment, seed=seed), 0.0)
    return decider, [decider.decide(at * every_s, packet, UP).deliveries for at in range(packets)]


def test_without_impairment_everything_passes_at_once_and_unchanged() -> None:
    decider, passed = carried(Impairment(), 3)
    assert passed == [((0.0, PACKET),), ((0.001, PACKET),), ((0.002, PACKET),)]
    assert decider.counts.total.faults == 0


def test_loss_is_the_same_for_a_seed_and_near_its_share_for_all() -> None:
    first, passed = carried(Impairment(loss=0.1))
    again, repeated = carried(Impairment(loss=0.1))
    assert passed == repeated
    assert (first.counts.up.lost, again.counts.up.lost) == (90, 90)
    # Four standard deviations of a binomial of 1,000 at 0.1 are 38.
    assert all(62 <= carried(Impairment(loss=0.1), seed=seed)[0].counts.up.lost <= 138 for seed in range(20))


def test_one_knob_does_not_change_what_another_does() -> None:
    _, alone = carried(Impairment(loss=0.2))
    _, among = carried(Impairment(loss=0.2, duplicate=0.3, delay_s=0.5, jitter_s=0.4, reorder=0.1, corrupt=0.2))
    assert [not one for one in alone] == [not one for one in among]


def test_bursts_are_as_long_as_they_should_be() -> None:
    decider, passed = carried(Impairment(burst=Burst(enter=0.02, leave=0.25)), 20_000)
    dark = "".join("x" if not one else " " for one in passed).split()
    assert decider.counts.up.burst_lost == sum(map(len, dark))
    assert 3.5 < decider.counts.up.burst_lost / len(dark) < 4.5  # 1 / leave
    share = 0.02 / (0.02 + 0.25)
    assert share * 0.85 < decider.counts.up.burst_lost / 20_000 < share * 1.15


def test_delay_and_jitter_keep_to_their_bounds_and_to_the_order() -> None:
    decider, passed = carried(Impairment(delay_s=0.2, jitter_s=0.1), every_s=0.1)
    waits = [one[0][0] - at * 0.1 for at, one in enumerate(passed)]
    assert 0.1 <= min(waits) < 0.11
    assert max(waits) <= 0.3
    moments = [one[0][0] for one in passed]
    assert moments == sorted(moments)
    assert (decider.counts.up.delayed, decider.counts.up.reordered) == (1_000, 0)


def test_reordered_packets_are_really_overtaken() -> None:
    decider, passed = carried(Impairment(reorder=0.05, reorder_s=0.02))
    moments = [one[0][0] for one in passed]
    overtaken = sum(any(later < one for later in moments[at + 1 :]) for at, one in enumerate(moments))
    assert decider.counts.up.reordered == overtaken == 49


def test_a_packet_that_nothing_overtakes_is_not_counted_as_reordered() -> None:
    alone, _ = carried(Impairment(reorder=1.0), 1)
    sparse, _ = carried(Impairment(reorder=0.5, reorder_s=0.02), 100, every_s=0.1)
    assert (alone.counts.up.reordered, sparse.counts.up.reordered) == (0, 0)


def test_a_duplicate_comes_beside_its_original() -> None:
    decider, passed = carried(Impairment(duplicate=0.5), 100)
    assert sum(len(one) == 2 for one in passed) == decider.counts.up.duplicated == 46
    assert decider.counts.up.forwarded == 146


@given(bits=st.integers(1, limits.CORRUPT_BITS_MAX), packet=st.binary(min_size=48, max_size=200), seed=st.integers())
def test_corruption_flips_so_many_bits_and_spares_the_header(bits: int, packet: bytes, seed: int) -> None:
    decider = Decider(Schedule.of(Impairment(corrupt=1.0, corrupt_bits=bits), seed=seed), 0.0, header_bytes=40)
    ((_, spoilt),) = decider.decide(0.0, packet, UP).deliveries
    assert spoilt[:40] == packet[:40]
    differing = sum((one ^ other).bit_count() for one, other in zip(packet, spoilt, strict=True))
    assert differing == bits
    assert decider.counts.up.corrupted == 1


def test_a_narrow_band_lets_a_burst_through_and_then_keeps_to_its_rate() -> None:
    decider, passed = carried(Impairment(rate_bit_s=32_000), 10, every_s=0.0, packet=bytes(1_000))
    moments = [one[0][0] for one in passed]
    assert moments[:3] == pytest.approx([0.0, 0.0, 0.0])  # the burst of 3,000 bytes
    assert moments[3:] == pytest.approx([0.25 * at for at in range(1, 8)])  # 8,000 bits at 32,000 a second
    assert decider.counts.up.shaped == 7


def test_the_queue_of_a_narrow_band_overflows_at_its_bytes() -> None:
    decider, passed = carried(Impairment(rate_bit_s=32_000, queue_bytes=2_000), 6, every_s=0.0, packet=bytes(1_000))
    assert [len(one) for one in passed] == [1, 1, 1, 1, 1, 0]
    assert decider.counts.up.overflowed == 1


@pytest.mark.parametrize("too_big", [True, False])
def test_the_mtu_is_kept_to_the_byte(too_big: bool) -> None:  # noqa: FBT001 - the two values of a knob
    decider = Decider(Schedule.of(Impairment(mtu_bytes=1_280, too_big=too_big)), 0.0)
    assert len(decider.decide(0.0, bytes(1_280), UP).deliveries) == 1
    above = decider.decide(0.0, bytes(1_281), UP)
    assert above == ((), 1_280 if too_big else None)
    assert (decider.counts.up.too_big_told, decider.counts.up.too_big_silent) == (too_big, not too_big)


def test_a_blackhole_of_one_direction_leaves_the_other_alone() -> None:
    decider = Decider(Schedule.of(Impairment(blackhole=True), Impairment()), 0.0)
    assert decider.decide(0.0, PACKET, UP).deliveries == ()
    assert decider.decide(0.0, PACKET, DOWN).deliveries == ((0.0, PACKET),)
    assert (decider.counts.up.blackholed, decider.counts.down.faults) == (1, 0)


def test_a_flapping_link_is_up_and_down_in_turns_from_its_step_on() -> None:
    schedule = Schedule((Step(10.0, up=Impairment(flapping=Flapping(up_s=1.0, down_s=0.5))),))
    decider = Decider(schedule, 100.0)
    passes = [bool(decider.decide(100.0 + at_s, PACKET, UP).deliveries) for at_s in (9.9, 10.9, 11.0, 11.4, 11.5, 12.5)]
    assert passes == [True, True, False, False, True, False]
    assert decider.counts.up.flapped == 3


def test_a_schedule_goes_from_step_to_step() -> None:
    schedule = Schedule((Step(0.0, up=Impairment(blackhole=True)), Step(5.0), Step(6.0, up=Impairment(duplicate=1.0))))
    decider = Decider(schedule, 1_000.0)
    copies = [len(decider.decide(1_000.0 + at_s, PACKET, UP).deliveries) for at_s in (0.0, 4.9, 5.0, 5.9, 6.0, 600.0)]
    assert copies == [0, 0, 1, 1, 2, 2]


def test_a_new_schedule_draws_new_chances_and_counts_on() -> None:
    decider = Decider(Schedule.of(Impairment(loss=0.5)), 0.0)
    runs = []
    for _ in range(2):
        runs.append([bool(decider.decide(0.0, PACKET, UP).deliveries) for _ in range(64)])
        decider.follow(Schedule.of(Impairment(loss=0.5)), 1.0)
    assert runs[0] != runs[1]
    assert decider.counts.up.lost == sum(not one for run in runs for one in run)


def test_a_stream_stands_before_a_blackhole_and_each_asking_counts() -> None:
    decider = Decider(Schedule((Step(0.0, up=Impairment(blackhole=True)), Step(1.0))), 0.0)
    assert [decider.stream(at_s, 10, UP) for at_s in (0.0, 0.5, 1.0)] == [None, None, 1.0]
    assert (decider.counts.up.blackholed, decider.counts.up.forwarded) == (2, 1)


shares = st.sampled_from([0.0, 0.05, 0.5, 1.0])
impairments = st.builds(
    Impairment,
    loss=shares,
    burst=st.none() | st.builds(Burst, st.just(0.2), st.just(0.5), shares),
    delay_s=st.just(0.3),
    jitter_s=st.sampled_from([0.0, 0.3]),
    reorder=shares,
    duplicate=shares,
    corrupt=shares,
    rate_bit_s=st.none() | st.sampled_from([8_000, 1_000_000]),
    queue_bytes=st.just(2_000),
    mtu_bytes=st.none() | st.just(1_280),
    too_big=st.booleans(),
    blackhole=st.booleans(),
    flapping=st.none() | st.just(Flapping(0.01, 0.02)),
)


@pytest.mark.slow
@given(up=impairments, down=impairments, seed=st.integers(0, 2**32), size=st.sampled_from([60, 1_280, 1_500]))
def test_every_packet_is_accounted_for_and_none_goes_back_in_time(
    up: Impairment, down: Impairment, seed: int, size: int
) -> None:
    decider = Decider(Schedule.of(up, down, seed=seed), 0.0)
    for at in range(30):
        now_s = at * 0.002
        for direction in Direction:
            assert all(at_s >= now_s for at_s, _ in decider.decide(now_s, bytes(size), direction).deliveries)
    for one in (decider.counts.up, decider.counts.down):
        gone = one.lost + one.burst_lost + one.overflowed + one.too_big_told + one.too_big_silent
        gone += one.blackholed + one.flapped
        assert one.packets == 30 == one.forwarded - one.duplicated + gone


@given(impairments)
def test_packets_that_are_not_held_back_keep_their_order(impairment: Impairment) -> None:
    _, passed = carried(impairment, 30)
    moments = [one[0][0] for one in passed if one]
    steps_back = sum(later < earlier for earlier, later in pairwise(moments))
    assert steps_back == 0 or impairment.reorder > 0
