"""What stands in a row: a pack that is encoded, or readings that still wait for a trusted clock; and its checksum.

Will not: touch the disk.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from lichtmast.edge.outbox.values import Measurement
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml import Reading, encode

UNSTAMPED: Final = 0
"""Stands for the content format of readings that wait for a trusted clock."""


class Row(NamedTuple):
    """A row of the table `pack`. `created_us` is wall time, None while unstamped; `created_s` is of its `boot`."""

    seq: int
    boot: str
    created_s: float
    created_us: int | None
    content_format: int
    readings: int
    payload: bytes
    checksum: int

    @classmethod
    def summed(cls, *fields: Any) -> "Row":  # noqa: ANN401 - the fields above, without the last
        """A row with its checksum."""
        return cls._make((*fields, checksum_of(fields)))

    def is_sound(self) -> bool:
        """Whether the row is as it was written."""
        return checksum_of(self[:-1]) == self.checksum


def checksum_of(fields: Sequence[Any]) -> int:
    """CRC-32 over the fields: finds every flip of up to three bits, and every burst of up to 32."""
    return zlib.crc32(repr(tuple(fields)).encode())


@dataclass(frozen=True, slots=True)
class Kept:
    """A reading that was kept unstamped, read back; lichtmast.edge.sampling.Measured has the same fields."""

    suffix: str
    value: float | bool | str
    unit: str | None
    at_s: float


def keep(readings: Sequence[Measurement]) -> bytes:
    """Readings as they are kept until there is a trusted clock."""
    return json.dumps([[one.suffix, one.value, one.unit, one.at_s] for one in readings], allow_nan=False).encode()


def kept(payload: bytes) -> tuple[Kept, ...]:
    """The inverse of `keep`."""
    return tuple(Kept(*one) for one in json.loads(payload))


@dataclass(frozen=True, slots=True)
class Packer:
    """Encodes packs of one device and one epoch."""

    device: DeviceId
    epoch: int
    content_format: int

    def pack(
        self,
        seq: int,
        readings: Sequence[Measurement],
        offset_us: int,
        error_s: float,
        dropped: Sequence[tuple[int, int]] = (),
    ) -> bytes:
        """Raises EncodingError for readings that cannot be written as SenML."""
        timed = [Reading(one.suffix, one.value, one.unit, offset_us + round(one.at_s * 1e6)) for one in readings]
        return self.repack(seq, timed, error_s, dropped)

    def repack(
        self, seq: int, readings: Sequence[Reading], error_s: float | None, dropped: Sequence[tuple[int, int]] = ()
    ) -> bytes:
        """The same, for readings that have their time already."""
        return encode(
            self.device,
            readings,
            epoch=self.epoch,
            seq=seq,
            content_format=self.content_format,
            dropped=dropped,
            time_error_s=error_s,
        )
