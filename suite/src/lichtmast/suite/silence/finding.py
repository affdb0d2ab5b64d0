"""What a rung finds, in both languages, and how long ago something was. Values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60
_UNITS: Final = (
    (2 * _DAY_S, _DAY_S, "days", "dagen"),
    (2 * _HOUR_S, _HOUR_S, "h", "uur"),
    (0, _MINUTE_S, "min", "min"),
)
"""From which age on, in which unit, and its names."""


class Rung(StrEnum):
    """The rungs, from the top."""

    OURS = "ours"
    REGISTER = "register"
    CERTIFICATE = "certificate"
    REFUSED = "refused"
    QUARANTINE = "quarantine"
    CLOCK = "clock"
    SPEECH = "speech"
    NEIGHBOURS = "neighbours"
    SESSION = "session"
    NAME = "name"
    PLAN = "plan"
    ECHO = "echo"
    COAP = "coap"


class State(StrEnum):
    """How a rung stands. Only `bad` explains the silence."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Told:
    """The same in English and in Dutch."""

    en: str
    nl: str

    def as_json(self) -> dict[str, str]:
        """By language."""
        return {"en": self.en, "nl": self.nl}


@dataclass(frozen=True, slots=True)
class Finding:
    """One rung: how it stands, what was seen, and where it is bad, what to do next."""

    rung: Rung
    state: State
    text: Told
    step: Told | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: one sentence and the next step. `rung` is None where no rung explains the silence."""

    rung: Rung | None
    sentence: Told
    step: Told


def ago(then_us: int, now_us: int) -> Told:
    """How long ago, as in `3 h ago`; an age below a minute is `just now`."""
    age_s = max(now_us - then_us, 0) // 1_000_000
    if age_s < _MINUTE_S:
        return Told("just now", "zojuist")
    size_s, en, nl = next((size_s, en, nl) for from_s, size_s, en, nl in _UNITS if age_s >= from_s)
    return Told(f"{age_s // size_s} {en} ago", f"{age_s // size_s} {nl} geleden")
