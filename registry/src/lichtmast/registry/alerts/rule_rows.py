"""Rules as rows: every version stays, the newest one counts. Reads, on one open transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, select, tuple_

from lichtmast.registry import schema
from lichtmast.registry.alert_schema import alert_rule, alert_rule_version
from lichtmast.registry.alerts.rules import AlertRule, parse_rule
from lichtmast.registry.alerts.subjects import chunks
from lichtmast.registry.auditing import Actor, ActorKind

_R: Final = alert_rule.c
_V: Final = alert_rule_version.c
Key = tuple[int, int]
"""Id and version of a rule. What it says never changes."""


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """One version of a rule, and who made it."""

    rule: AlertRule
    by: Actor
    at_us: int


class RuleReader:
    """Reads rules, and keeps what it parsed: a version never changes, and 100,000 of them take seconds to parse."""

    def __init__(self) -> None:
        self._parsed: dict[Key, AlertRule] = {}

    def live(self, connection: Connection, tenant: str | None = None) -> list[AlertRule]:
        """The newest version of every rule that is not deleted, by id."""
        query = select(_R.id, _R.version).where(_R.deleted_at_us.is_(None)).order_by(_R.id)
        if tenant is not None:
            query = query.join(schema.tenant, schema.tenant.c.id == _R.tenant_id).where(schema.tenant.c.code == tenant)
        keys = [(id_, version) for id_, version in connection.execute(query)]
        found = self.versions(connection, keys)
        return [found[key] for key in keys]

    def versions(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, AlertRule]:
        """These versions of these rules; what there is not is left out."""
        found = {key: self._parsed[key] for key in keys if key in self._parsed}
        for chunk in chunks(key for key in keys if key not in found):
            for row in connection.execute(_documents().where(tuple_(_V.rule_id, _V.version).in_(chunk))):
                key = (row.rule_id, row.version)
                found[key] = self._parsed[key] = _rule(row)
        return found

    def current(self, connection: Connection, rule_ids: Iterable[int]) -> dict[int, AlertRule]:
        """The newest version of each of these rules that is not deleted."""
        keys: list[Key] = []
        for chunk in chunks(sorted(set(rule_ids))):
            query = select(_R.id, _R.version).where(_R.id.in_(chunk), _R.deleted_at_us.is_(None))
            keys += [(id_, version) for id_, version in connection.execute(query)]
        return {rule.id: rule for rule in self.versions(connection, keys).values()}


def versions_of(connection: Connection, rule_id: int) -> list[RuleVersion]:
    """Every version of a rule, newest first; of a deleted one too."""
    rows = connection.execute(_documents().where(_V.rule_id == rule_id).order_by(_V.version.desc()))
    return [RuleVersion(_rule(row), Actor(ActorKind(row.actor_kind), row.actor), row.at_us) for row in rows]


def _documents() -> Select[Any]:
    return select(alert_rule_version)


def _rule(row: Any) -> AlertRule:  # noqa: ANN401 - a row of alert_rule_version
    return parse_rule(row.document, rule_id=row.rule_id, version=row.version)
