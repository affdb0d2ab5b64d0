"""A virtual device: samples its curves, numbers its packs, and keeps them until someone has them. No socket, no clock.

Wall time comes in as microseconds since 1970 (it goes into the packs), waiting is measured in monotonic seconds by the
outbox; the two never meet.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, unique

from lichtmast.firmware_sim import flaws
from lichtmast.firmware_sim.chance import seed_of
from lichtmast.firmware_sim.curves import Curves
from lichtmast.firmware_sim.outbox import Numbers, Outbox
from lichtmast.wire import envelope, senml
from lichtmast.wire.identity import DeviceId
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


class VirtualDevice:
    """One device during one epoch.

    `outbox` holds its numbered packs. `mischief` holds malformed bytes that carry no number: they go out at least
    once and nobody will acknowledge them. `flawed` are the numbers of packs that are wrong on purpose.
    """

    def __init__(self, spec: DeviceSpec, *, seed: int, epoch: int) -> None:
        self.spec = spec
        self.epoch = epoch
        self.seed = seed_of(seed, spec.device, "timing")
        self.outbox = Outbox(seed=self.seed)
        self.mischief: deque[bytes] = deque()
        self.mischief_sent = 0
        self.flawed = Numbers()
        self.readings = 0
        self._curves = Curves(
            load_profiles()[spec.profile],
            seed=seed,
            device=str(spec.device),
            longitude=spec.longitude,
            latitude=spec.latitude,
        )

    def sample(self, now_us: int) -> bytes | None:
        """Measure everything now, as one pack in the outbox. None, and counted as skipped, where the outbox is full."""
        if not self.outbox.has_room():
            return None
        values = self._curves.values(now_us)
        pack = self._pack([senml.Reading(suffix, value, unit, now_us) for suffix, unit, value in values])
        self.outbox.put(pack)
        self.readings += len(values)
        return pack

    def misbehave(self, turn: int, now_us: int) -> bytes | None:
        """Make malformed pack number `turn` of the corpus. None where the outbox is full.

        CoAP devices only make numbered ones: a door that cannot tell the sender has nobody to quarantine for.
        """
        if self.spec.transport is Transport.MQTT and turn % 2:
            pack = flaws.unnumbered(turn // 2, self.spec.device, now_us)
            self.mischief.append(pack)
            return pack
        if not self.outbox.has_room():
            return None
        pack = self._pack([flaws.numbered(turn // 2, load_profiles()[self.spec.profile], now_us)])
        self.flawed.add(self.outbox.put(pack))
        return pack

    @property
    def outstanding(self) -> int:
        """Packs that still have to arrive."""
        return self.outbox.outstanding + len(self.mischief)

    def _pack(self, readings: list[senml.Reading]) -> bytes:
        return senml.encode(
            self.spec.device,
            readings,
            epoch=self.epoch,
            seq=self.outbox.next_seq,
            content_format=self.spec.content_format,
        )
