"""Why packs are in quarantine: for a device, the reasons, how many packs each, and what was said of the last."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # commands that only show what was told need no store
    from lichtmast.store import DuckStore

READ_MAX: Final = 1_000
"""Packs of a device's quarantine that are read, the newest first: a device that is refused for years has millions."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Packs of one device that were refused for one reason, of the newest READ_MAX; `last` is the newest's detail."""

    device: str
    reason: str
    packs: int
    last: str


def refused(store: "DuckStore", device: str) -> tuple[Refused, ...]:
    """By reason, that of the newest pack first."""
    newest = store.quarantine(READ_MAX, device=device).select(["reason", "detail"])
    counts: dict[str, int] = {}
    details: dict[str, str] = {}
    for row in newest.to_pylist():
        counts[row["reason"]] = counts.get(row["reason"], 0) + 1
        details.setdefault(row["reason"], row["detail"])
    return tuple(Refused(device, reason, packs, details[reason]) for reason, packs in counts.items())


def refused_line(one: dict[str, Any]) -> str:
    """A `Refused` as told in JSON, in words; what a device sent cannot move the cursor."""
    last = "".join(char if char.isprintable() else " " for char in one["last"])
    return f"{one['packs']} refused: {one['reason']}" + (f", last: {last}" if last else "")
