"""A town of virtual devices that speak real MQTT and CoAP over IPv6, and can swear to what they sent.

    async with Town(specs, seed=7, interval_s=1.0, mqtt=("::1", 1883), coap=("::1", 5683)) as town:
        await town.run(20.0)
        drained = await town.wait_drained(30.0)
        ledger = town.ledger()

Entering connects the devices, leaving disconnects them; between that they deliver what they have, also while nothing
is sampled. Killing broker or server only makes them wait.

Will not speak IPv4, and will not outlive its process: the outboxes are in memory, as the devices here do not crash.
"""

import asyncio
import math
import resource
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import seed_of, share
from lichtmast.firmware_sim.coap_uplink import run_coap
from lichtmast.firmware_sim.device import DeviceSpec, Transport, VirtualDevice
from lichtmast.firmware_sim.history import History
from lichtmast.firmware_sim.ledger import DeviceLedger, Ledger, Statistics, Tally, tally_by_transport
from lichtmast.firmware_sim.mqtt_uplink import run_mqtt
from lichtmast.firmware_sim.uplink import Uplink

Endpoint = tuple[str, int]
"""An IPv6 literal or a name that has an IPv6 address, and a port."""


class TownError(ValueError):
    """The town cannot be built as asked; the message says what to change."""


def wall_clock_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


class Town:
    """Devices that sample every `interval_s` and deliver to `mqtt` and `coap`.

    `hostile` packs of the run are malformed on purpose, see `flaws`; the ledger names them. `epoch` is the devices'
    boot number, by default the moment of creation in microseconds. `history` is a file for the checker, see `history`.
    `clock` gives the wall time that goes into packs; waiting follows the event loop's own clock. Raises TownError.
    """

    def __init__(  # noqa: PLR0913 - the settings of a town, all by name
        self,
        specs: Sequence[DeviceSpec],
        *,
        seed: int,
        interval_s: float,
        mqtt: Endpoint | None,
        coap: Endpoint | None,
        clock: Callable[[], int] = wall_clock_us,
        hostile: int = 0,
        history: Path | None = None,
        epoch: int | None = None,
    ) -> None:
        _check(specs, interval_s, hostile)
        self._endpoints = {
            Transport.MQTT: _resolve(mqtt, "mqtt", _with(specs, Transport.MQTT)),
            Transport.COAP: _resolve(coap, "coap", _with(specs, Transport.COAP)),
        }
        self._clock = clock
        self._interval_s = interval_s
        self._history_path = history
        self._hostile_left = hostile
        self._hostile_made = 0
        self._samples = 0
        self._missed_rounds = 0
        epoch = clock() if epoch is None else epoch
        self.devices = tuple(VirtualDevice(spec, seed=seed, epoch=epoch) for spec in specs)
        self._uplinks: list[Uplink] = []
        # When in each interval a device samples: seeded, so that load is even and the same in every run.
        phases = ((share(seed_of(seed, "phase"), at) * interval_s, at) for at in range(len(self.devices)))
        self._phases = sorted(phases)
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        _claim_descriptors(self.devices)
        async with AsyncExitStack() as stack:
            history = None
            if self._history_path is not None:
                history = await stack.enter_async_context(History(self._history_path))
            self._uplinks = [Uplink(one, self._clock, self._changed.set, history) for one in self.devices]
            group = await stack.enter_async_context(asyncio.TaskGroup())
            connecting = asyncio.Semaphore(limits.MQTT_CONNECTING_MAX)
            tasks = [self._start(group, uplink, connecting) for uplink in self._uplinks]
            stack.callback(lambda: [task.cancel() for task in tasks])
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.__aexit__(*exception)  # type: ignore[arg-type]  # handed through as it came

    async def run(self, duration_s: float | None) -> None:
        """Sample every device each interval, for so long; for ever where None. Delivering goes on after it."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        end_s = math.inf if duration_s is None else start_s + duration_s
        stride = limits.HOSTILE_STRIDE_SAMPLES
        if duration_s is not None:
            stride = max(1, int(len(self.devices) * duration_s / self._interval_s / (self._hostile_left + 1)))
        turn = 0
        while self.devices:
            for phase_s, at in self._phases:
                due_s = start_s + turn * self._interval_s + phase_s
                if due_s >= end_s:
                    await _sleep_until(end_s)
                    while duration_s is not None and self._hostile_left:
                        self._misbehave()
                    return
                await _sleep_until(due_s)
                self._sample(at, stride)
            turn += 1
            late_s = loop.time() - start_s - turn * self._interval_s
            if late_s > limits.LATE_S_MAX:
                missed = math.floor(late_s / self._interval_s)
                self._missed_rounds += missed
                turn += missed

    async def wait_drained(self, timeout_s: float) -> bool:
        """Wait until every pack that exists at this call is acknowledged or refused; False when time ran out first."""
        marks = [(one, one.outbox.next_seq, one.mischief_sent + len(one.mischief)) for one in self.devices]
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._changed.clear()
                    marks = [mark for mark in marks if not _reached(*mark)]
                    if not marks:
                        return True
                    await self._changed.wait()
        except TimeoutError:
            return False

    def statistics(self) -> Statistics:
        """The town now."""
        return Statistics(
            total=Tally.of(self.devices),
            by_transport=tally_by_transport(self.devices),
            connects=sum(one.connects for one in self._uplinks),
            interruptions=sum(one.interruptions for one in self._uplinks),
            missed_rounds=self._missed_rounds,
        )

    def ledger(self) -> Ledger:
        """What was sent and what was answered, to the last number."""
        return Ledger(
            devices={one.spec.device: DeviceLedger.of(one) for one in self.devices},
            total=Tally.of(self.devices),
            by_transport=tally_by_transport(self.devices),
        )

    def _start(self, group: asyncio.TaskGroup, uplink: Uplink, connecting: asyncio.Semaphore) -> asyncio.Task[None]:
        spec = uplink.device.spec
        host, port = self._endpoints[spec.transport]
        if spec.transport is Transport.MQTT:
            return group.create_task(run_mqtt(uplink, host, port, connecting), name=f"mqtt {spec.device}")
        return group.create_task(run_coap(uplink, host, port), name=f"coap {spec.device}")

    def _sample(self, at: int, stride: int) -> None:
        self.devices[at].sample(self._clock())
        self._uplinks[at].wake.set()
        self._samples += 1
        if self._hostile_left and self._samples % stride == 0:
            self._misbehave()

    def _misbehave(self) -> None:
        """One malformed pack, from the devices in turn."""
        turn = self._hostile_made
        at = self._phases[turn % len(self._phases)][1]
        self.devices[at].misbehave(turn, self._clock())
        self._uplinks[at].wake.set()
        self._hostile_made += 1
        self._hostile_left -= 1


def _reached(device: VirtualDevice, next_seq: int, mischief: int) -> bool:
    oldest = device.outbox.oldest_outstanding
    return (oldest is None or oldest >= next_seq) and device.mischief_sent >= mischief


async def _sleep_until(due_s: float) -> None:
    left_s = due_s - asyncio.get_running_loop().time()
    if left_s > 0:
        await asyncio.sleep(left_s)


def _with(specs: Sequence[DeviceSpec], transport: Transport) -> int:
    return sum(one.transport is transport for one in specs)


def _check(specs: Sequence[DeviceSpec], interval_s: float, hostile: int) -> None:
    if not 0 < len(specs) <= limits.DEVICES_MAX:
        raise TownError(f"{len(specs)} devices; a town has 1 to {limits.DEVICES_MAX}")
    if len({one.device for one in specs}) < len(specs):
        raise TownError("two devices have the same name; sequence numbers would clash, so give each its own")
    if not interval_s >= limits.INTERVAL_S_MIN:
        raise TownError(f"interval {interval_s} s is below {limits.INTERVAL_S_MIN} s")
    if hostile < 0:
        raise TownError(f"hostile is {hostile}; give 0 or more")


def _resolve(endpoint: Endpoint | None, name: str, devices: int) -> Endpoint:
    """The endpoint as an IPv6 literal, so that no library below falls back to IPv4."""
    if endpoint is None:
        if devices:
            raise TownError(f"{devices} devices speak {name}, but {name}= is None; give (host, port)")
        return "::1", 0
    host, port = endpoint
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TownError(f"{name} host {host!r} has no IPv6 address; give one, such as ::1") from error
    # The numeric form keeps a zone (fe80::1%eth0), which the address in the tuple carries apart.
    numeric, _ = socket.getnameinfo(found[0][4], socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return numeric, port


def _claim_descriptors(devices: Sequence[VirtualDevice]) -> None:
    """Raise the soft limit of open files where the town needs more: a thousand devices do not fit in 1,024."""
    over_mqtt = sum(one.spec.transport is Transport.MQTT for one in devices)
    needed = (
        over_mqtt * limits.DESCRIPTORS_PER_MQTT_DEVICE
        + (len(devices) - over_mqtt) * limits.DESCRIPTORS_PER_COAP_DEVICE
        + limits.DESCRIPTORS_SPARE
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TownError(f"{len(devices)} devices need {needed} open files, the limit is {hard}; raise it or use fewer")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
