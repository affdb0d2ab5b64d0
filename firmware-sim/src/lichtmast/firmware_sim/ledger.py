"""What a town can swear to: every number it sent, and what became of it.

Will not judge the server: it says what was sent and what was answered; a checker compares that with what is stored.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from lichtmast.firmware_sim.device import Transport, VirtualDevice
from lichtmast.wire.identity import DeviceId

Ranges = tuple[tuple[int, int], ...]
"""Closed ranges of sequence numbers, ascending."""


@dataclass(frozen=True, slots=True)
class DeviceLedger:
    """One device's account. `sent` counts packs, not attempts; it is accepted + refused + those still unanswered.

    `flawed` are the numbers that were wrong on purpose: they belong in quarantine. `unnumbered` counts malformed
    packs without a number that the broker took. `skipped` samples never became packs, since the outbox was full.
    """

    device: DeviceId
    transport: Transport
    epoch: int
    sent: Ranges
    acknowledged: Ranges
    refused: Ranges
    flawed: Ranges
    outstanding: int
    skipped: int
    unnumbered: int
    refusal_reasons: Mapping[str, int]

    @classmethod
    def of(cls, device: VirtualDevice) -> Self:
        """The account of a device now."""
        outbox = device.outbox
        return cls(
            device=device.spec.device,
            transport=device.spec.transport,
            epoch=device.epoch,
            sent=((1, outbox.sent_upto),) if outbox.sent_upto else (),
            acknowledged=outbox.acknowledged.ranges,
            refused=outbox.refused.ranges,
            flawed=device.flawed.ranges,
            outstanding=device.outstanding,
            skipped=outbox.skipped,
            unnumbered=device.unnumbered_sent,
            refusal_reasons=dict(outbox.refusal_reasons),
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over devices. `sent` includes `unnumbered`; attempts beyond `sent` were repetitions."""

    devices: int = 0
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    outstanding: int = 0
    skipped: int = 0
    flawed: int = 0
    unnumbered: int = 0
    attempts: int = 0
    readings: int = 0

    @classmethod
    def of(cls, devices: Iterable[VirtualDevice]) -> Self:
        """Add up."""
        sums: Counter[str] = Counter()
        for one in devices:
            sums.update(
                devices=1,
                sent=one.outbox.sent_upto + one.unnumbered_sent,
                acknowledged=len(one.outbox.acknowledged),
                refused=len(one.outbox.refused),
                outstanding=one.outstanding,
                skipped=one.outbox.skipped,
                flawed=len(one.flawed) + one.unnumbered_sent + sum(not stray.is_copy for stray in one.strays),
                unnumbered=one.unnumbered_sent,
                attempts=one.outbox.attempts + one.unnumbered_sent + one.copies_sent,
                readings=one.readings,
            )
        return cls(**sums)


@dataclass(frozen=True, slots=True)
class Statistics:
    """A town at a moment.

    `connects` counts MQTT connections made, `interruptions` deliveries to be retried, `missed_rounds` how often the
    whole town did not measure because the process was held up.
    """

    total: Tally
    by_transport: Mapping[str, Tally]
    connects: int
    interruptions: int
    missed_rounds: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every device's account, by device."""

    devices: Mapping[DeviceId, DeviceLedger] = field(default_factory=dict)
    total: Tally = field(default_factory=Tally)
    by_transport: Mapping[str, Tally] = field(default_factory=dict)

    def surprises(self) -> tuple[str, ...]:
        """Sound packs that were refused, and flawed packs that were accepted; empty where the server judged right."""
        found: list[str] = []
        for device, account in self.devices.items():
            flawed = _numbers(account.flawed)
            found += [f"{device} {seq}: sound, but refused" for seq in _numbers(account.refused) - flawed]
            found += [f"{device} {seq}: flawed, but accepted" for seq in _numbers(account.acknowledged) & flawed]
        return tuple(sorted(found))


def tally_by_transport(devices: Iterable[VirtualDevice]) -> dict[str, Tally]:
    """One tally for each transport, also where it has no device."""
    everyone = list(devices)
    return {kind.value: Tally.of(one for one in everyone if one.spec.transport is kind) for kind in Transport}


def _numbers(ranges: Ranges) -> set[int]:
    return {seq for first, last in ranges for seq in range(first, last + 1)}
