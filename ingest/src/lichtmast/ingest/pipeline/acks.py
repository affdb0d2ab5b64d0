"""When a device is told: at once, but not more than once a second each. No I/O: time comes in, messages go out.

An acknowledgement is cumulative, so a later one replaces an earlier one; only refusals are gathered.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from lichtmast.ingest.pipeline.sequence import Standing
from lichtmast.wire import limits, topics
from lichtmast.wire.acknowledgement import Acknowledgement

INTERVAL_S: Final = 1.0


class Acks:
    """What is on disk and not yet told, by device name."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._waiting: dict[str, Standing] = {}
        self._told_at_s: dict[str, float] = {}

    def offer(self, standings: Mapping[str, Standing]) -> None:
        """Take what a commit has made durable."""
        waiting = self._waiting
        for device, new in standings.items():
            old = waiting.get(device)
            if old is not None and old[3] and old[0] == new[0]:
                waiting[device] = (*new[:3], (old[3] + new[3])[-limits.ACK_REFUSALS_MAX :])
            else:
                waiting[device] = new

    def due(self, now_s: float) -> Iterable[tuple[str, bytes]]:
        """(subject, payload) of all that may be told now; `now_s` is monotonic."""
        since_s = now_s - self._interval_s
        told = self._told_at_s
        ready = [device for device in self._waiting if told.get(device, since_s) <= since_s]
        out: list[tuple[str, bytes]] = []
        for device in ready:
            told[device] = now_s
            epoch, upto, ranges, refused = self._waiting.pop(device)
            if ranges or refused:
                payload = Acknowledgement(epoch, upto, ranges, refused).encode()
            else:  # the same bytes, at a tenth of the cost: there are thousands of these a second
                payload = b'{"epoch":%d,"upto":%d}' % (epoch, upto)
            out.append((topics.ack_subject_of(device), payload))
        return out

    def __len__(self) -> int:
        return len(self._waiting)
