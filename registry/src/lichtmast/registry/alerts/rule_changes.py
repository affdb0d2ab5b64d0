"""Changing rules: each change is a new version. Functions on one open write transaction.

A change closes what it leaves behind: episodes of a rule that is switched off, deleted, or no longer covers them end
with that as their evidence, and what the evaluation remembers of them goes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from lichtmast.registry import schema
from lichtmast.registry.alert_schema import alert_episode, alert_rule, alert_rule_version, alert_standing
from lichtmast.registry.alerts import limits
from lichtmast.registry.alerts.causes import Causes
from lichtmast.registry.alerts.conditions import Fleet
from lichtmast.registry.alerts.errors import AlertRuleError
from lichtmast.registry.alerts.ledger import Ledger
from lichtmast.registry.alerts.life_cycle import end
from lichtmast.registry.alerts.rule_rows import RuleReader
from lichtmast.registry.alerts.rules import AlertRule, document_of, parse_rule
from lichtmast.registry.alerts.subjects import chunks, facts_of
from lichtmast.registry.auditing import Action, Actor, Event, append, append_all
from lichtmast.registry.auditing.event import text_of
from lichtmast.registry.errors import ConflictError, UnknownRecordError

_E: Final = alert_episode.c
_R: Final = alert_rule.c
_S: Final = alert_standing.c
_Name = tuple[str, str]
"""Tenant and name of a rule."""


def put(
    connection: Connection,
    reader: RuleReader,
    documents: Sequence[Mapping[str, Any]],
    by: Actor,
    at_us: int,
    based_on: int | None = None,
) -> tuple[list[AlertRule], bool]:
    """Make each document the newest version of the rule of its tenant and name; whether anything changed.

    Raises AlertRuleError, UnknownRecordError or ConflictError.
    """
    drafts = [parse_rule(document) for document in documents]
    names = [(one.tenant, one.name) for one in drafts]
    if len(set(names)) < len(names):
        raise AlertRuleError("name", "two of these rules have the same name; a name is unique in a tenant")
    known = _known(connection, reader, drafts)
    _require_watched(known, drafts)
    answers: list[AlertRule] = []
    changed: list[tuple[AlertRule | None, AlertRule]] = []
    next_id = int(connection.execute(select(func.coalesce(func.max(_R.id), 0))).scalar_one())
    for draft in drafts:
        old = known.get((draft.tenant, draft.name))
        if based_on is not None and based_on != (old.version if old else 0):
            there = old.version if old else 0
            raise ConflictError(
                f"rule {draft.name!r} is at version {there}, not {based_on}: somebody has changed it, read it again"
            )
        if old is not None and document_of(old) == document_of(draft):
            answers.append(old)
            continue
        next_id += old is None
        new = replace(draft, id=old.id if old else next_id, version=old.version + 1 if old else 1)
        answers.append(new)
        changed.append((old, new))
    _write(connection, changed, by, at_us)
    _close_left_behind(connection, [new for old, new in changed if old is not None], by, at_us)
    return answers, bool(changed)


def remove(connection: Connection, reader: RuleReader, rule_id: int, by: Actor, at_us: int) -> None:
    """Delete a rule: its versions and episodes stay, its name is free. Raises UnknownRecordError or ConflictError."""
    rule = current(connection, reader, rule_id)
    fleets = [
        name
        for (name,) in connection.execute(
            select(_R.name)
            .join(schema.tenant, schema.tenant.c.id == _R.tenant_id)
            .where(_R.watches == rule.name, schema.tenant.c.code == rule.tenant, _R.deleted_at_us.is_(None))
        )
    ]
    if fleets:
        raise ConflictError(f"the fleet rule {fleets[0]!r} counts the alerts of {rule.name!r}; delete that one first")
    connection.execute(update(alert_rule).where(_R.id == rule_id).values(deleted_at_us=at_us, enabled=False))
    _close_left_behind(connection, [replace(rule, enabled=False)], by, at_us, "deleted")
    what = Action.ALERT_RULE_DELETED
    append(connection, Event(what, "alert_rule", rule.name, by, at_us, rule.tenant, {"version": rule.version}))


def current(connection: Connection, reader: RuleReader, rule_id: int) -> AlertRule:
    """The newest version of a rule. Raises UnknownRecordError."""
    found = reader.current(connection, [rule_id]).get(rule_id)
    if found is None:
        raise UnknownRecordError(f"there is no alert rule {rule_id}; see the list of rules")
    return found


def _known(connection: Connection, reader: RuleReader, drafts: Sequence[AlertRule]) -> dict[_Name, AlertRule]:
    """The rules there are: of the same names, and those that fleet rules among the drafts count."""
    wanted = {one.name for one in drafts} | {_watches(one) for one in drafts} - {None}
    ids: list[int] = []
    for chunk in chunks(sorted(str(one) for one in wanted)):
        query = select(_R.id).where(_R.name.in_(chunk), _R.deleted_at_us.is_(None))
        ids += connection.execute(query).scalars()
    return {(one.tenant, one.name): one for one in reader.current(connection, ids).values()}


def _require_watched(known: Mapping[_Name, AlertRule], drafts: Sequence[AlertRule]) -> None:
    """What a fleet rule counts is a rule of the same tenant, and no fleet rule itself."""
    there = dict(known) | {(one.tenant, one.name): one for one in drafts}
    counted = {(rule.tenant, _watches(rule)) for rule in there.values()}
    for rule in drafts:
        watched = _watches(rule)
        if watched is None:
            continue
        found = there.get((rule.tenant, watched))
        if found is None:
            raise AlertRuleError("condition.rule", f"{rule.tenant} has no rule {watched!r} to count; add it first")
        if isinstance(found.condition, Fleet) or (rule.tenant, rule.name) in counted:
            raise AlertRuleError("condition.rule", f"{watched!r} is a fleet rule, or counts one; they do not stack")


def _watches(rule: AlertRule) -> str | None:
    return rule.condition.rule if isinstance(rule.condition, Fleet) else None


def _write(
    connection: Connection, changed: Sequence[tuple[AlertRule | None, AlertRule]], by: Actor, at_us: int
) -> None:
    t = schema.tenant.c
    tenants = {code: id_ for id_, code in connection.execute(select(t.id, t.code))}
    for _, new in changed:
        if new.tenant not in tenants:
            raise UnknownRecordError(f"tenant {new.tenant[:60]!r} is not in the register; add it first")
    fresh = [
        {
            "id": new.id,
            "tenant_id": tenants[new.tenant],
            "name": new.name,
            "version": new.version,
            "enabled": new.enabled,
            "watches": _watches(new),
        }
        for old, new in changed
        if old is None
    ]
    if fresh:
        _require_room(connection, tenants, Counter(new.tenant for old, new in changed if old is None))
        held = connection.execute(select(func.count()).where(_R.deleted_at_us.is_(None))).scalar_one()
        if held + len(fresh) > limits.RULES_MAX:
            raise ConflictError(f"there are {held} alert rules; {limits.RULES_MAX} is the most. Use wider scopes")
        connection.execute(insert(alert_rule), fresh)
    known = [
        {"which": new.id, "number": new.version, "is_on": new.enabled, "watched": _watches(new)}
        for old, new in changed
        if old is not None
    ]
    if known:
        newer: dict[str, Any] = {
            "version": bindparam("number"),
            "enabled": bindparam("is_on"),
            "watches": bindparam("watched"),
        }
        connection.execute(update(alert_rule).where(_R.id == bindparam("which")).values(newer), known)
    versions = [
        {
            "rule_id": new.id,
            "version": new.version,
            "document": document_of(new),
            "at_us": at_us,
            "actor_kind": by.kind.value,
            "actor": by.name,
        }
        for _, new in changed
    ]
    if versions:
        connection.execute(insert(alert_rule_version), versions)
        append_all(connection, _events(changed, by, at_us))


def _require_room(connection: Connection, tenants: Mapping[str, int], fresh: Mapping[str, int]) -> None:
    """No municipality uses up the rules that are there for all."""
    for tenant, more in fresh.items():
        query = select(func.count()).where(_R.tenant_id == tenants[tenant], _R.deleted_at_us.is_(None))
        held = connection.execute(query).scalar_one()
        if held + more > limits.RULES_TENANT_MAX:
            raise ConflictError(
                f"{tenant} has {held} alert rules; with {more} more there are over {limits.RULES_TENANT_MAX}, the most"
                " of one municipality. Use wider scopes, or delete rules"
            )


def _events(changed: Sequence[tuple[AlertRule | None, AlertRule]], by: Actor, at_us: int) -> list[Event]:
    """One event a rule; of a long list, one with a digest: the versions themselves say the rest."""
    if len(changed) > limits.RULES_SPELLED_MAX:
        texts = "\n".join(str(text_of(document_of(new))) for _, new in changed)
        after = {"rules": len(changed), "sha256": sha256(texts.encode()).hexdigest()}
        return [Event(Action.ALERT_RULES_PUT, "alert_rule", f"{len(changed)} rules", by, at_us, after=after)]
    return [
        Event(
            Action.ALERT_RULE_PUT,
            "alert_rule",
            new.name,
            by,
            at_us,
            new.tenant,
            None if old is None else _told(old),
            _told(new),
        )
        for old, new in changed
    ]


def _told(rule: AlertRule) -> dict[str, Any]:
    """A version as the log has it: whole where it is short, else by its digest."""
    document = document_of(rule)
    text = str(text_of(document))
    if len(text) <= limits.RULE_SPELLED_BYTES_MAX:
        return {"version": rule.version, "document": document}
    return {"version": rule.version, "sha256": sha256(text.encode()).hexdigest()}


def _close_left_behind(
    connection: Connection,
    rules: Sequence[AlertRule],
    by: Actor,
    at_us: int,
    what: str = "switched off",
) -> None:
    """End the episodes that these rules no longer hold, and forget what is remembered of them."""
    if not rules:
        return
    ledger = Ledger(connection)
    # A reader of its own: what it keeps must not outlive a transaction that fails.
    causes = Causes(connection, RuleReader(), ledger)
    for rule in rules:
        remembered = connection.execute(select(_S.subject).where(_S.rule_id == rule.id)).scalars().all()
        episodes = [one for one in ledger.read_open(_E.rule_id == rule.id) if one.rule_id == rule.id]
        because = f"the rule was {what} by {by.name}"
        gone = {*remembered, *(one.subject for one in episodes)}
        if rule.enabled:
            because = f"version {rule.version} of the rule, by {by.name}, no longer covers it"
            facts = facts_of(connection, gone, rule.tenant)
            gone = {subject for subject in gone if not rule.scope.covers(facts[subject])}
        for one in episodes:
            if one.subject in gone:
                untaken = ledger.untaken(one)
                ledger.apply(end(one, because, rule.fold_s, untaken, at_us=at_us, now_us=at_us, by=by, by_hand=True))
                causes.cleared(one, at_us)
        forgotten = [{"which": rule.id, "whom": subject} for subject in gone]
        if forgotten:
            here = (_S.rule_id == bindparam("which")) & (_S.subject == bindparam("whom"))
            connection.execute(delete(alert_standing).where(here), forgotten)
    ledger.write()
