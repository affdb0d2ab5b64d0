"""The absorber: a thread that takes commits over from the journal into the database while more are committed.

It is only early: what it does not manage, the next commit or `maintain` does, and tells its caller of the error.
"""

import threading
from contextlib import suppress
from typing import Final

import duckdb

from lichtmast.store.engine import Engine
from lichtmast.store.errors import StoreError
from lichtmast.store.latest import LatestReadings

ABSORB_SHARE: Final = 0.25
"""Of the pending commits that may be, this share wakes the absorber."""


class Absorber:
    """Runs from construction until `stop`."""

    def __init__(self, engine: Engine, latest: LatestReadings) -> None:
        self._engine = engine
        self._latest = latest
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="store-absorber", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is enough to do."""
        self._due.set()

    def stop(self) -> None:
        """End after what is being done."""
        self._stopping = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while self._due.wait() and not self._stopping:
            self._due.clear()
            with suppress(
                StoreError, duckdb.Error
            ):  # met again, and raised, by whoever needs the room or calls maintain
                self._engine.absorb()
                self._latest.fold()
                if self._engine.folder.wal_bytes() >= self._engine.settings.checkpoint_wal_bytes:
                    self._engine.checkpoint()
