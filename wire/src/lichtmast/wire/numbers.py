"""A set of sequence numbers as closed ranges: small, because packs are settled nearly in order.

Both ends of the wire keep such sets. A million consecutive numbers cost as much as one, so whatever a peer may declare
in a range costs no more than the range.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Numbers:
    """A mutable set of numbers, kept as ascending closed ranges that neither overlap nor touch."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, seq: int) -> None:
        """Take up one number; a number that is there already changes nothing."""
        self.add_range(seq, seq)

    def add_range(self, first: int, last: int) -> None:
        """Take up every number from `first` to `last`, both included; nothing where `last` is below `first`."""
        if last < first:
            return
        # Every range that overlaps or touches the new one becomes part of it.
        start = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if start < end:
            first = min(first, self._firsts[start])
            last = max(last, self._lasts[end - 1])
        self._firsts[start:end] = [first]
        self._lasts[start:end] = [last]

    def discard(self, seq: int) -> None:
        """Take one number out; one that is not there changes nothing."""
        at = bisect_right(self._firsts, seq) - 1
        if at < 0 or seq > self._lasts[at]:
            return
        first, last = self._firsts[at], self._lasts[at]
        kept = [(low, high) for low, high in ((first, seq - 1), (seq + 1, last)) if low <= high]
        self._firsts[at : at + 1] = [low for low, _ in kept]
        self._lasts[at : at + 1] = [high for _, high in kept]

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._firsts, seq)
        return at > 0 and seq <= self._lasts[at - 1]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in zip(self._firsts, self._lasts, strict=True))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __iter__(self) -> Iterator[int]:
        for first, last in zip(self._firsts, self._lasts, strict=True):
            yield from range(first, last + 1)

    @property
    def first(self) -> int | None:
        """The lowest number; None where there is none."""
        return self._firsts[0] if self._firsts else None

    @property
    def last(self) -> int | None:
        """The highest number; None where there is none."""
        return self._lasts[-1] if self._lasts else None

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The numbers as closed ranges, ascending."""
        return tuple(zip(self._firsts, self._lasts, strict=True))
