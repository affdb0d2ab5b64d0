"""What a device has said and nobody has confirmed yet: the state machine that never loses a pack.

Sans-IO: time comes in as monotonic seconds, packs go out of `take`, answers come in. It keeps every numbered pack until
the store has it. It will not drop one to make room: a full outbox turns the *next* sample away before it gets a number,
so numbers have no holes and sent = acknowledged + refused + outstanding holds exactly.

Sending again is paced like a careful talker: while the store is silent only one pack is repeated, ever more rarely; any
sign of life allows a handful. A store that comes back after an hour therefore hears each device once, not an hour's
repetitions, and a cumulative acknowledgement settles the rest.
"""

from collections import Counter, deque
from dataclasses import dataclass

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import backoff_s
from lichtmast.wire.acknowledgement import Acknowledgement
from lichtmast.wire.numbers import Numbers


@dataclass(slots=True)
class Waiting:
    """A pack in the outbox: `attempts` so far, and when the last one was."""

    seq: int
    payload: bytes
    attempts: int = 0
    sent_at_s: float = 0.0


class Outbox:
    """The packs of one device and one epoch, from their number to their confirmation."""

    def __init__(self, *, seed: int, packs_max: int = limits.OUTBOX_PACKS_MAX) -> None:
        self._seed = seed
        self._packs_max = packs_max
        self._next_seq = 1
        self._unsent: deque[Waiting] = deque()
        self._awaiting: dict[int, Waiting] = {}  # in the order of their last attempt
        self._hold_until_s = float("-inf")
        self._failures = 0
        self._silent_rounds = 0
        self._resends_allowed = limits.RESEND_BURST_PACKS
        self._probe_at_s = float("-inf")
        self.skipped = 0
        self.sent_upto = 0
        self.attempts = 0
        self.acknowledged = Numbers()
        self.refused = Numbers()
        self.refusal_reasons: Counter[str] = Counter()

    @property
    def next_seq(self) -> int:
        """The number that the next pack gets; encode it with this before `put`."""
        return self._next_seq

    @property
    def outstanding(self) -> int:
        """How many packs nobody has confirmed yet."""
        return len(self._unsent) + len(self._awaiting)

    @property
    def oldest_outstanding(self) -> int | None:
        """The lowest number that nobody has confirmed yet."""
        return min((*self._awaiting, *(one.seq for one in self._unsent)), default=None)

    def has_room(self) -> bool:
        """Whether another pack fits. Where it does not, the sample is counted as skipped."""
        if self.outstanding < self._packs_max:
            return True
        self.skipped += 1
        return False

    def put(self, payload: bytes) -> int:
        """Keep a pack that carries `next_seq`; returns that number."""
        seq = self._next_seq
        self._next_seq += 1
        self._unsent.append(Waiting(seq, payload))
        return seq

    def take(self, now_s: float) -> Waiting | None:
        """The pack to send now, or None. What is taken counts as attempted: it may arrive even if no answer does."""
        if now_s < self._hold_until_s:
            return None
        waiting = self._overdue(now_s)
        if waiting is not None:
            del self._awaiting[waiting.seq]
        elif self._unsent:
            waiting = self._unsent.popleft()
        else:
            return None
        waiting.attempts += 1
        waiting.sent_at_s = now_s
        self.attempts += 1
        self.sent_upto = max(self.sent_upto, waiting.seq)
        self._awaiting[waiting.seq] = waiting
        return waiting

    def wake_at_s(self) -> float | None:
        """When `take` can next give something without anything else happening; None where only an event helps."""
        if self._unsent:
            return self._hold_until_s
        due_s = self._overdue_at_s()
        return None if due_s is None else max(due_s, self._hold_until_s)

    def failed(self, seq: int, now_s: float, pause_s: float = 0.0) -> None:
        """The attempt ended without an answer, or with "later": send it again, after a pause of at least `pause_s`."""
        self.returned(seq)
        wait_s = backoff_s(self._failures, self._seed, limits.RETRY_S, limits.RETRY_MAX_S)
        self._failures += 1
        self._hold_until_s = now_s + max(wait_s, pause_s)

    def returned(self, seq: int) -> None:
        """The attempt got nowhere that we know of: the pack is first in the row again."""
        waiting = self._awaiting.pop(seq, None)
        if waiting is not None:
            self._unsent.appendleft(waiting)

    def reconnected(self) -> None:
        """A new connection: acknowledgements may have been missed, so some old packs may be repeated at once."""
        self._alive()

    def accept(self, seq: int) -> bool:
        """The pack is on disk. False where it was settled before."""
        if not self._settle(seq):
            return False
        self.acknowledged.add(seq)
        return True

    def refuse(self, seq: int, reason: str) -> bool:
        """The pack is delivered, and refused: sending it again cannot help. False where it was settled before."""
        if not self._settle(seq):
            return False
        self.refused.add(seq)
        self.refusal_reasons[reason] += 1
        return True

    def acknowledge(self, ack: Acknowledgement) -> tuple[list[int], list[int]]:
        """Apply a cumulative acknowledgement of this epoch; returns the numbers (accepted, refused) that are new.

        A refusal is settled even where the ranges do not reach it: a pack in quarantine is on disk.
        """
        refused = [one.seq for one in ack.refused if self.refuse(one.seq, one.reason)]
        attempted = [one.seq for one in self._unsent if one.attempts] + list(self._awaiting)
        accepted = [seq for seq in attempted if ack.covers(seq) and self.accept(seq)]
        return accepted, refused

    def _settle(self, seq: int) -> bool:
        waiting = self._awaiting.pop(seq, None)
        if waiting is None:
            waiting = next((one for one in self._unsent if one.seq == seq and one.attempts), None)
            if waiting is None:
                return False
            self._unsent.remove(waiting)
        self._alive()
        return True

    def _alive(self) -> None:
        self._failures = 0
        self._hold_until_s = float("-inf")
        self._silent_rounds = 0
        self._resends_allowed = limits.RESEND_BURST_PACKS
        self._probe_at_s = float("-inf")

    def _overdue_at_s(self) -> float | None:
        first = next(iter(self._awaiting.values()), None)
        if first is None:
            return None
        patient_until_s = first.sent_at_s + limits.ACK_PATIENCE_S
        return patient_until_s if self._resends_allowed else max(patient_until_s, self._probe_at_s)

    def _overdue(self, now_s: float) -> Waiting | None:
        due_s = self._overdue_at_s()
        if due_s is None or now_s < due_s:
            return None
        if self._resends_allowed:
            self._resends_allowed -= 1
        else:
            self._silent_rounds += 1
        wait_s = backoff_s(self._silent_rounds, self._seed, limits.ACK_PATIENCE_S, limits.ACK_PATIENCE_MAX_S)
        self._probe_at_s = now_s + wait_s
        return next(iter(self._awaiting.values()))
