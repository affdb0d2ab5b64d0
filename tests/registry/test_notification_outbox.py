"""The outbox: from notices to letters, each once; quiet hours, folding, escalation, giving up."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest
from notification_town import HERE, HOUR_US, MINUTE_US, NotificationTown, notification_town

from lichtmast.registry.alerts import EnginePosition, Step, Transition, TransitionKind
from lichtmast.registry.auditing import LOCAL_COMMAND
from lichtmast.registry.notifying import ChannelInUseError, DeliveryState, Letter, limits
from lichtmast.registry.notifying.records import Notice


@pytest.fixture
def town(tmp_path: Path, empty_register: Path) -> Iterator[NotificationTown]:
    copyfile(empty_register, tmp_path / "register.sqlite")
    with notification_town(tmp_path / "register.sqlite") as opened:
        yield opened


def letters(town: NotificationTown) -> list[Letter]:
    while town.book.advance(town.now_us):
        pass
    return town.book.letters(town.now_us)


def send(town: NotificationTown) -> list[tuple[str, list[int]]]:
    """Send all there is: the channel's name and the ids of the notices of each letter."""
    sent = []
    while found := letters(town):
        for one in found:
            town.book.settle(one, DeliveryState.SENT, "taken", at_us=town.now_us, next_us=None)
            sent.append((one.channel.draft.name, [notice.id for notice in one.notices]))
    return sent


def test_a_notice_goes_once_to_each_channel_that_takes_it(town: NotificationTown) -> None:
    town.channel("all")
    town.channel("critical", severity="critical")
    town.channel("lamps", rules=["Lamp uit"])
    mild = town.notice(town.episode(rule_name="Stil"))
    lamp = town.notice(town.episode(rule_name="Lamp uit", severity="critical"))
    elsewhere = town.notice(town.episode(tenant="gm0385", severity="critical"))
    assert sorted(send(town)) == [("all", [mild, lamp]), ("critical", [lamp]), ("lamps", [lamp])]
    assert send(town) == []
    assert elsewhere not in {one.notice.id for one in town.book.deliveries()}


def test_a_notice_waits_until_it_is_due(town: NotificationTown) -> None:
    town.channel()
    later = town.notice(due_us=town.now_us + MINUTE_US)
    assert send(town) == []
    town.now_us += MINUTE_US
    assert send(town) == [("on-call", [later])]


def test_a_quiet_night_ends_in_one_message_and_only_what_is_critical_passes(town: NotificationTown) -> None:
    town.channel(quiet={"from": "22:00", "until": "07:00"})
    town.now_us += 11 * HOUR_US  # 23:00
    held = [town.notice() for _ in range(3)]
    critical = town.episode(severity="critical")
    loud = town.notice(critical)
    assert send(town) == [("on-call", [loud])]
    held.append(town.notice(critical, "cleared"))
    town.now_us += 8 * HOUR_US - 1  # 07:00, all but a moment
    assert send(town) == []
    town.now_us += 1
    assert send(town) == [("on-call", held)]


def test_what_is_more_than_a_message_holds_follows_in_the_next(town: NotificationTown) -> None:
    town.channel()
    episode = town.episode()
    notices = [town.notice(episode) for _ in range(limits.NOTICES_PER_MESSAGE_MAX + 1)]
    assert [ids for _, ids in send(town)] == [notices[:-1], notices[-1:]]


def test_a_letter_that_failed_keeps_its_id_and_holds_back_what_follows_on_its_channel_alone(
    town: NotificationTown,
) -> None:
    town.channel()
    town.channel("other")
    first = town.notice()
    mine, other = letters(town)
    town.book.settle(mine, DeliveryState.WAITING, "451 later", at_us=town.now_us, next_us=town.now_us + MINUTE_US)
    town.book.settle(other, DeliveryState.SENT, "taken", at_us=town.now_us, next_us=None)
    second = town.notice()
    assert send(town) == [("other", [second])]
    town.now_us += MINUTE_US
    (again,) = letters(town)
    assert (again.id, again.attempts, [one.id for one in again.notices]) == (mine.id, 1, [first])
    assert send(town) == [("on-call", [first]), ("on-call", [second])]


def test_what_was_given_up_is_seen_logged_and_can_be_sent_again_under_the_same_id(town: NotificationTown) -> None:
    town.channel()
    town.notice()
    (letter,) = letters(town)
    town.book.settle(letter, DeliveryState.FAILED, "550 no such user", at_us=town.now_us, next_us=None)
    (failed,) = town.book.deliveries(HERE, state=DeliveryState.FAILED)
    assert (failed.answer, failed.attempts, failed.message) == ("550 no such user", 1, letter.id)
    (event,) = [one for one in town.registry.audit_log.read(limit=1000) if one.action == "notification.delivery_failed"]
    assert "550" in (event.after or "")
    assert letters(town) == []
    town.notice()
    assert letters(town)[0].id != letter.id
    town.book.retry(failed.id, by=LOCAL_COMMAND, at_us=town.now_us)
    assert [one.id for one in letters(town)] == [letter.id], "the older one first, and one at a time"
    with pytest.raises(ChannelInUseError, match="only a failed one"):
        town.book.retry(failed.id, by=LOCAL_COMMAND, at_us=town.now_us)


@pytest.mark.parametrize(
    ("then", "reached"),
    [
        ({}, ["duty"]),
        ({"state": "acknowledged"}, []),
        ({"state": "shelved", "shelved_until_us": 1}, []),
        ({"state": "cleared", "cleared_at_us": 1}, []),
        ({"in_maintenance": True}, []),
        ({"grouped": True}, []),
    ],
)
def test_what_nobody_acknowledged_goes_to_the_next_channel_as_the_alert_stands_then(
    town: NotificationTown, then: dict[str, object], reached: list[str]
) -> None:
    town.channel("duty", severity="critical")
    town.channel(escalate={"after_s": 900, "to": "duty"})
    episode = town.episode()
    notice = town.notice(episode)
    assert send(town) == [("on-call", [notice])]
    town.now_us += 900_000_000 - 1
    assert send(town) == []
    if then:
        town.change(episode, **then)
    town.now_us += 1
    assert send(town) == [(name, [notice]) for name in reached]
    assert send(town) == []
    *escalated, _ = town.book.deliveries(HERE)
    assert [(one.channel, one.notice.escalated_from) for one in escalated] == [(name, "on-call") for name in reached]


def test_who_heard_of_an_alert_only_because_others_did_not_react_hears_too_that_it_is_over(
    town: NotificationTown,
) -> None:
    town.channel("duty", severity="critical")
    town.channel(escalate={"after_s": 60, "to": "duty"})
    episode = town.episode()
    raised = town.notice(episode)
    send(town)
    town.now_us += MINUTE_US
    assert send(town) == [("duty", [raised])]
    cleared = town.notice(episode, "cleared")
    assert sorted(send(town)) == [("duty", [cleared]), ("on-call", [cleared])]


def test_channels_that_escalate_in_a_circle_tell_each_notice_once(town: NotificationTown) -> None:
    town.channel("duty")
    town.channel(escalate={"after_s": 60, "to": "duty"})
    town.channel("duty", escalate={"after_s": 60, "to": "on-call"})
    town.notice()
    assert len(send(town)) == 2
    for _ in range(4):
        town.now_us += MINUTE_US
        assert send(town) == []


def test_an_alert_that_is_really_raised_is_told_and_stays_here_once_somebody_has_it(town: NotificationTown) -> None:
    alerts = town.registry.alerts
    town.channel("duty", severity="critical")
    town.channel(escalate={"after_s": 60, "to": "duty"})
    document = {
        "name": "Stil",
        "tenant": HERE,
        "severity": "warning",
        "scope": {},
        "condition": {"kind": "absence", "after_s": 600},
    }
    rule = alerts.put_rule(document, by=LOCAL_COMMAND, at_us=town.now_us)

    def step(number: int, kind: TransitionKind) -> None:
        subject = f"device/{HERE}/lm-{number}"
        transition = Transition(rule.id, rule.version, subject, kind, town.now_us, None, "no reading for 10 minutes")
        upto = town.now_us + number
        alerts.save(Step(EnginePosition("log", upto, upto, town.now_us), (transition,)), now_us=town.now_us)

    for number in (1, 2):
        step(number, TransitionKind.RAISED)
    assert [name for name, _ in send(town)] == ["on-call"]
    other, taken_up = [one.notice for one in town.book.deliveries()]
    assert (taken_up.event, taken_up.rule, taken_up.because) == ("raised", "Stil", "no reading for 10 minutes")
    alerts.acknowledge(taken_up.episode_id, by=LOCAL_COMMAND, at_us=town.now_us)
    town.now_us += MINUTE_US
    assert send(town) == [("duty", [other.id])]
    step(1, TransitionKind.CLEARED)
    town.now_us += HOUR_US
    send(town)
    assert [one.notice.event for one in town.book.deliveries(episode_id=taken_up.episode_id)] == ["cleared", "raised"]


def test_a_delivery_says_what_held_then_and_is_forgotten_after_its_time(town: NotificationTown) -> None:
    town.channel()
    episode = town.episode(subject_name="Kerkstraat 1")
    town.notice(episode)
    send(town)
    town.change(episode, subject_name="Brink 2")
    (kept,) = town.book.deliveries(HERE, episode_id=episode)
    assert (kept.notice.name, kept.state) == ("Kerkstraat 1", "sent")
    assert town.book.forget(town.now_us + limits.KEPT_US) == 0
    assert town.book.forget(town.now_us + limits.KEPT_US + 1) == 1


def test_texts_of_others_are_one_bounded_line_before_anybody_sends_them() -> None:
    hostile = "Brink 2\r\nBcc: evil@example.net\x00\u202e" + "é" * 500
    notice = Notice(1, 2, "raised", 3, HERE, hostile, "info", hostile, hostile, hostile)
    for text in (value for value in notice.facts().values() if isinstance(value, str)):
        assert text.isprintable()
        assert len(text.encode()) <= limits.BECAUSE_BYTES_MAX
    assert Notice.from_facts(notice.facts()).facts() == notice.facts()
