"""What carries out orders about the quarantine: handed in by whoever runs the pipeline beside these pages."""

from collections.abc import Mapping
from typing import Any, Protocol

from lichtmast.registry.auditing import Actor
from lichtmast.store.port import Selection

Cursor = tuple[int, int, int]
"""Received time, log position and part of the last entry that was looked at."""


class QuarantineDesk(Protocol):
    """`lichtmast.ingest.quarantine.Desk`."""

    async def replay(
        self, selection: Selection, after: Cursor | None, *, by: Actor, at_us: int, dry_run: bool = False
    ) -> Mapping[str, Any]:
        """One round. Raises TimeoutError where log or pipeline did not take it in time."""

    async def discard(
        self, selection: Selection, after: Cursor | None, *, because: str, by: Actor, at_us: int, dry_run: bool = False
    ) -> Mapping[str, Any]:
        """One round. Raises TimeoutError where log or pipeline did not take it in time."""
