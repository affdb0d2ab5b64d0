"""How many requests a network may make, a site of many networks, and all of them together: one token bucket each.

Pure: time is an argument. Remembers a bounded number of each; one that was forgotten was the longest quiet.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and then so many a second."""

    burst: int
    per_s: float


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float

    def wait_s(self, rate: Rate, now_s: float) -> float:
        """Fill up to now; how long until there is a token to take."""
        self.tokens = min(rate.burst, self.tokens + max(now_s - self.at_s, 0.0) * rate.per_s)
        self.at_s = now_s
        return max(0.0, (1.0 - self.tokens) / rate.per_s)


class Throttle:
    """Admits or says when to come again. A refused request costs no token."""

    def __init__(self, *rates: Rate, kept_max: int) -> None:
        """One rate for each name that a request has, such as its network, its site and what all have in common."""
        self._kept_max = kept_max
        self._levels: list[tuple[Rate, OrderedDict[str, _Bucket]]] = [(rate, OrderedDict()) for rate in rates]

    def wait_s(self, names: Sequence[str], now_s: float) -> float:
        """Take a token of each and answer 0, or take none and answer in how many seconds there will be one."""
        wait_s, asked = 0.0, []
        for (rate, buckets), name in zip(self._levels, names, strict=True):
            bucket = buckets.setdefault(name, _Bucket(rate.burst, now_s))
            buckets.move_to_end(name)
            if len(buckets) > self._kept_max:
                buckets.popitem(last=False)
            wait_s = max(wait_s, bucket.wait_s(rate, now_s))
            asked.append(bucket)
        if wait_s == 0.0:
            for bucket in asked:
                bucket.tokens -= 1.0
        return wait_s
