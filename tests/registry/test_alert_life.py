"""The life of an alert: on the real book, against a small model, by random histories of everything that can happen.

The model keeps of each (rule, subject) what the words of the reference say and nothing of how it is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event, select

from lichtmast.registry import ConflictError, Registry
from lichtmast.registry.alert_schema import alert_notice
from lichtmast.registry.alerts import (
    AlertBook,
    EnginePosition,
    Episode,
    EpisodeState,
    InboxQuery,
    Refused,
    Standing,
    StandingState,
    Step,
    Transition,
    TransitionKind,
    WindowDraft,
)
from lichtmast.registry.auditing import Actor, ActorKind

ELS = Actor(ActorKind.USER, "els")
SECOND_US = 1_000_000
FOLD_S = 900
HOLD_S = 60
START_S = 1_000_000
DEVICES = ("lm-1", "lm-2", "lm-3")
SUBJECTS = tuple(f"device/gm0402/{name}" for name in DEVICES)
GROUP = "group/area/all"
SILENCE, DARKNESS = "silence", "town silent"
TOWN = {
    SILENCE: {"severity": "warning", "condition": {"kind": "absence", "after_s": 60}},
    DARKNESS: {
        "severity": "critical",
        "condition": {"kind": "fleet", "rule": SILENCE, "share": 0.5, "of": "area"},
    },
}


@dataclass
class Model:
    """One (rule, subject): its newest episode, as the reference tells it."""

    state: str | None = None
    before: str = "new"
    count: int = 0
    episodes: int = 0
    cleared_at_s: float = 0.0
    shelf_s: float = 0.0
    window: int | None = None
    cause: str | None = None
    told: bool = False
    """What people last heard, sent or about to be: that it is raised."""
    sent: list[str] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)
    """What people are about to hear of this episode, and when."""
    owed: list[tuple[str, float]] = field(default_factory=list)
    """What they are about to hear of the episodes before it: nothing takes that back."""

    @property
    def is_open(self) -> bool:
        return self.state not in {None, "cleared"}

    @property
    def is_quiet(self) -> bool:
        return self.cause is not None or self.window is not None or self.state in {"shelved", "cleared"}


class AlertLife(RuleBasedStateMachine):
    """Evaluation, people, time and crashes in any order."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self._path = Path(self._folder.name) / "register.sqlite"
        copyfile(self.template, self._path)
        self._registry = self._open()
        self.now_s = float(START_S)
        self.position = 0
        self.last_step: Step | None = None
        self.windows: dict[int, tuple[float, float, str]] = {}
        self.begun: set[int] = set()

    @initialize()
    def put_the_rules(self) -> None:
        documents = [{"name": name, "tenant": "gm0402", "fold_s": FOLD_S, **one} for name, one in TOWN.items()]
        rules = self._registry.alerts.put_rules(documents, by=ELS, at_us=self._now_us)
        self.watched = {one.name: one for one in rules}
        self.models = {(SILENCE, one): Model() for one in SUBJECTS} | {(DARKNESS, GROUP): Model()}

    def teardown(self) -> None:
        self._registry.close()
        self._folder.cleanup()

    # What happens.

    @rule(subject=st.sampled_from(SUBJECTS), kind=st.sampled_from(TransitionKind))
    def evaluation_finds_something_of_a_device(self, subject: str, kind: TransitionKind) -> None:
        self._step([(SILENCE, subject, kind)])

    @rule(kind=st.sampled_from(TransitionKind))
    def evaluation_finds_something_of_the_town(self, kind: TransitionKind) -> None:
        self._step([(DARKNESS, GROUP, kind)])

    @rule(found=st.lists(st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(TransitionKind)), max_size=4))
    def evaluation_finds_several_things_in_one_step(self, found: list[tuple[str, TransitionKind]]) -> None:
        self._step([(SILENCE, subject, kind) for subject, kind in found])

    @rule(subject=st.sampled_from(SUBJECTS))
    def evaluation_forgets_a_device(self, subject: str) -> None:
        standing = Standing(self.watched[SILENCE].id, subject, StandingState.IDLE, 0, self._now_us)
        self._step([], [standing])
        self._model_clears(SILENCE, subject)

    @precondition(lambda self: self.last_step is not None)
    @rule()
    def the_last_step_is_saved_again(self) -> None:
        assert self.last_step is not None
        self._book.save(self.last_step, now_us=self._now_us)

    @precondition(lambda self: self.position > 1)
    @rule()
    def an_evaluation_that_is_behind_is_refused(self) -> None:
        old = Step(EnginePosition("readings-1", self.position - 1, 1, 1))
        with pytest.raises(ConflictError, match="another evaluation is ahead"):
            self._book.save(old, now_us=self._now_us)

    @rule()
    def the_process_is_killed(self) -> None:
        self._registry.close()
        self._registry = self._open()
        memory = self._book.load()
        assert (0 if memory.position is None else memory.position.readings_upto) == self.position

    @rule(seconds=st.sampled_from([1, 30, 61, 400, 901, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds

    @rule()
    def people_are_told_what_is_due(self) -> None:
        """What the notifications do: take what is due, in the order of its writing."""
        with self._book._engine.connect() as connection:
            due = (alert_notice.c.taken_at_us.is_(None), alert_notice.c.due_us <= self._now_us)
            connection.execute(alert_notice.update().where(*due).values(taken_at_us=self._now_us))
            connection.commit()
        for model in self.models.values():
            model.sent += [told for told, due_s in (*model.waiting.items(), *model.owed) if due_s <= self.now_s]
            model.waiting = {told: due_s for told, due_s in model.waiting.items() if due_s > self.now_s}
            model.owed = [(told, due_s) for told, due_s in model.owed if due_s > self.now_s]

    @rule(which=st.integers(0, 3))
    def somebody_acknowledges(self, which: int) -> None:
        model, answer = self._deed(which, lambda one: self._book.acknowledge(one.id, by=ELS, at_us=self._now_us))
        if model is None:
            return
        assert isinstance(answer, Refused) == (model.state != "new")
        if model.state == "new":
            model.state = "acknowledged"

    @rule(which=st.integers(0, 3), seconds=st.sampled_from([0, 30, 500, 5000]))
    def somebody_shelves(self, which: int, seconds: int) -> None:
        until_us = self._now_us + seconds * SECOND_US
        model, answer = self._deed(
            which, lambda one: self._book.shelve(one.id, until_us, "known", by=ELS, at_us=self._now_us)
        )
        if model is None:
            return
        assert isinstance(answer, Refused) == (not model.is_open or seconds == 0)
        if model.is_open and seconds:
            model.state, model.shelf_s = "shelved", self.now_s + seconds

    @rule(which=st.integers(0, 3))
    def somebody_takes_it_off_the_shelf(self, which: int) -> None:
        model, answer = self._deed(which, lambda one: self._book.unshelve(one.id, by=ELS, at_us=self._now_us))
        if model is None:
            return
        assert isinstance(answer, Refused) == (model.state != "shelved")
        if model.state == "shelved":
            model.state = "new"
            self._model_tells(model, self.now_s)

    @rule(which=st.integers(0, 3))
    def somebody_clears_by_hand(self, which: int) -> None:
        model, answer = self._deed(which, lambda one: self._book.clear(one.id, "seen lit", by=ELS, at_us=self._now_us))
        if model is None:
            return
        assert isinstance(answer, Refused) == (not model.is_open)
        self._model_clears(*self._keys[which], by_hand=True)

    @precondition(lambda self: not self.windows)
    @rule(device=st.sampled_from(DEVICES), starts_in_s=st.sampled_from([-100, 0, 300]))
    def work_is_planned(self, device: str, starts_in_s: int) -> None:
        from_s, until_s = self.now_s + starts_in_s, self.now_s + starts_in_s + 1000
        draft = WindowDraft(
            "gm0402", {"devices": [f"gm0402/{device}"]}, int(from_s) * SECOND_US, int(until_s) * SECOND_US, "W-7"
        )
        self._model_wakes()
        window = self._book.plan_window(draft, by=ELS, at_us=self._now_us)
        self.windows[window.id] = (from_s, until_s, f"device/gm0402/{device}")
        self._model_wakes()

    @precondition(lambda self: any(until > self.now_s for _, until, _ in self.windows.values()))
    @rule()
    def work_is_done_early(self) -> None:
        self._model_wakes()
        for window_id, (from_s, until_s, subject) in list(self.windows.items()):
            self._book.end_window(window_id, by=ELS, at_us=self._now_us)
            end_s = min(max(self.now_s, from_s), until_s)
            self.windows[window_id] = (from_s, end_s, subject)
            if self.now_s < from_s:  # it never began
                del self.windows[window_id]
        self._model_wakes()

    # What must hold, whatever happened.

    @invariant()
    def the_book_is_as_the_model(self) -> None:
        """Each state and count; no episode too many, and one open at most; and what was, or will be, told of it."""
        episodes = self._episodes()
        with self._book._engine.connect() as connection:
            notices = connection.execute(select(alert_notice).order_by(alert_notice.c.id)).all()
        for (name, subject), model in self.models.items():
            mine = [one for one in episodes if (one.rule_id, one.subject) == (self.watched[name].id, subject)]
            assert len(mine) == model.episodes
            assert sum(one.is_open for one in mine) <= 1
            if mine:
                expected = "new" if model.state == "shelved" and model.shelf_s <= self.now_s else model.state
                assert (mine[0].state.value, mine[0].count) == (expected, model.count)
            ids = {one.id for one in mine}
            told = [row for row in notices if row.episode_id in ids]
            assert sorted(row.event for row in told if row.taken_at_us is None) == sorted(
                [*model.waiting, *(one for one, _ in model.owed)]
            )
            assert sorted(row.event for row in told if row.taken_at_us is not None) == sorted(model.sent)

    # The model.

    def _step(self, found: list[tuple[str, str, TransitionKind]], standings: list[Standing] | None = None) -> None:
        self.position += 1
        transitions = [
            Transition(self.watched[name].id, 1, subject, kind, self._now_us, 1.0, f"{subject} {kind.value}")
            for name, subject, kind in found
        ]
        position = EnginePosition("readings-1", self.position, self.position, self._now_us)
        self.last_step = Step(position, tuple(transitions), tuple(standings or ()))
        self._book.save(self.last_step, now_us=self._now_us)
        self._model_wakes()
        for name, subject, kind in found:
            (self._model_raises if kind is TransitionKind.RAISED else self._model_clears)(name, subject)

    def _model_raises(self, name: str, subject: str) -> None:
        model = self.models[name, subject]
        if model.is_open:
            return
        watched = name == SILENCE
        window = self._window_over(subject)
        cause = DARKNESS if watched and self.models[DARKNESS, GROUP].is_open else None
        members = [one for (of, _), one in self.models.items() if of == SILENCE and one.is_open]
        if not watched and members and all(one.window is not None for one in members):
            window = members[0].window
        due_s = self.now_s + (HOLD_S if watched else 0)
        if model.state == "cleared" and self.now_s - model.cleared_at_s <= FOLD_S:
            model.count += 1
            model.state = model.before
            if model.state == "shelved" and model.shelf_s <= self.now_s:
                model.state = "new"
            model.window, model.cause = window, cause
            if "cleared" in model.waiting:
                del model.waiting["cleared"]
                model.told = True
            else:
                self._model_tells(model, due_s)
        else:
            owed = [*model.owed, *model.waiting.items()]
            self.models[name, subject] = model = Model(
                "new", "new", 1, model.episodes + 1, window=window, cause=cause, sent=model.sent, owed=owed
            )
            self._model_tells(model, due_s)
        if not watched:
            for one in self.models.values():
                if one is not model and one.is_open and one.cause is None:
                    one.cause = DARKNESS
                    if one.waiting.pop("raised", None) is not None:
                        one.told = False

    def _model_clears(self, name: str, subject: str, *, by_hand: bool = False) -> None:
        model = self.models[name, subject]
        if not model.is_open:
            return
        model.before = "new" if by_hand else str(model.state)
        model.state, model.cleared_at_s = "cleared", self.now_s
        model.waiting.pop("returned", None)
        if model.told:
            if model.waiting.get("raised", self.now_s) > self.now_s:
                del model.waiting["raised"]
            else:
                model.waiting["cleared"] = self.now_s + FOLD_S
        model.told = False
        if name == DARKNESS:
            for one in self.models.values():
                if one.is_open and one.cause is not None:
                    one.cause = None
                    self._model_tells(one, self.now_s + HOLD_S)

    def _model_tells(self, model: Model, due_s: float) -> None:
        if not model.told and not model.is_quiet:
            model.told = True
            model.waiting["raised"] = due_s

    def _model_wakes(self) -> None:
        """What the book does by the clock before it does anything else."""
        for model in self.models.values():
            if model.state == "shelved" and model.shelf_s <= self.now_s:
                model.state = "new"
                if model.told and not model.is_quiet:
                    model.waiting["returned"] = self.now_s
                else:
                    self._model_tells(model, self.now_s)
        for window_id, (from_s, until_s, subject) in self.windows.items():
            model = self.models[SILENCE, subject]
            if from_s <= self.now_s and window_id not in self.begun:
                self.begun.add(window_id)
                if model.is_open and model.window is None:
                    model.window = window_id
            if until_s <= self.now_s:
                for one in self.models.values():
                    if one.is_open and one.window == window_id:
                        one.window = None
                        self._model_tells(one, self.now_s)

    def _window_over(self, subject: str) -> int | None:
        for window_id, (from_s, until_s, covered) in self.windows.items():
            if covered == subject and from_s <= self.now_s < until_s:
                return window_id
        return None

    def _deed(self, which: int, do: Callable[[Episode], Any]) -> tuple[Model | None, Any]:
        name, subject = self._keys[which]
        model, found = self.models[name, subject], self._newest(name, subject)
        if found is None:
            return None, None
        self._model_wakes()
        return model, do(found)

    @property
    def _keys(self) -> list[tuple[str, str]]:
        return list(self.models)

    def _newest(self, name: str, subject: str) -> Episode | None:
        mine = (one for one in self._episodes() if (one.rule_id, one.subject) == (self.watched[name].id, subject))
        return next(mine, None)

    def _episodes(self) -> list[Episode]:
        """All of them, the newest first."""
        query = InboxQuery(states=frozenset(EpisodeState), with_grouped=True, limit=1000)
        return [row.episode for row in self._book.inbox(query, now_us=self._now_us)]

    def _open(self) -> Registry:
        """Without waiting for the disk: a process is killed here, not a machine."""
        opened = Registry.open(self._path)
        engine = opened.alerts._engine
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
        engine.dispose()
        return opened

    @property
    def _book(self) -> AlertBook:
        return self._registry.alerts

    @property
    def _now_us(self) -> int:
        return int(self.now_s) * SECOND_US


@pytest.mark.slow
def test_alerts_live_as_the_reference_says(empty_register: Path) -> None:
    _live(empty_register, 20)


@pytest.mark.faults
def test_alerts_live_as_the_reference_says_for_long(empty_register: Path) -> None:
    _live(empty_register, 400)


def _live(template: Path, examples: int) -> None:
    AlertLife.template = template
    run_state_machine_as_test(
        AlertLife,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
