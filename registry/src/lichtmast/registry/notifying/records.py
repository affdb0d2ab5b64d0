"""What is told, as frozen values: notices, the messages they go out in, and deliveries as people read them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from lichtmast.registry.notifying.channel import Channel
from lichtmast.registry.notifying.limits import BECAUSE_BYTES_MAX, FACT_BYTES_MAX
from lichtmast.registry.notifying.plain import plain


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about an alert that people want to know, with all that a message says of it.

    Names and reasons are text that others chose: whoever writes them into a message, writes them as data.
    """

    id: int
    episode_id: int
    event: str
    at_us: int
    tenant: str
    rule: str
    severity: str
    subject: str
    name: str
    because: str
    escalated_from: str = ""
    """The channel where nobody acknowledged it; empty where it came here by itself."""

    @property
    def wakes(self) -> bool:
        """Whether it is told in quiet hours too: something critical, and not that it is over."""
        return self.severity == "critical" and self.event != "cleared"

    def facts(self) -> dict[str, Any]:
        """As it is kept with a delivery: each text one line, and bounded."""
        most = {"because": BECAUSE_BYTES_MAX}
        return {
            key: plain(value, most.get(key, FACT_BYTES_MAX)) if isinstance(value, str) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Notice":
        """As `facts` wrote it."""
        return cls(**facts)


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    """Not due yet, or being tried."""
    SENT = "sent"
    """The other side said yes."""
    FAILED = "failed"
    """Given up; it can be tried again by hand."""
    DROPPED = "dropped"
    """Its channel was removed before."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to one channel. `id` is what the receiver can tell a second copy by."""

    id: str
    channel: Channel
    notices: tuple[Notice, ...]
    attempts: int = 0
    first_tried_at_us: int | None = None

    @property
    def at_us(self) -> int:
        """The moment of the newest notice in it: the same for each copy."""
        return max(one.at_us for one in self.notices)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side said, in words for people."""

    accepted: bool
    words: str
    final: bool = False
    """A no that trying again will not change."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery for people."""

    id: int
    notice: Notice
    channel_id: int
    channel: str
    state: DeliveryState
    due_at_us: int
    message: str | None
    attempts: int
    next_try_at_us: int | None
    answer: str
    ended_at_us: int | None
