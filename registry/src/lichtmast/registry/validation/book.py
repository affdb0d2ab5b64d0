"""The book of rules: versions of the document that says what is believable.

A version is never altered; going back is putting the old document as a new one. Every change raises the register's
revision, so a running pipeline judges by the new rules within a second.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, insert, select

from lichtmast.registry import schema
from lichtmast.registry.auditing import LOCAL_COMMAND, Action, Actor, ActorKind, Event, append
from lichtmast.registry.database import bump, writing
from lichtmast.registry.errors import ConflictError, UnknownRecordError
from lichtmast.registry.limits import LOOKUP_IDS_MAX, VALIDATION_DOCUMENT_BYTES_MAX, VALIDATION_NOTE_CHARACTERS_MAX
from lichtmast.registry.validation_schema import validation_rules
from lichtmast.wire.profile import Profile
from lichtmast.wire.validation import BY_PROFILE, RuleSet, ValidationRulesError, parse_rules, read_rules, require_sound

_V: Final = validation_rules.c


@dataclass(frozen=True, slots=True)
class RulesVersion:
    """One version of the rules, and who put it."""

    version: int
    document: Mapping[str, Any] = field(repr=False)
    note: str
    by: Actor
    at_us: int


class ValidationBook:
    """The versions of one register's rules. Use `Registry.validation`."""

    def __init__(self, engine: Engine, profiles: Mapping[str, Profile]) -> None:
        self._engine = engine
        self._profiles = profiles

    def current(self) -> RuleSet:
        """The rules that hold now."""
        with self._engine.connect() as connection:
            return current_rules(connection)

    def history(self, limit: int = 100, after: int = 0) -> list[RulesVersion]:
        """A page of versions, newest first; `after` is the last one of the page before, 0 for the newest page.

        Version 0, the profiles alone, is in none of them.
        """
        query = select(validation_rules).order_by(_V.version.desc()).limit(limit)
        with self._engine.connect() as connection:
            rows = connection.execute(query.where(_V.version < after) if after else query)
            return [_version(row) for row in rows]

    def version(self, number: int) -> RulesVersion | None:
        """One version; None where there is none, and for 0, which nobody put."""
        with self._engine.connect() as connection:
            row = connection.execute(select(validation_rules).where(_V.version == number)).one_or_none()
        return None if row is None else _version(row)

    def draft(self, document: Mapping[str, Any]) -> RuleSet:
        """What a document would be as the next version, without putting it. Raises ValidationRulesError."""
        with self._engine.connect() as connection:
            newest = _newest(connection)
            return self._checked(connection, document, (newest.version if newest else 0) + 1)

    def put(
        self,
        document: Mapping[str, Any],
        note: str,
        *,
        by: Actor = LOCAL_COMMAND,
        at_us: int,
        based_on: int | None = None,
    ) -> RuleSet:
        """Make this document the rules from now on; one that is equal to the present one changes nothing.

        `based_on` is the version that the writer had before his eyes: where another came in between, nothing is
        changed. None puts it on whatever there is. Raises ValidationRulesError, ConflictError, ValueError.
        """
        if not (0 < len(note.strip()) <= VALIDATION_NOTE_CHARACTERS_MAX and note.isprintable()):
            raise ValueError(
                f"a note is 1 to {VALIDATION_NOTE_CHARACTERS_MAX} characters that print: why the rules change"
            )
        with writing(self._engine) as connection:
            newest = _newest(connection)
            version = newest.version if newest else 0
            if based_on is not None and based_on != version:
                raise _conflict(based_on, newest)
            rules = self._checked(connection, document, version + 1)
            text = _text(document)
            if newest is not None and newest.document == text:
                return read_rules(document, version)
            row = {"version": version + 1, "document": text, "note": note.strip(), "at_us": at_us}
            who = {"actor_kind": by.kind.value, "actor": by.name, "source": by.source}
            connection.execute(insert(validation_rules).values(row | who))
            append(connection, _event(rules, text, note.strip(), by, at_us))
            bump(connection)
        return rules

    def _checked(self, connection: Connection, document: Mapping[str, Any], version: int) -> RuleSet:
        """The rules, which fit the profiles and the datastreams. Raises ValidationRulesError."""
        rules = parse_rules(document, version, self._profiles)
        if len(_text(document)) > VALIDATION_DOCUMENT_BYTES_MAX:
            raise ValidationRulesError(f"the document has more than {VALIDATION_DOCUMENT_BYTES_MAX} bytes as JSON")
        found = dict(_meant(connection, sorted(rules.overridden)))
        for datastream_id in sorted(rules.overridden):
            where = f"datastream.{datastream_id}"
            if datastream_id not in found:
                raise ValidationRulesError(f"{where}: there is no datastream {datastream_id} in the register")
            profile_key, key = found[datastream_id]
            profile = self._profiles.get(profile_key)
            index = (
                None if profile is None else next((i for i, one in enumerate(profile.uplinks) if one.key == key), None)
            )
            if profile is None or index is None:
                raise ValidationRulesError(
                    f"{where}: no profile of this version has its capability {profile_key}.{key}"
                )
            outcome = rules.of_datastream(datastream_id, rules.of(profile)[index])
            given = rules.by_datastream[datastream_id]
            require_sound(outcome, given, profile.uplinks[index], f"{where} ({profile_key}.{key})")
        return rules


def current_rules(connection: Connection) -> RuleSet:
    """The rules that hold, in the transaction of whoever reads more."""
    newest = _newest(connection)
    return BY_PROFILE if newest is None else read_rules(json.loads(newest.document), newest.version)


def _newest(connection: Connection) -> Row[Any] | None:
    return connection.execute(select(validation_rules).order_by(_V.version.desc()).limit(1)).one_or_none()


def _meant(connection: Connection, datastream_ids: Sequence[int]) -> Iterator[tuple[int, tuple[str, str]]]:
    """By datastream: the keys of the profile and the capability that it is a series of."""
    s, c, m = schema.datastream.c, schema.capability.c, schema.sensor.c
    query = (
        select(s.id, m.profile, c.key)
        .join(schema.capability, c.id == s.capability_id)
        .join(schema.sensor, m.id == c.sensor_id)
    )
    for start in range(0, len(datastream_ids), LOOKUP_IDS_MAX):
        page = datastream_ids[start : start + LOOKUP_IDS_MAX]
        for datastream_id, profile, key in connection.execute(query.where(s.id.in_(page))):
            yield datastream_id, (profile, key)


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _version(row: Row[Any]) -> RulesVersion:
    by = Actor(ActorKind(row.actor_kind), row.actor, row.source)
    return RulesVersion(row.version, json.loads(row.document), row.note, by, row.at_us)


def _conflict(based_on: int, newest: Row[Any] | None) -> Exception:
    if newest is None or based_on > newest.version:
        return UnknownRecordError(
            f"there is no version {based_on} of the rules; the newest is {newest.version if newest else 0}"
        )
    return ConflictError(
        f"the rules are at version {newest.version}, put by {newest.actor} ({newest.note!r}), not at {based_on}: "
        f"compare {based_on} with {newest.version}, then put yours on {newest.version}"
    )


def _event(rules: RuleSet, text: str, note: str, by: Actor, at_us: int) -> Event:
    """The log has the digest; the document itself stays in the table, which is append-only as well."""
    after = {
        "note": note,
        "profiles": sorted(rules.by_profile),
        "datastreams": len(rules.overridden),
        "sha256": sha256(text.encode()).hexdigest(),
    }
    return Event(Action.VALIDATION_PUT, "validation", f"version {rules.version}", by, at_us, after=after)
