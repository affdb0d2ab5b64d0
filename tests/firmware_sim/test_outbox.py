"""The outbox under arbitrary schedules of loss, acknowledgement and reconnection: no pack lost, no number reused."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import backoff_s, drift, share
from lichtmast.firmware_sim.outbox import Outbox
from lichtmast.wire.acknowledgement import Acknowledgement, Refused
from lichtmast.wire.numbers import Numbers

PACKS_MAX = 20


class OutboxMachine(RuleBasedStateMachine):
    """A device, a network that loses and repeats, and a store that acknowledges what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(seed=7, packs_max=PACKS_MAX)
        self.now_s = 100.0
        self.made: dict[int, bytes] = {}
        self.on_disk: set[int] = set()
        self.bad: set[int] = set()
        self.taken: list[int] = []
        self.skipped = 0

    @rule()
    def sample(self) -> None:
        if not self.outbox.has_room():
            self.skipped += 1
            return
        expected = self.outbox.next_seq
        assert expected not in self.made, "a number is never used twice"
        self.made[expected] = f"pack {expected}".encode()
        assert self.outbox.put(self.made[expected]) == expected

    @rule(arrives=st.booleans(), bad=st.booleans())
    def send(self, *, arrives: bool, bad: bool) -> None:
        waiting = self.outbox.take(self.now_s)
        if waiting is None:
            return
        assert waiting.payload == self.made[waiting.seq], "a pack never changes"
        assert not self.settled(waiting.seq), "what is settled is not sent again"
        self.taken.append(waiting.seq)
        if arrives:
            self.on_disk.add(waiting.seq)
            if bad:
                self.bad.add(waiting.seq)

    @rule(pause_s=st.floats(0, 30))
    def last_attempt_fails(self, pause_s: float) -> None:
        if self.taken:
            self.outbox.failed(self.taken[-1], self.now_s, pause_s)

    @rule()
    def connection_breaks_and_returns(self) -> None:
        if self.taken:
            self.outbox.returned(self.taken[-1])
        self.outbox.reconnected()

    @rule(passed_s=st.floats(0, 60))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s

    @rule(known=st.integers(0, 40))
    def acknowledge(self, known: int) -> None:
        """A cumulative acknowledgement, perhaps an old one that knows only the first numbers."""
        ranges = Numbers()
        for seq in sorted(self.on_disk - self.bad):
            if seq <= known:
                ranges.add(seq)
        refused = tuple(Refused(seq, "unknown_name", "") for seq in sorted(self.bad) if seq <= known)[:16]
        self.outbox.acknowledge(Acknowledgement(1, 0, ranges.ranges[:16], refused))

    @precondition(lambda self: self.on_disk - self.bad)
    @rule()
    def answer_directly(self) -> None:
        self.outbox.accept(max(self.on_disk - self.bad))

    def settled(self, seq: int) -> bool:
        return seq in self.outbox.acknowledged or seq in self.outbox.refused

    @invariant()
    def everything_is_accounted_for(self) -> None:
        outstanding = {one.seq for one in self.outbox._unsent} | set(self.outbox._awaiting)
        acknowledged, refused = set(self.outbox.acknowledged), set(self.outbox.refused)
        assert outstanding | acknowledged | refused == set(self.made), "no pack is ever lost"
        assert len(outstanding) + len(acknowledged) + len(refused) == len(self.made), "no pack is in two places"
        assert self.outbox.outstanding == len(outstanding) <= PACKS_MAX
        assert self.outbox.oldest_outstanding == min(outstanding, default=None)

    @invariant()
    def nothing_is_believed_that_is_not_on_disk(self) -> None:
        assert set(self.outbox.acknowledged) | set(self.outbox.refused) <= self.on_disk

    @invariant()
    def drops_are_counted(self) -> None:
        assert self.outbox.skipped == self.skipped

    def teardown(self) -> None:
        """Once the world is well, everything drains, and it needs no more than the waking times that it names."""
        for _ in range(10_000):
            wake_at_s = self.outbox.wake_at_s()
            if wake_at_s is None:
                break
            self.now_s = max(self.now_s, wake_at_s)
            waiting = self.outbox.take(self.now_s)
            assert waiting is not None, "wake_at_s promised a pack"
            self.on_disk.add(waiting.seq)
            self.outbox.acknowledge(Acknowledgement(1, 0, ((waiting.seq, waiting.seq),)))
        assert self.outbox.outstanding == 0


OutboxMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOutbox = pytest.mark.slow(OutboxMachine.TestCase)


@pytest.mark.parametrize("fill", [PACKS_MAX - 1, PACKS_MAX])
def test_a_full_outbox_turns_the_next_sample_away_before_it_has_a_number(fill: int) -> None:
    outbox = Outbox(seed=1, packs_max=PACKS_MAX)
    for _ in range(fill):
        assert outbox.has_room()
        outbox.put(b"x")
    assert outbox.has_room() is (fill < PACKS_MAX)
    assert outbox.next_seq == fill + 1
    assert outbox.skipped == (0 if fill < PACKS_MAX else 1)


def test_while_the_store_is_silent_one_pack_is_repeated_ever_more_rarely() -> None:
    outbox = Outbox(seed=3)
    for _ in range(100):
        outbox.put(b"x")
    while outbox.take(0.0) is not None:
        pass
    repeats: list[float] = []
    now_s = 0.0
    while len(repeats) < limits.RESEND_BURST_PACKS + 8:
        wake_at_s = outbox.wake_at_s()
        assert wake_at_s is not None
        now_s = max(now_s, wake_at_s)
        assert outbox.take(now_s) is not None
        repeats.append(now_s)
    probes = repeats[limits.RESEND_BURST_PACKS :]
    pauses = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert all(limits.ACK_PATIENCE_S / 2 <= pause <= limits.ACK_PATIENCE_MAX_S for pause in pauses)
    assert max(pauses[-3:]) > limits.ACK_PATIENCE_S


def test_a_sign_of_life_allows_a_handful_and_not_the_whole_backlog() -> None:
    outbox = Outbox(seed=3)
    for _ in range(100):
        outbox.put(b"x")
    while outbox.take(0.0) is not None:
        pass
    now_s = 1_000.0
    while outbox.take(now_s) is not None:
        pass
    outbox.acknowledge(Acknowledgement(1, 1))
    repeated = 0
    while outbox.take(now_s) is not None:
        repeated += 1
    assert repeated == limits.RESEND_BURST_PACKS


def test_a_cumulative_acknowledgement_settles_an_hour_at_once() -> None:
    outbox = Outbox(seed=3)
    for _ in range(3_600):
        outbox.put(b"x")
    while outbox.take(0.0) is not None:
        pass
    accepted, refused = outbox.acknowledge(Acknowledgement(1, 3_600, refused=(Refused(7, "wrong_unit", "kg"),)))
    assert len(accepted) == 3_599
    assert refused == [7]
    assert outbox.outstanding == 0
    assert outbox.refusal_reasons == {"wrong_unit": 1}


def test_an_acknowledgement_of_what_was_never_sent_settles_nothing() -> None:
    outbox = Outbox(seed=3)
    outbox.put(b"x")
    assert outbox.acknowledge(Acknowledgement(1, 99)) == ([], [])
    assert outbox.outstanding == 1


@given(st.integers(0, 2_000), st.integers(0, 2**64 - 1))
def test_backoff_is_a_pure_function_within_its_bounds(attempt: int, seed: int) -> None:
    pause_s = backoff_s(attempt, seed, 0.5, 15.0)
    assert pause_s == backoff_s(attempt, seed, 0.5, 15.0)
    assert 0.25 <= pause_s <= min(15.0, 0.5 * 2 ** min(attempt, 10))


def test_a_thousand_devices_do_not_come_back_in_step() -> None:
    pauses = sorted(backoff_s(5, seed, 0.5, 15.0) for seed in range(1_000))
    most_in_a_tenth = max(sum(start <= one < start + 0.1 for one in pauses) for start in pauses)
    assert most_in_a_tenth < 40


@given(st.integers(0, 2**64 - 1), st.integers(-(2**40), 2**40))
def test_chance_is_seeded_and_within_bounds(seed: int, index: int) -> None:
    assert 0.0 <= share(seed, index) < 1.0
    assert share(seed, index) == share(seed, index)
    assert -1.0 <= drift(seed, index / 7, 60.0) <= 1.0
