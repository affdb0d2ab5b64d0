"""SenML units as data: RFC 8428 section 12.1 and RFC 8798, read from `units.toml` beside this module.

Will not: convert between primary units, guess at case (`cel` is not `Cel`), or accept a unit that is not registered.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Unit:
    """A primary unit. `recommended` is False for the registry's asterisk: accepted, but new devices use another."""

    symbol: str
    name: str
    recommended: bool


@dataclass(frozen=True, slots=True)
class SecondaryUnit:
    """A unit of RFC 8798 section 3, legal only under `bver` 26: value * scale + offset is the value in `primary`."""

    symbol: str
    name: str
    primary: str
    scale: Fraction
    offset: Fraction

    def to_primary(self, value: Fraction) -> Fraction:
        """The exact value in the primary unit."""
        return value * self.scale + self.offset


def _registry() -> Mapping[str, Any]:
    return tomllib.loads(files("lichtmast.wire").joinpath("units.toml").read_text(encoding="utf-8"))


_REGISTRY: Final = _registry()

UNITS: Final[Mapping[str, Unit]] = MappingProxyType(
    {symbol: Unit(symbol, row["name"], row.get("recommended", True)) for symbol, row in _REGISTRY["primary"].items()}
)
"""Primary units by symbol."""

SECONDARY_UNITS: Final[Mapping[str, SecondaryUnit]] = MappingProxyType(
    {
        symbol: SecondaryUnit(
            symbol, row["name"], row["primary"], Fraction(row["scale"]), Fraction(row.get("offset", "0"))
        )
        for symbol, row in _REGISTRY["secondary"].items()
    }
)
"""Secondary units by symbol; each converts into one of UNITS."""
