"""The validator: new readings of a batch in, the same with quality flags out. Whole columns, no row by itself.

Every check is a function of the last readings that came in order, and of the new ones up to the row in question. So
it does not matter how rows are cut into batches, and what is remembered can be read back from the store.

Will not: decide what is stored (all of it is), ask the store, or know a clock.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.pipeline.origin import Origin
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.ingest.validation import clocks
from lichtmast.ingest.validation.clocks import Numbers, Packs
from lichtmast.ingest.validation.lags import Booleans, Indices, Spans, before, behind, lasting
from lichtmast.ingest.validation.layout import Floats, Layout
from lichtmast.ingest.validation.limits import CLOCK_STEADY_AFTER, GAP_INTERVALS, RESTORE_ROWS, WINDOW
from lichtmast.ingest.validation.memory import Memory
from lichtmast.ingest.validation.neighbours import InOrder, Medians, implausible
from lichtmast.ingest.validation.spikes import spikes
from lichtmast.wire.quality import Quality

_OFF_STEP_SHARE = 0.01
"""Of a step: what decimal fractions lose on their way through binary ones is far below."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """New readings sorted by datastream and then by arrival; `row` is where each stands in the batch."""

    row: Indices
    spans: Spans
    time_us: Indices
    received_us: Indices
    value: Floats
    arrival: Indices

    def only(self, kept: Booleans) -> "_Rows":
        """Some of them."""
        if kept.all():
            return self
        return _Rows(
            self.row[kept],
            Spans.of(self.spans.place[kept]),
            self.time_us[kept],
            self.received_us[kept],
            self.value[kept],
            self.arrival[kept],
        )


class Validator:
    """Judges batch after batch; between them it only remembers."""

    def __init__(self, roster: Roster) -> None:
        self._layout = Layout.of(roster)
        self._memory = Memory.empty(len(self._layout))
        self._medians = Medians.empty(len(self._layout.groups.key))
        self._numbers = Numbers.empty(len(roster.names))

    @property
    def size_bytes(self) -> int:
        """What memory takes."""
        return self._memory.size_bytes

    def renew(self, roster: Roster) -> None:
        """Go on with another roster, and with all that is remembered of the datastreams and devices that stay."""
        old, new = self._layout, Layout.of(roster)
        _, source, target = np.intersect1d(old.ids, new.ids, assume_unique=True, return_indices=True)
        self._memory = self._memory.moved(len(new), source, target)
        self._medians = self._medians.moved(old.groups, new.groups)
        self._numbers = self._numbers.moved(old.devices, new.devices)
        self._layout = new

    def restore(self, recent: pa.Table, progress: pa.Table) -> None:
        """Remember what the store holds: `recent(REMEMBERED)`, and how far the numbers of each device are."""
        ids, time_us, received_us = (
            recent.column(name).to_numpy() for name in ("datastream_id", "phenomenon_time", "result_time")
        )
        spans = Spans.of(ids)
        # A reading that was received before one that it follows in time came back from somewhere; it counts as later.
        arrived_us = _rising(spans, received_us)
        order = np.lexsort((time_us, ids, arrived_us))
        for start in range(0, len(order), RESTORE_ROWS):
            part = order[start : start + RESTORE_ROWS]
            rows = recent.take(pa.array(part))
            nothing = np.full(len(part), -1, np.int64)
            origin = Origin(
                log_seq=arrived_us[part],
                device=nothing.astype(np.int32),
                epoch=nothing,
                seq=nothing,
                replayed=np.zeros(len(part), np.bool_),
            )
            self._flags(rows, origin)
        columns = zip(
            *(progress.column(name).to_pylist() for name in ("device", "epoch", "upto", "ranges")), strict=True
        )
        told = [
            (self._layout.devices[device], epoch, ranges[-1] if ranges else upto)
            for device, epoch, upto, ranges in columns
            if device in self._layout.devices
        ]
        table = np.array(told, np.int64).reshape(-1, 3)
        clocks.note(Packs(table[:, 0], table[:, 1], table[:, 2], np.arange(len(table))), self._numbers)

    def judge(self, observations: pa.Table, origin: Origin) -> pa.Table:
        """The same table with what is doubtful about each row in `quality`."""
        if not observations.num_rows:
            return observations
        quality = self._flags(observations, origin)
        column = observations.schema.get_field_index("quality")
        return observations.set_column(column, observations.schema.field(column), pa.array(quality))

    def _flags(self, observations: pa.Table, origin: Origin) -> npt.NDArray[np.int32]:
        layout = self._layout
        ids, time_us, received_us, quality, value = (
            observations.column(name).to_numpy()
            for name in ("datastream_id", "phenomenon_time", "result_time", "quality", "result")
        )
        place = layout.positions(ids)
        order = _arrival_order(origin, time_us)
        rank = slice(None) if order is None else order
        packs = Packs.of(origin.device[rank], origin.epoch[rank], origin.seq[rank])
        by_place = np.argsort(place[rank], kind="stable")
        row = by_place if order is None else order[by_place]
        rows = _Rows(row, Spans.of(place[row]), time_us[row], received_us[row], value[row], by_place)
        if len(rows.row) and rows.spans.place[0] < 0:  # the roster does not have them any more
            rows = rows.only(rows.spans.place >= 0)
        flags = np.zeros(len(observations), np.int32)
        flags[origin.replayed] |= Quality.REPLAYED
        self._judge(rows, packs, quality, flags)
        own = np.zeros(len(flags), np.bool_)
        own[rows.row] = True
        clocks.note(packs, self._numbers)
        # The range is judged anew: a datastream may have one of its own.
        kept: npt.NDArray[np.int32] = np.where(own, quality & ~np.int32(Quality.OUT_OF_RANGE), quality) | flags
        return kept

    def _judge(self, rows: _Rows, packs: Packs, quality: npt.NDArray[np.int32], flags: npt.NDArray[np.int32]) -> None:
        layout, place, value = self._layout, rows.spans.place, rows.value
        outside = (value < layout.minimum[place]) | (value > layout.maximum[place])
        _flag(flags, rows.row[outside], Quality.OUT_OF_RANGE)
        steps = value * layout.per_step[place]
        _flag(flags, rows.row[np.abs(steps - np.rint(steps)) > _OFF_STEP_SHARE], Quality.OFF_STEP)
        _flag(flags, rows.row[clocks.ahead(rows.time_us, rows.received_us)], Quality.CLOCK_SUSPECT)
        future = (quality[rows.row] & Quality.TIME_IN_FUTURE) != 0
        late = behind(rows.spans, rows.time_us, self._memory.time_us, skip=future) & ~future
        if late.any():
            _flag(flags, rows.row[late], Quality.LATE)
            set_back = late & clocks.newest(packs, self._numbers)[packs.of_row[rows.arrival]]
            _flag(flags, rows.row[set_back], Quality.CLOCK_SUSPECT)
        self._compare(rows.only(~(late | future)), flags)

    def _compare(self, rows: _Rows, flags: npt.NDArray[np.int32]) -> None:
        """Hold readings in order against the ones before them, and remember them."""
        layout, memory, spans, place = self._layout, self._memory, rows.spans, rows.spans.place
        if not len(spans):
            return
        compared = ~spans.first | (memory.count[place] > 0)
        value_before = before(spans, rows.value, memory.value)
        time_before_us = before(spans, rows.time_us, memory.time_us)
        received_before_us = before(spans, rows.received_us, memory.received_us)
        apart_us = np.where(compared, rows.time_us - time_before_us, 0)
        change = np.abs(rows.value - value_before)
        pace_us = before(spans, apart_us, memory.pace_us)
        usual_us = np.maximum(layout.interval_us[place], pace_us)
        gap = (pace_us > 0) & (apart_us > GAP_INTERVALS * usual_us)
        believable = layout.rate_per_us[place] * apart_us + layout.rounding[place]
        jumped = ~gap & (change > layout.floor[place])
        run = lasting(spans, rows.value != value_before, memory.run, 1, WINDOW)
        since_gap = lasting(spans, gap, memory.since_gap, 1, WINDOW + 1)
        since_jump = lasting(spans, jumped, memory.since_jump, 0, WINDOW)
        kept = clocks.keeps_its_delay(rows.time_us, rows.received_us, time_before_us, received_before_us)
        steady = lasting(spans, ~(kept & compared), memory.steady, 0, WINDOW)
        _flag(flags, rows.row[gap], Quality.AFTER_GAP)
        _flag(flags, rows.row[change > believable], Quality.RATE)
        _flag(flags, rows.row[run >= layout.stuck_after[place]], Quality.STUCK)
        _flag(flags, rows.row[steady >= CLOCK_STEADY_AFTER], Quality.CLOCK_SUSPECT)
        spiked = spikes(spans, rows.value, since_gap, since_jump < WINDOW, layout, memory)
        _flag(flags, rows.row[spiked], Quality.SPIKE)
        ordered = InOrder(spans, rows.time_us, rows.value, rows.arrival, clocks.ahead(rows.time_us, rows.received_us))
        _flag(flags, rows.row[implausible(ordered, layout, memory, self._medians)], Quality.IMPLAUSIBLE)
        self._remember(rows, pace_us=apart_us, run=run, since_gap=since_gap, since_jump=since_jump, steady=steady)

    def _remember(self, rows: _Rows, **lasted: Any) -> None:  # noqa: ANN401 - columns by their name in Memory
        memory, spans = self._memory, rows.spans
        number = memory.count[spans.place] + np.arange(len(spans)) - spans.begin
        memory.ring[number % WINDOW, spans.place] = rows.value  # of equal places the last one stays, as it should
        last, at = spans.last, spans.place[spans.last]
        memory.count[at] = number[last] + 1
        memory.value[at] = rows.value[last]
        memory.time_us[at] = rows.time_us[last]
        memory.received_us[at] = rows.received_us[last]
        for name, column in lasted.items():
            getattr(memory, name)[at] = column[last]


def _arrival_order(origin: Origin, time_us: Indices) -> Indices | None:
    """Packs as the log has them, and within a pack the order of time. None where the rows are so already, as usual."""
    log_seq, device, seq = origin.log_seq, origin.device, origin.seq
    same_pack = (device[1:] == device[:-1]) & (seq[1:] == seq[:-1]) & (log_seq[1:] == log_seq[:-1])
    if ((log_seq[1:] > log_seq[:-1]) | (same_pack & (time_us[1:] >= time_us[:-1]))).all():
        return None
    return np.lexsort((time_us, seq, device, log_seq))


def _flag(flags: npt.NDArray[np.int32], rows: Indices, flag: Quality) -> None:
    if len(rows):
        flags[rows] |= int(flag)


def _rising(spans: Spans, values: Indices) -> Indices:
    """The highest value of a series up to each row."""
    _, ranks = np.unique(values, return_inverse=True)
    series = np.cumsum(spans.first) * (len(values) + 1)
    highest = np.maximum.accumulate(series + ranks) - series
    rising: Indices = np.unique(values)[highest]
    return rising
