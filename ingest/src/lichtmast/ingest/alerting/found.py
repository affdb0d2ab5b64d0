"""What a room of the engine found in a batch: transitions, each with the row that brought it, and changed standings."""

from dataclasses import dataclass, field
from typing import Final

from lichtmast.ingest.alerting.pairs import Pairs, State
from lichtmast.registry.alerts.rules import AlertRule
from lichtmast.registry.alerts.steps import Standing, StandingState, Transition, TransitionKind

DATASTREAM: Final = "datastream"
DEVICE: Final = "device"
STATES: Final = {StandingState(one.name.lower()): one for one in State}
_NAMES: Final = {one.value: name for name, one in STATES.items()}


@dataclass(slots=True)
class Found:
    """Gathered over one batch. `transitions` sort into the order in which a reader row by row would find them."""

    transitions: list[tuple[tuple[int, int, int, str], Transition]] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)

    def add(
        self, row: int, rule: AlertRule, subject: str, *, raised: bool, at_us: int, value: float | None, because: str
    ) -> None:
        """A transition that the row brought."""
        kind = TransitionKind.RAISED if raised else TransitionKind.CLEARED
        one = Transition(rule.id, rule.version, subject, kind, at_us, value, because)
        self.transitions.append(((row, at_us, rule.id, subject), one))

    def stand(self, rule_id: int, subject: str, pairs: Pairs, pair: int) -> None:
        """A pair that stands at something else now."""
        value = float(pairs.value[pair])
        self.standings.append(
            Standing(
                rule_id,
                subject,
                _NAMES[int(pairs.state[pair])],
                int(pairs.since_us[pair]),
                int(pairs.last_us[pair]),
                None if value != value else value,  # noqa: PLR0124 - NaN
            )
        )

    def sorted(self) -> list[tuple[int, Transition]]:
        """Transitions with their rows, in order."""
        self.transitions.sort(key=lambda one: one[0])
        return [(key[0], transition) for key, transition in self.transitions]
