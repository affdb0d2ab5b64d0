"""One alert for many: the open alert of a group speaks for its members, whichever came first.

A cause is an alert of a fleet rule; its members are the alerts of the rule that it counts, in the same group.
"""

from typing import Final

from sqlalchemy import Connection, select

from lichtmast.registry.alert_schema import alert_episode, alert_rule
from lichtmast.registry.alerts.conditions import Fleet, GroupKind
from lichtmast.registry.alerts.episode import Episode
from lichtmast.registry.alerts.groups import group_of
from lichtmast.registry.alerts.ledger import Ledger
from lichtmast.registry.alerts.life_cycle import cause_ended, cause_found
from lichtmast.registry.alerts.rule_rows import RuleReader
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.scope import Facts

_E: Final = alert_episode.c
_R: Final = alert_rule.c


class Causes:
    """The fleet rules in force and their open alerts, within one transaction."""

    def __init__(self, connection: Connection, reader: RuleReader, ledger: Ledger) -> None:
        self._ledger = ledger
        query = select(_R.id).where(_R.watches.is_not(None), _R.enabled, _R.deleted_at_us.is_(None))
        self._rules = reader.current(connection, connection.execute(query).scalars())
        self._open: dict[int, tuple[AlertRule, str]] = {}
        """Open alerts of fleet rules, with their subjects."""
        if self._rules:
            for one in ledger.read_open(_E.rule_id.in_(self._rules)):
                if one.rule_id in self._rules:
                    self._open[one.id] = (self._rules[one.rule_id], one.subject)

    def is_watched(self, rule: AlertRule) -> bool:
        """Whether a fleet rule counts this rule's alerts."""
        return any(counts(fleet, rule.name, rule.tenant) for fleet in self._rules.values())

    def cause_of(self, rule: AlertRule, facts: Facts) -> int | None:
        """The open alert that speaks for an alert of this rule about this subject; the oldest where several do."""
        found = (
            id_
            for id_, (fleet, subject) in self._open.items()
            if counts(fleet, rule.name, rule.tenant) and is_member(fleet, subject, facts)
        )
        return min(found, default=None)

    def members(self, rule: AlertRule, subject: str) -> list[Episode]:
        """The open alerts that an alert of this rule about this group speaks for; none where it is no fleet rule."""
        if not isinstance(rule.condition, Fleet):
            return []
        watched = rule.condition.rule
        found = self._ledger.read_open(_E.rule_name == watched, _E.tenant == rule.tenant)
        return [
            one
            for one in found
            if counts(rule, one.rule_name, one.facts.tenant) and is_member(rule, subject, one.facts)
        ]

    def raised(self, cause: Episode, rule: AlertRule, now_us: int) -> None:
        """An alert of a fleet rule is open: it speaks for those of its members that nobody speaks for."""
        if not isinstance(rule.condition, Fleet):
            return
        self._open[cause.id] = (rule, cause.subject)
        for one in self.members(rule, cause.subject):
            if not one.grouped:
                self._ledger.apply(cause_found(one, cause.id, self._ledger.untaken(one), now_us))

    def cleared(self, cause: Episode, now_us: int) -> None:
        """An alert is over: those that it spoke for speak for themselves."""
        if self._open.pop(cause.id, None) is None and not cause.facts.is_group:
            return
        for one in self._ledger.read_open(_E.cause_id == cause.id):
            if one.grouped and one.cause_id == cause.id:
                self._ledger.apply(cause_ended(one, now_us))


def counts(fleet: AlertRule, name: str, tenant: str) -> bool:
    """Whether a fleet rule counts the alerts of the rule of this name and tenant."""
    return isinstance(fleet.condition, Fleet) and fleet.condition.rule == name and fleet.tenant == tenant


def is_member(fleet: AlertRule, subject: str, facts: Facts) -> bool:
    """Whether what is known of a subject puts it into the group that an alert of a fleet rule is about."""
    group = group_of(subject)
    if group is None or facts.is_group or not fleet.scope.covers(facts):
        return False
    kind, key = group
    return kind is GroupKind.AREA or key == (facts.feeder if kind is GroupKind.FEEDER else facts.neighbourhood)
