"""When this device asks for a certificate, renews it, or fetches the authorities anew. Time and chance come in.

Nothing here waits for a right clock: time may be a floor, before which it cannot be. A certificate that ended before
the floor has ended; one that did not may have, and then the server says so.
"""

from dataclasses import dataclass
from enum import StrEnum, unique

from lichtmast.edge.identity import limits
from lichtmast.edge.identity.keeping import Certificate
from lichtmast.edge.identity.refusals import MEANINGS, Refusal
from lichtmast.edge.pace import backoff_s, share


@unique
class Step(StrEnum):
    """What is asked of the EST server."""

    ENROL = "enrol"
    RENEW = "renew"
    REFRESH = "refresh"


@unique
class Result(StrEnum):
    """How it went."""

    DONE = "done"
    LATER = "later"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step went, in one sentence; `refusal` where a connection was refused, `retry_s` where a pause was asked."""

    result: Result
    told: str
    certificate: Certificate | None = None
    refusal: Refusal | None = None
    retry_s: float | None = None


class Schedule:
    """Ask `due`, do it, and tell `ended`. `seed` makes its chance this device's own."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._not_before_s = float("-inf")
        self._refreshed_s: float | None = None
        self._certified_s = float("-inf")
        self._failures = 0
        self._in_doubt: Refusal | None = None
        self._not_admitted = 0

    def due(self, certificate: Certificate | None, wall_us: int, now_s: float) -> Step | None:
        """What to do now, or None."""
        if now_s < self._not_before_s:
            return None
        if certificate is None or wall_us >= certificate.not_after_us:
            return Step.ENROL
        if self._in_doubt is not None and MEANINGS[self._in_doubt].enrols:
            return Step.ENROL
        if wall_us >= self.renewal_us(certificate) and now_s >= self._rested_s(certificate):
            return Step.RENEW
        if self._refreshed_s is None:
            self._refreshed_s = now_s  # the certificate came with them
        in_doubt = self._in_doubt is not None and MEANINGS[self._in_doubt].refreshes
        return Step.REFRESH if in_doubt or now_s - self._refreshed_s >= limits.REFRESH_S else None

    def renewal_us(self, certificate: Certificate) -> int:
        """When this certificate is renewed."""
        life_us = certificate.not_after_us - certificate.not_before_us
        chance = share(self._seed, certificate.not_before_us) * limits.RENEW_SPREAD
        return certificate.not_before_us + round(life_us * (limits.RENEW_SHARE + chance))

    def wake_s(self, certificate: Certificate | None, wall_us: int, now_s: float) -> float:
        """How long until `due` should be asked again, if nothing else happens."""
        pause_s = max(0.0, self._not_before_s - now_s)
        if self._in_doubt is not None or certificate is None:
            return pause_s
        refresh_s = limits.REFRESH_S - (now_s - (now_s if self._refreshed_s is None else self._refreshed_s))
        renewal_s = max((self.renewal_us(certificate) - wall_us) / 1e6, self._rested_s(certificate) - now_s)
        return max(pause_s, min(renewal_s, refresh_s), 0.0)

    def ended(self, step: Step, outcome: Outcome, now_s: float) -> None:
        """How it went."""
        if outcome.result is Result.DONE:
            self._refreshed_s = now_s
            if step is not Step.REFRESH:
                self._certified_s = now_s
            if self._in_doubt is None:
                self._failures = 0
                return
            # Whether it helped is not known before `judged`; where it did not, it is asked ever more rarely.
            self._in_doubt = None
            self._not_before_s = now_s + backoff_s(self._failures, self._seed, limits.REFUSED_S, limits.REFUSED_MAX_S)
            self._failures += 1
            return
        first_s, longest_s = (
            (limits.REFUSED_S, limits.REFUSED_MAX_S)
            if outcome.result is Result.REFUSED
            else (limits.RETRY_S, limits.RETRY_MAX_S)
        )
        pause_s = backoff_s(self._failures, self._seed, first_s, longest_s)
        if outcome.result is Result.LATER:  # it is reached and answers: nothing has failed
            pause_s = limits.LATER_MIN_S if outcome.retry_s is None else outcome.retry_s
            pause_s *= 1 + share(self._seed, round(now_s)) / 4
            self._failures = 0
        else:
            pause_s = max(pause_s, outcome.retry_s or 0.0)
            self._failures += 1
        if step is not Step.ENROL and outcome.refusal in (Refusal.CERTIFICATE_EXPIRED, Refusal.CERTIFICATE_REVOKED):
            self._in_doubt = outcome.refusal
        self._not_before_s = now_s + pause_s

    def judged(self, refusal: Refusal | None, now_s: float) -> None:
        """What the server of a link thinks of this device: a refusal, or None where it let it in."""
        self._not_admitted = self._not_admitted + 1 if refusal is Refusal.NOT_ADMITTED else 0
        if refusal is None:
            self._in_doubt, self._failures = None, 0
        elif refusal is Refusal.NOT_ADMITTED and (
            now_s < self._certified_s + limits.FRESH_S or self._not_admitted < limits.NOT_ADMITTED_MIN
        ):
            pass  # the link tries again by itself, and soon: another certificate would be just as new
        elif self._in_doubt is None and (MEANINGS[refusal].enrols or MEANINGS[refusal].refreshes):
            self._in_doubt = refusal
            # Not at once: a server that has just started may not know its devices yet.
            self._not_before_s = max(self._not_before_s, now_s + limits.RETRY_S)

    def _rested_s(self, certificate: Certificate) -> float:
        """When, by the clock that never jumps, a certificate may be renewed that came in this run of the agent."""
        served_us = self.renewal_us(certificate) - certificate.not_before_us
        return self._certified_s + served_us / 1e6 * limits.RENEW_REST_SHARE
