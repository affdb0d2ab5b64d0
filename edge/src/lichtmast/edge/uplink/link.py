"""The port to the links: what MQTT and CoAP have in common for delivering packs."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, unique
from typing import Protocol

from lichtmast.edge.outbox.values import Packed


@dataclass(frozen=True, slots=True)
class Handed:
    """The broker has the pack; the store's acknowledgement comes as a message."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The pack is on disk."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The pack is refused for what it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not now; the server wants a pause of at least `pause_s`."""

    pause_s: float
    reason: str


Outcome = Handed | Stored | Refused | Later


@unique
class Kind(Enum):
    """What a message to the device is."""

    ACK = "ack"
    CFG = "cfg"
    CMD = "cmd"


@unique
class Report(Enum):
    """What the device reports beside packs: its state, of which the last counts, and events, each of which counts."""

    STATE = "state"
    EVENT = "ev"


@dataclass(frozen=True, slots=True)
class Heard:
    """A message to the device, as it came."""

    kind: Kind
    payload: bytes


class Conversation(Protocol):
    """What goes beside packs, over a link that can. Every method raises UplinkError when the link broke."""

    async def report(self, kind: Report, payload: bytes) -> None:
        """Publish a state or an event; returns when the other side has it."""

    async def wait_heard(self) -> Heard:
        """The next message to the device."""


class Session(Protocol):
    """An open link."""

    @property
    def conversation(self) -> Conversation | None:
        """None where the link carries packs alone, each settled by its own answer."""

    async def deliver(self, packed: Packed) -> Outcome:
        """Send one pack and wait for what the link itself answers; raises UplinkError when the link broke."""


class Link(Protocol):
    """A way to the server. `window` packs may be unconfirmed at one time, `at_once` of them in the link's hands."""

    @property
    def name(self) -> str:
        """As in the settings."""

    @property
    def window(self) -> int:
        """How many packs may be unconfirmed."""

    @property
    def at_once(self) -> int:
        """How many `deliver` may run beside each other."""

    def open(self) -> AbstractAsyncContextManager[Session]:
        """Connect; raises UplinkError."""
