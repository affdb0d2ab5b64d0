"""The driver `street` of a real agent: it measures the same street as the light device of the same name would.

An entry point of the group `lichtmast.edge.drivers`; structural, so that neither package needs the other. Options:
`device` (TENANT/NAME), `profile`, `seed`, `longitude`, `latitude`; then, where something happens around it, a list
`happening` of tables with `kind`, `start_s`, `end_s` (seconds since 1970) and `strength`; and the weather's `season`,
`warmer_cel`, `wetter`, `windier`. Channels are the profile's uplinks by their keys, each in its unit.

Will not dim: the level of a lamp is what the street's own schedule makes it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from lichtmast.firmware_sim.curves import Curves
from lichtmast.firmware_sim.happenings import Happening, Kind, Surroundings
from lichtmast.firmware_sim.scenario.reading import read_climate
from lichtmast.firmware_sim.scenario.table import ScenarioError, Table
from lichtmast.wire.profile import ResultKind, load_profiles


@dataclass(frozen=True, slots=True)
class StreetChannel:
    """One uplink of the profile, as an agent's driver port describes a channel."""

    name: str
    kind: str
    unit: str | None
    writable: bool = False


def now_us() -> int:
    """Microseconds since 1970: where the street's clock stands."""
    return time.time_ns() // 1_000


class StreetDriver:
    """One device's view of its street. Raises ScenarioError, which names the option."""

    def __init__(self, options: Mapping[str, object], context: object) -> None:
        table = Table(options, f"[driver.{getattr(context, 'name', 'street')}]")
        self._profile = load_profiles()[table.choice("profile", tuple(load_profiles()))]
        happenings = [_happening(one) for one in table.rows("happening")]
        self._curves = Curves(
            self._profile,
            seed=table.whole("seed", 0, 2**63 - 1),
            device=table.text("device"),
            longitude=table.number("longitude", -180, 180),
            latitude=table.number("latitude", -90, 90),
            around=Surroundings(happenings),
            climate=read_climate(table),
        )
        table.done()

    @property
    def channels(self) -> tuple[StreetChannel, ...]:
        """The profile's uplinks."""
        kinds = {ResultKind.BOOLEAN: "boolean", ResultKind.TEXT: "text", ResultKind.NUMBER: "number"}
        return tuple(StreetChannel(one.key, kinds[one.kind], one.unit) for one in self._profile.uplinks)

    def read(self) -> Mapping[str, float | bool | str]:
        """Everything now."""
        rows = self._curves.values(now_us())
        return {one.key: value for one, (_, _, value) in zip(self._profile.uplinks, rows, strict=True)}

    def write(self, channel: str, value: float | bool) -> None:  # noqa: FBT001 - the port's own signature
        """Nothing here can be moved."""
        raise ScenarioError(f"{channel} cannot be set to {value}: a simulated street follows its own schedule")

    def close(self) -> None:
        """There is nothing to let go of."""


def _happening(row: Table) -> Happening:
    happening = Happening(
        Kind(row.choice("kind", [one.value for one in Kind])),
        row.number("start_s", 0, 1e11),
        row.number("end_s", 0, 1e11),
        row.number("strength", 0.01, 10, 1),
    )
    row.done()
    return happening
