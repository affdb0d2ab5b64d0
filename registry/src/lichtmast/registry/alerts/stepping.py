"""Saving what the evaluation found: position, memory, episodes and notices, in one transaction, once.

Functions on one open write transaction; `now_us` is the server's clock.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select

from lichtmast.registry.alert_schema import alert_engine, alert_standing
from lichtmast.registry.alerts import limits
from lichtmast.registry.alerts.causes import Causes
from lichtmast.registry.alerts.episode import Around
from lichtmast.registry.alerts.ledger import Key, Ledger
from lichtmast.registry.alerts.life_cycle import again, begin, end, is_same
from lichtmast.registry.alerts.rule_rows import RuleReader
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.scope import Facts
from lichtmast.registry.alerts.steps import (
    EngineMemory,
    EnginePosition,
    Standing,
    StandingState,
    Step,
    Transition,
    TransitionKind,
)
from lichtmast.registry.alerts.subjects import facts_of
from lichtmast.registry.alerts.windows import MaintenanceWindow, wake, windows_over
from lichtmast.registry.errors import ConflictError

_P: Final = alert_engine.c
_S: Final = alert_standing.c
FORGOTTEN: Final = "it is watched no longer: the rule or what it watches has changed"


def load(connection: Connection) -> EngineMemory:
    """Where the evaluation goes on, and what it remembers."""
    row = connection.execute(select(alert_engine)).one_or_none()
    if row is None:
        return EngineMemory()
    position = EnginePosition(row.log_name, row.readings_upto, row.observations_position, row.watermark_us)
    standings = tuple(
        Standing(one.rule_id, one.subject, StandingState(one.state), one.since_us, one.last_us, one.value)
        for one in connection.execute(select(alert_standing).order_by(_S.rule_id, _S.subject))
    )
    return EngineMemory(position, standings)


def save(connection: Connection, reader: RuleReader, step: Step, now_us: int) -> None:
    """Take a step over; the step that was saved last changes nothing. Raises ConflictError for one from before it."""
    digest = sha256(repr(step).encode()).digest()
    row = connection.execute(select(alert_engine)).one_or_none()
    position = step.position
    if row is not None:
        if row.digest == digest:
            return
        if row.log_name == position.log_name and position.readings_upto < row.readings_upto:
            raise ConflictError(
                f"the alerts are evaluated up to {row.readings_upto}, and this step ends at {position.readings_upto}:"
                " another evaluation is ahead; load its memory and go on from there"
            )
    ledger = Ledger(connection)
    wake(connection, ledger, now_us)
    rule_ids = {one.rule_id for one in step.transitions} | {one.rule_id for one in step.standings}
    rules = {id_: one for id_, one in reader.current(connection, rule_ids).items() if one.enabled}
    _Episodes(connection, reader, ledger, rules, now_us).take(step)
    ledger.write()
    _remember(connection, step.standings, rules)
    connection.execute(delete(alert_engine))
    values = {
        "id": 1,
        "log_name": position.log_name,
        "readings_upto": position.readings_upto,
        "observations_position": position.observations_position,
        "watermark_us": position.watermark_us,
        "digest": digest,
    }
    connection.execute(insert(alert_engine).values(values))


class _Episodes:
    """What a step does to episodes."""

    def __init__(
        self, connection: Connection, reader: RuleReader, ledger: Ledger, rules: dict[int, AlertRule], now_us: int
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._ledger = ledger
        self._rules = rules
        self._now_us = now_us

    def take(self, step: Step) -> None:
        """Take over all transitions in order, and close what the evaluation forgets."""
        forgotten = [one for one in step.standings if one.state is StandingState.IDLE]
        if not (step.transitions or forgotten):
            return
        self._ledger.read_newest({_key(one) for one in step.transitions} | {_key(one) for one in forgotten})
        raised = [one for one in step.transitions if one.kind is TransitionKind.RAISED and one.rule_id in self._rules]
        facts, windows, causes = self._facts(raised), self._windows(raised), self._causes()
        for one in step.transitions:
            if one.kind is TransitionKind.CLEARED:
                self._clear(_key(one), one.at_us, one.because, causes)
            elif one.rule_id in self._rules:
                self._raise(one, facts[_key(one)], windows, causes)
        for standing in forgotten:
            self._clear(_key(standing), standing.last_us, FORGOTTEN, causes)

    def _raise(self, raised: Transition, facts: Facts, windows: Sequence[MaintenanceWindow], causes: Causes) -> None:
        rule, ledger = self._rules[raised.rule_id], self._ledger
        if raised.rule_version < rule.version and not rule.scope.covers(facts):
            return
        known = ledger.newest(_key(raised))
        members = causes.members(rule, raised.subject)
        at_us = self._moment(raised)
        window_id = next((one.id for one in windows if one.from_us <= at_us < one.until_us and one.covers(facts)), None)
        if window_id is None and members and all(one.in_maintenance for one in members):
            window_id = members[0].window_id  # the work that explains every member explains the group
        hold_s = limits.GROUPING_HOLD_S if causes.is_watched(rule) else 0
        around = Around(causes.cause_of(rule, facts), window_id, hold_s)
        if known is not None and is_same(known, rule, raised.at_us):
            change = again(known, rule, raised, around, ledger.untaken(known), self._now_us)
        else:
            change = begin(ledger.new_id(), rule, facts, raised, around, self._now_us)
        ledger.apply(change)
        if change is not None:
            causes.raised(change.episode, rule, self._now_us)

    def _clear(self, key: Key, at_us: int, because: str, causes: Causes) -> None:
        known = self._ledger.newest(key)
        if known is None:
            return
        rule = self._rules.get(known.rule_id)
        fold_s = limits.FOLD_S if rule is None else rule.fold_s
        untaken = self._ledger.untaken(known)
        change = end(known, because, fold_s, untaken, at_us=at_us, now_us=self._now_us)
        if change is not None:
            self._ledger.apply(change)
            causes.cleared(change.episode, self._now_us)

    def _causes(self) -> Causes:
        return Causes(self._connection, self._reader, self._ledger)

    def _windows(self, raised: Sequence[Transition]) -> list[MaintenanceWindow]:
        if not raised:
            return []
        moments = [self._moment(one) for one in raised]
        return windows_over(self._connection, min(moments), max(moments))

    def _moment(self, raised: Transition) -> int:
        """When it happened, for the work that may explain it: what a clock puts into the future happens now."""
        return min(raised.at_us, self._now_us)

    def _facts(self, raised: Sequence[Transition]) -> dict[Key, Facts]:
        wanted: dict[str, set[str]] = {}
        for one in raised:
            wanted.setdefault(self._rules[one.rule_id].tenant, set()).add(one.subject)
        found = {tenant: facts_of(self._connection, subjects, tenant) for tenant, subjects in wanted.items()}
        return {_key(one): found[self._rules[one.rule_id].tenant][one.subject] for one in raised}


def _remember(connection: Connection, standings: Sequence[Standing], rules: dict[int, AlertRule]) -> None:
    """Keep the newest standing of each rule and subject; of a rule that is off nothing is remembered."""
    newest = {_key(one): one for one in standings}
    if not newest:
        return
    connection.execute(
        delete(alert_standing).where(_S.rule_id == bindparam("which"), _S.subject == bindparam("whom")),
        [{"which": rule_id, "whom": subject} for rule_id, subject in newest],
    )
    rows = [
        {
            "rule_id": one.rule_id,
            "subject": one.subject,
            "state": one.state.value,
            "since_us": one.since_us,
            "last_us": one.last_us,
            "value": one.value,
        }
        for one in newest.values()
        if one.state is not StandingState.IDLE and one.rule_id in rules
    ]
    if rows:
        connection.execute(insert(alert_standing), rows)


def _key(of: Transition | Standing) -> Key:
    return of.rule_id, of.subject
