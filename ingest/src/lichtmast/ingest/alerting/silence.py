"""Rules that the absence of readings decides, for one kind of voice: datastreams, or devices.

A deadline passes when the listening clock passes it, at the row or tick that moves the clock there; the alert begins at
the deadline itself. Whatever comes next from that voice ends it.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lichtmast.ingest.alerting.found import Found
from lichtmast.ingest.alerting.listening import Heard
from lichtmast.ingest.alerting.pairs import Pairs, State
from lichtmast.ingest.alerting.voices import NEVER, Signs, Voices
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.sentences import span

Ints = npt.NDArray[np.int64]


class Silence:
    """Judges silence over the pairs of one kind of voice."""

    def __init__(
        self,
        rules: tuple[AlertRule, ...],
        pairs: Pairs,
        after_us: Ints,
        usual_after_us: Ints,
        subject_of: Callable[[int], str],
    ) -> None:
        """`after_us` is what the rule of each pair allows, 0 where the rhythm says; then `usual_after_us` helps out."""
        self._rules = rules
        self._pairs = pairs
        self._after_us = after_us[pairs.rule]
        self._usual_after_us = usual_after_us
        self._subject_of = subject_of

    def judge(self, signs: Signs, voices: Voices, received_us: Ints, heard: Heard, found: Found) -> None:
        """Take the signs of life of a batch, and then what the clock says behind it."""
        pair, place = self._pairs.of_subjects(signs.voice)
        if len(pair):
            row = signs.row[place]
            deadline = signs.heard_us[place] + self._allowed(pair, signs.after_us[place])
            missed = (signs.heard_us[place] != NEVER) & (heard.awake_before_us[row] > deadline)
            touched = np.zeros(len(self._pairs), np.bool_)
            touched[pair[missed | (self._pairs.state[pair] != State.IDLE)]] = True
            for at in np.flatnonzero(touched[pair])[np.argsort(pair[touched[pair]], kind="stable")].tolist():
                one, when_us = int(pair[at]), int(received_us[row[at]])
                if missed[at] and self._pairs.state[one] == State.IDLE:
                    self._raise(one, int(deadline[at]), int(signs.heard_us[place[at]]), heard, found)
                if self._pairs.state[one] != State.IDLE:
                    self._enter(one, State.IDLE, when_us, found)
                    found.add(
                        int(row[at]),
                        self._rule(one),
                        self._subject(one),
                        raised=False,
                        at_us=when_us,
                        value=None,
                        because="It sends again.",
                    )
        self._pass_deadlines(voices, heard, found)

    def _pass_deadlines(self, voices: Voices, heard: Heard, found: Found) -> None:
        """Raise for those of whom the clock has passed the deadline, and nothing has come since."""
        pairs = self._pairs
        if not len(pairs) or not len(heard.awake_us):
            return
        voices.reach(int(pairs.subject.max()))
        last_us = voices.heard_us[pairs.subject]
        deadline = last_us + self._allowed(slice(None), voices.after_us[pairs.subject])
        due = (pairs.state == State.IDLE) & (last_us != NEVER) & (deadline < heard.awake_us[-1])
        for one in np.flatnonzero(due).tolist():
            self._raise(one, int(deadline[one]), int(last_us[one]), heard, found)

    def _allowed(self, pair: Ints | slice, rhythm_us: Ints) -> Ints:
        told = self._after_us[pair]
        return np.where(told > 0, told, np.where(rhythm_us > 0, rhythm_us, self._usual_after_us[pair]))

    def _raise(self, one: int, deadline_us: int, last_us: int, heard: Heard, found: Found) -> None:
        row = min(int(np.searchsorted(heard.awake_us, deadline_us, side="right")), len(heard.awake_us) - 1)
        at_us = deadline_us + int(heard.wall_us[row] - heard.awake_us[row])
        self._enter(one, State.ACTIVE, at_us, found)
        found.add(
            row,
            self._rule(one),
            self._subject(one),
            raised=True,
            at_us=at_us,
            value=None,
            because=f"Nothing came for {span((deadline_us - last_us) // 1_000_000)}.",
        )

    def _enter(self, one: int, state: State, at_us: int, found: Found) -> None:
        pairs = self._pairs
        pairs.state[one], pairs.since_us[one], pairs.last_us[one] = state, at_us, at_us
        found.stand(self._rule(one).id, self._subject(one), pairs, one)

    def _rule(self, one: int) -> AlertRule:
        return self._rules[int(self._pairs.rule[one])]

    def _subject(self, one: int) -> str:
        return self._subject_of(int(self._pairs.subject[one]))
