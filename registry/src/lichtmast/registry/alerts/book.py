"""The book of alerts: rules, what the evaluation remembers, episodes, maintenance windows. `Registry.alerts`.

Every change is one transaction. Only a change of the rules raises the register's revision: what people do with alerts
concerns no pipeline. Synchronous: call it in a thread.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine

from lichtmast.registry.alerts import inbox, life_cycle, retention, rule_changes, rule_rows, stepping, windows
from lichtmast.registry.alerts.causes import Causes
from lichtmast.registry.alerts.episode import Change, Episode, EpisodeState, Refused, RefusedFor
from lichtmast.registry.alerts.groups import Membership
from lichtmast.registry.alerts.inbox import EpisodeFile, InboxQuery, InboxRow
from lichtmast.registry.alerts.ledger import Ledger
from lichtmast.registry.alerts.limits import EPISODES_KEPT_US, EPISODES_PAGE_MAX, FOLD_S
from lichtmast.registry.alerts.rule_rows import RuleReader, RuleVersion
from lichtmast.registry.alerts.rules import AlertRule, document_of
from lichtmast.registry.alerts.steps import (
    EngineMemory,
    EnginePosition,
    Standing,
    StandingState,
    Step,
    Transition,
    TransitionKind,
)
from lichtmast.registry.alerts.subjects import memberships
from lichtmast.registry.alerts.windows import MaintenanceWindow, WindowDraft
from lichtmast.registry.auditing import Action, Actor, Event, append
from lichtmast.registry.database import bump, writing
from lichtmast.registry.errors import UnknownRecordError

__all__ = [
    "AlertBook",
    "EngineMemory",
    "EnginePosition",
    "Standing",
    "StandingState",
    "Step",
    "Transition",
    "TransitionKind",
]

Deed = Callable[[Episode, Ledger, Connection], Change | Refused]


class AlertBook:
    """The alerts of one register. Use `Registry.alerts`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = RuleReader()

    # Rules.

    def rules(self, tenant: str | None = None) -> list[AlertRule]:
        """The newest version of every rule, switched on or not, by id. They change only where the revision does."""
        with self._engine.connect() as connection:
            return self._reader.live(connection, tenant)

    def rule(self, rule_id: int) -> AlertRule:
        """The newest version of one rule. Raises UnknownRecordError."""
        with self._engine.connect() as connection:
            return rule_changes.current(connection, self._reader, rule_id)

    def rule_versions(self, rule_id: int) -> list[RuleVersion]:
        """Every version of a rule, newest first, and who made it; of a deleted rule too."""
        with self._engine.connect() as connection:
            return rule_rows.versions_of(connection, rule_id)

    def put_rule(self, document: Mapping[str, Any], *, by: Actor, at_us: int, based_on: int | None = None) -> AlertRule:
        """Make a document the newest version of the rule of its tenant and name; an equal one changes nothing.

        `based_on` is the version that the writer had before his eyes, 0 for a new rule; None: whatever there is.
        Raises AlertRuleError, UnknownRecordError or ConflictError.
        """
        return self._put([document], by, at_us, based_on)[0]

    def put_rules(self, documents: Sequence[Mapping[str, Any]], *, by: Actor, at_us: int) -> list[AlertRule]:
        """The same for many, all of them or none. A fleet rule may count a rule of the same list."""
        return self._put(documents, by, at_us, None)

    def switch_rule(self, rule_id: int, *, enabled: bool, by: Actor, at_us: int) -> AlertRule:
        """Switch a rule on or off, which is a new version. Off, its alerts end. Raises UnknownRecordError."""
        rule = self.rule(rule_id)
        return self.put_rule(document_of(rule) | {"enabled": enabled}, by=by, at_us=at_us, based_on=rule.version)

    def delete_rule(self, rule_id: int, *, by: Actor, at_us: int) -> None:
        """Delete a rule: its alerts end, its versions stay. Raises UnknownRecordError or ConflictError."""
        with writing(self._engine) as connection:
            rule_changes.remove(connection, self._reader, rule_id, by, at_us)
            bump(connection)

    def groups(self) -> dict[int, Membership]:
        """The feeder and neighbourhood of every asset that stands, by id."""
        with self._engine.connect() as connection:
            return memberships(connection)

    # The evaluation.

    def load(self) -> EngineMemory:
        """Where the evaluation goes on, and what it remembers."""
        with self._engine.connect() as connection:
            return stepping.load(connection)

    def save(self, step: Step, *, now_us: int | None = None) -> None:
        """Take a step over in one transaction; the step that was saved last changes nothing.

        Also does what is due by the server's clock (`now_us`): shelves and maintenance windows that end. Raises
        ConflictError where another evaluation is ahead.
        """
        with writing(self._engine) as connection:
            stepping.save(connection, self._reader, step, _now_us() if now_us is None else now_us)

    def forget_old(self, *, now_us: int) -> int:
        """Delete alerts that ended EPISODES_KEPT_US ago, with their history; how many. Daily is enough."""
        forgotten = 0
        while True:
            with writing(self._engine) as connection:
                portion = retention.forget(connection, now_us - EPISODES_KEPT_US)
            forgotten += portion
            if not portion:
                return forgotten

    # Reads for people.

    def inbox(self, query: InboxQuery, *, now_us: int) -> list[InboxRow]:
        """A page of alerts, newest first. Raises ValueError for an impossible page."""
        with self._engine.connect() as connection:
            return inbox.inbox(connection, query, now_us)

    def counts(self, tenants: Collection[str] | None = None, *, now_us: int) -> Mapping[EpisodeState, int]:
        """How many alerts are in each state, those that another one speaks for left out."""
        with self._engine.connect() as connection:
            return inbox.counts(connection, tenants, now_us)

    def episode(self, episode_id: int, *, now_us: int) -> Episode | None:
        """One alert."""
        with self._engine.connect() as connection:
            return inbox.episode(connection, episode_id, now_us)

    def file(self, episode_id: int, *, now_us: int) -> EpisodeFile | None:
        """One alert with its history, its rule and the alerts that it speaks for."""
        with self._engine.connect() as connection:
            return inbox.file_of(connection, self._reader, episode_id, now_us)

    # What people do. Each answers with the alert as it is then, or a refusal, and raises UnknownRecordError. `version`
    # is the alert's version that the person saw: where it has moved on, nothing is done.

    def acknowledge(self, episode_id: int, *, by: Actor, at_us: int, version: int | None = None) -> Episode | Refused:
        """Somebody has it."""
        return self._act(
            episode_id,
            Action.ALERT_ACKNOWLEDGED,
            {},
            by,
            at_us,
            version,
            lambda one, *_: life_cycle.acknowledge(one, by, at_us),
        )

    def shelve(
        self, episode_id: int, until_us: int, reason: str, *, by: Actor, at_us: int, version: int | None = None
    ) -> Episode | Refused:
        """Look away until a moment, for a reason."""
        return self._act(
            episode_id,
            Action.ALERT_SHELVED,
            {"until_us": until_us},
            by,
            at_us,
            version,
            lambda one, *_: life_cycle.shelve(one, until_us, reason, by, at_us),
        )

    def unshelve(self, episode_id: int, *, by: Actor, at_us: int, version: int | None = None) -> Episode | Refused:
        """Take it off the shelf before its time."""
        return self._act(
            episode_id,
            Action.ALERT_UNSHELVED,
            {},
            by,
            at_us,
            version,
            lambda one, *_: life_cycle.unshelve(one, by, at_us),
        )

    def clear(
        self, episode_id: int, evidence: str, *, by: Actor, at_us: int, version: int | None = None
    ) -> Episode | Refused:
        """Somebody says that it is over, and why."""

        def deed(one: Episode, ledger: Ledger, connection: Connection) -> Change | Refused:
            rule = self._reader.current(connection, [one.rule_id]).get(one.rule_id)
            fold_s = FOLD_S if rule is None else rule.fold_s
            return life_cycle.clear(one, evidence, fold_s, ledger.untaken(one), by, at_us)

        return self._act(episode_id, Action.ALERT_CLEARED, {}, by, at_us, version, deed)

    def assign(
        self, episode_id: int, owner: str | None, *, by: Actor, at_us: int, version: int | None = None
    ) -> Episode | Refused:
        """Say whose it is; None: nobody's."""
        return self._act(
            episode_id,
            Action.ALERT_ASSIGNED,
            {"owner": owner},
            by,
            at_us,
            version,
            lambda one, *_: life_cycle.assign(one, owner, by, at_us),
        )

    def comment(self, episode_id: int, words: str, *, by: Actor, at_us: int) -> Episode | Refused:
        """Say something about it. Two people may at once, so there is no version."""

        def deed(one: Episode, _ledger: Ledger, connection: Connection) -> Change | Refused:
            return life_cycle.comment(one, words, inbox.comments_on(connection, episode_id), by, at_us)

        return self._act(episode_id, Action.ALERT_COMMENTED, {}, by, at_us, None, deed)

    # Maintenance windows.

    def plan_window(self, draft: WindowDraft, *, by: Actor, at_us: int) -> MaintenanceWindow:
        """Plan work. Raises AlertRuleError, UnknownRecordError or ConflictError."""
        with writing(self._engine) as connection:
            window_id = windows.plan(connection, draft, by, at_us)
            self._wake(connection, at_us)
            return windows.get(connection, window_id)

    def end_window(self, window_id: int, *, by: Actor, at_us: int) -> MaintenanceWindow:
        """The work is done, or will not be. Raises UnknownRecordError."""
        with writing(self._engine) as connection:
            windows.end_window(connection, window_id, by, at_us)
            self._wake(connection, at_us)
            return windows.get(connection, window_id)

    def window(self, window_id: int) -> MaintenanceWindow:
        """One window. Raises UnknownRecordError."""
        with self._engine.connect() as connection:
            return windows.get(connection, window_id)

    def windows(
        self, tenant: str | None = None, *, live_only: bool = False, limit: int = 100
    ) -> list[MaintenanceWindow]:
        """Windows, the latest to begin first. Raises ValueError for an impossible page."""
        if not 1 <= limit <= EPISODES_PAGE_MAX:
            raise ValueError(f"a page has 1 to {EPISODES_PAGE_MAX} windows, not {limit}")
        with self._engine.connect() as connection:
            return windows.read(connection, tenant, live_only=live_only, limit=limit)

    def _put(
        self, documents: Sequence[Mapping[str, Any]], by: Actor, at_us: int, based_on: int | None
    ) -> list[AlertRule]:
        with writing(self._engine) as connection:
            answers, changed = rule_changes.put(connection, self._reader, documents, by, at_us, based_on)
            if changed:
                bump(connection)
        return answers

    def _wake(self, connection: Connection, now_us: int) -> None:
        ledger = Ledger(connection)
        windows.wake(connection, ledger, now_us)
        ledger.write()

    def _act(
        self,
        episode_id: int,
        action: Action,
        after: Mapping[str, Any],
        by: Actor,
        at_us: int,
        version: int | None,
        deed: Deed,
    ) -> Episode | Refused:
        with writing(self._engine) as connection:
            self._wake(connection, at_us)
            ledger = Ledger(connection)
            found = ledger.read(episode_id)
            if found is None:
                raise UnknownRecordError(f"there is no alert {episode_id}; see the inbox")
            if version is not None and version != found.version:
                return _moved_on(connection, found)
            done = deed(found, ledger, connection)
            if isinstance(done, Refused):
                return done
            ledger.apply(done)
            if found.is_open and not done.episode.is_open:
                Causes(connection, self._reader, ledger).cleared(done.episode, at_us)
            ledger.write()
            before = {"state": found.state.value}
            told = {"state": done.episode.state.value, **after}
            append(connection, Event(action, "alert", str(episode_id), by, at_us, found.facts.tenant, before, told))
            return inbox.episode(connection, episode_id, at_us) or found


def _moved_on(connection: Connection, episode: Episode) -> Refused:
    newest = inbox.last_words(connection, episode.id)
    what = "changed" if newest is None else f"{newest.kind.value.replace('_', ' ')} by {newest.by.name}"
    return Refused(RefusedFor.CHANGED, f"somebody was faster: {what}; look at it again, then decide", episode)


def _now_us() -> int:
    return time.time_ns() // 1_000
