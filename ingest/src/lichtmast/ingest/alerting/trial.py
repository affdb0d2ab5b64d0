"""A rule tried on what the store holds, before it is switched on: the same engine, in the order of reception.

Two things are not in a store, so a trial takes them as good: the server was never away, and what came back from the
quarantine came in its place. A rule that covers more readings than a trial takes is tried on the first part of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from lichtmast.ingest.alerting import limits
from lichtmast.ingest.alerting.baseline import Baselines, History
from lichtmast.ingest.alerting.engine import Engine, Place
from lichtmast.ingest.alerting.groups import grouping
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.ingest.alerting.layout import Layout
from lichtmast.ingest.alerting.listening import Listening
from lichtmast.ingest.alerting.plan import make_plan
from lichtmast.registry.alerts.conditions import Fleet
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.sentences import sentence
from lichtmast.registry.alerts.steps import Step, TransitionKind
from lichtmast.registry.directory import Directory
from lichtmast.store.port import OBSERVATION_SCHEMA
from lichtmast.wire.limits import TIME_FUTURE_MAX_S
from lichtmast.wire.profile import load_profiles

_FUTURE_US: Final = TIME_FUTURE_MAX_S * 1_000_000
_PLACE: Final = Place()


class TrialStore(History, Protocol):
    """What is asked of the store."""

    def range(self, datastream_ids: Sequence[int], start_us: int, end_us: int, *, limit: int) -> pa.Table:
        """Observations of a period of phenomenon time."""


@dataclass(frozen=True, slots=True)
class TrialEpisode:
    """One time that the rule would have held; `until_us` is None where it still would at the end."""

    subject: str
    from_us: int
    until_us: int | None
    because: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a rule would have done. `until_us` is how far the trial came: `complete` unless it was too much."""

    episodes: tuple[TrialEpisode, ...]
    sentence: str
    readings: int
    until_us: int
    complete: bool


def try_rule(
    store: TrialStore,
    directory: Directory,
    rule: AlertRule,
    from_us: int,
    until_us: int,
    *,
    others: Sequence[AlertRule] = (),
    groups: Any = None,  # noqa: ANN401 - Mapping[int, Membership] or None
) -> Trial:
    """Run a rule over what was received in [from, until). Blocks for as long as it takes to read the store.

    A fleet rule is tried together with the rule that it counts, from `others`; `groups` are the register's.
    """
    counted = rule.condition.rule if isinstance(rule.condition, Fleet) else None
    rules = [one for one in others if one.name == counted and one.tenant == rule.tenant]
    rules.append(replace(rule, id=max((one.id for one in others), default=0) + 1, enabled=True))
    plan = make_plan(rules, Layout(directory.entries, load_profiles()), grouping(groups or {}))
    engine = Engine(plan, Baselines(store), Listening(leap_max_us=until_us))
    subjects = {int(one) for pairs in (plan.readings, plan.silent_streams) for one in pairs.subject}
    for device in set(plan.silent_devices.subject.tolist()):
        subjects |= set(directory.entries[plan.layout.names[device]].datastream_ids)
    steps, readings, reached_us = [], 0, from_us
    for table, end_us in _chunks(store, sorted(subjects), from_us, until_us):
        readings += table.num_rows
        order = np.lexsort((table.column("phenomenon_time").to_numpy(), table.column("result_time").to_numpy()))
        steps.append(engine.step(Rows.of(table, order), _PLACE))
        reached_us = end_us
        if readings > limits.TRIAL_READINGS_MAX:
            break
    steps.append(engine.tick(reached_us, _PLACE))
    episodes = _episodes(steps, rules[-1].id)
    complete = reached_us >= until_us or not subjects
    told = _sentence(rule, len(episodes), complete=complete, covers=bool(subjects))
    return Trial(episodes, told, readings, reached_us, complete)


def _chunks(store: TrialStore, streams: list[int], from_us: int, until_us: int) -> Iterator[tuple[pa.Table, int]]:
    """What was received in each piece of the time, whatever time it is about: late readings wait for their piece."""
    waiting = OBSERVATION_SCHEMA.empty_table()
    piece_us = limits.TRIAL_PIECE_READINGS * limits.TRIAL_INTERVAL_US // max(len(streams), 1)
    piece_us = min(piece_us, limits.TRIAL_PIECE_US)
    read_us, end_us = from_us - limits.TRIAL_BEFORE_US, from_us
    while end_us < until_us and streams:
        end_us = min(end_us + piece_us, until_us)
        while read_us < end_us + _FUTURE_US:
            upto_us = min(read_us + piece_us, end_us + _FUTURE_US)
            held = store.range(streams, read_us, upto_us, limit=2**31 - 1)
            held = held.filter(pa.array(held.column("result_time").to_numpy() >= from_us))
            waiting = pa.concat_tables([waiting, held.select(OBSERVATION_SCHEMA.names).cast(OBSERVATION_SCHEMA)])
            read_us = upto_us
        received = waiting.column("result_time").to_numpy()
        piece = waiting.filter(pa.array(received < end_us))
        waiting = waiting.filter(pa.array(received >= end_us))
        yield piece, end_us


def _episodes(steps: Sequence[Step], rule_id: int) -> tuple[TrialEpisode, ...]:
    found: list[TrialEpisode] = []
    open_: dict[str, int] = {}
    for one in (transition for step in steps for transition in step.transitions if transition.rule_id == rule_id):
        if one.kind is TransitionKind.RAISED:
            open_[one.subject] = len(found)
            found.append(TrialEpisode(one.subject, one.at_us, None, one.because))
        else:
            at = open_.pop(one.subject)
            found[at] = TrialEpisode(one.subject, found[at].from_us, one.at_us, found[at].because)
    return tuple(found)


def _sentence(rule: AlertRule, count: int, *, complete: bool, covers: bool) -> str:
    if not covers:
        return f"{sentence(rule)} Nothing in the register is within its scope."
    times = {0: "would never have fired", 1: "would have fired once"}.get(count, f"would have fired {count} times")
    part = "" if complete else " in the part of that time that was looked at"
    return f"{sentence(rule)} It {times}{part}."
