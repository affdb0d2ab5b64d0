"""The state that an agent reports, from the statistics of its rooms."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from lichtmast.wire.twin import Scalar

_TEXT_MAX: Final = 300


def figures(statistics: Any) -> dict[str, Scalar]:  # noqa: ANN401 - any room's statistics
    """The numbers, texts and switches of a statistics object; what is unknown (None) is left out.

    A group inside becomes figures of its own with its name before them; tables inside are left out.
    """
    told: dict[str, Scalar] = {}
    for one in fields(statistics):
        value = getattr(statistics, one.name)
        if is_dataclass(value) and not isinstance(value, type):
            told |= {f"{one.name}_{name}": figure for name, figure in figures(value).items()}
        elif isinstance(value, bool | int):
            told[one.name] = value
        elif isinstance(value, float):
            told[one.name] = round(value, 3)
        elif isinstance(value, str):
            told[one.name] = plain(value)
    return told


def drivers(reasons: Mapping[str, str]) -> dict[str, Scalar]:
    """Each driver by its name: `ok`, or what is wrong with it."""
    return {name.lower(): plain(reason) or "ok" for name, reason in reasons.items()}


def plain(text: str) -> str:
    """The text as a document may carry it."""
    return "".join(one if one.isprintable() else " " for one in text[:_TEXT_MAX])
