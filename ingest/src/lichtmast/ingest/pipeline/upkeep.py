"""What is due beside the readings: the store's checkpoints and sealing, and letting go of what the log need not keep.

Runs as a task of its own, so that a long sealing delays no acknowledgement. Nothing that is not in the store is let go.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from lichtmast.ingest.errors import IngestError
from lichtmast.ingest.log import Log
from lichtmast.store.errors import StoreError
from lichtmast.wire import topics

_log = logging.getLogger(__name__)

MAINTAIN_S: Final = 10.0
FORGET_S: Final = 60.0
LOG_FULL_SHARE: Final = 0.7
DAY_S: Final = 86_400


class Maintained(Protocol):
    """What keeps a store in shape."""

    def maintain(self, now_us: int) -> object:
        """Checkpoint and seal what is due."""


class Upkeep:
    """Looks after store and log while the pipeline runs; `position` tells what is stored."""

    def __init__(self, log: Log, store: Maintained, position: Callable[[], int]) -> None:
        self._log = log
        self._store = store
        self._position = position

    async def run(self) -> None:
        """Until cancelled. A failure is told and tried again: readings go on without upkeep for a while."""
        forget_at_s = time.monotonic() + FORGET_S
        while True:
            await asyncio.sleep(MAINTAIN_S)
            try:
                await asyncio.to_thread(lambda: self._store.maintain(time.time_ns() // 1000))
                if time.monotonic() >= forget_at_s:
                    forget_at_s = time.monotonic() + FORGET_S
                    await self._let_go()
            except (IngestError, StoreError) as error:
                _log.warning("upkeep_failed reason=%s retry_in_s=%.0f", error, MAINTAIN_S)
            except Exception:  # noqa: BLE001 - the outermost loop of this task
                _log.exception("upkeep_failed retry_in_s=%.0f", MAINTAIN_S)

    async def _let_go(self) -> None:
        """Messages older than their term, or all that are stored where the log grows large."""
        stored = self._position()
        extent = await self._log.extent(topics.READINGS_STREAM)
        upto = 0
        if extent.bytes > LOG_FULL_SHARE * extent.bytes_max:
            upto = stored
        elif extent.last >= extent.first:
            since_s = int(time.time() - self._log.settings.readings_days * DAY_S)
            kept = await self._log.message_since(topics.READINGS_STREAM, since_s)
            upto = min(stored, (kept.stream_sequence if kept else extent.last + 1) - 1)
        if upto >= extent.first > 0:
            await self._log.forget(topics.READINGS_STREAM, upto)
            _log.info("log_forgot stored_upto=%d forgotten_upto=%d", stored, upto)
