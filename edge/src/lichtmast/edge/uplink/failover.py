"""Which of several links is in use: the preferred one while it works, another while it does not, and the way back.

Sans-IO. A link works when it confirms packs. One that owes us something, a connection or a confirmation, for longer
than our patience is left for the next in the order. After a while the preferred one is tried again, with less patience;
each trial that fails doubles the pause before the next, so that a link which comes and goes does not take the other one
with it.

Will not use two links at one time: one of them would always repeat what the other has just delivered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lichtmast.edge.pace import share
from lichtmast.edge.uplink import limits


@dataclass(frozen=True, slots=True)
class FailoverStatistics:
    """The link in use, and how often it was changed since the start of the process."""

    link: str
    changes: int
    failed_trials: int


class Failover:
    """Chooses of `order`. Tell it what the link in use does, and ask `choose`."""

    def __init__(self, order: Sequence[str], *, patience_s: float, return_s: float, seed: int) -> None:
        self._order = tuple(order)
        self._patience_s = patience_s
        self._return_s = return_s
        self._seed = seed
        self._at = 0
        self._came_from = 0
        self._on_trial = False
        self._owes_since_s: float | None = None
        self._return_at_s: float | None = None
        self._failed_trials = 0
        self._trials = 0
        self._changes = 0

    @property
    def link(self) -> str:
        """The link in use."""
        return self._order[self._at]

    def owes(self, now_s: float) -> None:
        """A connection was asked for, or a pack sent: from now on the link has something to show."""
        if self._owes_since_s is None:
            self._owes_since_s = now_s

    def connected(self, *, outstanding: bool) -> None:
        """The connection is there. It proves nothing while packs are outstanding: a broker may take them for nobody."""
        if not outstanding:
            self._owes_since_s = None

    def confirmed(self) -> None:
        """A pack was confirmed through the link in use: it works."""
        self._owes_since_s = None
        if self._on_trial:
            self._on_trial = False
            self._failed_trials = 0
            self._return_at_s = None

    def choose(self, now_s: float) -> str:
        """The link to use now."""
        patient_until_s = self._patient_until_s()
        if patient_until_s is not None and now_s >= patient_until_s:
            self._leave(now_s)
        elif self._return_at_s is not None and now_s >= self._return_at_s and not self._on_trial:
            self._came_from = self._at
            self._on_trial = True
            self._trials += 1
            self._use(0)
        return self.link

    def wake_at_s(self) -> float | None:
        """When `choose` can next answer otherwise without anything else happening; None where only an event helps."""
        times_s = (self._patient_until_s(), None if self._on_trial else self._return_at_s)
        return min((one for one in times_s if one is not None), default=None)

    def statistics(self) -> FailoverStatistics:
        """What is in use."""
        return FailoverStatistics(self.link, self._changes, self._failed_trials)

    def _patient_until_s(self) -> float | None:
        if self._owes_since_s is None or len(self._order) == 1:
            return None
        return self._owes_since_s + (self._patience_s / limits.TRIAL_SHARE if self._on_trial else self._patience_s)

    def _leave(self, now_s: float) -> None:
        if self._on_trial:
            self._on_trial = False
            self._failed_trials += 1
            self._use(self._came_from)
        else:
            self._use((self._at + 1) % len(self._order))
        if self._at == 0:
            self._return_at_s = None
        else:
            pause_s = self._return_s * 2 ** min(self._failed_trials, limits.RETURN_DOUBLINGS_MAX)
            self._return_at_s = now_s + pause_s * (1 + share(self._seed, self._trials) / 4)

    def _use(self, at: int) -> None:
        self._at = at
        self._changes += 1
        self._owes_since_s = None
