"""Rules of validation are versions that are only added to, fit the register, and reach the pipeline by its revision."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from lichtmast.registry import AssetRecord, ConflictError, Registry, UnknownRecordError
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.limits import VALIDATION_NOTE_CHARACTERS_MAX
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles
from lichtmast.wire.validation import BY_PROFILE, ValidationRulesError

JAN = Actor(ActorKind.USER, "jan@example.nl", "2001:db8::1")
LAMP = load_profiles()["lamp-controller"]


def _level(**fields: object) -> dict[str, Any]:
    return {"profile": {"lamp-controller": {"level": fields}}}


def test_a_version_tells_its_rules_and_who_put_them_when_and_why(registry: Registry) -> None:
    assert registry.validation.current() == BY_PROFILE
    put = registry.validation.put(_level(maximum=0.9), " dimmed by permit ", by=JAN, at_us=5, based_on=0)
    registry.validation.put(_level(maximum=0.8), "lower", by=JAN, at_us=6, based_on=1)
    assert (put.version, registry.validation.current().version) == (1, 2)
    assert registry.validation.current().of(LAMP)[0].maximum == 0.8
    newest, first = registry.validation.history()
    assert (first.version, first.note, first.by, first.at_us) == (1, "dimmed by permit", JAN, 5)
    assert registry.validation.version(1) == first
    assert (newest.document, registry.validation.version(3)) == (_level(maximum=0.8), None)


def test_a_change_raises_the_revision_and_stands_in_the_log_of_changes(registry: Registry) -> None:
    before = registry.revision()
    registry.validation.put(_level(maximum=0.9), "dimmed", by=JAN, at_us=5)
    directory = registry.directory()
    assert (directory.revision, directory.validation.version) == (before + 1, 1)
    event = registry.audit_log.read(limit=1, newest_first=True)[0]
    assert (event.action, event.actor, event.subject) == ("validation.put", JAN.name, "version 1")
    assert '"note":"dimmed"' in (event.after or "")
    assert registry.audit_log.verify().is_whole


def test_the_same_rules_again_change_nothing(registry: Registry) -> None:
    registry.validation.put(_level(maximum=0.9), "dimmed", at_us=5)
    before = registry.revision()
    assert registry.validation.put(_level(maximum=0.9), "again", at_us=6).version == 1
    assert registry.revision() == before
    assert len(registry.validation.history()) == 1


def test_whoever_had_an_older_version_before_his_eyes_is_told_who_came_between(registry: Registry) -> None:
    registry.validation.put(_level(maximum=0.9), "dimmed", by=JAN, at_us=5, based_on=0)
    with pytest.raises(ConflictError, match=r"at version 1, put by jan@example\.nl \('dimmed'\), not at 0"):
        registry.validation.put(_level(maximum=0.7), "mine", at_us=6, based_on=0)
    with pytest.raises(UnknownRecordError, match="no version 9 of the rules; the newest is 1"):
        registry.validation.put(_level(maximum=0.7), "mine", at_us=6, based_on=9)
    assert registry.validation.current().of(LAMP)[0].maximum == 0.9


def test_rules_of_a_datastream_fit_what_it_is_a_series_of(registry: Registry, lampposts: list[AssetRecord]) -> None:
    device = registry.register_device(DeviceId("gm0402", "lm-1"), LAMP.key, asset_id=lampposts[0].id, at_us=1)
    level = device.datastream_ids[0]
    faulty = next(
        series for series, one in zip(device.datastream_ids, LAMP.uplinks, strict=True) if one.kind.value == "boolean"
    )
    for tables, words in (
        ({"99999": {"maximum": 1}}, "there is no datastream 99999 in the register"),
        (
            {str(level): {"minimum": 2}},
            rf"datastream.{level} \(lamp-controller.level\): minimum 2 is not below maximum 1",
        ),
        ({str(faulty): {"stuck_after": 3}}, "a boolean takes no rules"),
    ):
        with pytest.raises(ValidationRulesError, match=words):
            registry.validation.draft({"datastream": tables})
    registry.validation.put({"datastream": {str(level): {"maximum": 0.5}}}, "half", at_us=5)
    assert registry.directory().validation.of_datastream(level, BY_PROFILE.of(LAMP)[0]).maximum == 0.5


def test_a_draft_is_checked_like_a_version_but_not_kept(registry: Registry) -> None:
    assert registry.validation.draft(_level(maximum=0.9)).version == 1
    assert registry.validation.history() == []


@pytest.mark.parametrize("note", ["", " ", "a\nb", "x" * (VALIDATION_NOTE_CHARACTERS_MAX + 1)])
def test_a_version_needs_a_reason_that_can_be_read(registry: Registry, note: str) -> None:
    with pytest.raises(ValueError, match="a note is 1 to 500 characters that print"):
        registry.validation.put(_level(maximum=0.9), note, at_us=5)
    assert registry.validation.put(_level(maximum=0.9), "x" * VALIDATION_NOTE_CHARACTERS_MAX, at_us=5).version == 1


def test_no_program_can_alter_or_take_away_a_version(registry: Registry, tmp_path: Path) -> None:
    registry.validation.put(_level(maximum=0.9), "dimmed", at_us=5)
    with sqlite3.connect(tmp_path / "register.sqlite") as connection:
        for change in (
            "UPDATE validation_rules SET note = 'other'",
            "DELETE FROM validation_rules",
            "INSERT OR REPLACE INTO validation_rules SELECT * FROM validation_rules",
            "INSERT INTO validation_rules VALUES (3, '', '', '', '', '', 0)",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="versions of the rules of validation"):
                connection.execute(change)
    connection.close()


def test_an_entry_of_the_directory_says_where_its_lamppost_stands(
    registry: Registry, lampposts: list[AssetRecord]
) -> None:
    registry.register_device(DeviceId("gm0402", "lm-1"), LAMP.key, asset_id=lampposts[0].id, at_us=1)
    registry.register_device(DeviceId("gm0402", "lm-2"), LAMP.key, at_us=1)
    hanging, loose = (registry.directory().entries[f"gm0402/lm-{number}"] for number in (1, 2))
    assert (hanging.longitude, hanging.latitude) == (lampposts[0].longitude, lampposts[0].latitude)
    assert (loose.longitude, loose.latitude) == (None, None)
