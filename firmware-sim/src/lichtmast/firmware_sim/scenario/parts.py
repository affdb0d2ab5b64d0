"""What a scenario is made of. Times are seconds after the town's start, so that it can be played at any date."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from pathlib import Path
from typing import Final

from lichtmast.firmware_sim.device import Transport
from lichtmast.firmware_sim.happenings import Kind
from lichtmast.firmware_sim.weather import USUAL, Climate


@unique
class FaultKind(Enum):
    """What may be wrong with a device."""

    DRIFT = "drift"
    STUCK = "stuck"
    SPIKE = "spike"
    WRONG_UNIT = "wrong_unit"
    WRONG_CLOCK = "wrong_clock"
    REBOOT_LOOP = "reboot_loop"
    DUPLICATE = "duplicate"
    FLOOD = "flood"
    HOSTILE = "hostile"


@dataclass(frozen=True, slots=True)
class Knob:
    """A number that belongs to a kind of fault: its bounds, and what it is where the file says nothing."""

    low: float
    high: float
    default: float


KNOBS: Final[Mapping[FaultKind, Mapping[str, Knob]]] = {
    FaultKind.DRIFT: {"range_share_per_h": Knob(-10, 10, 0.02)},
    FaultKind.STUCK: {},
    FaultKind.SPIKE: {"chance": Knob(0, 1, 0.05), "range_share": Knob(0.001, 10, 0.5)},
    FaultKind.WRONG_UNIT: {},
    FaultKind.WRONG_CLOCK: {"offset_s": Knob(-1e9, 1e9, 3_600), "jump_every_s": Knob(1, 1e6, 600)},
    FaultKind.REBOOT_LOOP: {"every_s": Knob(1, 1e6, 300), "boot_s": Knob(0, 1e6, 60)},
    FaultKind.DUPLICATE: {"copies": Knob(2, 100, 2)},
    FaultKind.FLOOD: {"packs_per_s": Knob(0.01, 100, 10)},
    FaultKind.HOSTILE: {"chance": Knob(0, 1, 0.5)},
}
"""Every knob of every fault; `docs/reference/scenario.md` tells what it turns."""
CLOCK_MODES: Final = ("offset", "jump", "1970")
ON_CHANNELS: Final = (FaultKind.DRIFT, FaultKind.STUCK, FaultKind.SPIKE, FaultKind.WRONG_UNIT)
"""Faults of single readings; the others are of the whole device."""


@dataclass(frozen=True, slots=True)
class Mix:
    """A share of the town's devices. `transport` and `content_format` are None where devices take turns."""

    profile: str
    share: float
    transport: Transport | None = None
    content_format: int | None = None
    is_agent: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """Where an event happens: a circle, or assets by their key. Neither is the whole town."""

    centre: tuple[float, float] | None = None
    radius_m: float = 0.0
    assets: frozenset[str] = frozenset()

    def covers(self, asset: str, longitude: float, latitude: float) -> bool:
        """Whether a device there is in it; flat within a town."""
        if self.centre is None:
            return not self.assets or asset in self.assets
        east_m = (longitude - self.centre[0]) * 111_320 * math.cos(math.radians(self.centre[1]))
        north_m = (latitude - self.centre[1]) * 111_320
        return math.hypot(east_m, north_m) <= self.radius_m


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens in a part of the town."""

    kind: Kind
    area: Area
    start_s: float
    duration_s: float
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with `devices` (names), or with a seeded share of all, or of those with a profile.

    `channel` is a capability's key, empty for every number. `duration_s` is infinite where it does not end.
    """

    kind: FaultKind
    devices: tuple[str, ...] = ()
    profile: str = ""
    share: float = 1.0
    channel: str = ""
    clock: str = "offset"
    start_s: float = 0.0
    duration_s: float = math.inf
    knobs: Mapping[str, float] = field(default_factory=dict)

    def knob(self, name: str) -> float:
        """Its value, or the default."""
        return self.knobs.get(name, KNOBS[self.kind][name].default)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A town and what becomes of it. `assets` is a GeoJSON file, or None for the register.

    `from_s` is where its clock starts (seconds since 1970), None for now; `speed` is how much faster it goes.
    """

    tenant: str = "gm0402"
    seed: int = 402
    devices: int = 200
    interval_s: float = 10.0
    assets: Path | None = None
    from_s: float | None = None
    speed: float = 1.0
    climate: Climate = USUAL
    mix: tuple[Mix, ...] = ()
    events: tuple[Event, ...] = ()
    faults: tuple[Fault, ...] = ()
