"""When an earlier boot was whose clock nobody ever vouched for: after all that is known before it, before this boot.

Pure. A pole that reboots is back within a minute, as a rule; so a boot is placed as late as it can have been, and the
bound of the error tells how much earlier it may have been.
"""

from collections.abc import Mapping, Sequence

from lichtmast.edge.outbox.book import Boot
from lichtmast.edge.timekeeping.values import Stamp


def place_boots(boots: Sequence[Boot], stamp: Stamp, floor_us: int) -> Mapping[str, Stamp]:
    """A stamp for each earlier boot (in their order), from the `stamp` of this one and the last time known before."""
    slack_us = stamp.offset_us - floor_us - sum(round(one.last_s * 1e6) for one in boots)
    error_s = stamp.error_s + max(0, slack_us) / 1e6
    placed: dict[str, Stamp] = {}
    start_us = stamp.offset_us
    for one in reversed(boots):
        start_us -= round(one.last_s * 1e6)
        placed[one.boot] = Stamp(start_us, error_s)
    return placed
