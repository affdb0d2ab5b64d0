"""What alert rules mean, row by row and as plainly as it can be said: the oracle of the engine's tests."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from lichtmast.ingest.alerting.limits import BACK_MAX_US, LEAP_MAX_US, RATE_PARTS
from lichtmast.registry.alerts.conditions import Absence, Fleet, QualityFlags, Rate, Threshold
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.wire.quality import DOUBTFUL, Quality

S = 1_000_000


@dataclass(frozen=True)
class Came:
    """A reading, or a tick where `stream` is None."""

    received_us: int
    stream: int | None = None
    device: str = ""
    time_us: int = 0
    value: float = 0.0
    quality: int = 0


@dataclass
class Pole:
    """What one (rule, subject) has behind it."""

    open: bool = False
    since: int | None = None
    seen: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class Voice:
    """What was heard of one device or datastream, by the listening clock."""

    heard: int | None = None
    received: int | None = None
    spoke: tuple[int, int] | None = None
    intervals: list[int] = field(default_factory=list)

    def after(self) -> int:
        known = sorted(one for one in self.intervals[-8:] if one)
        return max(3 * known[(len(known) - 1) // 2], 60 * S) if len(known) >= 4 else 180 * S


class Oracle:
    """`subjects(rule)` are the datastreams and devices of a rule; `transitions` what happened, in order."""

    def __init__(self, rules: Iterable[AlertRule], subjects: Callable[[AlertRule], list[str]]) -> None:
        self.rules = list(rules)
        self.subjects = {rule.id: subjects(rule) for rule in self.rules}
        self.poles: dict[tuple[int, str], Pole] = defaultdict(Pole)
        self.voices: dict[str, Voice] = defaultdict(Voice)
        self.latest: dict[int, int] = {}
        self.wall = self.awake = 0
        self.told_open: set[tuple[int, str]] = set()
        self.transitions: list[tuple[int, str, str, int]] = []

    def take(self, came: Came) -> None:
        replayed = bool(came.quality & Quality.REPLAYED)
        now: list[tuple[int, int, str, str]] = []
        if not replayed:
            step = came.received_us - self.wall
            self.awake = came.received_us if not self.wall else self.awake + (step if 0 < step <= LEAP_MAX_US else 0)
            self.wall = came.received_us if step > 0 or step < -BACK_MAX_US else self.wall
        if came.stream is not None:
            late = bool(came.quality & Quality.LATE) or came.time_us < self.latest.get(came.stream, 0)
            self.latest[came.stream] = max(self.latest.get(came.stream, 0), came.time_us)
            for subject in (f"datastream/{came.stream}", f"device/{came.device}"):
                if not replayed:
                    self._hear(subject, came, late, now)
                for rule in self.rules:
                    if (
                        subject in self.subjects[rule.id]
                        and not late
                        and not isinstance(rule.condition, Absence | Fleet)
                    ):
                        self._judge(rule, subject, came, now)
        for rule in self.rules:
            for subject in self.subjects[rule.id] if isinstance(rule.condition, Absence) else ():
                heard, pole = self.voices[subject].heard, self.poles[rule.id, subject]
                after_s = getattr(rule.condition, "after_s", None)
                due = None if heard is None else heard + self._after(after_s, subject)
                if due is not None and due < self.awake and not pole.open:
                    pole.open = True
                    now.append((due + self.wall - self.awake, rule.id, subject, "raised"))
        for at_us, rule_id, subject, kind in sorted(now):
            self.transitions.append((rule_id, subject, kind, at_us))
            (self.told_open.add if kind == "raised" else self.told_open.discard)((rule_id, subject))
            self._count(rule_id, at_us)

    def _after(self, after_s: float | None, subject: str) -> int:
        return self.voices[subject].after() if after_s is None else int(after_s * S)

    def _hear(self, subject: str, came: Came, late: bool, now: list[Any]) -> None:  # noqa: FBT001 - a fact
        voice = self.voices[subject]
        if voice.received != came.received_us:
            if not late:
                if voice.spoke is not None:
                    voice.intervals.append(max(self.awake - voice.spoke[0], came.time_us - voice.spoke[1], 0))
                voice.spoke = (self.awake, came.time_us)
            voice.heard, voice.received = self.awake, came.received_us
            for rule in self.rules:
                pole = self.poles[rule.id, subject]
                if isinstance(rule.condition, Absence) and subject in self.subjects[rule.id] and pole.open:
                    pole.open = False
                    now.append((came.received_us, rule.id, subject, "cleared"))

    def _judge(self, rule: AlertRule, subject: str, came: Came, now: list[Any]) -> None:
        pole, condition, at = self.poles[rule.id, subject], rule.condition, came.time_us
        unfit = came.quality & DOUBTFUL & ~Quality.TIME_UNCERTAIN
        for_us, clear_for_us = (int(getattr(condition, name, 0) * S) for name in ("for_s", "clear_for_s"))
        if isinstance(condition, QualityFlags):
            pole.seen += [(at, 1.0)] if came.quality & condition.flags else []
            last = pole.seen[-condition.count :]
            bad = len(last) == condition.count and at - last[0][0] <= condition.within_s * S
            good = not bad
        elif unfit:
            return
        elif isinstance(condition, Rate):
            before = [one for one in pole.seen if one[0] <= at - condition.over_s * S]
            part_us = max(int(condition.over_s * S) // RATE_PARTS, 1)
            if not pole.seen or at // part_us != pole.seen[-1][0] // part_us:
                pole.seen.append((at, came.value))
            bad = bool(before) and abs(came.value - before[-1][1]) * S / (at - before[-1][0]) > condition.above_per_s
            good = not bad
        else:
            assert isinstance(condition, Threshold)
            limit = condition.above if condition.above is not None else condition.below
            back = condition.clear if condition.clear is not None else limit
            assert limit is not None
            assert back is not None
            up = condition.above is not None
            bad = came.value > limit if up else came.value < limit
            good = came.value <= back if up else came.value >= back
        wanted, delay = (good, clear_for_us) if pole.open else (bad, for_us)
        if not wanted:
            pole.since = None
            return
        pole.since = at if pole.since is None else pole.since
        if at - pole.since >= delay:
            pole.open, pole.since = not pole.open, None
            now.append((at, rule.id, subject, "raised" if pole.open else "cleared"))

    def _count(self, rule_id: int, at_us: int) -> None:
        name = next(one.name for one in self.rules if one.id == rule_id)
        for fleet in self.rules:
            if not isinstance(fleet.condition, Fleet) or fleet.condition.rule != name:
                continue
            members = self.subjects[rule_id]
            # The members that change at one row change one after the other.
            count = sum((rule_id, one) in self.told_open for one in members)
            group = self.subjects[fleet.id][0]
            pole = self.poles[fleet.id, group]
            bad = count > fleet.condition.share * len(members) and count >= fleet.condition.at_least
            if bad != pole.open:
                pole.open = bad
                self.transitions.append((fleet.id, group, "raised" if bad else "cleared", at_us))
