"""What a SenML pack says once everything relative in it is resolved (RFC 8428 section 4.6)."""

from dataclasses import dataclass
from typing import TypeAlias

from lichtmast.wire.identity import DeviceId

Value: TypeAlias = float | bool | str | bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One resolved record. `value` is None where the record carries a sum only.

    `unit` is always a primary unit, or None where the record has none. `time_us` is absolute, in microseconds since
    1970 UTC. `update_time_s` is the longest time to the next update that the sensor promises. `quality` holds bits of
    lichtmast.wire.quality.Quality.
    """

    name: str
    unit: str | None
    value: Value | None
    sum: float | None
    time_us: int
    update_time_s: float | None
    quality: int


@dataclass(frozen=True, slots=True)
class Pack:
    """A decoded pack: records in chronological order, equal times in the order of the pack.

    `device` is the device whose URN begins every name, or None where no name is a URN of ours. `epoch` and `seq` are
    both there or both None. `dropped` are numbers of this epoch that the device declares it had to drop, as ascending
    closed ranges below `seq`. `time_error_s` is the device's own bound on its clock error, None where it tells none.
    """

    device: DeviceId | None
    epoch: int | None
    seq: int | None
    records: tuple[Record, ...]
    dropped: tuple[tuple[int, int], ...] = ()
    time_error_s: float | None = None

    def suffix_of(self, record: Record) -> str:
        """What follows the device URN in the record's name, from its slash; the whole name where device is None."""
        return record.name if self.device is None else record.name[len(self.device.urn) :]


@dataclass(frozen=True, slots=True)
class Reading:
    """What `encode` writes: a result under a suffix such as `/lamp/0/level`, in a primary unit or none."""

    suffix: str
    value: Value
    unit: str | None
    time_us: int
