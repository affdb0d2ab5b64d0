"""The shell of light devices: opens their lines, turns the wheel, and writes the history before anything is sent.

Tasks are few and do not grow with the town: some that dial, one that turns the wheel, one that waits for the disk.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv6Address
from typing import Self

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.device import Transport, VirtualDevice
from lichtmast.firmware_sim.history import Entry, History, digest
from lichtmast.firmware_sim.light.coap_line import CoapLine
from lichtmast.firmware_sim.light.line import Address, Line
from lichtmast.firmware_sim.light.mqtt_line import MqttLine
from lichtmast.firmware_sim.light.wheel import Wheel
from lichtmast.firmware_sim.outbox import Waiting


class Switchboard:
    """Lines of many devices, open while entered.

    `sources` are the devices' own addresses, in order; empty lets the system choose. `changed` is called after anything
    is settled.
    """

    def __init__(
        self,
        devices: Sequence[VirtualDevice],
        *,
        servers: Mapping[Transport, Address],
        sources: Sequence[IPv6Address],
        clock: Callable[[], int],
        changed: Callable[[], None],
        history: History | None,
    ) -> None:
        self.connects = 0
        self.interruptions = 0
        self._clock = clock
        self._changed = changed
        self._history = history
        self._digests: dict[tuple[Line, int], str] = {}
        self._to_dial: asyncio.Queue[Line] = asyncio.Queue()
        self._dialled: set[Line] = set()
        self._attempts: list[tuple[Line, Waiting]] = []
        self._attempted = asyncio.Event()
        self._wheel: Wheel[Line] = Wheel(self.now_s(), limits.WHEEL_TICK_S)
        self._stack = AsyncExitStack()
        self._lines: list[Line] = []
        for number, device in enumerate(devices):
            kind = MqttLine if device.spec.transport is Transport.MQTT else CoapLine
            source = sources[number] if sources else None
            self._lines.append(kind(device, servers[device.spec.transport], source, self))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            tasks = [group.create_task(self._turn(), name="wheel")]
            tasks += [group.create_task(self._dial(), name=f"dialler {one}") for one in range(limits.DIALLERS)]
            if self._history is not None:
                tasks.append(group.create_task(self._post(self._history), name="history"))
            stack.callback(lambda: [task.cancel() for task in tasks])
            self._stack = stack.pop_all()
        for line in self._lines:
            self.dial(line)
        return self

    async def __aexit__(self, *exception: object) -> None:
        for line in self._lines:
            line.close()
        await self._stack.__aexit__(*exception)  # type: ignore[arg-type]  # handed through as it came
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limits.LEAVING_S
        open_lines = [line for line in self._lines if not line.is_closed]
        while open_lines and loop.time() < until_s:
            await asyncio.sleep(0)
            open_lines = [line for line in open_lines if not line.is_closed]
        for line in open_lines:
            line.abort()
        await asyncio.sleep(0)

    def serve(self, at: int) -> None:
        """Device number `at` has something new to say."""
        self._lines[at].tick(self.now_s())

    def interrupt(self, at: int) -> None:
        """Device number `at` starts again."""
        self._lines[at].interrupt()

    # What lines ask of the board.

    def now_s(self) -> float:
        """The event loop's clock."""
        return asyncio.get_running_loop().time()

    def wake(self, line: Line, at_s: float) -> None:
        """Put it on the wheel."""
        self._wheel.set(line, at_s)

    def dial(self, line: Line) -> None:
        """Queue it for a dialler, once."""
        if line not in self._dialled:
            self._dialled.add(line)
            self._to_dial.put_nowait(line)

    def send(self, line: Line, waiting: Waiting) -> None:
        """Deliver at once, or when the history has the attempt."""
        if self._history is None:
            line.deliver(waiting)
            return
        fingerprint = self._digests.setdefault((line, waiting.seq), digest(waiting.payload))
        payload = waiting.payload if waiting.attempts == 1 else b""
        self._note(self._history, line, "attempt", waiting.seq, fingerprint, payload)
        self._attempts.append((line, waiting))
        self._attempted.set()

    def settled(self, line: Line, op: str, numbers: list[int]) -> None:
        """Note it, and tell the town."""
        if not numbers:
            return
        if self._history is not None:
            for seq in numbers:
                self._note(self._history, line, op, seq, self._digests.pop((line, seq), ""))
        self._changed()

    def stray_sent(self) -> None:
        """Tell the town."""
        self._changed()

    def _note(self, history: History, line: Line, op: str, seq: int, fingerprint: str, payload: bytes = b"") -> None:
        device = line.device
        history.note(Entry(op, device.spec.device, device.epoch, seq, fingerprint, self._clock(), payload))

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(limits.WHEEL_TICK_S)
            now_s = self.now_s()
            for line in self._wheel.turn(now_s):
                line.tick(now_s)

    async def _dial(self) -> None:
        while True:
            line = await self._to_dial.get()
            try:
                await line.connect()
            finally:
                self._dialled.discard(line)

    async def _post(self, history: History) -> None:
        while True:
            await self._attempted.wait()
            self._attempted.clear()
            attempts, self._attempts = self._attempts, []
            await history.wait_written()
            for line, waiting in attempts:
                line.deliver(waiting)
