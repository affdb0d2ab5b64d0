"""A town without sockets or a clock: what every device would say, in order, as fast as it can be computed.

The same cast says the same bytes, on any machine. Faults of the sending (copies, malformed packs) are in it; whatever a
network or a server would do to them is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lichtmast.firmware_sim.chance import phases
from lichtmast.firmware_sim.device import DeviceSpec, VirtualDevice
from lichtmast.firmware_sim.instrument import Label
from lichtmast.firmware_sim.scenario.casting import Cast

_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Said:
    """One pack on its way. `seq` is None for malformed bytes without a number, and for another copy of a pack."""

    at_us: int
    spec: DeviceSpec
    seq: int | None
    payload: bytes
    labels: tuple[Label, ...] = ()


def simulate(cast: Cast, duration_s: float) -> Iterator[Said]:
    """Everything that is said in so many seconds of the town's own time; agents live as light devices here."""
    scenario = cast.scenario
    devices = [
        VirtualDevice(role.spec, seed=scenario.seed, epoch=cast.start_us, instrument=cast.instrument(role))
        for role in cast.roles
    ]
    interval_us = round(scenario.interval_s * _US)
    order = phases(scenario.seed, len(devices), scenario.interval_s)
    turn = 0
    while True:
        for phase_s, at in order:
            due_s = turn * scenario.interval_s + phase_s
            if due_s >= duration_s:
                return
            yield from _turn(devices[at], cast.start_us + round(due_s * _US), interval_us)
        turn += 1


def _turn(device: VirtualDevice, at_us: int, interval_us: int) -> Iterator[Said]:
    device.live(at_us, interval_us)
    labels, device.labels = device.labels, []
    while (waiting := device.outbox.take(0.0)) is not None:
        device.outbox.accept(waiting.seq)
        own = tuple(one for one in labels if one.seq == waiting.seq)
        yield Said(at_us, device.spec, waiting.seq, waiting.payload, own)
    unnumbered = [one for one in labels if one.seq is None]
    while device.strays:
        stray = device.strays[0]
        device.stray_sent()
        yield Said(at_us, device.spec, None, stray.payload, () if stray.is_copy else (unnumbered.pop(0),))
