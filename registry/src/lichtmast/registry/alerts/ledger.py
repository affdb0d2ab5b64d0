"""Episodes in one write transaction: read in bulk, changed as values, written in bulk.

A silent town is thirty thousand alerts in one step: nothing here asks the database once an episode.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, tuple_, update

from lichtmast.registry.alert_schema import alert_entry, alert_episode, alert_notice
from lichtmast.registry.alerts.episode import OPEN_STATES, Change, Entry, EntryKind, Episode, EpisodeState, NoticeEvent
from lichtmast.registry.alerts.rules import Severity
from lichtmast.registry.alerts.scope import Facts
from lichtmast.registry.alerts.subjects import chunks
from lichtmast.registry.auditing import Actor, ActorKind

Key = tuple[int, str]
"""Rule and subject."""
_E: Final = alert_episode.c
IS_OPEN: Final = _E.state.in_(sorted(OPEN_STATES))
"""Named one by one, so that the index on the state is of use."""
_N: Final = alert_notice.c
_PLAIN: Final = tuple(
    field.name for field in fields(Episode) if field.name not in {"severity", "facts", "state", "reopens_as"}
)
_CHANGING: Final = tuple(field.name for field in fields(Episode) if field.name not in {"id", "facts"})
_FACTS: Final = tuple(field.name for field in fields(Facts) if field.name != "name")


class Ledger:
    """The episodes that a transaction touches. Nothing is in the database before `write`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stored: dict[int, Episode] = {}
        self._drafts: dict[int, Episode] = {}
        self._newest: dict[Key, int] = {}
        self._untaken: dict[int, dict[NoticeEvent, int]] = {}
        self._entries: list[dict[str, Any]] = []
        self._notices: list[dict[str, Any]] = []
        self._withdrawn: list[dict[str, Any]] = []
        self._next_id = 0

    def read_newest(self, keys: Iterable[Key]) -> None:
        """Read the newest episode of each rule and subject."""
        for chunk in chunks(keys):
            newest = (
                select(func.max(_E.id))
                .where(tuple_(_E.rule_id, _E.subject).in_(chunk))
                .group_by(_E.rule_id, _E.subject)
            )
            self._read([_E.id.in_(newest)])

    def read_open(self, *conditions: ColumnElement[bool]) -> list[Episode]:
        """Read the open episodes for which the conditions hold in the database.

        Returns all open ones that were read or begun so far, as they stand here: the caller asks its conditions again.
        """
        self._read([IS_OPEN, *conditions])
        return [one for one in self._drafts.values() if one.is_open]

    def read(self, episode_id: int) -> Episode | None:
        """One episode."""
        self._read([_E.id == episode_id])
        return self._drafts.get(episode_id)

    def newest(self, key: Key) -> Episode | None:
        """The newest episode of a rule and a subject, of those that were read or begun."""
        found = self._newest.get(key)
        return None if found is None else self._drafts[found]

    def untaken(self, episode: Episode) -> dict[NoticeEvent, int]:
        """Its notices that nobody has taken yet, and when they are due."""
        return self._untaken.get(episode.id, {})

    def new_id(self) -> int:
        """The id of the next episode. Writers queue, so nobody else takes it."""
        if not self._next_id:
            self._next_id = int(self._connection.execute(select(func.coalesce(func.max(_E.id), 0))).scalar_one())
        self._next_id += 1
        return self._next_id

    def apply(self, change: Change | None) -> None:
        """Take over a change; None is none."""
        if change is None:
            return
        episode = change.episode
        self._keep(episode)
        self._entries += [_entry_row(episode.id, one) for one in change.entries]
        untaken = self._untaken.setdefault(episode.id, {})
        for event in change.withdraw:
            del untaken[event]
            self._withdrawn.append({"of": episode.id, "what": event.value})
            self._notices = [
                one for one in self._notices if (one["episode_id"], one["event"]) != (episode.id, event.value)
            ]
        for notice in change.tell:
            untaken[notice.event] = notice.due_us
            self._notices.append(
                {
                    "episode_id": episode.id,
                    "event": notice.event.value,
                    "at_us": notice.at_us,
                    "due_us": notice.due_us,
                }
            )

    def write(self) -> int:
        """Write everything; how many episodes changed."""
        changed = [one for one in self._drafts.values() if self._stored.get(one.id) != one]
        noted = {row["episode_id"] for row in self._entries} - {one.id for one in changed}
        changed += [self._drafts[one] for one in noted]
        first: list[tuple[int, dict[str, Any]]] = []
        last: list[tuple[int, dict[str, Any]]] = []
        for one in changed:
            stored = self._stored.get(one.id)
            if stored is not None:
                row = _differences(stored, replace(one, version=stored.version + 1))
                if not one.is_open:
                    # What ends makes room: the next of its rule and subject may begin in this step. So may its cause.
                    first.append((one.id, {name: value for name, value in row.items() if name != "cause_id"}))
                    row = {"cause_id": one.cause_id} if "cause_id" in row else {}
                last.append((one.id, row))
        self._update(first)
        # Those of groups first: a member that began in the same step names its cause, which must be there by then.
        begun = sorted((one for one in changed if one.id not in self._stored), key=lambda one: not one.facts.is_group)
        self._many(insert(alert_episode), [_row(one) for one in begun])
        self._update(last)
        self._many(
            delete(alert_notice).where(
                _N.episode_id == bindparam("of"), _N.event == bindparam("what"), _N.taken_at_us.is_(None)
            ),
            self._withdrawn,
        )
        self._many(insert(alert_notice), self._notices)
        self._many(insert(alert_entry), self._entries)
        return len(changed)

    def _update(self, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """By which columns changed, since an index on a column that did not is not touched."""
        by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for episode_id, row in rows:
            if row:
                by_columns.setdefault(tuple(row), []).append({**row, "which": episode_id})
        for names, group in by_columns.items():
            values: dict[str, Any] = {name: bindparam(name) for name in names}
            self._many(update(alert_episode).where(_E.id == bindparam("which")).values(values), group)

    def _many(self, statement: Any, rows: Sequence[dict[str, Any]]) -> None:  # noqa: ANN401 - any kind of statement
        if rows:
            self._connection.execute(statement, rows)

    def _read(self, conditions: Sequence[ColumnElement[bool]]) -> None:
        read = [
            episode_of(row)
            for row in self._connection.execute(select(alert_episode).where(*conditions).order_by(_E.id))
            if row.id not in self._drafts
        ]
        for one in read:
            self._stored[one.id] = one
            self._keep(one)
        for ids in chunks(one.id for one in read):
            rows = self._connection.execute(
                select(_N.episode_id, _N.event, _N.due_us).where(_N.episode_id.in_(ids), _N.taken_at_us.is_(None))
            )
            for episode_id, event, due_us in rows:
                self._untaken.setdefault(episode_id, {})[NoticeEvent(event)] = due_us

    def _keep(self, episode: Episode) -> None:
        self._drafts[episode.id] = episode
        key = (episode.rule_id, episode.subject)
        self._newest[key] = max(episode.id, self._newest.get(key, 0))


def episode_of(row: Any) -> Episode:  # noqa: ANN401 - a row of alert_episode
    """A row as a value."""
    return Episode(
        severity=Severity(row.severity),
        facts=Facts(**{name: getattr(row, name) for name in _FACTS}, name=row.subject_name),
        state=EpisodeState(row.state),
        reopens_as=EpisodeState(row.reopens_as),
        **{name: getattr(row, name) for name in _PLAIN},
    )


def entry_of(row: Any) -> Entry:  # noqa: ANN401 - a row of alert_entry
    """A row as a value."""
    return Entry(row.at_us, EntryKind(row.kind), Actor(ActorKind(row.actor_kind), row.actor), row.words)


def _entry_row(episode_id: int, entry: Entry) -> dict[str, Any]:
    return {
        "episode_id": episode_id,
        "at_us": entry.at_us,
        "kind": entry.kind.value,
        "actor_kind": entry.by.kind.value,
        "actor": entry.by.name,
        "words": entry.words,
    }


def _row(episode: Episode) -> dict[str, Any]:
    facts = {name: getattr(episode.facts, name) for name in _FACTS} | {"subject_name": episode.facts.name}
    return (
        {name: getattr(episode, name) for name in _PLAIN}
        | facts
        | {
            "severity": episode.severity.value,
            "state": episode.state.value,
            "reopens_as": episode.reopens_as.value,
        }
    )


def _differences(stored: Episode, now: Episode) -> dict[str, Any]:
    """What of a row is to be written anew. What is known of its subject never changes."""
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name in _CHANGING
        if (value := getattr(now, name)) != getattr(stored, name)
    }
