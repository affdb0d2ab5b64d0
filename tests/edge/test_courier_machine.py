"""The courier under any order of events: nothing is lost, nothing is settled that the server does not have."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.courier import AckRefused, Courier
from lichtmast.wire.acknowledgement import Acknowledgement, Refused
from lichtmast.wire.numbers import Numbers

EPOCH = 3
MQTT, COAP = ("mqtt", 8), ("coap", 1)


class CourierMachine(RuleBasedStateMachine):
    """An outbox as a set, a network as a list, a server as a set, and restarts of the agent in between."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.next_seq = 1
        self.outbox: set[int] = set()
        self.unstamped: set[int] = set()
        self.in_hand: list[int] = []
        self.on_the_way: list[int] = []
        self.stored: set[int] = set()
        self.dropped: set[int] = set()
        self.attempted: set[int] = set()
        self.attempted_in_this_run: set[int] = set()
        self.link: tuple[str, int] | None = None
        self.courier = self.make()

    def make(self) -> Courier:
        sendable = Numbers()
        for seq in self.outbox - self.unstamped:
            sendable.add(seq)
        return Courier(epoch=EPOCH, next_seq=self.next_seq, seed=9, sendable=sendable)

    @rule(count=st.integers(1, 3), stamped=st.booleans())
    def measure(self, *, count: int, stamped: bool) -> None:
        seqs = list(range(self.next_seq, self.next_seq + count))
        self.next_seq += count
        self.outbox.update(seqs)
        if stamped:
            self.courier.added(seqs)
        else:
            self.unstamped.update(seqs)

    @rule()
    def trust_the_clock(self) -> None:
        self.courier.added(sorted(self.unstamped & self.outbox))
        self.unstamped.clear()

    @precondition(lambda self: self.link is None)
    @rule(link=st.sampled_from([MQTT, COAP]))
    def connect(self, link: tuple[str, int]) -> None:
        self.link = link
        self.courier.connected(link[0], window=link[1], hears_acks=link is MQTT)

    @precondition(lambda self: self.link is not None)
    @rule()
    def disconnect(self) -> None:
        self.courier.disconnected()
        self.on_the_way += self.in_hand
        self.in_hand.clear()
        self.link = None

    @rule(pause_s=st.sampled_from([0.1, 3.0, 70.0]))
    def wait(self, pause_s: float) -> None:
        self.now_s += pause_s

    @rule()
    def send(self) -> None:
        live = self.courier._live
        window_has_room = self.courier.statistics().in_flight < (self.link or ("", 0))[1]
        seq = self.courier.take(self.now_s)
        if seq is None:
            return
        assert self.link is not None
        assert seq in self.outbox
        assert seq not in self.in_hand
        if live is not None and window_has_room and seq != live:
            assert self.courier._live_in_a_row == 0, "an older pack goes before the newest only when it is its turn"
        self.attempted.add(seq)
        self.attempted_in_this_run.add(seq)
        self.in_hand.append(seq)

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data(), lost=st.booleans())
    def answer(self, *, data: st.DataObject, lost: bool) -> None:
        """PUBACK, or the answer over CoAP; an answer that is lost is a broken link."""
        seq = data.draw(st.sampled_from(self.in_hand))
        if lost:
            self.stored.add(seq)
            return
        self.in_hand.remove(seq)
        if self.link is MQTT:
            self.on_the_way.append(seq)
            self.courier.sent(seq, self.now_s)
        elif data.draw(st.booleans()):
            self.stored.add(seq)
            if self.courier.settled(seq):
                self.outbox.discard(seq)
        else:
            self.courier.failed(seq, self.now_s, data.draw(st.sampled_from([0.0, 30.0])))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), lost=st.booleans())
    def arrive(self, *, data: st.DataObject, lost: bool) -> None:
        seq = self.on_the_way.pop(data.draw(st.integers(0, len(self.on_the_way) - 1)))
        if not lost:
            self.stored.add(seq)

    @precondition(lambda self: self.link is MQTT)
    @rule(refuse=st.integers(0, 3))
    def acknowledge(self, refuse: int) -> None:
        covered = Numbers()
        declared = {seq for seq in self.dropped if seq < max(self.stored, default=0)}  # in a pack with a higher number
        for seq in self.stored | declared:
            covered.add(seq)
        spans = list(covered.ranges)
        upto = spans.pop(0)[1] if spans and spans[0][0] == 1 else 0
        refused = tuple(Refused(seq, "no", "") for seq in sorted(self.stored)[:refuse])
        settled = self.courier.acknowledged(Acknowledgement(EPOCH, upto, tuple(spans[-16:]), refused))
        assert not isinstance(settled, AckRefused), settled
        assert set(settled) <= self.stored & self.outbox & self.attempted_in_this_run
        self.outbox -= set(settled)

    @rule(beyond=st.integers(1, 5))
    def acknowledge_what_was_never_sent(self, beyond: int) -> None:
        unsent = self.outbox - self.attempted - self.unstamped
        never = max(unsent, default=self.next_seq + beyond)
        may_be_from_before = never < self.next_seq and never not in self.courier._never_sent
        told = self.courier.acknowledged(Acknowledgement(EPOCH, 0, ((never, never),)))
        assert told == [] if may_be_from_before else isinstance(told, AckRefused)

    @precondition(lambda self: self.link is MQTT)
    @rule(times=st.integers(1, 9))
    def acknowledge_nothing_new(self, times: int) -> None:
        """What the store has lies outside of the ranges that an acknowledgement can name."""
        for _ in range(times):
            self.send()
            for seq in self.in_hand:
                self.courier.sent(seq, self.now_s)
            self.on_the_way += self.in_hand
            self.in_hand.clear()
            assert self.courier.acknowledged(Acknowledgement(EPOCH, 0)) == []
            self.now_s += 70.0

    @precondition(lambda self: self.outbox)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(sorted(self.outbox)))
        self.outbox.discard(seq)
        self.unstamped.discard(seq)
        self.dropped.add(seq)
        self.courier.dropped([seq])

    @rule()
    def restart(self) -> None:
        """The agent dies; what it had in its hands may arrive or not."""
        self.attempted_in_this_run.clear()
        self.on_the_way += self.in_hand
        self.in_hand.clear()
        self.link = None
        self.courier = self.make()

    @invariant()
    def every_number_is_in_one_place(self) -> None:
        courier = self.courier
        live = [courier._live] if courier._live else []
        places = [*courier._backlog, *courier._flights, *courier._aside, *live]
        assert sorted(places) == sorted(self.outbox - self.unstamped)
        assert set(courier._tried) == set(courier._backlog) & self.attempted_in_this_run

    @invariant()
    def what_is_on_its_way_was_sent_in_this_run(self) -> None:
        assert {*self.courier._aside, *self.courier._flights} <= self.attempted_in_this_run

    @invariant()
    def the_window_holds(self) -> None:
        if self.link is COAP:
            assert len(self.courier._flights) <= 1
        assert len(self.courier._flights) <= 8
        assert {seq for seq, one in self.courier._flights.items() if one.in_hand} <= set(self.in_hand)

    @invariant()
    def it_never_sleeps_on_work(self) -> None:
        """Either take gives something at the time it names, or only an event can help."""
        wake_s = self.courier.wake_at_s()
        if wake_s is None and self.link is not None:
            waits_for_answer = bool(self.in_hand)
            assert waits_for_answer or not self.courier.outstanding

    def teardown(self) -> None:
        """A link without faults drains everything, and each pack was sent at least once."""
        if self.link is not None:
            self.disconnect()
        self.trust_the_clock()
        self.connect(MQTT)
        for _ in range(1_000):
            if not self.courier.outstanding:
                break
            wake_s = self.courier.wake_at_s()
            assert wake_s is not None
            self.now_s = max(self.now_s, wake_s)
            seq = self.courier.take(self.now_s)
            assert seq is not None
            self.attempted.add(seq)
            self.attempted_in_this_run.add(seq)
            self.stored.add(seq)
            self.courier.sent(seq, self.now_s)
            self.acknowledge(0)
        assert self.outbox == set()
        assert self.stored <= self.attempted
        assert self.stored | self.dropped == set(range(1, self.next_seq))


CourierMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


class TestCourierMachine(CourierMachine.TestCase):  # type: ignore[misc,valid-type]  # hypothesis makes it when asked
    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that packs step aside within the few steps of an example."""
        monkeypatch.setattr(limits, "PASSED_OVER_REPEATS", 1)
