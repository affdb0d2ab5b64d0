"""Alerts that ended years ago are deleted; whatever is open, or names another that is, stays."""

from typing import Any, Final

import pytest
from sqlalchemy import func, select

from lichtmast.registry import Registry
from lichtmast.registry.alert_schema import alert_entry, alert_episode, alert_notice
from lichtmast.registry.alerts import (
    AlertRule,
    EnginePosition,
    EpisodeState,
    InboxQuery,
    Standing,
    StandingState,
    Step,
    Transition,
    TransitionKind,
    limits,
    retention,
)
from lichtmast.registry.auditing import Actor, ActorKind

ELS: Final = Actor(ActorKind.USER, "els")
DAY_US: Final = 86_400 * 1_000_000
NOON_US: Final = 1_700_000_000 * 1_000_000
LATER_US: Final = NOON_US + DAY_US + limits.EPISODES_KEPT_US
"""When what ended a day after noon is just not old enough."""
SILENCE: Final[dict[str, Any]] = {
    "name": "silence",
    "tenant": "gm0402",
    "severity": "warning",
    "condition": {"kind": "absence"},
}
CABINET: Final[dict[str, Any]] = {
    "name": "cabinet",
    "tenant": "gm0402",
    "severity": "critical",
    "condition": {"kind": "fleet", "rule": "silence", "share": 0.5, "of": "feeder"},
}


def save(registry: Registry, position: int, at_us: int, *found: tuple[AlertRule, str, TransitionKind]) -> None:
    transitions = tuple(Transition(one.id, one.version, subject, kind, at_us, None, "") for one, subject, kind in found)
    standings = tuple(
        Standing(
            one.rule_id,
            one.subject,
            StandingState.ACTIVE if one.kind is TransitionKind.RAISED else StandingState.IDLE,
            at_us,
            at_us,
        )
        for one in transitions
    )
    step = Step(EnginePosition("readings-1", position, position, at_us), transitions, standings)
    registry.alerts.save(step, now_us=at_us)


def left(registry: Registry) -> list[tuple[int, str]]:
    rows = registry.alerts.inbox(InboxQuery(states=set(EpisodeState), with_grouped=True), now_us=LATER_US)
    return sorted((row.episode.id, row.episode.subject) for row in rows)


def belongings(registry: Registry) -> set[int]:
    """Whose history and notices there are."""
    with registry.alerts._engine.connect() as connection:
        return set(connection.execute(select(alert_entry.c.episode_id)).scalars()) | set(
            connection.execute(select(alert_notice.c.episode_id)).scalars()
        )


def test_what_ended_five_years_ago_goes_with_its_history_and_all_else_stays(registry: Registry) -> None:
    (rule,) = registry.alerts.put_rules([SILENCE], by=ELS, at_us=NOON_US)
    old, young, still_open = (f"device/gm0402/lm-{number}" for number in (1, 2, 3))
    save(registry, 1, NOON_US, *((rule, one, TransitionKind.RAISED) for one in (old, young, still_open)))
    save(registry, 2, NOON_US + DAY_US - 1, (rule, old, TransitionKind.CLEARED))
    save(registry, 3, NOON_US + DAY_US, (rule, young, TransitionKind.CLEARED))
    ids = {subject: number for number, subject in left(registry)}
    assert belongings(registry) == set(ids.values())
    assert registry.alerts.forget_old(now_us=LATER_US - 1) == 0
    assert registry.alerts.forget_old(now_us=LATER_US) == 1
    assert left(registry) == [(ids[young], young), (ids[still_open], still_open)]
    assert belongings(registry) == {ids[young], ids[still_open]}


def test_an_alert_that_speaks_for_others_goes_after_the_last_of_them(registry: Registry) -> None:
    silence, cabinet = registry.alerts.put_rules([SILENCE, CABINET], by=ELS, at_us=NOON_US)
    members, group = [f"device/gm0402/lm-{number}" for number in range(1, 4)], "group/feeder/F1"
    save(registry, 1, NOON_US, *((silence, one, TransitionKind.RAISED) for one in members))
    save(registry, 2, NOON_US, (cabinet, group, TransitionKind.RAISED))
    with registry.alerts._engine.begin() as connection:  # as where the register says that they hang on that feeder
        cause = connection.execute(select(func.max(alert_episode.c.id))).scalar_one()
        connection.execute(alert_episode.update().where(alert_episode.c.id < cause).values(cause_id=cause))
    save(registry, 3, NOON_US, (cabinet, group, TransitionKind.CLEARED))
    save(registry, 4, NOON_US, *((silence, one, TransitionKind.CLEARED) for one in members[:2]))
    save(registry, 5, NOON_US + 2 * DAY_US, (silence, members[2], TransitionKind.CLEARED))
    save(registry, 6, NOON_US + 9 * DAY_US, (silence, members[0], TransitionKind.RAISED))
    assert registry.alerts.forget_old(now_us=LATER_US) == 2
    assert [subject for _, subject in left(registry)] == [members[2], group, members[0]]
    assert registry.alerts.forget_old(now_us=LATER_US + 2 * DAY_US) == 2
    assert [subject for _, subject in left(registry)] == [members[0]]


def test_no_number_is_ever_anothers(registry: Registry) -> None:
    (rule,) = registry.alerts.put_rules([SILENCE], by=ELS, at_us=NOON_US)
    one, other = "device/gm0402/lm-1", "device/gm0402/lm-2"
    save(registry, 1, NOON_US, (rule, one, TransitionKind.RAISED))
    save(registry, 2, NOON_US, (rule, one, TransitionKind.CLEARED))
    assert registry.alerts.forget_old(now_us=LATER_US) == 0, "the newest stays"
    save(registry, 3, LATER_US, (rule, other, TransitionKind.RAISED))
    assert registry.alerts.forget_old(now_us=LATER_US) == 1
    assert left(registry) == [(2, other)]


def test_many_go_in_portions_that_nobody_waits_for(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PORTION", 7)
    (rule,) = registry.alerts.put_rules([SILENCE], by=ELS, at_us=NOON_US)
    subjects = [f"device/gm0402/lm-{number}" for number in range(30)]
    save(registry, 1, NOON_US, *((rule, one, TransitionKind.RAISED) for one in subjects))
    save(registry, 2, NOON_US, *((rule, one, TransitionKind.CLEARED) for one in subjects))
    assert registry.alerts.forget_old(now_us=LATER_US) == 29
