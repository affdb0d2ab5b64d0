"""The alert engine's core: rows of the OBSERVATIONS log in, transitions and standings out. No I/O, no clock.

Everything follows from the rows and ticks in their order, however they are cut into batches; so an engine that goes on
from what was saved, or reads the same again, comes to the same. What a rule stands at with a subject is the register's
to keep; what was heard when (`state()`) can be kept beside it, to spare reading the log again.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lichtmast.ingest.alerting.fleets import Fleets, standing_of
from lichtmast.ingest.alerting.found import DATASTREAM, DEVICE, STATES, Found
from lichtmast.ingest.alerting.intake import Rows
from lichtmast.ingest.alerting.listening import Heard, Listening
from lichtmast.ingest.alerting.pairs import State
from lichtmast.ingest.alerting.plan import FUTURE, LATE, REPLAYED, Plan
from lichtmast.ingest.alerting.readings import Readings, UsualOf
from lichtmast.ingest.alerting.silence import Silence
from lichtmast.ingest.alerting.timeline import Timeline
from lichtmast.ingest.alerting.voices import Voices
from lichtmast.ingest.alerting.walk import Window
from lichtmast.registry.alerts.steps import (
    EnginePosition,
    Standing,
    StandingState,
    Step,
    Transition,
    TransitionKind,
)

_NO_LONGER: Final = "The rule is switched off, or no longer covers it."
_KINDS: Final = (DATASTREAM, DATASTREAM, DEVICE)
"""Of the plan's families of pairs."""
_STANDING: Final = {number.value: name for name, number in STATES.items()}
_NO_TIMES: Final = np.zeros(0, np.int64)


class Place(NamedTuple):
    """How far the logs are read: the READINGS log's name and position, and the position in OBSERVATIONS."""

    log_name: str = ""
    readings_upto: int = 0
    observations_position: int = 0


class Engine:
    """Evaluates rules. Feed it `step` and `tick` in the order of the log, and save each Step that it returns."""

    def __init__(self, plan: Plan, baselines: UsualOf, listening: Listening | None = None) -> None:
        self.listening = listening or Listening()
        self._baselines = baselines
        self._timeline = Timeline()
        self._streams = Voices()
        self._devices = Voices()
        self._take(plan, {})
        self._fleets = Fleets(plan.watches, ())

    @property
    def plan(self) -> Plan:
        """The rules and directory that it evaluates by now."""
        return self._plan

    def _take(self, plan: Plan, windows: dict[int, Window]) -> None:
        self._plan = plan
        self._readings = Readings(plan, self._baselines, windows)
        layout = plan.layout
        self._silent_streams = Silence(
            plan.rules,
            plan.silent_streams,
            plan.numbers.within_us,
            plan.silent_streams_after_us,
            lambda number: f"{DATASTREAM}/{number}",
        )
        self._silent_devices = Silence(
            plan.rules,
            plan.silent_devices,
            plan.numbers.within_us,
            plan.silent_devices_after_us,
            lambda number: f"{DEVICE}/{layout.names[number]}",
        )
        highest = int(layout.stream_ids.max(initial=-1))
        self._device_of: npt.NDArray[np.int64] = np.full(highest + 2, -1, np.int64)
        self._device_of[layout.stream_ids] = layout.device_ids[layout.device_of_stream]

    def step(self, rows: Rows, place: Place) -> Step:
        """Take a batch of rows, in order."""
        found = Found()
        heard = self.listening.hear(rows.received_us, rows.quality & REPLAYED == 0)
        # A time that has not come yet says nothing of which of the readings after it are late.
        timely = np.flatnonzero(rows.quality & FUTURE == 0)
        late = rows.quality & LATE != 0
        late[timely] |= self._timeline.late(rows.stream[timely], rows.time_us[timely])
        self._readings.judge(rows, late, heard.wall_us, found)
        self._judge_silence(rows, late | (rows.quality & FUTURE != 0), heard, found)
        return self._step(found, place)

    def tick(self, now_us: int, place: Place) -> Step:
        """Take the time where nothing comes."""
        found = Found()
        heard = self.listening.hear(np.array([now_us], np.int64), np.ones(1, np.bool_))
        none = Rows(_NO_TIMES, _NO_TIMES, np.zeros(0), _NO_TIMES, _NO_TIMES)
        self._judge_silence(none, np.zeros(0, np.bool_), heard, found)
        return self._step(found, place)

    def _judge_silence(self, rows: Rows, late: npt.NDArray[np.bool_], heard: Heard, found: Found) -> None:
        """Replayed readings came long ago: they are no sign of life."""
        live = np.flatnonzero(rows.quality & REPLAYED == 0)
        stream = rows.stream[live]
        device = self._device_of[np.minimum(stream, len(self._device_of) - 1)]
        for voices, who, at, silence in (
            (self._streams, stream, live, self._silent_streams),
            (self._devices, device[device >= 0], live[device >= 0], self._silent_devices),
        ):
            signs = voices.hear(who, at, rows.received_us, heard.awake_us, rows.time_us, late)
            silence.judge(signs, voices, rows.received_us, heard, found)

    def _step(self, found: Found, place: Place) -> Step:
        """Let the fleets count, and gather what is to be saved."""
        transitions: list[Transition] = []
        standings = {(one.rule_id, one.subject): one for one in found.standings}
        for _, transition in found.sorted():
            groups = self._fleets.go(transition)
            transitions += [transition, *groups]
            standings |= {(one.rule_id, one.subject): standing_of(one) for one in groups}
        return Step(self._position(place), tuple(transitions), tuple(standings.values()))

    def _position(self, place: Place) -> EnginePosition:
        return EnginePosition(*place, self.listening.watermark_us)

    def renew(self, plan: Plan, place: Place) -> Step:
        """Go on with other rules or another directory. What no rule covers any more is cleared."""
        old, found = self._plan, Found()
        for kind, before, after in zip(_KINDS, old.families, plan.families, strict=True):
            for pair in after.inherit(before).tolist():
                rule = old.rules[int(before.rule[pair])]
                state = _STANDING[int(before.state[pair])]
                self._forget(
                    Standing(rule.id, _subject(kind, int(before.subject[pair]), old), state, 0, 0), plan, found
                )
        raised = self._fleets.raised()
        self._take(plan, self._readings.windows)
        groups = [Standing(rule_id, group, StandingState.ACTIVE, 0, 0) for rule_id, group in sorted(raised)]
        return self._settled(groups, found, place)

    def restore(self, standings: Iterable[Standing], place: Place) -> Step:
        """Take what was remembered, in place of what it stands at. What no rule covers any more is cleared."""
        found, groups = Found(), []
        for pairs in self._plan.families:
            pairs.state[:] = State.IDLE
        for one in standings:
            if one.subject.startswith("group/"):
                groups.append(one)
            elif not self._put(one):
                self._forget(one, self._plan, found)
        return self._settled(groups, found, place)

    def _put(self, one: Standing) -> bool:
        layout = self._plan.layout
        kind, _, name = one.subject.partition("/")
        if kind == DEVICE:
            row = layout.row_of_device.get(name)
            number = -1 if row is None else int(layout.device_ids[row])
        else:
            number = int(name)
        for family, pairs in zip(_KINDS, self._plan.families, strict=True):
            pair = pairs.find(one.rule_id, number) if family == kind else None
            if pair is not None:
                pairs.state[pair], pairs.since_us[pair] = STATES[one.state], one.since_us
                pairs.last_us[pair] = one.last_us
                pairs.value[pair] = np.nan if one.value is None else one.value
                return True
        return False

    def _forget(self, one: Standing, plan: Plan, found: Found) -> None:
        at_us = self.listening.watermark_us
        found.standings.append(Standing(one.rule_id, one.subject, StandingState.IDLE, at_us, at_us))
        if one.state is not StandingState.PENDING:
            version = plan.versions.get(one.rule_id, 0)
            cleared = Transition(one.rule_id, version, one.subject, TransitionKind.CLEARED, at_us, None, _NO_LONGER)
            found.transitions.append(((0, at_us, one.rule_id, one.subject), cleared))

    def _settled(self, groups: Iterable[Standing], found: Found, place: Place) -> Step:
        """Count the fleets anew, with these groups raised."""
        self._fleets = Fleets(self._plan.watches, self._open_members())
        for one in groups:
            if not self._fleets.restore(one.rule_id, one.subject, one.state):
                self._forget(one, self._plan, found)
        settled = self._fleets.settle(self.listening.watermark_us)
        transitions = (*(one for _, one in found.sorted()), *settled)
        return Step(self._position(place), transitions, (*found.standings, *map(standing_of, settled)))

    def _open_members(self) -> Iterable[tuple[int, str]]:
        for kind, pairs in zip(_KINDS, self._plan.families, strict=True):
            for pair in np.flatnonzero(pairs.state >= State.ACTIVE).tolist():
                rule = self._plan.rules[int(pairs.rule[pair])]
                yield rule.id, _subject(kind, int(pairs.subject[pair]), self._plan)

    def seed(self, latest: pa.Table) -> None:
        """Begin with what a store holds last of each datastream, where nothing was ever heard."""
        stream = latest.column("datastream_id").to_numpy().astype(np.int64)
        received_us = latest.column("result_time").to_numpy()
        self._streams.seed(stream, received_us)
        device = self._device_of[np.minimum(stream, len(self._device_of) - 1)]
        self._devices.seed(device[device >= 0], received_us[device >= 0])

    def prefetch(self, day: int) -> None:
        """Have the baselines of a local day ready; may read much of the store."""
        self._readings.prefetch(day)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What was heard when, to be recalled; not what rules stand at, which the register keeps."""
        windows = {key: one.held() for key, one in self._readings.windows.items()}
        return {
            "clock": np.array([self.listening.watermark_us, self.listening.awake_us]),
            "timeline": self._timeline.latest_us.copy(),
            "windows": np.frombuffer(json.dumps(list(windows.items())).encode(), np.uint8),
            **{f"streams_{name}": one.copy() for name, one in self._streams.state().items()},
            **{f"devices_{name}": one.copy() for name, one in self._devices.state().items()},
        }

    def recall(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` told."""
        self.listening.watermark_us, self.listening.awake_us = state["clock"].tolist()
        self._timeline = Timeline(state["timeline"].copy())
        self._streams, self._devices = (
            Voices.restored({name.removeprefix(kind): one.copy() for name, one in state.items() if kind in name})
            for kind in ("streams_", "devices_")
        )
        held = {
            key: Window((time_us, value) for time_us, value in one) for key, one in json.loads(bytes(state["windows"]))
        }
        self._readings.windows.update(held)


def _subject(kind: str, number: int, plan: Plan) -> str:
    return f"{kind}/{plan.layout.names[number] if kind == DEVICE else number}"
