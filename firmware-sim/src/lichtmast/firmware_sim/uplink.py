"""What both uplinks share: the device, its clocks, and telling the history and the town what happened.

Will not speak a protocol: `mqtt_uplink` and `coap_uplink` do.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from lichtmast.firmware_sim.device import VirtualDevice
from lichtmast.firmware_sim.history import Entry, History, digest
from lichtmast.firmware_sim.outbox import Waiting


@dataclass(slots=True)
class Uplink:
    """One device's way out. `clock` gives wall time in microseconds; `changed` tells the town of anything settled."""

    device: VirtualDevice
    clock: Callable[[], int]
    changed: Callable[[], None]
    history: History | None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    connects: int = 0
    interruptions: int = 0
    _digests: dict[int, str] = field(default_factory=dict)

    async def wait_for_work(self, *, also_mischief: bool) -> Waiting | None:
        """Wait until there is a pack to send and return it; None when there is mischief to send instead."""
        loop = asyncio.get_running_loop()
        outbox = self.device.outbox
        while True:
            self.wake.clear()
            if also_mischief and self.device.mischief:
                return None
            waiting = outbox.take(loop.time())
            if waiting is not None:
                await self._note_attempt(waiting)
                return waiting
            wake_at_s = outbox.wake_at_s()
            try:
                async with asyncio.timeout_at(wake_at_s):
                    await self.wake.wait()
            except TimeoutError:
                pass  # the outbox has something to say now

    def settled(self, op: str, numbers: list[int]) -> None:
        """Note numbers that were acknowledged or refused ("ack" or "refused"), and tell the town."""
        if not numbers:
            return
        if self.history is not None:
            for seq in numbers:
                self._note(self.history, op, seq, self._digests.pop(seq, ""))
        self.wake.set()
        self.changed()

    async def _note_attempt(self, waiting: Waiting) -> None:
        if self.history is None:
            return
        fingerprint = self._digests.setdefault(waiting.seq, digest(waiting.payload))
        self._note(self.history, "attempt", waiting.seq, fingerprint)
        try:
            await self.history.wait_written()
        except asyncio.CancelledError:
            self.device.outbox.returned(waiting.seq)
            raise

    def _note(self, history: History, op: str, seq: int, fingerprint: str) -> None:
        spec = self.device.spec
        history.note(Entry(op, spec.device, self.device.epoch, seq, fingerprint, self.clock()))
