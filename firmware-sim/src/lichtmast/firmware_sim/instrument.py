"""What a device measures with, and what is known to be wrong with it.

An instrument answers from the moment alone; a device numbers what it says. `Sound` measures the curves as they are,
`scenario.faults.Faulty` spoils them and says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lichtmast.firmware_sim.curves import Curves
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml import Reading


@dataclass(frozen=True, slots=True)
class Mark:
    """Reading `index` of a measurement is not what it should be (the whole pack, where `index` is None)."""

    fault: str
    index: int | None
    true_value: object
    true_us: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """One pack's readings. `copies` is how often it is sent; a `flawed` one goes out malformed instead."""

    readings: Sequence[Reading]
    marks: tuple[Mark, ...] = ()
    copies: int = 1
    flawed: bool = False


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about something faulty that was sent, for whoever judges a detector.

    `seq` is None for what carries no number; `suffix`, `sent` and `true`, which are values of readings, are None where
    the whole pack is meant. `sent_us` is the time in the pack, `true_us` the moment of measuring.
    """

    device: DeviceId
    fault: str
    epoch: int
    seq: int | None
    suffix: str | None
    sent: object
    true: object
    sent_us: int
    true_us: int


class Instrument(Protocol):
    """Answers depend on its arguments only, so the same town says the same again."""

    def moments(self, at_us: int, interval_us: int) -> Sequence[int]:
        """When to measure for the turn that is due at `at_us`: once, not at all, or more often."""

    def measure(self, at_us: int, epoch: int, seq: int) -> Measurement:
        """Everything at a moment; `epoch` and `seq` are what the pack will carry."""

    def boot(self, at_us: int) -> int:
        """How often the device has started again; a change breaks its connection."""


class Sound:
    """Measures the curves as they are."""

    def __init__(self, curves: Curves) -> None:
        self._curves = curves

    def moments(self, at_us: int, _interval_us: int) -> Sequence[int]:
        """Every turn."""
        return (at_us,)

    def measure(self, at_us: int, _epoch: int, _seq: int) -> Measurement:
        """The curves."""
        return Measurement([Reading(suffix, value, unit, at_us) for suffix, unit, value in self._curves.values(at_us)])

    def boot(self, _at_us: int) -> int:
        """Never."""
        return 0
