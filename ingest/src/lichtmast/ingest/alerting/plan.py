"""Rules laid out over the directory: which rule watches which subject, with its numbers as columns.

Never altered, but for what the pairs stand at, which the engine keeps in them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.found import DATASTREAM, DEVICE
from lichtmast.ingest.alerting.layout import SECOND_US, Layout
from lichtmast.ingest.alerting.pairs import Pairs
from lichtmast.registry.alerts.conditions import Absence, Baseline, Fleet, GroupKind, QualityFlags, Rate, Threshold
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.directory import DeviceEntry
from lichtmast.wire.quality import DOUBTFUL, Quality

THRESHOLD: Final = 0
RATE: Final = 1
QUALITY: Final = 2
BASELINE: Final = 3

UNFIT: Final = int(DOUBTFUL & ~Quality.TIME_UNCERTAIN)
"""A reading that may be wrong raises nothing by its value: its flags do. A vague clock alone does not make it wrong."""
LATE: Final = int(Quality.LATE)
FUTURE: Final = int(Quality.TIME_IN_FUTURE)
REPLAYED: Final = int(Quality.REPLAYED)


GroupOf = Callable[[DeviceEntry, GroupKind], str | None]
"""The group of a device, as the register names it; None where it is in none."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What conditions compare with, by row of the rules. `sign` is -1 where a result must not fall below `level`."""

    kind: npt.NDArray[np.int8]
    sign: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    clear: npt.NDArray[np.float64]
    for_us: npt.NDArray[np.int64]
    clear_for_us: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int64]
    within_us: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    weekly: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rules: Sequence[AlertRule]) -> "Numbers":
        """Lay out the conditions; what a kind does not have stays 0."""
        size = len(rules)
        one = cls(
            np.zeros(size, np.int8),
            np.ones(size),
            np.zeros(size),
            np.zeros(size),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros(size, np.int64),
            np.zeros(size, np.bool_),
        )
        for row, rule in enumerate(rules):
            one.put(row, rule)
        return one

    def put(self, row: int, rule: AlertRule) -> None:
        """Fill in one rule."""
        condition = rule.condition
        match condition:
            case Threshold():
                self.sign[row] = 1.0 if condition.above is not None else -1.0
                level = condition.above if condition.above is not None else condition.below
                self.level[row] = level
                self.clear[row] = level if condition.clear is None else condition.clear
            case Rate():
                self.kind[row] = RATE
                self.level[row] = condition.above_per_s
                self.within_us[row] = round(condition.over_s * SECOND_US)
            case QualityFlags():
                self.kind[row] = QUALITY
                self.flags[row] = int(condition.flags)
                self.within_us[row] = round(condition.within_s * SECOND_US)
                self.count[row] = condition.count
            case Baseline():
                self.kind[row] = BASELINE
                self.level[row] = condition.sigma
                self.weekly[row] = condition.weekly
            case Absence():
                self.within_us[row] = round((condition.after_s or 0.0) * SECOND_US)
        if isinstance(condition, Threshold | Rate | Baseline):
            self.for_us[row] = round(condition.for_s * SECOND_US)
            self.clear_for_us[row] = round(condition.clear_for_s * SECOND_US)


@dataclass(frozen=True, slots=True)
class Watch:
    """A fleet rule over its members: by (rule id, subject) of each the group, and how many each group has."""

    rule: AlertRule
    condition: Fleet
    group_of: Mapping[tuple[int, str], str]
    members: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the engine asks of rules and directory.

    `readings` are pairs with a datastream that its readings decide; `silent_streams` and `silent_devices` are pairs
    that their absence decides, each with the silence that is allowed where no rhythm is known.
    """

    rules: tuple[AlertRule, ...]
    layout: Layout
    numbers: Numbers
    readings: Pairs
    silent_streams: Pairs
    silent_devices: Pairs
    silent_streams_after_us: npt.NDArray[np.int64]
    silent_devices_after_us: npt.NDArray[np.int64]
    watches: tuple[Watch, ...]
    versions: Mapping[int, int]
    """Of every rule, also those that are switched off."""

    @property
    def families(self) -> tuple[Pairs, Pairs, Pairs]:
        """All pairs: those with datastreams twice, those with devices once."""
        return self.readings, self.silent_streams, self.silent_devices


def make_plan(rules: Sequence[AlertRule], layout: Layout, group_of: GroupOf) -> Plan:
    """Lay out the rules that are switched on."""
    switched_on = tuple(one for one in rules if one.enabled)
    ids = np.array([one.id for one in switched_on], np.int64)
    readings, streams, devices = [], [], []
    for row, rule in enumerate(switched_on):
        if isinstance(rule.condition, Fleet):
            continue
        if not isinstance(rule.condition, Absence):
            readings.append((row, layout.stream_ids[layout.streams_of(rule.scope, rule.tenant)]))
        elif of_datastreams(rule):
            streams.append((row, layout.stream_ids[layout.streams_of(rule.scope, rule.tenant)]))
        else:
            devices.append((row, layout.device_ids[layout.devices_of(rule.scope, rule.tenant)]))
    numbers = Numbers.of(switched_on)
    by_readings, by_streams, by_devices = (Pairs(one, ids) for one in (readings, streams, devices))
    after = layout.silent_after_us
    stream_rows = [layout.row_of_stream[one] for one in by_streams.subject.tolist()]
    row_of_id = {number: row for row, number in enumerate(layout.device_ids.tolist())}
    device_rows = [row_of_id[one] for one in by_devices.subject.tolist()]
    return Plan(
        switched_on,
        layout,
        numbers,
        by_readings,
        by_streams,
        by_devices,
        after[layout.device_of_stream[stream_rows]] if stream_rows else np.zeros(0, np.int64),
        after[device_rows] if device_rows else np.zeros(0, np.int64),
        tuple(
            _watch(rule, rule.condition, switched_on, layout, group_of)
            for rule in switched_on
            if isinstance(rule.condition, Fleet)
        ),
        {rule.id: rule.version for rule in rules},
    )


def of_datastreams(rule: AlertRule) -> bool:
    """Whether an absence rule means datastreams, because it names some or a capability; else it means whole devices."""
    return bool(rule.scope.datastream_ids) or rule.scope.capability is not None


def _watch(fleet: AlertRule, condition: Fleet, rules: Sequence[AlertRule], layout: Layout, group_of: GroupOf) -> Watch:
    groups: dict[tuple[int, str], str] = {}
    members: dict[str, int] = {}
    allowed = set(layout.devices_of(fleet.scope, fleet.tenant).tolist())
    for rule in rules:
        if rule.name != condition.rule or rule.tenant != fleet.tenant or isinstance(rule.condition, Fleet):
            continue
        by_device = isinstance(rule.condition, Absence) and not of_datastreams(rule)
        if by_device:
            rows = layout.devices_of(rule.scope, rule.tenant)
            subjects = [f"{DEVICE}/{layout.devices[row].device}" for row in rows.tolist()]
        else:
            streams = layout.streams_of(rule.scope, rule.tenant)
            rows = layout.device_of_stream[streams]
            subjects = [f"{DATASTREAM}/{one}" for one in layout.stream_ids[streams].tolist()]
        for row, subject in zip(rows.tolist(), subjects, strict=True):
            group = group_of(layout.devices[row], condition.of) if row in allowed else None
            if group is not None:
                groups[rule.id, subject] = group
                members[group] = members.get(group, 0) + 1
    return Watch(fleet, condition, groups, members)
