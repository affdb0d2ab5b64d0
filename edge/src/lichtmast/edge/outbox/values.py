"""What goes into the outbox, what comes out, and what it tells about itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lichtmast.wire.envelope import SENML_JSON


class Measurement(Protocol):
    """A reading as the sampler gives it (lichtmast.edge.sampling.Measured), or as it was kept for a later stamp."""

    @property
    def suffix(self) -> str:
        """SenML suffix of the device's profile."""

    @property
    def value(self) -> float | bool | str:
        """The result."""

    @property
    def unit(self) -> str | None:
        """SenML primary unit."""

    @property
    def at_s(self) -> float:
        """Monotonic seconds of its boot."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The readings of one pack that has no number yet."""

    readings: Sequence[Measurement]


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack ready to be sent. `created_s` is monotonic, of this boot; 0.0 for a pack of an earlier one."""

    seq: int
    payload: bytes
    content_format: int
    created_s: float


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """How much is kept: `hours` of packs and `bytes_max` on the disk, whichever ends first; and what then goes.

    `drop` is "oldest" (the oldest packs are deleted and declared) or "newest" (the sample is turned away before it has
    a number). Both are counted.
    """

    hours: float = 168.0
    bytes_max: int = 64 * 1024 * 1024
    drop: str = "oldest"
    content_format: int = SENML_JSON


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """The outbox at one moment. Counters are durable, over the life of the file and those it was salvaged from.

    `fault` is what is wrong with the disk while it is not `healthy`, and else the damage that was found in the file.
    `packs` wait for delivery, `unstamped` of them for a trusted clock. `oldest_s` is the age of the oldest, None where
    there is none or its age cannot be known. `file_bytes` is what the files take on the disk. `dropped_*` were kept
    and had to go; `turned_away_*` never got a number; `damaged_packs` failed their checksum. `memory_drafts` are
    drafts that wait because the disk cannot be written, `lost_drafts` those of them that had to go.
    """

    healthy: bool
    fault: str
    policy: str
    epoch: int
    next_seq: int
    packs: int
    payload_bytes: int
    file_bytes: int
    unstamped: int
    oldest_s: float | None
    dropped_packs: int
    dropped_readings: int
    turned_away_drafts: int
    turned_away_readings: int
    damaged_packs: int
    salvaged_packs: int
    files_replaced: int
    reopened: int = 0
    memory_drafts: int = 0
    lost_drafts: int = 0
