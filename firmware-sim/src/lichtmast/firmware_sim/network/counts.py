"""What was done to packets, counted: a run in which the fault did not bite proves nothing, and these say so."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from lichtmast.firmware_sim.network.schedule import Direction


@dataclass(slots=True)
class Counts:
    """One direction. `packets` came in, `forwarded` went out; the others say what happened on the way."""

    packets: int = 0
    bytes: int = 0
    forwarded: int = 0
    lost: int = 0
    burst_lost: int = 0
    delayed: int = 0
    reordered: int = 0
    """Held back and really overtaken by a later packet."""
    duplicated: int = 0
    corrupted: int = 0
    shaped: int = 0
    """Waited for the narrow band."""
    overflowed: int = 0
    """Thrown away because the queue before the narrow band, or the relay itself, was full."""
    too_big_told: int = 0
    too_big_silent: int = 0
    blackholed: int = 0
    flapped: int = 0

    @property
    def faults(self) -> int:
        """How often anything was done at all; 0 means that the network was as good as it gets."""
        return sum(getattr(self, one.name) for one in fields(self) if one.name not in {"packets", "bytes", "forwarded"})

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class NetworkCounts:
    """Both directions of a network."""

    up: Counts = field(default_factory=Counts)
    down: Counts = field(default_factory=Counts)

    @property
    def total(self) -> Counts:
        """Up and down together."""
        return self.up + self.down

    def toward(self, direction: Direction) -> Counts:
        """The counts of one direction."""
        return self.up if direction is Direction.UP else self.down

    @classmethod
    def from_table(cls, table: dict[str, dict[str, int]]) -> Self:
        """What `to_table` wrote."""
        return cls(Counts(**table["up"]), Counts(**table["down"]))

    def to_table(self) -> dict[str, Any]:
        """As a table, for JSON."""
        return asdict(self)
