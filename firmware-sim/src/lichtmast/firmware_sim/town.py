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
from ipaddress import IPv6Address, IPv6Network
from itertools import islice
from pathlib import Path
from typing import Self

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import phases
from lichtmast.firmware_sim.device import DeviceSpec, Transport, VirtualDevice
from lichtmast.firmware_sim.history import History
from lichtmast.firmware_sim.instrument import Instrument, Label
from lichtmast.firmware_sim.ledger import DeviceLedger, Ledger, Statistics, Tally, tally_by_transport
from lichtmast.firmware_sim.light import Switchboard
from lichtmast.firmware_sim.light.line import Address, open_socket

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
    `clock` gives the wall time that goes into packs; waiting follows the event loop's own clock. Where `clock` is
    faster than the world, `turn_us` is the interval by that clock. `addresses` is a prefix that is routed to this
    machine: each device then speaks from an address of its own. `instruments` measure in place of the curves, one for
    each device; what they mark as faulty goes to `on_label`. Raises TownError.
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
        addresses: IPv6Network | None = None,
        instruments: Sequence[Instrument] | None = None,
        on_label: Callable[[Label], None] | None = None,
        turn_us: int | None = None,
    ) -> None:
        _check(specs, interval_s, hostile)
        self._sources = _sources(addresses, len(specs))
        self._endpoints = {
            Transport.MQTT: _resolve(mqtt, "mqtt", _with(specs, Transport.MQTT)),
            Transport.COAP: _resolve(coap, "coap", _with(specs, Transport.COAP)),
        }
        self._clock = clock
        self._interval_s = interval_s
        self._turn_us = round(interval_s * 1e6) if turn_us is None else turn_us
        self._history_path = history
        self._history: History | None = None
        self._hostile_left = hostile
        self._hostile_made = 0
        self._samples = 0
        self._missed_rounds = 0
        epoch = clock() if epoch is None else epoch
        self._on_label = on_label
        self.devices = tuple(
            VirtualDevice(spec, seed=seed, epoch=epoch, instrument=instruments[at] if instruments else None)
            for at, spec in enumerate(specs)
        )
        self._board: Switchboard | None = None
        self._phases = phases(seed, len(self.devices), interval_s)
        self._changed = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        _claim_descriptors(self.devices)
        async with AsyncExitStack() as stack:
            if self._history_path is not None:
                self._history = await stack.enter_async_context(History(self._history_path))
            board = Switchboard(
                self.devices,
                servers=self._endpoints,
                sources=self._sources,
                clock=self._clock,
                changed=self._changed.set,
                history=self._history,
            )
            self._board = await stack.enter_async_context(board)
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
        marks = [(one, one.outbox.next_seq, _strays_of(one)) for one in self.devices]
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._changed.clear()
                    marks = [mark for mark in marks if not _reached(*mark)]
                    if not marks:
                        return True
                    await self._changed.wait()
                    await asyncio.sleep(
                        limits.WHEEL_TICK_S
                    )  # looking at ten thousand devices for each answer costs more
        except TimeoutError:
            return False

    def mark(self, what: str) -> None:
        """Write into the history what is being done to the server, such as "kill broker"."""
        if self._history is not None:
            self._history.mark(what, self._clock())

    def statistics(self) -> Statistics:
        """The town now."""
        return Statistics(
            total=Tally.of(self.devices),
            by_transport=tally_by_transport(self.devices),
            connects=self._board.connects if self._board else 0,
            interruptions=self._board.interruptions if self._board else 0,
            missed_rounds=self._missed_rounds,
        )

    def ledger(self) -> Ledger:
        """What was sent and what was answered, to the last number."""
        return Ledger(
            devices={one.spec.device: DeviceLedger.of(one) for one in self.devices},
            total=Tally.of(self.devices),
            by_transport=tally_by_transport(self.devices),
        )

    def _sample(self, at: int, stride: int) -> None:
        rebooted = self.devices[at].live(self._clock(), self._turn_us)
        if rebooted and self._board is not None:
            self._board.interrupt(at)
        self._serve(at)
        self._samples += 1
        if self._hostile_left and self._samples % stride == 0:
            self._misbehave()

    def _misbehave(self) -> None:
        """One malformed pack, from the devices in turn."""
        turn = self._hostile_made
        at = self._phases[turn % len(self._phases)][1]
        self.devices[at].misbehave(turn, self._clock())
        self._serve(at)
        self._hostile_made += 1
        self._hostile_left -= 1

    def _serve(self, at: int) -> None:
        device = self.devices[at]
        labels, device.labels = device.labels, []
        if self._on_label is not None:
            for one in labels:
                self._on_label(one)
        if self._board is not None:
            self._board.serve(at)


def _strays_of(device: VirtualDevice) -> int:
    return device.unnumbered_sent + device.copies_sent + len(device.strays)


def _reached(device: VirtualDevice, next_seq: int, strays: int) -> bool:
    oldest = device.outbox.oldest_outstanding
    return (oldest is None or oldest >= next_seq) and device.unnumbered_sent + device.copies_sent >= strays


def _sources(addresses: IPv6Network | None, count: int) -> list[IPv6Address]:
    """The first addresses of a prefix, one for each device."""
    if addresses is None:
        return []
    if addresses.num_addresses <= count:
        raise TownError(f"{addresses} has too few addresses for {count} devices; give a shorter prefix, such as a /64")
    sources = list(islice(addresses.hosts(), count))
    try:
        open_socket(socket.SOCK_DGRAM, sources[0]).close()
    except OSError as error:
        raise TownError(
            f"{sources[0]} cannot be spoken from: {error.strerror}; it needs Linux 4.15 or newer"
        ) from error
    return sources


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


def _resolve(endpoint: Endpoint | None, name: str, devices: int) -> Address:
    """The endpoint as a socket address, looked up once."""
    if endpoint is None:
        if devices:
            raise TownError(f"{devices} devices speak {name}, but {name}= is None; give (host, port)")
        return "::1", 0, 0, 0
    host, port = endpoint
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TownError(f"{name} host {host!r} has no IPv6 address; give one, such as ::1") from error
    return found[0][4]  # type: ignore[return-value]  # of AF_INET6: host, port, flow and zone


def _claim_descriptors(devices: Sequence[VirtualDevice]) -> None:
    """Raise the soft limit of open files where the town needs more: a thousand devices do not fit in 1,024."""
    needed = len(devices) + limits.DESCRIPTORS_SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TownError(f"{len(devices)} devices need {needed} open files, the limit is {hard}; raise it or use fewer")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
