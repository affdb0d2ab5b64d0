"""What the tests of the outbox share: a clock that stands still until told, drafts, and what a pack says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lichtmast.edge.outbox import Draft, Outbox, OutboxSettings
from lichtmast.edge.outbox.rows import Kept
from lichtmast.edge.outbox.storage import Connect, connect_sqlite
from lichtmast.edge.timekeeping import Stamp
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml import Pack, decode

DEVICE: Final = DeviceId("gm0402", "lm-0001")
START_US: Final = 1_795_000_000 * 1_000_000  # 2026-11-18


@dataclass
class StillClock:
    """Moves when a test says so."""

    boot: str = "boot-1"
    now_s: float = 100.0
    started_us: int = START_US

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return self.started_us + round(self.now_s * 1e6)

    def stamp(self, error_s: float = 0.01) -> Stamp:
        return Stamp(self.started_us, error_s)


def draft(value: float = 50.0, at_s: float = 100.0, readings: int = 1) -> Draft:
    return Draft([Kept(f"/noise/{index}/level", value, "dB", at_s) for index in range(readings)])


def open_outbox(
    path: Path,
    clock: StillClock,
    settings: OutboxSettings | None = None,
    connect: Connect = connect_sqlite,
) -> Outbox:
    return Outbox.open(path, DEVICE, settings=settings or OutboxSettings(), clock=clock, connect=connect)


def pack_of(outbox: Outbox, seq: int) -> Pack:
    """The pack of that number as the server would read it."""
    (packed,) = outbox.load([seq])
    return decode(packed.payload, packed.content_format, START_US)


def values_of(outbox: Outbox) -> dict[int, float | None]:
    """The one value of each pack that can be sent."""
    found: dict[int, float | None] = {}
    for packed in outbox.load(list(outbox.sendable())):
        value = decode(packed.payload, packed.content_format, START_US).records[0].value
        assert isinstance(value, float)
        found[packed.seq] = value
    return found


def filled(path: Path, clock: StillClock, packs: int = 20) -> int:
    """A closed file whose packs hold their numbers as values; returns its epoch."""
    outbox = open_outbox(path, clock)
    for _ in range(packs):
        outbox.put([draft(float(outbox.next_seq), readings=2)], clock.stamp())
    outbox.close()
    return outbox.epoch


def flip(path: Path, at: int, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1 << bit
    path.write_bytes(raw)
