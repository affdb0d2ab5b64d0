"""A virtual device: samples its curves, numbers its packs, and keeps them until someone has them. No socket, no clock.

Wall time comes in as microseconds since 1970 (it goes into the packs), waiting is measured in monotonic seconds by the
outbox; the two never meet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique

from lichtmast.firmware_sim import flaws
from lichtmast.firmware_sim.chance import seed_of
from lichtmast.firmware_sim.curves import Curves
from lichtmast.firmware_sim.instrument import Instrument, Label, Mark, Sound
from lichtmast.firmware_sim.outbox import Outbox
from lichtmast.wire import envelope, senml
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.numbers import Numbers
from lichtmast.wire.profile import load_profiles


@unique
class Transport(Enum):
    """How a device delivers."""

    MQTT = "mqtt"
    COAP = "coap"


class SpecError(ValueError):
    """A device cannot be as it was described; the message says what to change."""


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What hangs where, and how it speaks. `asset` is the key of the lamppost, empty where there is none.

    `content_format` is 110 (SenML JSON) or 112 (SenML CBOR). Raises SpecError for an unknown profile or format.
    """

    device: DeviceId
    profile: str
    transport: Transport
    longitude: float
    latitude: float
    asset: str = ""
    content_format: int = envelope.SENML_JSON

    def __post_init__(self) -> None:
        if self.profile not in load_profiles():
            raise SpecError(f"{self.device}: no profile {self.profile!r}; known are {', '.join(load_profiles())}")
        if self.content_format not in (envelope.SENML_JSON, envelope.SENML_CBOR):
            raise SpecError(f"{self.device}: content format {self.content_format} is not 110 (JSON) or 112 (CBOR)")
        if not (-180 <= self.longitude <= 180 and -90 <= self.latitude <= 90):  # noqa: PLR2004 - the whole Earth
            raise SpecError(f"{self.device}: longitude {self.longitude}, latitude {self.latitude} is not on Earth")


@dataclass(frozen=True, slots=True)
class Stray:
    """Bytes that go out once, and whose number, if any, another attempt answers for: a malformed pack, or a copy."""

    payload: bytes
    is_copy: bool


class VirtualDevice:
    """One device during one epoch.

    `outbox` holds its numbered packs. `strays` go out at least once and nobody will acknowledge them. `flawed` are the
    numbers of packs that are wrong on purpose. `labels` say what is faulty about what was sampled; who wants them takes
    them away. `instrument` measures, by default the curves of the device's profile.
    """

    def __init__(self, spec: DeviceSpec, *, seed: int, epoch: int, instrument: Instrument | None = None) -> None:
        self.spec = spec
        self.epoch = epoch
        self.seed = seed_of(seed, spec.device, "timing")
        self.outbox = Outbox(seed=self.seed)
        self.strays: list[Stray] = []
        self.unnumbered_sent = 0
        self.copies_sent = 0
        self.flawed = Numbers()
        self.readings = 0
        self.boots = 0
        self.labels: list[Label] = []
        self._flaws_made = 0
        self._instrument = instrument or sound_instrument(spec, seed)

    def live(self, now_us: int, interval_us: int) -> bool:
        """Do what is due this turn; whether the device started again since the last one."""
        boot = self._instrument.boot(now_us)
        rebooted, self.boots = boot != self.boots, boot
        for moment_us in self._instrument.moments(now_us, interval_us):
            self.sample(moment_us)
        return rebooted

    def sample(self, now_us: int) -> bytes | None:
        """Measure everything now, as one pack in the outbox. None, and counted as skipped, where the outbox is full."""
        if not self.outbox.has_room():
            return None
        measured = self._instrument.measure(now_us, self.epoch, self.outbox.next_seq)
        if measured.flawed:
            return self.misbehave(self._flaws_made, now_us)
        pack = self._pack(measured.readings)
        seq = self.outbox.put(pack)
        self.readings += len(measured.readings)
        self.strays += [Stray(pack, is_copy=True)] * (measured.copies - 1)
        for mark in measured.marks:
            self._label(mark, seq, measured.readings[mark.index or 0])
        return pack

    def misbehave(self, turn: int, now_us: int) -> bytes | None:
        """Make malformed pack number `turn` of the corpus. None where the outbox is full.

        CoAP devices only make numbered ones: a door that cannot tell the sender has nobody to quarantine for.
        """
        self._flaws_made += 1
        mark = Mark("hostile", None, None, now_us)
        if self.spec.transport is Transport.MQTT and turn % 2:
            pack = flaws.unnumbered(turn // 2, self.spec.device, now_us)
            self.strays.append(Stray(pack, is_copy=False))
            self._label(mark, None, None)
            return pack
        if not self.outbox.has_room():
            return None
        reading = flaws.numbered(turn // 2, load_profiles()[self.spec.profile], now_us)
        pack = self._pack([reading])
        seq = self.outbox.put(pack)
        self.flawed.add(seq)
        self._label(mark, seq, None)
        return pack

    def stray_sent(self) -> None:
        """The first of `strays` went out."""
        if self.strays.pop(0).is_copy:
            self.copies_sent += 1
        else:
            self.unnumbered_sent += 1

    @property
    def outstanding(self) -> int:
        """Packs that still have to arrive."""
        return self.outbox.outstanding + len(self.strays)

    def _label(self, mark: Mark, seq: int | None, reading: senml.Reading | None) -> None:
        whole = reading is None or mark.index is None
        self.labels.append(
            Label(
                device=self.spec.device,
                fault=mark.fault,
                epoch=self.epoch,
                seq=seq,
                suffix=None if whole or reading is None else reading.suffix,
                sent=None if whole or reading is None else reading.value,
                true=mark.true_value,
                sent_us=mark.true_us if reading is None else reading.time_us,
                true_us=mark.true_us,
            )
        )

    def _pack(self, readings: Sequence[senml.Reading]) -> bytes:
        return senml.encode(
            self.spec.device,
            readings,
            epoch=self.epoch,
            seq=self.outbox.next_seq,
            content_format=self.spec.content_format,
        )


def sound_instrument(spec: DeviceSpec, seed: int) -> Sound:
    """The curves of a device, as they are."""
    curves = Curves(
        load_profiles()[spec.profile],
        seed=seed,
        device=str(spec.device),
        longitude=spec.longitude,
        latitude=spec.latitude,
    )
    return Sound(curves)
