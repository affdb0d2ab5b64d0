"""A small town for alert rules: four devices of three datastreams, a rule of each kind, a register on paper."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from alert_oracle import Came, Oracle

from lichtmast.ingest import observations
from lichtmast.ingest.alerting.baseline import DAY_HOURS, Usual
from lichtmast.ingest.alerting.engine import Engine
from lichtmast.ingest.alerting.follower import Follower
from lichtmast.ingest.alerting.groups import grouping
from lichtmast.ingest.alerting.layout import Layout
from lichtmast.ingest.alerting.plan import Plan, make_plan
from lichtmast.registry import DeviceEntry, DeviceStatus
from lichtmast.registry.alerts.conditions import Absence, Fleet
from lichtmast.registry.alerts.rules import AlertRule, parse_rule
from lichtmast.registry.alerts.steps import EngineMemory, EnginePosition, Standing, StandingState, Step
from lichtmast.store.port import OBSERVATION_SCHEMA
from lichtmast.wire import DeviceId, load_profiles
from lichtmast.wire.quality import Quality

START_US = 1_795_000_000_000_000
S = 1_000_000
DEVICES = [f"gm0402/lm-{number}" for number in range(4)]
PROFILE = "illuminance"
UPLINKS = len(load_profiles()[PROFILE].uplinks)
STREAM_DEVICE = {row * UPLINKS + at + 1: device for row, device in enumerate(DEVICES) for at in range(UPLINKS)}


def rule(number: int, name: str, condition: dict[str, object], **scope: object) -> AlertRule:
    document = {"name": name, "tenant": "gm0402", "severity": "warning", "scope": scope, "condition": condition}
    return parse_rule(document, rule_id=number, version=1)


RULES = (
    rule(1, "bright", {"kind": "threshold", "above": 50, "clear": 40, "for_s": 40, "clear_for_s": 30}),
    rule(2, "dark", {"kind": "threshold", "below": 10}, capability="level"),
    rule(3, "leaps", {"kind": "rate", "above_per_s": 0.5, "over_s": 60, "clear_for_s": 20}, capability="minimum"),
    rule(4, "flagged", {"kind": "quality", "flags": ["STUCK", "SPIKE"], "count": 2, "within_s": 300}),
    rule(5, "silent", {"kind": "absence", "after_s": 150}),
    rule(6, "out of rhythm", {"kind": "absence"}),
    rule(7, "blind", {"kind": "absence"}, capability="maximum"),
    rule(8, "many silent", {"kind": "fleet", "rule": "silent", "share": 0.4, "of": "area", "at_least": 2}),
    rule(9, "many dark", {"kind": "fleet", "rule": "dark", "share": 0.5, "of": "area"}),
)


def entries(devices: list[str] = DEVICES, profile: str = PROFILE) -> dict[str, DeviceEntry]:
    size = len(load_profiles()[profile].uplinks)
    return {
        name: DeviceEntry(
            row + 1,
            DeviceId(*name.split("/")),
            DeviceStatus.ACTIVE,
            profile,
            None,
            tuple(range(row * size + 1, row * size + size + 1)),
        )
        for row, name in enumerate(devices)
    }


def plan_of(rules: tuple[AlertRule, ...] = RULES, towns: dict[str, DeviceEntry] | None = None) -> Plan:
    return make_plan(rules, Layout(towns or entries(), load_profiles()), grouping({}))


def subjects(one: AlertRule) -> list[str]:
    """By hand, what the engine finds by masks."""
    if isinstance(one.condition, Fleet):
        return ["group/area/gm0402"]
    key = one.scope.capability
    if isinstance(one.condition, Absence) and key is None:
        return [f"device/{device}" for device in DEVICES]
    keys = [uplink.key for uplink in load_profiles()[PROFILE].uplinks]
    return [f"datastream/{stream}" for stream in STREAM_DEVICE if key in (None, keys[(stream - 1) % UPLINKS])]


class NothingUsual:
    """Baselines where there are none."""

    def usual(self, day: int, streams: object, *, weekly: bool) -> Usual:
        del day, streams, weekly
        none = np.full((0, DAY_HOURS), np.nan)
        return Usual(none, none, none, none)


@dataclass
class PaperBook:
    """What a register would keep of alerts: a step is one transaction."""

    position: EnginePosition | None = None
    standings: dict[tuple[int, str], Standing] = field(default_factory=dict)
    transitions: list[tuple[int, str, str, int]] = field(default_factory=list)

    def save(self, step: Step) -> None:
        self.position = step.position
        self.transitions += [(one.rule_id, one.subject, one.kind.value, one.at_us) for one in step.transitions]
        for one in step.standings:
            key = (one.rule_id, one.subject)
            if one.state is StandingState.IDLE:
                self.standings.pop(key, None)
            else:
                self.standings[key] = one

    def load(self) -> EngineMemory:
        return EngineMemory(self.position, tuple(self.standings.values()))


def by_subject(transitions: list[tuple[int, str, str, int]]) -> dict[tuple[int, str], list[tuple[str, int]]]:
    found: dict[tuple[int, str], list[tuple[str, int]]] = {}
    for rule_id, subject, kind, at_us in transitions:
        found.setdefault((rule_id, subject), []).append((kind, at_us))
    return found


class History:
    """A random life of the town: log messages with rows, and ticks between them."""

    def __init__(self, seed: int, length: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a town, no secret
        self.events: list[int | list[Came]] = []
        now_us = START_US
        level = dict.fromkeys(STREAM_DEVICE, 30.0)
        for _ in range(length):
            now_us += self._pause_us()
            if self.random.random() < 0.2:
                self.events.append(now_us)
                continue
            came: list[Came] = []
            for device in self.random.sample(DEVICES, self.random.choice([1, 1, 2])):
                for at in range(self.random.choice([1, 2, 3])):
                    stream = DEVICES.index(device) * UPLINKS + self.random.randrange(UPLINKS) + 1
                    level[stream] = min(max(level[stream] + self.random.uniform(-25, 25), 0), 60)
                    came.append(self._reading(now_us, stream, level[stream], len(came) + at * 1_000))
            self.events.append(sorted(came, key=lambda one: one.time_us))

    def _pause_us(self) -> int:
        kind = self.random.random()
        if kind < 0.02:
            return self.random.choice([7_200, 400, 75]) * S
        if kind < 0.03:
            return -600 * S
        return self.random.randrange(0, 30 * S)

    def _reading(self, now_us: int, stream: int, value: float, at_us: int) -> Came:
        quality, time_us, kind = 0, now_us - 2 * S + at_us, self.random.random()
        received_us = now_us
        if kind < 0.05:
            time_us -= self.random.randrange(10, 300) * S
            quality = int(self.random.choice([Quality.LATE, Quality.GOOD]))
        elif kind < 0.08:
            quality, received_us = int(Quality.REPLAYED), now_us - 5_000 * S
        elif kind < 0.25:
            quality = int(self.random.choice([Quality.STUCK, Quality.SPIKE, Quality.TIME_UNCERTAIN, Quality.OFF_STEP]))
        return Came(received_us, stream, STREAM_DEVICE[stream], time_us, float(value), quality)


def table_of(came: list[Came]) -> pa.Table:
    columns = [
        [one.stream for one in came],
        [one.time_us for one in came],
        [one.value for one in came],
        [None for _ in came],
        [one.quality for one in came],
        [one.received_us for one in came],
    ]
    return pa.table(
        [pa.array(one, kind.type) for one, kind in zip(columns, OBSERVATION_SCHEMA, strict=True)],
        schema=OBSERVATION_SCHEMA,
    )


def published(history: History, take: Callable[[Came], None]) -> Iterator[bytes]:
    """What a pipeline that crashes now and then writes to the OBSERVATIONS log; `take` gets each row once, in order."""
    dice, log_name, seen = history.random, "READINGS@1", set[int]()
    at = told = committed = 0
    first = 0
    whole = True
    while at < len(history.events):
        event = history.events[at]
        if isinstance(event, int):
            if at >= told:
                yield observations.encode_tick(event)
                if whole:
                    take(Came(event))
            at += 1
            told = max(told, at)
            continue
        if committed == at and dice.random() < 0.02:  # the READINGS log is made anew and counts from one
            log_name, first, seen = log_name + "+", at, set()
        end = at
        while (
            end < len(history.events) and end - at < dice.randrange(1, 6) and not isinstance(history.events[end], int)
        ):
            end += 1
        numbered = [(number - first + 1, one) for number in range(at, end) for one in history.events[number]]  # type: ignore[union-attr]
        dice.shuffle(numbered)
        rows = table_of([one for _, one in numbered])
        messages = list(observations.encode(rows, np.array([number for number, _ in numbered]), log_name=log_name))
        whole = dice.random() > 0.1
        yield from messages if whole else messages[: dice.randrange(len(messages))] or messages
        whole = whole or len(messages) == 1
        if whole:
            for number, one in sorted(numbered, key=lambda pair: (pair[0], pair[1].time_us)):
                if number not in seen:
                    take(one)
            seen |= {number for number, _ in numbered}
        if not whole or dice.random() < 0.1:
            at = committed  # it crashed before the store had it, and reads on from there
            continue
        at = committed = end
        told = max(told, at)


def live(plan: Plan, messages: list[bytes], dice: random.Random, kills: float) -> PaperBook:
    """Follow the log, killed now and then: sometimes before a step is saved, with an old snapshot or with none."""
    book, kept = PaperBook(), None
    follower, at, furthest = None, 0, 0
    while at < len(messages):
        if follower is None:
            for pairs in plan.families:
                pairs.state[:] = 0
            follower = Follower(Engine(plan, NothingUsual()), book.load(), kept)
            at = follower.read_after
            owed = follower.begin()
            if owed is not None:
                book.save(owed)
        at += 1
        lost = at > furthest and dice.random() < kills  # else a life that always ends early comes no further
        furthest = max(at, furthest)
        for step in follower.take(at, messages[at - 1]):
            if lost and dice.random() < 0.5:
                break
            if step.transitions or step.standings or dice.random() < 0.3:
                book.save(step)
        if dice.random() < 0.1 and book.position and book.position.observations_position == at:
            kept = dice.choice([follower.snapshot(), kept, None])
        if lost:
            follower = None
    return book


def oracle(rules: tuple[AlertRule, ...] = RULES) -> Oracle:
    return Oracle(rules, subjects)
