"""When each device and datastream was last heard, and in what rhythm it speaks.

What counts is the reception: a device whose clock is wrong, or who delivers an hour at once, speaks all the same. One
pack is one sign of life, however many readings it has. The rhythm is the median of the last intervals; an interval is
the longer of the two that it can be measured by, so that a backlog delivered in seconds does not look like haste.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.limits import (
    RHYTHM_INTERVALS,
    RHYTHM_INTERVALS_LEAST,
    SILENT_INTERVALS,
    SILENT_LEAST_US,
)

Times = npt.NDArray[np.int64]
NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of life, by voice and then in order; `row` is the row of the batch that brought each.

    `heard_us` is when the voice was heard before this sign, by the listening clock; NEVER where it was not. `after_us`
    is the silence that its rhythm allowed it then; 0 where the rhythm was not known.
    """

    voice: Times
    row: Times
    heard_us: Times
    after_us: Times


class Voices:
    """Last words and rhythms, by number of the voice."""

    def __init__(self) -> None:
        self.heard_us: Times = np.zeros(0, np.int64)
        self.after_us: Times = np.zeros(0, np.int64)
        self._received_us: Times = np.zeros(0, np.int64)
        self._spoke_us: Times = np.zeros(0, np.int64)
        self._spoke_at_us: Times = np.zeros(0, np.int64)
        self._intervals: Times = np.zeros((0, RHYTHM_INTERVALS), np.int64)

    def reach(self, highest: int) -> None:
        """Make room up to this number."""
        more = highest + 1 - len(self.heard_us)
        if more <= 0:
            return
        more = max(more, len(self.heard_us) // 4)
        never = np.full(more, NEVER, np.int64)
        self.heard_us = np.concatenate((self.heard_us, never))
        self._received_us = np.concatenate((self._received_us, never))
        self._spoke_us = np.concatenate((self._spoke_us, never))
        self._spoke_at_us = np.concatenate((self._spoke_at_us, never))
        self.after_us = np.concatenate((self.after_us, np.zeros(more, np.int64)))
        self._intervals = np.concatenate((self._intervals, np.zeros((more, RHYTHM_INTERVALS), np.int64)))

    def hear(
        self, voice: Times, at: Times, received_us: Times, awake_us: Times, time_us: Times, late: npt.NDArray[Any]
    ) -> Signs:
        """Take the voices of the rows `at`, in order; `late` rows are signs of life that say nothing of the rhythm."""
        if not len(voice):
            return Signs(voice, voice, voice, voice)
        self.reach(int(voice.max()))
        order = np.argsort(voice, kind="stable")
        # One pack is one sign: the first of equal (voice, reception) that follow each other.
        who, row = voice[order], at[order]
        when = received_us[row]
        first = np.concatenate(([True], who[1:] != who[:-1]))
        before = np.where(first, self._received_us[who], np.concatenate(([NEVER], when[:-1])))
        news = when != before
        who, row = who[news], row[news]
        if not len(row):
            return Signs(who, row, who, who)
        first = np.concatenate(([True], who[1:] != who[:-1]))
        last = np.concatenate((first[1:], [True]))
        heard = np.where(first, self.heard_us[who], np.concatenate(([NEVER], awake_us[row][:-1])))
        after = self._rhythms(who, row, awake_us, time_us, late)
        self.heard_us[who[last]] = awake_us[row[last]]
        self._received_us[who[last]] = received_us[row[last]]
        return Signs(who, row, heard, after)

    def _rhythms(self, who: Times, row: Times, awake_us: Times, time_us: Times, late: npt.NDArray[Any]) -> Times:
        """The silence allowed before each sign; the rhythms go on over the signs that are not late."""
        timely = ~late[row]
        before = self.after_us[who]
        allowed = self._go_on(who[timely], awake_us[row[timely]], time_us[row[timely]])
        # Before a sign stands what the last timely one before it of the same voice left; the first finds the state's.
        behind = np.concatenate(([0], np.cumsum(timely)))[:-1]
        first = np.concatenate(([True], who[1:] != who[:-1]))
        start = np.maximum.accumulate(np.where(first, behind, 0))
        known = behind > start
        return np.where(known, allowed[np.maximum(behind - 1, 0)], before) if len(allowed) else before

    def _go_on(self, who: Times, awake_us: Times, time_us: Times) -> Times:
        """Add the intervals of timely signs; the silence that each one allows from there on."""
        if not len(who):
            return who
        first = np.concatenate(([True], who[1:] != who[:-1]))
        last = np.concatenate((first[1:], [True]))
        spoke = np.where(first, self._spoke_us[who], np.concatenate(([NEVER], awake_us[:-1])))
        spoke_at = np.where(first, self._spoke_at_us[who], np.concatenate(([NEVER], time_us[:-1])))
        interval = np.where(spoke == NEVER, 0, np.maximum(awake_us - spoke, time_us - spoke_at))
        self._spoke_us[who[last]] = awake_us[last]
        self._spoke_at_us[who[last]] = time_us[last]
        # Of each voice its old intervals and then the new, in one row: a window over that ends at each new one.
        starts = np.flatnonzero(first)
        rank = np.cumsum(first) - 1
        width = RHYTHM_INTERVALS
        flat = np.zeros(len(who) + width * len(starts), np.int64)
        place = np.arange(len(who)) + (rank + 1) * width
        flat[place] = np.maximum(interval, 0)
        old = (starts + np.arange(len(starts)) * width)[:, None] + np.arange(width)
        flat[old] = self._intervals[who[starts]]
        windows = np.lib.stride_tricks.sliding_window_view(flat, width)[place - width + 1]
        self._intervals[who[last]] = windows[last]
        # No interval is 0, so zeros (not yet known) sort to the front, and the median of n is n/2 from the back.
        ordered = np.sort(windows, axis=1)
        known = np.count_nonzero(ordered, axis=1)
        median = ordered[np.arange(len(who)), width - 1 - known // 2]
        allowed = np.maximum(median * SILENT_INTERVALS, SILENT_LEAST_US)
        allowed[known < RHYTHM_INTERVALS_LEAST] = 0
        self.after_us[who[last]] = allowed[last]
        return np.asarray(allowed)

    def seed(self, voice: Times, received_us: Times) -> None:
        """Begin with when each was last heard, where nothing is known yet."""
        if len(voice):
            self.reach(int(voice.max()))
            np.maximum.at(self.heard_us, voice, received_us)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that it knows, to be restored."""
        return {
            "heard_us": self.heard_us,
            "received_us": self._received_us,
            "spoke_us": self._spoke_us,
            "spoke_at_us": self._spoke_at_us,
            "after_us": self.after_us,
            "intervals": self._intervals,
        }

    @classmethod
    def restored(cls, state: dict[str, npt.NDArray[Any]]) -> "Voices":
        """The voices that `state` came from."""
        one = cls()
        one.heard_us, one.after_us = state["heard_us"], state["after_us"]
        one._received_us, one._spoke_us = state["received_us"], state["spoke_us"]
        one._spoke_at_us, one._intervals = state["spoke_at_us"], state["intervals"]
        return one
