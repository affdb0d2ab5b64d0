"""From what drivers read to what is sent: one value an interval, none where nothing moved, people only as counts.

Pure: times come in as monotonic seconds, salts from whoever constructs it. Addresses end here: they go into `Visitors`
and come out as a number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from lichtmast.edge.drivers.port import Channel, Identifiers, Value
from lichtmast.edge.sampling.aggregate import Aggregate
from lichtmast.edge.sampling.counting import FLOWS, Flow, Visitors
from lichtmast.edge.sampling.fitting import unit_of
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.sampling.settings import DriverSettings, Output, ReadingSettings, readings_of

Result: TypeAlias = float | bool | str

_SLACK_SHARE: Final = 0.1
"""A sample that comes this share of its interval early is taken: a driver's ticks have their own jitter."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A count of the interval up to `at_s` that is not sent: between 1 and k - 1, or it would give one away."""

    suffix: str
    k: int
    interval_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """What one interval gives: the readings to send, and the counts that are suppressed."""

    readings: tuple[Measured, ...]
    suppressed: tuple[Suppressed, ...]


@dataclass(frozen=True, slots=True)
class SamplerStatistics:
    """`still` values stayed in their deadband, `suppressed` ones hide people; `empty` intervals had no sample.

    `refused` samples were left out, the last one for `last_refusal`.
    """

    samples: int
    sent: int
    still: int
    suppressed: int
    empty: int
    refused: int
    last_refusal: str


@dataclass(slots=True)
class _Stream:
    """One reading at work."""

    settings: ReadingSettings
    channel: Channel
    aggregate: Aggregate
    begin_s: float
    adds_up: bool
    """Whether every value counts: what passed since the last read is gone from the driver once it was read."""
    due_s: float = float("-inf")
    sent: dict[str, tuple[Result, float]] = field(default_factory=dict)
    flow: Flow | None = None
    visitors: Visitors | None = None


class Sampler:
    """All readings of the agent. `channels` are each driver's, by its name; settings and channels fit (`fitting`)."""

    def __init__(
        self,
        drivers: Iterable[DriverSettings],
        channels: Mapping[str, Sequence[Channel]],
        *,
        now_s: float,
        fresh_salt: Callable[[], bytes],
    ) -> None:
        self._streams: dict[tuple[str, str], list[_Stream]] = {}
        self._latest: dict[str, Measured] = {}
        self._samples = self._sent = self._still = self._suppressed = self._empty = self._refused = 0
        self._last_refusal = ""
        for name, reading in readings_of(drivers):
            channel = next(one for one in channels[name] if one.name == reading.channel)
            adds_up = any(one.statistic == "sum" or one.statistic in FLOWS for one in reading.outputs)
            stream = _Stream(reading, channel, Aggregate(), now_s, adds_up)
            if reading.counted and any(one.statistic in FLOWS for one in reading.outputs):
                stream.flow = Flow(reading.counted)
            if channel.kind == "identifiers":
                stream.visitors = Visitors(fresh_salt)
            self._streams.setdefault((name, reading.channel), []).append(stream)

    def take(self, driver: str, values: Mapping[str, Value], at_s: float) -> None:
        """Take up what a driver read. Samples that are not due yet are left out, but never a part of a sum."""
        for name, value in values.items():
            for stream in self._streams.get((driver, name), ()):
                sample_s = stream.settings.sample_s
                if stream.adds_up or at_s >= stream.due_s - sample_s * _SLACK_SHARE:
                    stream.due_s += sample_s
                    if stream.due_s <= at_s:
                        stream.due_s = at_s + sample_s
                    self._samples += 1
                    self._add(stream, value, at_s)

    def report(self, now_s: float, day: int | None = None) -> Report:
        """End the interval. `day` is the number of the local day, None where the time is not trusted."""
        readings: list[Measured] = []
        suppressed: list[Suppressed] = []
        for streams in self._streams.values():
            for stream in streams:
                if stream.settings.counted is None:
                    readings += self._plain(stream, now_s)
                elif now_s - stream.begin_s >= stream.settings.counted.interval_s:
                    told, hidden = self._counted(stream, now_s, day)
                    readings += told
                    suppressed += hidden
        self._sent += len(readings)
        self._suppressed += len(suppressed)
        self._latest.update((one.suffix, one) for one in readings)
        return Report(tuple(readings), tuple(suppressed))

    def latest(self) -> Mapping[str, Measured]:
        """The newest value of each suffix: for gauges and switches the last sample, for all others the last sent."""
        return dict(self._latest)

    def apply(self, drivers: Iterable[DriverSettings]) -> None:
        """Go on with other intervals and deadbands, as `with_wishes` gives them; nothing that was taken is lost."""
        for name, reading in readings_of(drivers):
            for stream in self._streams[name, reading.channel]:
                if {one.suffix for one in stream.settings.outputs} == {one.suffix for one in reading.outputs}:
                    if stream.settings.sample_s != reading.sample_s:
                        stream.due_s = float("-inf")
                    stream.settings = reading

    def statistics(self) -> SamplerStatistics:
        """What became of the samples."""
        return SamplerStatistics(
            self._samples,
            self._sent,
            self._still,
            self._suppressed,
            self._empty,
            self._refused,
            self._last_refusal,
        )

    def _add(self, stream: _Stream, value: Value, at_s: float) -> None:
        settings = stream.settings
        if isinstance(value, Identifiers):
            if stream.visitors is not None:
                stream.visitors.add(value)
                stream.aggregate.add_number(0.0, at_s)
            return
        if isinstance(value, bool | str):
            stream.aggregate.add_state(value, at_s)
        elif stream.channel.kind == "counter":
            value = value * settings.scale + settings.offset
            refusal = stream.aggregate.add_counter(value, at_s)
            if refusal:
                self._refused += 1
                # What a counter of people says is nobody's business before it is k and more.
                said = "fell" if settings.counted else refusal
                self._last_refusal = f"{settings.outputs[0].suffix}: {said}"
                return
        else:
            value = value * settings.scale + settings.offset
            stream.aggregate.add_number(value, at_s)
        if settings.counted is None:
            for output in settings.outputs:
                if output.statistic in _LIVE:
                    unit = unit_of(output, settings, stream.channel)
                    self._latest[output.suffix] = Measured(output.suffix, value, unit, at_s)

    def _plain(self, stream: _Stream, now_s: float) -> list[Measured]:
        aggregate = stream.aggregate
        if not aggregate.samples:
            self._empty += now_s - stream.begin_s >= stream.settings.sample_s
            return []
        found = [
            Measured(
                output.suffix,
                aggregate.value(output.statistic),
                unit_of(output, stream.settings, stream.channel),
                aggregate.last_at_s,
            )
            for output in stream.settings.outputs
            if aggregate.has(output.statistic) and self._moved(stream, output, aggregate.value(output.statistic), now_s)
        ]
        aggregate.clear()
        stream.begin_s = now_s
        return found

    def _moved(self, stream: _Stream, output: Output, value: Result, now_s: float) -> bool:
        """Whether the value is to be sent: it left the deadband around the last one sent, or was silent for long."""
        before = stream.sent.get(output.suffix)
        if output.deadband is not None and before is not None and now_s - before[1] < stream.settings.silence_max_s:
            old = before[0]
            if isinstance(value, bool | str) or isinstance(old, bool | str):
                still = value == old
            else:
                still = abs(value - old) <= output.deadband
            if still:
                self._still += 1
                return False
        stream.sent[output.suffix] = (value, now_s)
        return True

    def _counted(self, stream: _Stream, now_s: float, day: int | None) -> tuple[list[Measured], list[Suppressed]]:
        """End the counting interval: what may be told of it, and what is suppressed."""
        aggregate, rule = stream.aggregate, stream.settings.counted
        if rule is None:
            raise AssertionError("only counted streams come here")
        interval_s = now_s - stream.begin_s
        told: dict[str, float] = {}
        sampled = aggregate.has("increase") if stream.channel.kind == "counter" else aggregate.samples > 0
        if stream.flow is not None:
            number = float(stream.visitors.take()) if stream.visitors is not None else _passed(stream)
            if sampled:
                told = stream.flow.close(number, day)
        elif sampled:
            gauge = aggregate.value(stream.settings.outputs[0].statistic)
            if isinstance(gauge, float) and not rule.hides(gauge):
                told[stream.settings.outputs[0].statistic] = gauge
        aggregate.clear()
        stream.begin_s = now_s
        readings, suppressed = [], []
        for output in stream.settings.outputs if sampled else ():
            if output.statistic in told:
                unit = unit_of(output, stream.settings, stream.channel)
                readings.append(Measured(output.suffix, told[output.statistic], unit, now_s))
            elif output.statistic != "today" or (stream.flow is not None and stream.flow.knows_today):
                suppressed.append(Suppressed(output.suffix, rule.k, interval_s, now_s))
        return readings, suppressed


_LIVE: Final = frozenset({"mean", "last", "energy_mean", "direction_mean", "any"})


def _passed(stream: _Stream) -> float:
    return stream.aggregate.increase or 0.0 if stream.channel.kind == "counter" else stream.aggregate.total
