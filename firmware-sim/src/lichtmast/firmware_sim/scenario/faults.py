"""Spoiling what a sound device says, and marking every reading that is spoilt. Pure and seeded.

Faults of one device act in the order of the scenario. A value may leave the profile's range: finding that is the work
of whoever judges it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import seed_of, share
from lichtmast.firmware_sim.curves import rounded
from lichtmast.firmware_sim.instrument import Instrument, Mark, Measurement
from lichtmast.firmware_sim.scenario.parts import ON_CHANNELS, Fault, FaultKind
from lichtmast.wire.profile import Capability, Profile, ResultKind
from lichtmast.wire.senml import Reading

_US: Final = 1_000_000
_LOWEST_US: Final = 2**28 * _US
"""The lowest moment that SenML can name (RFC 8428 section 4.5.3): a clock that began in 1970 again reads so here."""
_MISTAKEN: Final[dict[str, tuple[float, float]]] = {
    "Cel": (1.8, 32.0),  # Fahrenheit
    "m/s": (3.6, 0.0),  # kilometres an hour
    "rad": (180 / math.pi, 0.0),  # degrees
    "Pa": (0.01, 0.0),  # hectopascal
    "%RH": (0.01, 0.0),  # a share
    "/": (100.0, 0.0),  # percent
    "lx": (0.0929, 0.0),  # foot-candles
    "J": (1 / 3.6e6, 0.0),  # kilowatt-hours
    "W": (0.001, 0.0),  # kilowatts
    "s": (1 / 3600, 0.0),  # hours
}
"""(factor, offset) of the unit that a firmware is likely to forget to convert; a thousand for any other."""


@dataclass(frozen=True, slots=True)
class Spoiler:
    """A fault of one device, at its dates. `seed` is its own chance."""

    fault: Fault
    start_us: int
    end_us: float
    seed: int

    @classmethod
    def of(cls, fault: Fault, number: int, device: str, seed: int, start_us: int) -> "Spoiler":
        """Fault number `number` of a town that starts at `start_us`."""
        begin_us = start_us + round(fault.start_s * _US)
        return cls(fault, begin_us, begin_us + fault.duration_s * _US, seed_of(seed, "fault", number, device))

    def acts(self, at_us: int) -> bool:
        """Whether it does something now."""
        return self.start_us <= at_us < self.end_us

    def chances(self, at_us: int, turn: int = 0) -> bool:
        """Whether its chance falls at this moment."""
        return share(self.seed + turn, at_us) < self.fault.knob("chance")


class Faulty:
    """An instrument with faults. `silent` are the times (start, end) in microseconds when it says nothing at all."""

    def __init__(
        self,
        inner: Instrument,
        profile: Profile,
        spoilers: Sequence[Spoiler],
        silent: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._inner = inner
        self._uplinks = profile.uplinks
        self._spoilers = tuple(spoilers)
        self._silent = tuple(silent)
        self._stuck: dict[int, Sequence[Reading]] = {}

    def moments(self, at_us: int, interval_us: int) -> Sequence[int]:
        """None while it is silent or starting; many in a flood."""
        if any(start_us <= at_us < end_us for start_us, end_us in self._silent):
            return ()
        moments: Sequence[int] = self._inner.moments(at_us, interval_us)
        for one in self._acting(at_us):
            if one.fault.kind is FaultKind.REBOOT_LOOP and self._loop(one, at_us)[1] < one.fault.knob("boot_s"):
                return ()
            if one.fault.kind is FaultKind.FLOOD:
                count = int(one.fault.knob("packs_per_s") * interval_us / _US)
                count = min(max(1, count), limits.FLOOD_PACKS_MAX)
                spread = (at_us - interval_us * back // count for back in range(count - 1, -1, -1))
                moments = [moment for moment in spread if moment >= one.start_us]
        return moments

    def boot(self, at_us: int) -> int:
        """How often the loops have started it again."""
        loops = [one for one in self._spoilers if one.fault.kind is FaultKind.REBOOT_LOOP and at_us >= one.start_us]
        return self._inner.boot(at_us) + sum(self._loop(one, min(at_us, one.end_us))[0] + 1 for one in loops)

    def measure(self, at_us: int, epoch: int, seq: int) -> Measurement:
        """The inner measurement, spoilt and marked."""
        sound = self._inner.measure(at_us, epoch, seq)
        said, marks, copies, flawed = list(sound.readings), list(sound.marks), sound.copies, sound.flawed
        for one in self._acting(at_us):
            kind = one.fault.kind
            if kind in ON_CHANNELS:
                marks += self._spoil(one, at_us, sound.readings, said)
            elif kind is FaultKind.WRONG_CLOCK:
                shift_us = self._clock_error_us(one, at_us)
                said = [replace(reading, time_us=reading.time_us + shift_us) for reading in said]
                marks += [Mark(kind.value, None, None, at_us)] if shift_us else []
            elif kind is FaultKind.HOSTILE:
                flawed = flawed or one.chances(at_us)
            elif kind is FaultKind.DUPLICATE:
                copies = max(copies, int(one.fault.knob("copies")))
                marks.append(Mark(kind.value, None, None, at_us))
            elif kind is FaultKind.FLOOD:
                marks.append(Mark(kind.value, None, None, at_us))
        return Measurement(said, tuple(marks), copies, flawed)

    def _acting(self, at_us: int) -> list[Spoiler]:
        return [one for one in self._spoilers if one.acts(at_us)]

    def _spoil(self, one: Spoiler, at_us: int, sound: Sequence[Reading], said: list[Reading]) -> list[Mark]:
        """Change what was said; the marks of what differs from the truth."""
        marks: list[Mark] = []
        for index, capability in enumerate(self._uplinks):
            if capability.kind is not ResultKind.NUMBER or one.fault.channel not in ("", capability.key):
                continue
            before = said[index].value
            value = rounded(capability, self._value(one, at_us, index, capability, float(before)))
            if value != sound[index].value:
                said[index] = replace(said[index], value=value)
                marks.append(Mark(one.fault.kind.value, index, sound[index].value, at_us))
        return marks

    def _value(self, one: Spoiler, at_us: int, index: int, capability: Capability, before: float) -> float:
        span = (capability.maximum or 0) - (capability.minimum or 0)
        match one.fault.kind:
            case FaultKind.DRIFT:
                hours = (at_us - one.start_us) / _US / 3_600
                return before + hours * one.fault.knob("range_share_per_h") * span
            case FaultKind.SPIKE:
                if not one.chances(at_us, index):
                    return before
                up = share(one.seed + index, -at_us) < 0.5  # noqa: PLR2004 - as likely up as down
                return before + (1 if up else -1) * one.fault.knob("range_share") * span
            case FaultKind.STUCK:
                if one.start_us not in self._stuck:
                    self._stuck[one.start_us] = self._inner.measure(one.start_us, 0, 0).readings
                return float(self._stuck[one.start_us][index].value)
            case _:
                factor, offset = _MISTAKEN.get(capability.unit or "", (1_000.0, 0.0))
                return before * factor + offset

    @staticmethod
    def _loop(one: Spoiler, at_us: float) -> tuple[int, float]:
        """How many rounds of the loop are behind us, and the seconds since the last start."""
        rounds, rest_s = divmod((at_us - one.start_us) / _US, one.fault.knob("every_s"))
        return int(rounds), rest_s

    @staticmethod
    def _clock_error_us(one: Spoiler, at_us: int) -> int:
        since_us = at_us - one.start_us
        offset_us = round(one.fault.knob("offset_s") * _US)
        match one.fault.clock:
            case "1970":
                return _LOWEST_US + since_us - at_us
            case "jump":
                away = int(since_us / _US // one.fault.knob("jump_every_s")) % 2
                return offset_us if away else 0
            case _:
                return offset_us
