"""Counting people and vehicles so that no number says anything of one of them.

Three rules: an interval lasts 15 minutes at least; a count between 1 and k - 1 is *suppressed*, which is said and is
not a nought; and totals are made of nothing but what was told. Addresses are salted anew for every interval, held as
hashes in memory until it ends, and counted.

Will not: know what is counted, or make two sensors that see the same people agree.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from lichtmast.edge.sampling import limits

FLOWS: Final[Mapping[str, frozenset[str]]] = {
    "passed": frozenset({"number", "counter", "identifiers"}),
    "today": frozenset({"number", "counter", "identifiers"}),
    "total": frozenset({"number", "counter", "identifiers"}),
}
"""What can be told of a counted stream: since the last told value, since midnight, since the agent's start."""


@dataclass(frozen=True, slots=True)
class CountingRule:
    """The threshold k and the interval of one counted channel."""

    k: int = limits.K
    interval_s: float = limits.COUNTED_INTERVAL_S_MIN

    def hides(self, value: float) -> bool:
        """Whether a value would say something of a few people: nought says nothing, and k or more are a crowd."""
        return 0 < value < self.k


class Visitors:
    """Distinct addresses of one interval. What is kept of one is a hash that means nothing outside the interval."""

    def __init__(self, fresh_salt: Callable[[], bytes]) -> None:
        self._fresh_salt = fresh_salt
        self._salt = fresh_salt()
        self._seen: set[bytes] = set()

    def add(self, identifiers: Iterable[bytes]) -> None:
        """Count these, those that were here before excepted."""
        for one in identifiers:
            if len(self._seen) >= limits.VISITORS_MAX:
                return
            self._seen.add(blake2b(one, digest_size=8, key=self._salt).digest())

    def take(self) -> int:
        """How many there were; forgets them and their salt."""
        number = len(self._seen)
        self._seen = set()
        self._salt = self._fresh_salt()
        return number

    def __len__(self) -> int:
        return len(self._seen)

    def __repr__(self) -> str:
        return f"Visitors({len(self._seen)} not shown)"


class Flow:
    """A counted stream, told in pieces of nought or of k and more.

    An interval that ends with fewer than k waits, and the following ones join it until there are k: what is told then
    is what passed since the last told value. Nobody is left out of the totals, and because these are sums of what was
    told, no difference of theirs says anything that was not told. Nor does the silence itself: it says that the
    waiting number lies between 1 and k - 1, never what a single interval added to it.
    """

    def __init__(self, rule: CountingRule) -> None:
        self._rule = rule
        self._waiting = 0.0
        self._total = 0.0
        self._day: int | None = None
        self._midnight_total: float | None = None

    def close(self, number: float, day: int | None) -> dict[str, float]:
        """End an interval in which `number` passed; `day` is the local day's number, None where nobody knows it.

        Returns what may be told; nothing where it is suppressed. `today` is told from the first midnight that was
        seen: before it, nobody knows what had passed that day.
        """
        self._turn_day(day)
        self._waiting += number
        if self._rule.hides(self._waiting):
            return {}
        told = {"passed": self._waiting}
        self._total += self._waiting
        self._waiting = 0.0
        told["total"] = self._total
        if self._midnight_total is not None:
            told["today"] = self._total - self._midnight_total
        return told

    @property
    def knows_today(self) -> bool:
        """Whether a midnight was seen, so that `today` means the whole day."""
        return self._midnight_total is not None

    def _turn_day(self, day: int | None) -> None:
        """At midnight today begins at nought; what still waits will be told as part of the new day."""
        if day is None or day == self._day:
            return
        if self._day is not None:
            self._midnight_total = self._total
        self._day = day
