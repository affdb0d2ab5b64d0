"""Who is admitted now: follows the register and tells the doors, so that a device that is revoked is out in seconds."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from lichtmast.registry import Registry
from lichtmast.registry.identity import Admission

_log = logging.getLogger(__name__)

CHECK_S: Final = 0.5
"""How often the register is asked whether it changed: one indexed read of one row."""


class Gatekeeper:
    """Holds the newest Admission. `admission` is what a door asks at a handshake, `run` keeps it new."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listeners: list[Callable[[Admission], object]] = []
        self._admission = registry.identity.admission()

    def admission(self) -> Admission:
        """The newest."""
        return self._admission

    def on_change(self, listener: Callable[[Admission], object]) -> None:
        """Have a door hear of each new Admission; it drops whom that refuses."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow the register until cancelled. While it cannot be read, what was known last holds."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                fresh = await asyncio.to_thread(self._newer)
            except Exception as error:  # noqa: BLE001 - a register that is busy for long must not open or shut any door
                _log.error("admission_not_renewed reason=%s", error)
                continue
            if fresh is None:
                continue
            self._admission = fresh
            for listener in self._listeners:
                listener(fresh)

    def _newer(self) -> Admission | None:
        if self._registry.revision() == self._admission.revision:
            return None
        return self._registry.identity.admission()
