"""Rules over many: how large a share of a group has an open alert of another rule.

Counted after each transition of a member, in order, so that it does not matter how the log was cut into batches.
"""

from collections.abc import Iterable, Sequence

from lichtmast.ingest.alerting.found import STATES
from lichtmast.ingest.alerting.pairs import State
from lichtmast.ingest.alerting.plan import Watch
from lichtmast.registry.alerts.steps import Standing, StandingState, Transition, TransitionKind


class Fleets:
    """Counts open alerts by group. `open` are the (rule id, subject) of members whose alert is open now."""

    def __init__(self, watches: Sequence[Watch], open_members: Iterable[tuple[int, str]]) -> None:
        self._watches = watches
        self._counts: list[dict[str, int]] = [{} for _ in watches]
        self._raised: set[tuple[int, str]] = set()
        for member in open_members:
            for watch, counts in zip(watches, self._counts, strict=True):
                group = watch.group_of.get(member)
                if group is not None:
                    counts[group] = counts.get(group, 0) + 1

    def restore(self, rule_id: int, subject: str, state: StandingState) -> bool:
        """Take a standing that was remembered; False where no rule has this group any more."""
        known = any(watch.rule.id == rule_id and subject in watch.members for watch in self._watches)
        if known and STATES[state] is not State.IDLE:
            self._raised.add((rule_id, subject))
        return known

    def raised(self) -> set[tuple[int, str]]:
        """The (rule id, group) whose alert is open now."""
        return set(self._raised)

    def go(self, transition: Transition) -> list[Transition]:
        """Take a transition of some member; what it does to the groups that it is in."""
        step = 1 if transition.kind is TransitionKind.RAISED else -1
        found: list[Transition] = []
        for watch, counts in zip(self._watches, self._counts, strict=True):
            group = watch.group_of.get((transition.rule_id, transition.subject))
            if group is None:
                continue
            counts[group] = max(counts.get(group, 0) + step, 0)
            found += self._settle(watch, group, counts[group], transition.at_us)
        return found

    def settle(self, at_us: int) -> list[Transition]:
        """Look at every group anew: members may have been added or have gone."""
        return [
            one
            for watch, counts in zip(self._watches, self._counts, strict=True)
            for group in watch.members
            for one in self._settle(watch, group, counts.get(group, 0), at_us)
        ]

    def _settle(self, watch: Watch, group: str, count: int, at_us: int) -> list[Transition]:
        rule, members = watch.rule, watch.members[group]
        breach = count > watch.condition.share * members and count >= watch.condition.at_least
        key = (rule.id, group)
        if breach == (key in self._raised):
            return []
        (self._raised.add if breach else self._raised.discard)(key)
        kind = TransitionKind.RAISED if breach else TransitionKind.CLEARED
        because = f"{count} of {members} have an open alert of {watch.condition.rule!r}."
        return [Transition(rule.id, rule.version, group, kind, at_us, count / members, because)]


def standing_of(transition: Transition) -> Standing:
    """What must be remembered of a group after its transition."""
    state = StandingState.ACTIVE if transition.kind is TransitionKind.RAISED else StandingState.IDLE
    at_us = transition.at_us
    return Standing(transition.rule_id, transition.subject, state, at_us, at_us, transition.value)
