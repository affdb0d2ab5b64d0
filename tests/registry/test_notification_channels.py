"""Channels: read strictly, kept with a sealed secret, changed and removed in the open."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from notification_town import HERE, SEAL, NotificationTown, notification_town

from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.notifying import (
    ChannelDocumentError,
    ChannelInUseError,
    ChannelKind,
    QuietHours,
    UnknownChannelError,
    limits,
    parse_channel,
)
from lichtmast.registry.people import PeopleError, Seal

SOUND: dict[str, Any] = {"name": "on-call", "kind": "email", "target": "lamps@example.nl"}
HOOK: dict[str, Any] = {"name": "hook", "kind": "webhook", "target": "https://example.nl/hooks/9f3c?key=17"}


@pytest.fixture
def town(tmp_path: Path, empty_register: Path) -> Iterator[NotificationTown]:
    copyfile(empty_register, tmp_path / "register.sqlite")
    with notification_town(tmp_path / "register.sqlite") as opened:
        yield opened


def test_a_document_with_everything_is_read() -> None:
    night = {"quiet": {"from": "22:30", "until": "07:00"}, "escalate": {"after_s": 900, "to": "duty"}}
    draft = parse_channel(HERE, SOUND | night | {"language": "en", "severity": "critical", "rules": ["Lamp uit"]})
    assert (draft.kind, draft.target, draft.quiet) == (ChannelKind.EMAIL, "lamps@example.nl", QuietHours(1350, 420))
    assert (draft.escalate_after_s, draft.escalate_to, draft.rules) == (900, "duty", ("Lamp uit",))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "On Call"}, "name"),
        ({"name": "a" * (limits.NAME_CHARACTERS_MAX + 1)}, "name"),
        ({"kind": "pigeon"}, "kind"),
        ({"target": ""}, "target"),
        ({"target": "lamps@example.nl\r\nBcc: evil@example.net"}, "target"),
        ({"target": "lamps@example.nl, evil@example.net"}, "target"),
        ({"target": "lämps@example.nl"}, "target"),
        ({"kind": "mqtt"}, "target"),
        ({"kind": "webhook", "target": "http://example.nl/hook"}, "target"),
        ({"kind": "webhook", "target": "https://user:word@example.nl/"}, "target"),
        ({"kind": "webhook", "target": "https://example.nl/#here"}, "target"),
        ({"kind": "webhook", "target": "file:///etc/passwd"}, "target"),
        ({"kind": "webhook", "target": "https://[::1/"}, "target"),
        ({"language": "fr"}, "language"),
        ({"severity": "loud"}, "severity"),
        ({"rules": "Lamp uit"}, "rules"),
        ({"rules": ["x"] * (limits.RULES_MAX + 1)}, "rules"),
        ({"quiet": {"from": "22:00"}}, "quiet"),
        ({"quiet": {"from": "24:00", "until": "07:00"}}, "quiet.from"),
        ({"quiet": {"from": "07:00", "until": "07:00"}}, "quiet"),
        ({"escalate": {"after_s": 0, "to": "duty"}}, "escalate.after_s"),
        ({"escalate": {"after_s": limits.ESCALATE_AFTER_MAX_S + 1, "to": "duty"}}, "escalate.after_s"),
        ({"escalate": {"after_s": 60, "to": "on-call"}}, "escalate.to"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ChannelDocumentError) as told:
        parse_channel(HERE, SOUND | change)
    assert told.value.field == field


def test_a_webhook_has_its_secret_shown_once_and_sealed_at_rest(town: NotificationTown, tmp_path: Path) -> None:
    made, secret = town.book.put(parse_channel(HERE, HOOK), SEAL, by=LOCAL_COMMAND, at_us=1)
    assert secret is not None
    assert len(secret) >= 24
    assert town.book.secret(made.id, SEAL) == secret
    again, shown = town.book.put(parse_channel(HERE, HOOK | {"language": "en"}), SEAL, by=LOCAL_COMMAND, at_us=2)
    assert (again.id, again.draft.language, shown) == (made.id, "en", None)
    with pytest.raises(PeopleError):
        town.book.secret(made.id, Seal.from_secret(b"another secret, of somebody else's data folder"))
    with sqlite3.connect(tmp_path / "register.sqlite") as connection:
        (sealed,) = connection.execute("SELECT secret_sealed FROM notification_channel").fetchone()
    connection.close()
    assert secret not in sealed


def test_each_change_stands_in_the_log_without_what_a_webhook_hides(town: NotificationTown) -> None:
    made, _ = town.book.put(parse_channel(HERE, HOOK), SEAL, by=LOCAL_COMMAND, at_us=1)
    town.book.put(parse_channel(HERE, HOOK), SEAL, by=LOCAL_COMMAND, at_us=2)  # the same: no event
    town.book.put(parse_channel(HERE, HOOK | {"severity": "info"}), SEAL, by=LOCAL_COMMAND, at_us=3)
    town.book.remove(made.id, by=LOCAL_COMMAND, at_us=4)
    events = town.registry.audit_log.read(subject=f"{HERE}/hook")
    kinds = [one.action.removeprefix("notification.channel_") for one in events]
    assert kinds == ["made", "changed", "removed"]
    assert "9f3c" not in str(events)
    assert "key" not in str(events)


def test_a_channel_that_others_escalate_to_cannot_go(town: NotificationTown) -> None:
    duty = town.channel("duty")
    town.channel(escalate={"after_s": 60, "to": "duty"})
    with pytest.raises(ChannelInUseError, match="on-call escalates to duty"):
        town.book.remove(duty.id, by=LOCAL_COMMAND, at_us=1)
    with pytest.raises(ChannelDocumentError, match="make it first"):
        town.channel("other", escalate={"after_s": 60, "to": "nobody"})


def test_a_removed_channel_loses_its_secret_and_what_waits_for_it(town: NotificationTown) -> None:
    made = town.channel("hook", "webhook", target="https://example.nl/")
    town.notice()
    town.book.advance(town.now_us)
    town.book.remove(made.id, by=LOCAL_COMMAND, at_us=town.now_us)
    with pytest.raises(UnknownChannelError):
        town.book.secret(made.id, SEAL)
    assert [one.state for one in town.book.deliveries(HERE)] == ["dropped"]
    assert town.book.letters(town.now_us) == []
    assert town.channel("hook", "webhook", target="https://example.nl/").id != made.id


def test_a_municipality_has_so_many_channels_and_no_more(
    town: NotificationTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHANNELS_MAX", 2)
    for name in ("one", "two"):
        town.channel(name)
    with pytest.raises(ChannelInUseError, match="the most"):
        town.channel("three")
    town.channel("two", language="en")  # a change is none more
