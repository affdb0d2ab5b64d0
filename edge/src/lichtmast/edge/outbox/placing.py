"""When an earlier boot was whose clock nobody ever vouched for: after all that is known before it, before this boot.

A pole that reboots is back within a minute, as a rule; so a boot is placed as late as it can have been, and the bound
of the error tells how much earlier it may have been. What is known before is the time floor, and that follows only a
clock that has stood by its word: one wrong answer must not make every right one unbelievable.

Pure. Will not: judge whether a clock is to be believed (lichtmast.edge.timekeeping).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lichtmast.edge.outbox import limits
from lichtmast.edge.outbox.book import Boot
from lichtmast.edge.timekeeping.values import Stamp


def place_boots(boots: Sequence[Boot], stamp: Stamp, floor_us: int) -> Mapping[str, Stamp]:
    """A stamp for each earlier boot (in their order), from the `stamp` of this one and the last time known before."""
    # The oldest boot's own length does not count: the floor may have been raised within it, before its clock was lost.
    slack_us = stamp.offset_us - floor_us - sum(round(one.last_s * 1e6) for one in boots[1:])
    error_s = stamp.error_s + max(0, slack_us) / 1e6
    placed: dict[str, Stamp] = {}
    start_us = stamp.offset_us
    for one in reversed(boots):
        start_us -= round(one.last_s * 1e6)
        placed[one.boot] = Stamp(start_us, error_s)
    return placed


class Standing(NamedTuple):
    """What the clock says, and since which monotonic moment of this boot it has said the same."""

    offset_us: int
    since_s: float


def standing_after(before: Standing | None, stamp: Stamp | None, now_s: float) -> Standing | None:
    """How the clock stands once it has told this stamp; None where it cannot tell."""
    if stamp is None:
        return None
    same = before is not None and abs(stamp.offset_us - before.offset_us) <= limits.FLOOR_STEP_S * 1e6
    return Standing(stamp.offset_us, before.since_s if before is not None and same else now_s)
