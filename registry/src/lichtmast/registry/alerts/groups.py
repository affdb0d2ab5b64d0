"""Which group an asset belongs to: the feeder that its source names, and its neighbourhood. Pure.

A feeder is what a source's column of that meaning says, whatever the column is called there; imports keep such columns
in the asset's properties under `source`. A neighbourhood is a square of about 500 m.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, floor, radians
from typing import Final

from lichtmast.registry.alerts.conditions import GroupKind
from lichtmast.registry.alerts.limits import CELL_M

FEEDER_NAMES: Final = (
    "feeder",
    "feederid",
    "voedingskast",
    "voedingspunt",
    "ovlkast",
    "ovkast",
    "schakelkast",
    "verdeelkast",
    "kast",
    "kastnummer",
    "kastnr",
)
"""What systems call the cabinet that feeds a lamppost: lower case, without spaces, underscores and the like."""
_NOISE: Final = re.compile(r"[\W_]+")
_FEEDER_CHARACTERS_MAX: Final = 60
_METRES_PER_DEGREE: Final = 111_320.0
_MIDDLE: Final = cos(radians(52.2))
"""Of the Netherlands: one width for all cells, so that they line up."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The groups of one asset."""

    feeder: str | None
    neighbourhood: str


def membership(properties: Mapping[str, object], longitude: float, latitude: float) -> Membership:
    """The groups of an asset with these properties at this place."""
    return Membership(feeder_of(properties), cell_of(longitude, latitude))


def feeder_of(properties: Mapping[str, object]) -> str | None:
    """The cabinet that feeds it; None where no source said so."""
    source = properties.get("source")
    told = {
        _NOISE.sub("", str(name)).lower(): value
        for table in (source if isinstance(source, Mapping) else {}, properties)
        for name, value in table.items()
    }
    for name in FEEDER_NAMES:
        value = told.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool):
            text = " ".join(str(value).split())
            if 0 < len(text) <= _FEEDER_CHARACTERS_MAX and text.isprintable():
                return text
    return None


def cell_of(longitude: float, latitude: float) -> str:
    """The square in which a place lies, as in 11624x698."""
    x = floor(longitude * _METRES_PER_DEGREE * _MIDDLE / CELL_M)
    y = floor(latitude * _METRES_PER_DEGREE / CELL_M)
    return f"{y}x{x}"


def group_subject(kind: GroupKind, key: str) -> str:
    """The subject of an alert about a group, as in group/feeder/F12."""
    return f"group/{kind.value}/{key}"


def group_of(subject: str) -> tuple[GroupKind, str] | None:
    """The kind and key of a group; None where the subject is none."""
    room, _, rest = subject.partition("/")
    kind, slash, key = rest.partition("/")
    if room != "group" or not slash or kind not in set(GroupKind):
        return None
    return GroupKind(kind), key
