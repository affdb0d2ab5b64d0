"""Which pack goes next, and which are delivered: the state machine between the outbox and whatever link there is.

Sans-IO: time comes in as monotonic seconds, numbers go out of `take`, answers come in. It knows numbers only; the packs
are in the outbox.

The newest pack goes first, then what is overdue, then the backlog from its oldest on. At most a link's window of packs
is on its way at one time. While the store is silent only one of them is repeated, ever more rarely; any sign of life
allows a handful. A server that comes back after an hour therefore hears each device once, not an hour's repetitions,
and a cumulative acknowledgement settles the rest. A pack that acknowledgements pass over again and again steps aside,
so that it takes the place of no other.

Will not believe an acknowledgement that names what was never sent: it would delete the only copy. What waited in the
outbox at the start counts as never sent, for nobody wrote down whether it was.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lichtmast.edge.pace import backoff_s
from lichtmast.edge.uplink import limits
from lichtmast.wire.acknowledgement import Acknowledgement
from lichtmast.wire.numbers import Numbers


@dataclass(frozen=True, slots=True)
class AckRefused:
    """An acknowledgement that is not believed; nothing was settled by it."""

    reason: str


@dataclass(frozen=True, slots=True)
class CourierStatistics:
    """Where the packs of this epoch are, and counts since the start of the process."""

    unsent: int
    in_flight: int
    passed_over: int
    attempts: int
    accepted: int
    refused: int
    refusal_reasons: Mapping[str, int]
    acks_of_other_epochs: int
    acks_refused: int
    silent_rounds: int


@dataclass(slots=True)
class _Flight:
    """A pack on its way: in the transport's hands, or with the broker since `since_s`."""

    since_s: float
    in_hand: bool = True
    repeats: int = 0
    passed_over: bool = False

    @property
    def is_hopeless(self) -> bool:
        """Whether it was sent again and again while the store confirmed others, and never this one."""
        return self.repeats >= limits.PASSED_OVER_REPEATS


class Courier:
    """The numbers of one epoch, from the outbox to their confirmation. `seed` makes its pauses its own.

    `sendable` are the numbers that wait in the outbox at the start, and `next_seq` the first that is not yet given:
    whatever lies below may have been sent by an earlier run, so an acknowledgement may name it, and settles it only
    after it was sent in this run.
    """

    def __init__(self, *, epoch: int, next_seq: int, seed: int, sendable: Numbers) -> None:
        self.epoch = epoch
        self._seed = seed
        self._backlog = Numbers()
        for first, last in sendable.ranges:
            self._backlog.add_range(first, last)
        self._live: int | None = None
        self._tried = Numbers()  # those of the backlog that were sent in this run
        self._never_sent = Numbers()  # those that no run ever sent
        self._sent_upto = next_seq - 1
        self._flights: dict[int, _Flight] = {}  # those with the broker are in the order of `since_s`
        self._aside: dict[int, _Flight] = {}  # passed over, the one that waits longest first
        self._aside_tries = 0
        self._aside_at_s = float("-inf")
        self._link = ""
        self._window = 0
        self._hears_acks = True
        self._begin_at = 0
        self._live_in_a_row = 0
        self._hold_until_s = float("-inf")
        self._failures = 0
        self._silent_rounds = 0
        self._resends_allowed = 0
        self._probe_at_s = float("-inf")
        self._attempts = 0
        self._accepted = 0
        self._refused = 0
        self._reasons: Counter[str] = Counter()
        self._acks_of_other_epochs = 0
        self._acks_refused = 0

    def added(self, seqs: Iterable[int]) -> None:
        """New packs in the outbox. The newest is live; one that it overtakes becomes backlog."""
        for seq in seqs:
            if seq == self._live or seq in self._flights or seq in self._aside or seq in self._backlog:
                continue
            self._never_sent.add(seq)
            older = seq
            if self._live is None or seq > self._live:
                older, self._live = self._live or 0, seq
            if older:
                self._backlog.add(older)

    def dropped(self, numbers: Iterable[int]) -> None:
        """The outbox has these no more; they are not sent."""
        for seq in numbers:
            self._forget(seq)

    def connected(self, link: str, *, window: int, hears_acks: bool) -> None:
        """A link is open that carries `window` unconfirmed packs.

        Where it hears no cumulative acknowledgements, only a pack's own answer settles it: what waits for one of those
        must be sent again.
        """
        if link != self._link:  # what the other one asked for does not bind this one
            self._hold_until_s = float("-inf")
            self._failures = 0
        self._link, self._window, self._hears_acks = link, window, hears_acks
        if not hears_acks:
            for seq in (*self._flights, *self._aside):
                self._put_back(seq)

    def disconnected(self) -> None:
        """The link is gone. What was in its hands may have arrived or not, and is sent again.

        Where each pack has its own answer, it may have been this one that broke the link: others go before it.
        """
        self._window = 0
        for seq in [seq for seq, flight in self._flights.items() if flight.in_hand]:
            self._put_back(seq)
            if not self._hears_acks:
                self._begin_at = seq + 1

    def take(self, now_s: float) -> int | None:
        """The pack to send now, or None. What is taken counts as attempted: it may arrive even if no answer does."""
        if not self._window or now_s < self._hold_until_s:
            return None
        seq = self._choose(now_s)
        if seq is None:
            return None
        self._attempts += 1
        self._never_sent.discard(seq)
        self._tried.discard(seq)
        self._sent_upto = max(self._sent_upto, seq)
        before = self._flights.pop(seq, None) or self._aside.pop(seq, None)
        self._flights[seq] = _Flight(now_s, repeats=before.repeats + before.passed_over if before else 0)
        return seq

    def wake_at_s(self) -> float | None:
        """When `take` can next give something without anything else happening; None where only an event helps."""
        if not self._window:
            return None
        room = self._window - len(self._flights)
        if (self._live is not None and room > 0) or (self._backlog and room > self._kept_for_live):
            return self._hold_until_s
        due = [at_s for at_s in (self._overdue_at_s(), self._aside_due_s()) if at_s is not None]
        return max(min(due), self._hold_until_s) if due else None

    def sent(self, seq: int, now_s: float) -> None:
        """The broker has it; now the store's acknowledgement is waited for."""
        flight = self._flights.pop(seq, None)
        if flight is not None:  # else the acknowledgement was faster
            self._flights[seq] = _Flight(now_s, in_hand=False, repeats=flight.repeats)

    def failed(self, seq: int, now_s: float, pause_s: float = 0.0) -> None:
        """The answer was "later": send it again, after a pause of at least `pause_s`, and let others go before it."""
        if seq not in self._flights:
            return
        self._put_back(seq)
        self._begin_at = seq + 1
        wait_s = backoff_s(self._failures, self._seed, limits.RETRY_S, limits.RETRY_MAX_S)
        self._failures += 1
        self._hold_until_s = max(self._hold_until_s, now_s + max(wait_s, pause_s))

    def settled(self, seq: int) -> bool:
        """The pack is delivered. False where that was known."""
        if not self._forget(seq):
            return False
        self._accepted += 1
        self._alive()
        return True

    def refused(self, seq: int, reason: str) -> bool:
        """The pack is delivered and refused: sending it again cannot help. False where that was known."""
        if not self._forget(seq):
            return False
        self._refused += 1
        reason = reason[: limits.REASON_LENGTH_MAX]
        self._reasons[reason if reason in self._reasons or len(self._reasons) < limits.REASONS_MAX else "other"] += 1
        self._alive()
        return True

    def acknowledged(self, ack: Acknowledgement) -> list[int] | AckRefused:
        """Apply a cumulative acknowledgement; returns the numbers that it settles, accepted or refused.

        A refusal is settled even where the ranges do not reach it: a pack in quarantine is on disk.
        """
        if ack.epoch != self.epoch:
            self._acks_of_other_epochs += 1
            return []
        wrong = self._unbelievable(ack)
        if wrong is not None:
            self._acks_refused += 1
            return AckRefused(wrong)
        spans = ((1, ack.upto), *ack.ranges)
        refused = [one for one in ack.refused if self._was_sent(one.seq)]
        settled = [one.seq for one in refused if self.refused(one.seq, one.reason)]
        covered = [seq for seq in (*self._flights, *self._aside) if ack.covers(seq)]
        covered += (seq for first, last in spans for seq in _within(self._tried, first, last))
        if any(seq in self._aside or (seq in self._flights and self._flights[seq].is_hopeless) for seq in covered):
            self._aside_tries, self._aside_at_s = 0, float("-inf")
        settled += [seq for seq in covered if self.settled(seq)]
        self._pass_over()
        if self._silent_rounds:  # it answers what was repeated, though it has nothing new to say
            self._alive()
        return settled

    @property
    def outstanding(self) -> bool:
        """Whether anything is not delivered yet."""
        return self._live is not None or bool(self._flights) or bool(self._aside) or bool(self._backlog)

    def statistics(self) -> CourierStatistics:
        """What is where, and what happened."""
        return CourierStatistics(
            len(self._backlog) + (self._live is not None),
            len(self._flights),
            len(self._aside),
            self._attempts,
            self._accepted,
            self._refused,
            dict(self._reasons),
            self._acks_of_other_epochs,
            self._acks_refused,
            self._silent_rounds,
        )

    @property
    def _kept_for_live(self) -> int:
        return self._window // limits.LIVE_SHARE

    def _choose(self, now_s: float) -> int | None:
        room = self._window - len(self._flights)
        overdue = self._overdue(now_s)
        older = self._next_of_backlog() if room > self._kept_for_live else None
        others_turn = self._live_in_a_row >= limits.LIVE_IN_A_ROW and (overdue is not None or older is not None)
        if self._live is not None and room > 0 and not others_turn:
            seq, self._live = self._live, None
            self._live_in_a_row += 1
            return seq
        self._live_in_a_row = 0
        if overdue is not None:
            self._spend_patience(now_s)
            return overdue
        aside_s = self._aside_due_s()
        if aside_s is not None and now_s >= aside_s:
            self._aside_at_s = now_s + self._aside_wait_s()
            self._aside_tries += 1
            return next(iter(self._aside))
        if older is not None:
            self._backlog.discard(older)
        return older

    def _next_of_backlog(self) -> int | None:
        """The oldest, or the oldest behind one that failed: a pack that the server cannot take holds up nobody."""
        if self._begin_at:
            for first, last in self._backlog.ranges:
                if last >= self._begin_at:
                    return max(first, self._begin_at)
            self._begin_at = 0
        return self._backlog.first

    def _waiting_longest(self) -> tuple[int, float] | None:
        return next(((seq, one.since_s) for seq, one in self._flights.items() if not one.in_hand), None)

    def _overdue_at_s(self) -> float | None:
        longest = self._waiting_longest()
        if longest is None:
            return None
        patient_until_s = longest[1] + limits.ACK_PATIENCE_S
        return patient_until_s if self._resends_allowed else max(patient_until_s, self._probe_at_s)

    def _overdue(self, now_s: float) -> int | None:
        longest, due_s = self._waiting_longest(), self._overdue_at_s()
        return longest[0] if longest is not None and due_s is not None and now_s >= due_s else None

    def _pass_over(self) -> None:
        """The store spoke, and not of what is still on its way: who hears that too often steps aside."""
        for seq, one in list(self._flights.items()):
            if one.in_hand:
                continue
            one.passed_over = True
            if one.is_hopeless:
                if not self._aside:
                    self._aside_at_s = one.since_s + self._aside_wait_s()
                self._aside[seq] = self._flights.pop(seq)

    def _aside_due_s(self) -> float | None:
        """When one of those may try again: one at a time, ever more rarely, and in a part of the window only."""
        if not self._aside or len(self._flights) >= self._window:
            return None
        trying = sum(one.is_hopeless for one in self._flights.values())
        return self._aside_at_s if trying < max(self._kept_for_live, 1) else None

    def _aside_wait_s(self) -> float:
        return backoff_s(self._aside_tries, self._seed, limits.PASSED_OVER_S, limits.PASSED_OVER_MAX_S)

    def _put_back(self, seq: int) -> None:
        self._flights.pop(seq, None)
        self._aside.pop(seq, None)
        self._backlog.add(seq)
        self._tried.add(seq)

    def _was_sent(self, seq: int) -> bool:
        return seq in self._flights or seq in self._aside or seq in self._tried

    def _spend_patience(self, now_s: float) -> None:
        if self._resends_allowed:
            self._resends_allowed -= 1
        else:
            self._silent_rounds += 1
        wait_s = backoff_s(self._silent_rounds, self._seed, limits.ACK_PATIENCE_S, limits.ACK_PATIENCE_MAX_S)
        self._probe_at_s = now_s + wait_s

    def _alive(self) -> None:
        self._failures = 0
        self._hold_until_s = float("-inf")
        self._silent_rounds = 0
        self._resends_allowed = limits.RESEND_BURST_PACKS
        self._probe_at_s = float("-inf")

    def _forget(self, seq: int) -> bool:
        self._never_sent.discard(seq)
        self._tried.discard(seq)
        if self._live == seq:
            self._live = None
            return True
        if (self._flights.pop(seq, None) or self._aside.pop(seq, None)) is not None:
            return True
        known = seq in self._backlog
        self._backlog.discard(seq)
        return known

    def _unbelievable(self, ack: Acknowledgement) -> str | None:
        """Why nothing of this acknowledgement can be believed."""
        spans: Sequence[tuple[int, int]] = (
            (1, ack.upto),
            *ack.ranges,
            *((one.seq, one.seq) for one in ack.refused),
        )
        highest = max(last for _, last in spans)
        if highest > self._sent_upto:
            return f"it confirms number {highest}, and the highest that was ever sent is {self._sent_upto}"
        for first, last in spans:
            never = next(_within(self._never_sent, first, last), None)
            if never is not None:
                return f"it confirms number {never}, which is still in the outbox and was never sent"
        return None


def _within(numbers: Numbers, first: int, last: int) -> Iterator[int]:
    """Those of the numbers that lie in a closed range; costs nothing for what is not there, however wide the range."""
    for low, high in numbers.ranges:
        yield from range(max(first, low), min(last, high) + 1)
