"""The book of alerts where random histories do not go: rules that change, causes, time, people at once, a town."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from lichtmast.registry import AssetRecord, ConflictError, ImportReport, NewDevice, Registry, UnknownRecordError
from lichtmast.registry.alert_schema import alert_episode, alert_notice
from lichtmast.registry.alerts import (
    AlertRule,
    AlertRuleError,
    Box,
    EnginePosition,
    Episode,
    EpisodeState,
    InboxQuery,
    Refused,
    RefusedFor,
    Severity,
    Standing,
    StandingState,
    Step,
    Transition,
    TransitionKind,
    WindowDraft,
    limits,
)
from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.wire.identity import DeviceId

ELS = Actor(ActorKind.USER, "els")
JAN = Actor(ActorKind.USER, "jan")
SECOND_US = 1_000_000
NOON_US = 1_700_000_000 * SECOND_US
SILENCE: dict[str, Any] = {
    "name": "silence",
    "tenant": "gm0402",
    "severity": "warning",
    "condition": {"kind": "absence"},
}
CABINET: dict[str, Any] = {
    "name": "cabinet",
    "tenant": "gm0402",
    "severity": "critical",
    "condition": {"kind": "fleet", "rule": "silence", "share": 0.5, "of": "feeder"},
}


class Evaluation:
    """Saves steps, each with the next position."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._position = 0

    def raised(self, rule: AlertRule, *subjects: str, at_us: int = NOON_US, now_us: int | None = None) -> None:
        self._save(TransitionKind.RAISED, rule, subjects, at_us, now_us)

    def cleared(self, rule: AlertRule, *subjects: str, at_us: int = NOON_US, now_us: int | None = None) -> None:
        self._save(TransitionKind.CLEARED, rule, subjects, at_us, now_us)

    def _save(
        self, kind: TransitionKind, rule: AlertRule, subjects: tuple[str, ...], at_us: int, now_us: int | None
    ) -> None:
        self._position += 1
        state = StandingState.ACTIVE if kind is TransitionKind.RAISED else StandingState.IDLE
        found = tuple(Transition(rule.id, rule.version, one, kind, at_us, None, "because") for one in subjects)
        memory = tuple(Standing(rule.id, one, state, at_us, at_us) for one in subjects)
        position = EnginePosition("readings-1", self._position, self._position, at_us)
        self._registry.alerts.save(Step(position, found, memory), now_us=at_us if now_us is None else now_us)


@pytest.fixture
def evaluation(registry: Registry) -> Evaluation:
    return Evaluation(registry)


def _put(registry: Registry, *documents: Mapping[str, Any]) -> list[AlertRule]:
    return registry.alerts.put_rules(documents, by=ELS, at_us=NOON_US)


def _open(registry: Registry, now_us: int = NOON_US, **narrowing: object) -> list[Episode]:
    return [row.episode for row in registry.alerts.inbox(InboxQuery(**narrowing), now_us=now_us)]  # type: ignore[arg-type]


def _told(registry: Registry, episode_id: int) -> list[str]:
    with registry.alerts._engine.connect() as connection:
        query = select(alert_notice.c.event).where(alert_notice.c.episode_id == episode_id).order_by(alert_notice.c.id)
        return list(connection.execute(query).scalars())


def _one(answer: Episode | Refused | None) -> Episode:
    assert isinstance(answer, Episode)
    return answer


# Rules.


def test_a_change_is_a_new_version_an_equal_document_none_and_each_is_kept(registry: Registry) -> None:
    before = registry.revision()
    (first,) = _put(registry, SILENCE)
    assert registry.revision() == before + 1
    assert _put(registry, SILENCE) == [first]
    assert registry.revision() == before + 1
    second = registry.alerts.put_rule(SILENCE | {"severity": "info"}, by=JAN, at_us=NOON_US, based_on=1)
    assert (second.id, second.version, second.severity) == (first.id, 2, Severity.INFO)
    assert registry.alerts.rules() == [second]
    assert [(one.rule.version, one.by.name) for one in registry.alerts.rule_versions(first.id)] == [
        (2, "jan"),
        (1, "els"),
    ]
    with pytest.raises(ConflictError, match="version 2, not 1"):
        registry.alerts.put_rule(SILENCE, by=ELS, at_us=NOON_US, based_on=1)


def test_a_fleet_rule_counts_a_rule_that_is_there_and_keeps_it_there(registry: Registry) -> None:
    with pytest.raises(AlertRuleError, match="has no rule 'silence'"):
        _put(registry, CABINET)
    cabinet, silence = _put(registry, CABINET, SILENCE)
    stacked = CABINET | {"name": "stacked", "condition": CABINET["condition"] | {"rule": "cabinet"}}
    with pytest.raises(AlertRuleError, match="do not stack"):
        _put(registry, stacked)
    with pytest.raises(ConflictError, match="delete that one first"):
        registry.alerts.delete_rule(silence.id, by=ELS, at_us=NOON_US)
    registry.alerts.delete_rule(cabinet.id, by=ELS, at_us=NOON_US)
    registry.alerts.delete_rule(silence.id, by=ELS, at_us=NOON_US)
    assert registry.alerts.rules() == []
    assert _put(registry, SILENCE)[0].id > cabinet.id
    with pytest.raises(UnknownRecordError):
        registry.alerts.rule(silence.id)


def test_a_rule_that_is_off_or_covers_less_leaves_no_alert_behind(registry: Registry, evaluation: Evaluation) -> None:
    (rule,) = _put(registry, SILENCE)
    evaluation.raised(rule, "device/gm0402/lm-1", "device/gm0402/lm-2")
    narrower = registry.alerts.put_rule(SILENCE | {"scope": {"devices": ["gm0402/lm-2"]}}, by=JAN, at_us=NOON_US + 1)
    (still,) = _open(registry)
    assert (still.subject, still.rule_version) == ("device/gm0402/lm-2", 1)
    assert [one.subject for one in registry.alerts.load().standings] == ["device/gm0402/lm-2"]
    evaluation.raised(rule, "device/gm0402/lm-1", at_us=NOON_US + 2)  # by an evaluation that has not heard yet
    assert _open(registry) == [still]
    off = registry.alerts.switch_rule(narrower.id, enabled=False, by=JAN, at_us=NOON_US + 3)
    assert off.version == 3
    evaluation.raised(narrower, "device/gm0402/lm-2", at_us=NOON_US + 4)
    assert _open(registry) == []
    assert registry.alerts.load().standings == ()
    over = _one(registry.alerts.episode(still.id, now_us=NOON_US))
    assert over.ended_because == "the rule was switched off by jan"
    evaluation.cleared(narrower, "device/gm0402/lm-2", at_us=NOON_US + 5)
    assert _one(registry.alerts.episode(still.id, now_us=NOON_US)) == over


# Causes, with real feeders.


def test_a_cabinet_that_falls_silent_at_once_is_one_step_and_one_alert(
    registry: Registry, import_file: Callable[..., ImportReport]
) -> None:
    lines = ["straat;nummer;lon;lat;voedingskast"]
    lines += [f"Kerkstraat;{number};5,17{number};52,22{number};F1" for number in range(1, 4)]
    assert import_file("csv", "\n".join(lines)).committed
    for number, asset in enumerate(registry.things("gm0402"), 1):
        registry.register_device(DeviceId("gm0402", f"lm-{number}"), "noise", asset_id=asset.id, at_us=1)
    silence, cabinet = _put(registry, SILENCE, CABINET)
    subjects = [(silence, f"device/gm0402/lm-{number}") for number in range(1, 4)]
    # As the engine finds it: the second of three makes the share, and the third comes behind.
    subjects.insert(2, (cabinet, "group/feeder/F1"))
    found = [
        Transition(rule.id, rule.version, one, TransitionKind.RAISED, NOON_US, None, "because")
        for rule, one in subjects
    ]
    registry.alerts.save(Step(EnginePosition("readings-1", 1, 1, NOON_US), found), now_us=NOON_US)
    inbox = registry.alerts.inbox(InboxQuery(), now_us=NOON_US)
    assert [(row.episode.subject, row.speaks_for) for row in inbox] == [("group/feeder/F1", 3)]


def test_an_alert_that_ends_and_comes_back_later_in_one_step_is_two(registry: Registry) -> None:
    registry.register_device(DeviceId("gm0402", "lm-1"), "noise", at_us=1)
    (silence,) = _put(registry, SILENCE | {"fold_s": 0})

    def found(*told: tuple[TransitionKind, int]) -> list[Transition]:
        return [
            Transition(silence.id, silence.version, "device/gm0402/lm-1", kind, NOON_US + at_s * SECOND_US, None, "why")
            for kind, at_s in told
        ]

    raised, cleared = TransitionKind.RAISED, TransitionKind.CLEARED
    registry.alerts.save(Step(EnginePosition("readings-1", 1, 1, NOON_US), found((raised, 0))), now_us=NOON_US)
    later = found((cleared, 10), (raised, 20), (cleared, 30), (raised, 40))
    registry.alerts.save(Step(EnginePosition("readings-1", 2, 2, NOON_US), later), now_us=NOON_US)
    rows = registry.alerts.inbox(InboxQuery(states=frozenset(EpisodeState)), now_us=NOON_US)
    times = [(row.episode.raised_at_us - NOON_US, row.episode.state) for row in reversed(rows)]
    assert times == [
        (0, EpisodeState.CLEARED),
        (20 * SECOND_US, EpisodeState.CLEARED),
        (40 * SECOND_US, EpisodeState.NEW),
    ]


def test_one_alert_speaks_for_a_cabinet_whichever_came_first(
    registry: Registry, evaluation: Evaluation, import_file: Callable[..., ImportReport]
) -> None:
    lines = ["straat;nummer;lon;lat;voedingskast"]
    lines += [
        f"Kerkstraat;{number};5,17{number};52,22{number};{'F1' if number < 4 else 'F2'}" for number in range(1, 5)
    ]
    assert import_file("csv", "\n".join(lines)).committed
    for number, asset in enumerate(registry.things("gm0402"), 1):
        registry.register_device(DeviceId("gm0402", f"lm-{number}"), "noise", asset_id=asset.id, at_us=1)
    assert {one.feeder for one in registry.alerts.groups().values()} == {"F1", "F2"}
    silence, cabinet = _put(registry, SILENCE, CABINET)
    evaluation.raised(silence, "device/gm0402/lm-1", "device/gm0402/lm-4")
    evaluation.raised(cabinet, "group/feeder/F1")
    stream = registry.directory().entries["gm0402/lm-2"].datastream_ids[0]
    evaluation.raised(silence, f"datastream/{stream}", "device/gm0402/lm-3")
    inbox = registry.alerts.inbox(InboxQuery(), now_us=NOON_US)
    assert [(row.episode.subject, row.speaks_for) for row in inbox] == [
        ("group/feeder/F1", 3),
        ("device/gm0402/lm-4", 0),
    ]
    cause = inbox[0].episode
    file = registry.alerts.file(cause.id, now_us=NOON_US)
    assert file is not None
    assert [one.facts.name.split()[1] for one in file.members] == ["1", "2", "3"]
    assert file.members[1].facts.device == "gm0402/lm-2"
    assert [_told(registry, one.id) for one in (cause, *file.members)] == [["raised"], [], [], []]
    evaluation.cleared(silence, "device/gm0402/lm-3")
    evaluation.cleared(cabinet, "group/feeder/F1")
    assert {one.subject for one in _open(registry)} == {
        "device/gm0402/lm-1",
        "device/gm0402/lm-4",
        f"datastream/{stream}",
    }
    assert [_told(registry, one.id) for one in file.members] == [["raised"], ["raised"], []]
    # They come back within the hold: nobody needs to hear of them.
    evaluation.cleared(silence, "device/gm0402/lm-1", f"datastream/{stream}", now_us=NOON_US + 59 * SECOND_US)
    assert [_told(registry, one.id) for one in file.members] == [[], [], []]


# Time.


@pytest.mark.parametrize(
    ("shelved", "until"),
    [
        ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),  # the hour that is there twice
        ("2027-03-28T01:59:59+01:00", "2027-03-28T03:00:00+02:00"),  # the hour that is not there
        ("2016-12-31T23:59:59+00:00", "2017-01-01T00:00:00+00:00"),  # a leap second lay between
    ],
)
def test_a_shelf_ends_at_its_moment_whatever_the_clocks_on_the_wall_do(
    registry: Registry, evaluation: Evaluation, shelved: str, until: str
) -> None:
    (rule,) = _put(registry, SILENCE)
    at_us, until_us = (int(datetime.fromisoformat(one).timestamp()) * SECOND_US for one in (shelved, until))
    evaluation.raised(rule, "device/gm0402/lm-1", at_us=at_us)
    (one,) = _open(registry, at_us)
    _one(registry.alerts.shelve(one.id, until_us, "known", by=ELS, at_us=at_us))
    assert [_one(registry.alerts.episode(one.id, now_us=now_us)).state for now_us in (until_us - 1, until_us)] == [
        EpisodeState.SHELVED,
        EpisodeState.NEW,
    ]
    assert registry.alerts.counts(now_us=until_us)[EpisodeState.NEW] == 1
    assert _told(registry, one.id) == ["raised"]
    evaluation.raised(rule, at_us=until_us)
    assert _told(registry, one.id) == ["raised", "returned"]


def test_a_clock_that_jumps_ends_a_shelf_once_and_begins_it_never_again(
    registry: Registry, evaluation: Evaluation
) -> None:
    (rule,) = _put(registry, SILENCE)
    evaluation.raised(rule, "device/gm0402/lm-1")
    (one,) = _open(registry)
    hour_us = 3600 * SECOND_US
    _one(registry.alerts.shelve(one.id, NOON_US + hour_us, "known", by=ELS, at_us=NOON_US))
    evaluation.raised(rule, now_us=NOON_US - 20 * hour_us)
    assert _one(registry.alerts.episode(one.id, now_us=NOON_US - 20 * hour_us)).state is EpisodeState.SHELVED
    evaluation.raised(rule, now_us=NOON_US + 20 * hour_us)
    evaluation.raised(rule, now_us=NOON_US - 20 * hour_us)
    back = _one(registry.alerts.episode(one.id, now_us=NOON_US - 20 * hour_us))
    assert (back.state, back.shelved_until_us) == (EpisodeState.NEW, None)
    assert _told(registry, one.id) == ["raised", "returned"]


@pytest.mark.parametrize(("gap_s", "episodes"), [(900, 1), (901, 2)])
def test_flaps_are_folded_up_to_the_fold_and_not_a_second_further(
    registry: Registry, evaluation: Evaluation, gap_s: int, episodes: int
) -> None:
    (rule,) = _put(registry, SILENCE)
    evaluation.raised(rule, "device/gm0402/lm-1")
    evaluation.cleared(rule, "device/gm0402/lm-1", at_us=NOON_US + SECOND_US)
    evaluation.raised(rule, "device/gm0402/lm-1", at_us=NOON_US + (1 + gap_s) * SECOND_US)
    (newest,) = _open(registry)
    assert (newest.id, newest.count) == (episodes, 3 - episodes)


def test_a_step_that_is_saved_twice_counts_once(registry: Registry) -> None:
    (rule,) = _put(registry, SILENCE)
    found = tuple(
        Transition(rule.id, 1, "device/gm0402/lm-1", kind, NOON_US, None, "because") for kind in TransitionKind
    )
    step = Step(EnginePosition("readings-1", 1, 1, NOON_US), found)
    registry.alerts.save(step, now_us=NOON_US)
    registry.alerts.save(step, now_us=NOON_US + SECOND_US)
    (one,) = _open(registry, states=set(EpisodeState))
    assert (one.state, one.count, one.version) == (EpisodeState.CLEARED, 1, 1)


# Maintenance.


def test_work_is_recorded_and_wakes_nobody_until_it_is_over(registry: Registry, evaluation: Evaluation) -> None:
    silence, _ = _put(registry, SILENCE, CABINET | {"condition": CABINET["condition"] | {"of": "area"}})
    cabinet = registry.alerts.rules()[1]
    hour_us = 3600 * SECOND_US
    draft = WindowDraft("gm0402", {"devices": ["gm0402/lm-1"]}, NOON_US, NOON_US + hour_us, "W-2026-118")
    window = registry.alerts.plan_window(draft, by=ELS, at_us=NOON_US - hour_us)
    evaluation.raised(silence, "device/gm0402/lm-1", at_us=NOON_US + 1)
    evaluation.raised(cabinet, "group/area/all", at_us=NOON_US + 2)
    group, lamp = _open(registry, with_grouped=True)
    assert (lamp.window_id, lamp.in_maintenance, group.window_id, group.in_maintenance) == (1, True, 1, True)
    assert _open(registry, with_maintenance=False) == []
    assert _told(registry, lamp.id) + _told(registry, group.id) == []
    evaluation.raised(silence, at_us=NOON_US + hour_us)
    assert [_told(registry, one.id) for one in (lamp, group)] == [[], ["raised"]]
    assert registry.alerts.window(window.id).state == "ended"
    assert registry.alerts.windows(live_only=True) == []


def test_a_reading_from_the_future_is_explained_by_the_work_that_goes_on_now(
    registry: Registry, evaluation: Evaluation
) -> None:
    (silence,) = _put(registry, SILENCE)
    hour_us = 3600 * SECOND_US
    draft = WindowDraft("gm0402", {"devices": ["gm0402/lm-1"]}, NOON_US, NOON_US + hour_us, "W-2026-119")
    window = registry.alerts.plan_window(draft, by=ELS, at_us=NOON_US - hour_us)
    evaluation.raised(silence, "device/gm0402/lm-1", at_us=NOON_US + 1_000 * hour_us, now_us=NOON_US + 1)
    (alert,) = _open(registry)
    assert (alert.window_id, alert.in_maintenance) == (window.id, True)
    assert alert.raised_at_us == NOON_US + 1_000 * hour_us
    assert _told(registry, alert.id) == []


@pytest.mark.parametrize(
    ("draft", "error", "words"),
    [
        (WindowDraft("gm0402", {}, NOON_US, NOON_US, "W"), AlertRuleError, "ends after it begins"),
        (WindowDraft("gm0402", {}, NOON_US - 9, NOON_US - 1, "W"), AlertRuleError, "over already"),
        (WindowDraft("gm0402", {}, NOON_US, NOON_US + 1, " "), AlertRuleError, "work order"),
        (WindowDraft("gm0402", {"pole": 1}, NOON_US, NOON_US + 1, "W"), AlertRuleError, "scope.pole"),
        (WindowDraft("gm9999", {}, NOON_US, NOON_US + 1, "W"), UnknownRecordError, "not in the register"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    registry: Registry, draft: WindowDraft, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        registry.alerts.plan_window(draft, by=ELS, at_us=NOON_US)


# Limits.


def test_one_municipality_does_not_use_up_the_rules_and_windows_of_all(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.ensure_tenant("gm0363", "Amsterdam")
    monkeypatch.setattr(limits, "RULES_TENANT_MAX", 2)
    monkeypatch.setattr(limits, "WINDOWS_LIVE_TENANT_MAX", 1)
    names = [SILENCE | {"name": f"silence {number}"} for number in range(3)]
    with pytest.raises(ConflictError, match=r"gm0402 has 0 alert rules; with 3 more .* over 2"):
        _put(registry, *names)
    kept = _put(registry, *names[:2])
    with pytest.raises(ConflictError, match="gm0402 has 2 alert rules"):
        _put(registry, names[2])
    _put(registry, names[0] | {"severity": "critical"})
    _put(registry, *(one | {"tenant": "gm0363"} for one in names[:2]))
    registry.alerts.delete_rule(kept[0].id, by=ELS, at_us=NOON_US)
    _put(registry, names[2])

    draft = WindowDraft("gm0402", {}, NOON_US, NOON_US + SECOND_US, "W-1")
    first = registry.alerts.plan_window(draft, by=ELS, at_us=NOON_US)
    with pytest.raises(ConflictError, match="gm0402 has 1 maintenance windows"):
        registry.alerts.plan_window(draft, by=ELS, at_us=NOON_US)
    registry.alerts.plan_window(replace(draft, tenant="gm0363"), by=ELS, at_us=NOON_US)
    registry.alerts.end_window(first.id, by=ELS, at_us=NOON_US)
    registry.alerts.plan_window(draft, by=ELS, at_us=NOON_US)


# People.


def test_of_two_people_the_second_is_told_who_was_faster(registry: Registry, evaluation: Evaluation) -> None:
    (rule,) = _put(registry, SILENCE)
    evaluation.raised(rule, "device/gm0402/lm-1")
    (seen,) = _open(registry)
    taken = _one(registry.alerts.acknowledge(seen.id, by=ELS, at_us=NOON_US, version=seen.version))
    late = registry.alerts.shelve(seen.id, NOON_US + 9, "known", by=JAN, at_us=NOON_US, version=seen.version)
    assert isinstance(late, Refused)
    assert (late.reason, late.episode) == (RefusedFor.CHANGED, taken)
    assert "acknowledged by els" in late.text
    assert _one(registry.alerts.assign(seen.id, "jan", by=JAN, at_us=NOON_US, version=taken.version)).owner == "jan"
    assert [one.subject for one in _open(registry, owner="jan")] == ["device/gm0402/lm-1"]


def test_what_people_do_is_in_the_history_and_in_the_log_of_changes_and_their_words_only_in_the_first(
    registry: Registry, evaluation: Evaluation
) -> None:
    (rule,) = _put(registry, SILENCE)
    evaluation.raised(rule, "device/gm0402/lm-1")
    revision = registry.revision()
    registry.alerts.acknowledge(1, by=ELS, at_us=NOON_US)
    registry.alerts.comment(1, "Mevrouw Jansen belde", by=ELS, at_us=NOON_US)
    registry.alerts.clear(1, "seen lit", by=JAN, at_us=NOON_US)
    registry.alerts.comment(1, "x" * 2_001, by=ELS, at_us=NOON_US)
    file = registry.alerts.file(1, now_us=NOON_US)
    assert file is not None
    assert [(one.kind, one.by.name, one.words) for one in file.entries] == [
        ("raised", "lichtmast", "because"),
        ("acknowledged", "els", ""),
        ("commented", "els", "Mevrouw Jansen belde"),
        ("cleared", "jan", "seen lit"),
    ]
    log = registry.audit_log.read(newest_first=True, limit=3)
    assert [(one.action, one.actor) for one in log] == [
        ("alert.cleared", "jan"),
        ("alert.commented", "els"),
        ("alert.acknowledged", "els"),
    ]
    assert "Jansen" not in "".join(str(one.after) for one in log)
    assert registry.revision() == revision
    with pytest.raises(UnknownRecordError, match="see the inbox"):
        registry.alerts.acknowledge(2, by=ELS, at_us=NOON_US)


def test_the_inbox_narrows_by_everything_and_goes_on_page_by_page(
    registry: Registry, evaluation: Evaluation, lampposts: list[AssetRecord]
) -> None:
    for number, asset in enumerate(lampposts[:4], 1):
        registry.register_device(DeviceId("gm0402", f"lm-{number}"), "noise", asset_id=asset.id, at_us=1)
    silence, dark = _put(registry, SILENCE, SILENCE | {"name": "dark", "severity": "critical"})
    evaluation.raised(silence, *(f"device/gm0402/lm-{number}" for number in range(1, 5)))
    evaluation.raised(dark, "device/gm0402/lm-1")
    evaluation.cleared(silence, "device/gm0402/lm-4")
    assert [one.id for one in _open(registry, limit=2)] == [5, 3]
    assert [one.id for one in _open(registry, limit=2, before_id=3)] == [2, 1]
    first = lampposts[0]
    around = Box(first.longitude - 1e-4, first.latitude - 1e-4, first.longitude + 1e-4, first.latitude + 1e-4)
    assert [one.id for one in _open(registry, area=around)] == [5, 1]
    assert [one.id for one in _open(registry, asset_id=first.id, rule_id=dark.id)] == [5]
    assert [one.id for one in _open(registry, severities={Severity.CRITICAL})] == [5]
    assert [one.id for one in _open(registry, states={EpisodeState.CLEARED})] == [4]
    assert _open(registry, tenants={"gm0344"}) == []
    assert registry.alerts.counts({"gm0402"}, now_us=NOON_US) == {
        "new": 4,
        "acknowledged": 0,
        "shelved": 0,
        "cleared": 1,
    }
    with pytest.raises(ValueError, match="1 to 1000"):
        _open(registry, limit=1001)


# A town at once.


@pytest.mark.faults
def test_a_town_that_falls_silent_is_one_transaction_of_seconds(registry: Registry, evaluation: Evaluation) -> None:
    count = 10_000
    devices = [DeviceId("gm0402", f"lm-{number:05d}") for number in range(count)]
    registry.register_devices([NewDevice(one, "noise", None) for one in devices], at_us=1)
    silence, cabinet = _put(registry, SILENCE, CABINET | {"condition": CABINET["condition"] | {"of": "area"}})
    subjects = [f"device/{one}" for one in devices]
    began_s = time.process_time()
    evaluation.raised(silence, *subjects)
    evaluation.raised(cabinet, "group/area/all")
    evaluation.cleared(silence, *subjects, at_us=NOON_US + SECOND_US)
    print(f"{count} alerts raised, grouped, cleared: {time.process_time() - began_s:.1f} s of CPU")  # noqa: T201 - what the long run is for
    with registry.alerts._engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(alert_episode)).scalar_one() == count + 1
        assert connection.execute(select(func.count()).select_from(alert_notice)).scalar_one() == 1
