"""Rules that readings decide: threshold, rate, quality flags, baseline.

Whole columns are compared with all rules at once; only pairs that something happens to are walked through, reading by
reading. A late reading is history and decides nothing; one that may be wrong by its flags counts for rules on flags.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.baseline import Usual, day_start_us, local_day, local_hours
from lichtmast.ingest.alerting.found import DATASTREAM, Found
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.ingest.alerting.pairs import State
from lichtmast.ingest.alerting.plan import BASELINE, QUALITY, RATE, UNFIT, Plan
from lichtmast.ingest.alerting.walk import Stand, Window
from lichtmast.registry.alerts.sentences import span
from lichtmast.wire.quality import Quality

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class UsualOf(Protocol):
    """Where baselines come from."""

    def usual(self, day: int, streams: Sequence[int], *, weekly: bool) -> Usual:
        """The baseline of a local day, a row for each datastream."""


class Readings:
    """Judges readings by a plan. `windows` are the last readings of pairs whose rule looks back, by their key."""

    def __init__(self, plan: Plan, baselines: UsualOf, windows: dict[int, Window]) -> None:
        self._plan = plan
        self._baselines = baselines
        pairs, numbers = plan.readings, plan.numbers
        self._kind = numbers.kind[pairs.rule]
        self._sign = numbers.sign[pairs.rule]
        self._level = numbers.level[pairs.rule]
        self._clear = numbers.clear[pairs.rule]
        self._flags = numbers.flags[pairs.rule]
        self._weekly = numbers.weekly[pairs.rule]
        self._kinds = set(np.unique(self._kind).tolist())
        looking_back = set(pairs.key[(self._kind == RATE) | (self._kind == QUALITY)].tolist())
        self.windows = {key: one for key, one in windows.items() if key in looking_back}
        self._seasonal = {
            weekly: np.unique(pairs.subject[(self._kind == BASELINE) & (self._weekly == weekly)])
            for weekly in (False, True)
        }
        self._usual: dict[tuple[int, bool], Usual] = {}

    def prefetch(self, day: int) -> None:
        """Have the baselines of a local day ready. May read 28 days of many datastreams."""
        for weekly, streams in self._seasonal.items():
            if len(streams):
                self._usual_of(day, weekly=weekly)

    def judge(self, rows: Rows, late: Mask, wall_us: Ints, found: Found) -> None:
        """Take a batch of rows, in order; what happens goes to `found`."""
        pairs = self._plan.readings
        use = np.flatnonzero(~late)
        pair, place = pairs.of_subjects(rows.stream[use])
        if not len(pair):
            return
        row = use[place]
        by_flags = self._kind[pair] == QUALITY
        doubtful = (rows.quality[row] & UNFIT != 0) | np.isnan(rows.value[row])
        keep = by_flags | ~doubtful
        pair, row, by_flags = pair[keep], row[keep], by_flags[keep]
        value = self._sign[pair] * rows.value[row]
        breach = value > self._sign[pair] * self._level[pair]
        calm = value <= self._sign[pair] * self._clear[pair]
        if BASELINE in self._kinds:
            self._compare_usual(rows, pair, row, wall_us, breach, calm)
        flagged = rows.quality[row] & self._flags[pair] != 0
        if QUALITY in self._kinds:
            breach = np.where(by_flags, flagged, breach)
            calm |= by_flags
        if RATE in self._kinds:
            breach |= self._kind[pair] == RATE
        # Only these change something: a breach where a pair is idle, calm where it is active, all where a delay runs.
        state = pairs.state[pair]
        moves = np.where(state == State.IDLE, breach, calm | (state != State.ACTIVE) | (self._kind[pair] == RATE))
        touched = np.zeros(len(pairs), np.bool_)
        touched[pair[moves]] = True
        chosen = np.flatnonzero(touched[pair])
        chosen = chosen[np.argsort(pair[chosen], kind="stable")]
        for part in np.split(chosen, np.flatnonzero(np.diff(pair[chosen])) + 1) if len(chosen) else ():
            self._walk(int(pair[part[0]]), rows, row[part], breach[part], calm[part], found)

    def _walk(self, pair: int, rows: Rows, at: Ints, breach: Mask, calm: Mask, found: Found) -> None:
        """Take one pair through its readings of this batch."""
        plan, pairs = self._plan, self._plan.readings
        number = int(pairs.rule[pair])
        rule = plan.rules[number]
        subject = f"{DATASTREAM}/{int(pairs.subject[pair])}"
        stand = Stand(
            State(int(pairs.state[pair])),
            int(pairs.since_us[pair]),
            int(pairs.last_us[pair]),
            float(pairs.value[pair]),
        )
        before = (stand.state, stand.since_us)
        for_us, clear_for_us = int(plan.numbers.for_us[number]), int(plan.numbers.clear_for_us[number])
        decide = self._decider(pair)
        for row, time_us, value, quality, is_breach, is_calm in zip(
            at.tolist(),
            rows.time_us[at].tolist(),
            rows.value[at].tolist(),
            rows.quality[at].tolist(),
            breach.tolist(),
            calm.tolist(),
            strict=True,
        ):
            if decide is not None:
                is_breach = decide(time_us, value, quality)  # noqa: PLW2901 - only the window knows
                is_calm = not is_breach  # noqa: PLW2901
            came = stand.go(time_us, value, breach=is_breach, calm=is_calm, for_us=for_us, clear_for_us=clear_for_us)
            if came is not State.PENDING:
                raised = came is State.ACTIVE
                told = value if value == value else None  # noqa: PLR0124 - NaN
                because = self._because(pair, value, quality, raised=raised)
                found.add(row, rule, subject, raised=raised, at_us=time_us, value=told, because=because)
        if (stand.state, stand.since_us) != before:
            pairs.state[pair], pairs.since_us[pair] = stand.state, stand.since_us
            pairs.last_us[pair], pairs.value[pair] = stand.last_us, stand.value
            found.stand(rule.id, subject, pairs, pair)

    def _decider(self, pair: int) -> Callable[[int, float, int], bool] | None:
        """What tells whether a reading is a breach, for the kinds that need to look back."""
        kind, key = int(self._kind[pair]), int(self._plan.readings.key[pair])
        if kind not in (RATE, QUALITY):
            return None
        numbers, number = self._plan.numbers, int(self._plan.readings.rule[pair])
        window = self.windows.setdefault(key, Window())
        within_us, level = int(numbers.within_us[number]), float(numbers.level[number])
        flags, count = int(numbers.flags[number]), int(numbers.count[number])
        if kind == RATE:
            return lambda time_us, value, _: abs(window.rate_per_s(time_us, value, within_us)) > level
        return lambda time_us, _, quality: window.is_often(time_us, count, within_us, flagged=bool(quality & flags))

    def _compare_usual(self, rows: Rows, pair: Ints, row: Ints, wall_us: Ints, breach: Mask, calm: Mask) -> None:
        """Fill in breach and calm for baseline pairs, by the local day that the server's clock showed."""
        mine = np.flatnonzero(self._kind[pair] == BASELINE)
        breach[mine] = calm[mine] = False
        while len(mine):
            day = local_day(int(wall_us[row[mine[0]]]))
            start_us, end_us = day_start_us(day), day_start_us(day + 1)
            today = (wall_us[row[mine]] >= start_us) & (wall_us[row[mine]] < end_us)
            for weekly in (False, True):
                some = mine[today & (self._weekly[pair[mine]] == weekly)]
                if not len(some):
                    continue
                usual = self._usual_of(day, weekly=weekly)
                stream, level = self._plan.readings.subject[pair[some]], self._level[pair[some]]
                at = np.searchsorted(self._seasonal[weekly], stream)
                hour = local_hours(rows.time_us[row[some]], weekly=weekly)
                value = rows.value[row[some]]
                high = usual.high[at, hour] + level * usual.high_spread[at, hour]
                low = usual.low[at, hour] - level * usual.low_spread[at, hour]
                breach[some] = (value > high) | (value < low)
                calm[some] = (value <= high) & (value >= low)
            mine = mine[~today]

    def _usual_of(self, day: int, *, weekly: bool) -> Usual:
        found = self._usual.get((day, weekly))
        if found is None:
            streams = self._seasonal[weekly].tolist()
            told = self._baselines.usual(day, streams, weekly=weekly)
            layout = self._plan.layout
            least = layout.least_spread[[layout.row_of_stream[one] for one in streams]][:, None]
            found = Usual(told.high, np.maximum(told.high_spread, least), told.low, np.maximum(told.low_spread, least))
            self._usual = {key: one for key, one in self._usual.items() if key[0] >= day - 1}
            self._usual[day, weekly] = found
        return found

    def _because(self, pair: int, value: float, quality: int, *, raised: bool) -> str:
        """The evidence of a transition, a sentence."""
        plan, number = self._plan, int(self._plan.readings.rule[pair])
        numbers = plan.numbers
        capability = plan.layout.capabilities[plan.layout.row_of_stream[int(plan.readings.subject[pair])]]
        result = f"{capability.quantity} {value:g}{f' {capability.unit}' if capability.unit else ''}"
        delay = int(numbers.for_us[number] if raised else numbers.clear_for_us[number]) / 1e6
        lasted = f" for {span(delay)}" if delay else ""
        kind = int(numbers.kind[number])
        if kind == QUALITY:
            flags = Quality(quality & int(numbers.flags[number]))
            if not raised:
                return f"{capability.quantity}: the flags ended."
            often = f", {int(numbers.count[number])} times" if numbers.count[number] > 1 else ""
            return f"{result} is flagged {'|'.join(str(one.name) for one in flags)}{often}."
        if kind == RATE:
            limit = f"{numbers.level[number]:g} a second over {span(int(numbers.within_us[number]) / 1e6)}"
            return f"{result} changes {'faster' if raised else 'no faster'} than {limit}{lasted}."
        if kind == BASELINE:
            return f"{result} is {'not ' if raised else ''}usual at this hour{lasted}."
        above = numbers.sign[number] > 0
        if raised:
            return f"{result} is {'above' if above else 'below'} {numbers.level[number]:g}{lasted}."
        return f"{result} is {'at or below' if above else 'at or above'} {numbers.clear[number]:g}{lasted}."
