"""How many requests a network may make, and all of them together: one token bucket each.

Pure: time is an argument. Remembers a bounded number of networks; one that was forgotten was the longest quiet.
"""

from collections import OrderedDict
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

    def __init__(self, of_network: Rate, of_all: Rate, *, networks_max: int) -> None:
        self._of_network = of_network
        self._of_all = of_all
        self._networks_max = networks_max
        self._networks: OrderedDict[str, _Bucket] = OrderedDict()
        self._all: _Bucket | None = None

    def wait_s(self, network: str, now_s: float) -> float:
        """Take a token and answer 0, or take none and answer in how many seconds there will be one."""
        bucket = self._networks.get(network) or _Bucket(self._of_network.burst, now_s)
        everybody = self._all = self._all or _Bucket(self._of_all.burst, now_s)
        wait_s = max(bucket.wait_s(self._of_network, now_s), everybody.wait_s(self._of_all, now_s))
        if wait_s == 0.0:
            bucket.tokens -= 1.0
            everybody.tokens -= 1.0
        self._networks[network] = bucket
        self._networks.move_to_end(network)
        if len(self._networks) > self._networks_max:
            self._networks.popitem(last=False)
        return wait_s
