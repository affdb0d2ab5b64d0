"""The state that an agent reports, from the statistics of its rooms, cut so that any of them fit into one document."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any, Final

from lichtmast.edge import limits
from lichtmast.wire.twin import Level, Scalar
from lichtmast.wire.twin.limits import MAGNITUDE_MAX, REPORT_FIELDS_MAX, VERSION_MAX

_ESCAPED_BYTES: Final = 6
"""How JSON writes a UTF-16 unit that is no ASCII: \\u and four digits."""


def figures(statistics: Any) -> dict[str, Scalar]:  # noqa: ANN401 - any room's statistics
    """The numbers, texts and switches of a statistics object; what is unknown (None) is left out.

    A group inside becomes figures of its own with its name before them; tables inside are left out.
    """
    told: dict[str, Scalar] = {}
    for one in fields(statistics):
        value = getattr(statistics, one.name)
        if is_dataclass(value) and not isinstance(value, type):
            told |= {f"{one.name}_{name}": figure for name, figure in figures(value).items()}
        elif isinstance(value, bool):
            told[one.name] = value
        elif isinstance(value, int):
            told[one.name] = max(-VERSION_MAX, min(VERSION_MAX, value))
        elif isinstance(value, float) and not math.isnan(value):
            told[one.name] = round(max(-MAGNITUDE_MAX, min(MAGNITUDE_MAX, value)), 3)
        elif isinstance(value, str):
            told[one.name] = plain(value)
    return dict(islice(told.items(), REPORT_FIELDS_MAX))


def drivers(reasons: Mapping[str, str]) -> dict[str, Scalar]:
    """Each driver by its name: `ok`, or what is wrong with it."""
    told = islice(reasons.items(), REPORT_FIELDS_MAX)
    return {name.lower(): plain(reason, limits.REASON_BYTES_MAX) or "ok" for name, reason in told}


def levels(told: Mapping[str, Level]) -> dict[str, Level]:
    """Each lamp by its suffix, as many as fit."""
    return {
        target: Level(one.level, plain(one.reason, limits.REASON_BYTES_MAX))
        for target, one in islice(told.items(), limits.LEVELS_MAX)
    }


def plain(text: str, bytes_max: int = limits.TEXT_BYTES_MAX) -> str:
    """The text as a document may carry it, cut to so many bytes of JSON."""
    kept, room = [], bytes_max
    for one in text:
        clean = one if one.isprintable() else " "
        room -= _json_bytes(clean)
        if room < 0:
            break
        kept.append(clean)
    return "".join(kept)


def _json_bytes(character: str) -> int:
    if character in '"\\':
        return 2
    return 1 if character.isascii() else _ESCAPED_BYTES * (1 + (character > "\uffff"))
