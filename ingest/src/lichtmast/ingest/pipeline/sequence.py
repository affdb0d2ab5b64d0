"""Which packs of a device have come: (epoch, seq) remembered as one number and a few ranges.

Numbers that a device declares as dropped count as come: it is acknowledged past them. Should such a pack arrive all the
same it is doubtful like any that came before, and the ledger, which has no line of it, lets it in.

Only a filter: it says `new` when that is certain and `doubtful` otherwise, and the ledger decides the doubtful. So
memory stays small for a device with thousands of holes, and forgetting can never lose or double a pack.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from lichtmast.wire import limits
from lichtmast.wire.acknowledgement import Refused

RANGES_MAX: Final = 128
"""Ranges kept above `upto`; the oldest is forgotten first, and its numbers become doubtful."""
EPOCHS_MAX: Final = 64
"""Epochs kept a device; a device opens a new one only with a new outbox file."""

Standing = tuple[int, int, tuple[tuple[int, int], ...], tuple[Refused, ...]]
"""Epoch, upto, ranges, refused: the fields of an Acknowledgement; a tuple because there are thousands a second."""


@dataclass(slots=True)
class Progress:
    """What came of one epoch or was declared: 1..upto, the closed `ranges` above, and none else from `certain_from`."""

    epoch: int
    upto: int = 0
    ranges: list[list[int]] = field(default_factory=list)
    certain_from: int = 1

    def is_new(self, seq: int) -> bool:
        """Whether this number has certainly not come before."""
        if seq <= self.upto or seq < self.certain_from:
            return False
        return not any(first <= seq <= last for first, last in self.ranges)

    def add(self, seq: int) -> None:
        """Remember that this number came."""
        if seq == self.upto + 1:
            self.upto = seq
            if self.ranges and self.ranges[0][0] == seq + 1:
                self.upto = self.ranges.pop(0)[1]
            return
        if seq <= self.upto:
            return
        self._insert(seq)
        self._forget_oldest()

    def covers(self, first: int, last: int) -> bool:
        """Whether all of these numbers came, or were declared, as far as memory goes."""
        return last <= self.upto or any(low <= first and last <= high for low, high in self.ranges)

    def add_range(self, first: int, last: int) -> None:
        """Remember that these numbers came, or never will."""
        below = [one for one in self.ranges if one[1] < first - 1]
        above = [one for one in self.ranges if one[0] > last + 1]
        touched = self.ranges[len(below) : len(self.ranges) - len(above)]
        if touched:
            first, last = min(first, touched[0][0]), max(last, touched[-1][1])
        if first <= self.upto + 1:  # All ranges lie above `upto`, so there is none below.
            self.upto = max(self.upto, last)
            self.ranges = above
        else:
            self.ranges = [*below, [first, last], *above]
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        if len(self.ranges) > RANGES_MAX:
            self.certain_from = max(self.certain_from, self.ranges.pop(0)[1] + 1)

    def _insert(self, seq: int) -> None:
        ranges = self.ranges
        at = len(ranges)
        while at and ranges[at - 1][0] > seq:
            at -= 1
        if at and seq <= ranges[at - 1][1] + 1:
            ranges[at - 1][1] = max(seq, ranges[at - 1][1])
            if at < len(ranges) and ranges[at][0] == ranges[at - 1][1] + 1:
                ranges[at - 1][1] = ranges.pop(at)[1]
        elif at < len(ranges) and ranges[at][0] == seq + 1:
            ranges[at][0] = seq
        else:
            ranges.insert(at, [seq, seq])

    def standing(self, refused: Iterable[Refused] = ()) -> Standing:
        """What the device may be told now: never more than what came, at most the last few ranges."""
        if not self.ranges and not refused:
            return self.epoch, self.upto, (), ()
        ranges = tuple((first, last) for first, last in self.ranges[-limits.ACK_RANGES_MAX :])
        return self.epoch, self.upto, ranges, tuple(refused)[-limits.ACK_REFUSALS_MAX :]


class Sequences:
    """The progress of all devices, by name and epoch."""

    def __init__(self) -> None:
        self._devices: dict[str, dict[int, Progress]] = {}
        self._forgetful: set[str] = set()

    @classmethod
    def restored(cls, rows: Iterable[tuple[str, int, int, list[int]]]) -> "Sequences":
        """From the store's progress: device, epoch, upto and the flat list first, last, first, last ..."""
        sequences = cls()
        for device, epoch, upto, flat in rows:
            ranges = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
            forgotten, kept = ranges[:-RANGES_MAX], ranges[-RANGES_MAX:]
            certain_from = forgotten[-1][1] + 1 if forgotten else 1
            epochs = sequences._devices.setdefault(device, {})
            epochs[epoch] = Progress(epoch, upto, kept, certain_from)
            if len(epochs) > EPOCHS_MAX:
                del epochs[next(iter(epochs))]
                sequences._forgetful.add(device)
        return sequences

    def of(self, device: str, epoch: int) -> Progress:
        """The progress of one epoch, begun where it is new. Beyond EPOCHS_MAX the one silent longest is forgotten."""
        epochs = self._devices.get(device)
        if epochs is None:
            epochs = self._devices[device] = {}
        progress = epochs.pop(epoch, None)
        if progress is None:
            if len(epochs) >= EPOCHS_MAX:
                del epochs[next(iter(epochs))]
                self._forgetful.add(device)
            # Once an epoch of this device was forgotten, only the ledger can say that another is new.
            progress = Progress(epoch, certain_from=limits.SEQ_MAX + 1 if device in self._forgetful else 1)
        epochs[epoch] = progress  # behind all others
        return progress

    def __len__(self) -> int:
        return len(self._devices)
