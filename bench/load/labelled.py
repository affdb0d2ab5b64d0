"""A town on virtual time whose faults are labelled, as messages of the READINGS log; no socket, no process.

Every profile has `EACH` devices in one cell, which speak at their profile's interval over MQTT. A clean town has no
fault. In a faulty one the first devices of each profile follow PLAN, and the rest stay sound.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lichtmast.firmware_sim.chance import seed_of, share
from lichtmast.firmware_sim.curves import Curves
from lichtmast.firmware_sim.device import DeviceSpec, Transport, VirtualDevice
from lichtmast.firmware_sim.instrument import Instrument, Label, Sound
from lichtmast.firmware_sim.scenario.faults import Faulty, Spoiler
from lichtmast.firmware_sim.scenario.parts import Fault, FaultKind
from lichtmast.ingest.pipeline.roster import Roster
from lichtmast.registry import DeviceEntry, DeviceStatus, Directory
from lichtmast.wire import DeviceId, load_profiles
from lichtmast.wire.profile import Profile
from lichtmast.wire.topics import up_subject

EACH = 8
START_US = 1_780_272_000_000_000  # 2026-06-01, a Monday
HOUR_US = 3_600_000_000
DELIVERED_US = 200_000
TENANT = "gm0402"
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Planned:
    """A fault of device number `device` of each profile. SILENCE is no fault kind of its own: it says nothing then."""

    device: int
    kind: FaultKind | None
    from_h: float
    hours: float
    clock: str = "offset"
    knobs: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As in the table of results."""
        if self.kind is None:
            return "silence"
        return f"{self.kind.value} {self.clock}" if self.kind is FaultKind.WRONG_CLOCK else self.kind.value


PLAN = (
    Planned(0, FaultKind.DRIFT, 20, 24),
    Planned(0, FaultKind.DRIFT, 48, 22, knobs={"range_share_per_h": -0.02}),
    Planned(1, FaultKind.STUCK, 6, 12),
    Planned(1, FaultKind.STUCK, 46, 12),
    Planned(2, FaultKind.SPIKE, 6, 12),
    Planned(2, FaultKind.SPIKE, 24, 12, knobs={"range_share": 0.2}),
    Planned(3, FaultKind.WRONG_UNIT, 6, 2),
    Planned(3, FaultKind.WRONG_UNIT, 14, 2),
    Planned(3, FaultKind.WRONG_UNIT, 37.5, 0.5),
    Planned(4, FaultKind.WRONG_CLOCK, 6, 3),
    Planned(4, FaultKind.WRONG_CLOCK, 12, 4, knobs={"offset_s": -3600}),
    Planned(4, FaultKind.WRONG_CLOCK, 20, 6, "jump", {"offset_s": -3600}),
    Planned(4, FaultKind.WRONG_CLOCK, 30, 6, "jump"),
    Planned(4, FaultKind.WRONG_CLOCK, 40, 4, "1970"),
    Planned(5, None, 6, 1),
    Planned(5, None, 20, 0.2),
    Planned(5, None, 40, 6),
)


class Message:
    """A message as the log gives it."""

    __slots__ = ("payload", "published", "stream_sequence", "subject")

    def __init__(self, subject: str, payload: bytes, position: int, received_us: int) -> None:
        self.subject = subject
        self.payload = payload
        self.stream_sequence = position
        self.published = _1970 + timedelta(microseconds=received_us)


@dataclass
class Resident:
    """A device of the town, with its phase within an interval and what is planned for it."""

    device: VirtualDevice
    profile: Profile
    phase_us: int
    planned: tuple[Planned, ...]


class LabelledTown:
    """`messages` are all packs in order; `labels` fill up as they are made."""

    def __init__(self, *, seed: int, is_faulty: bool, each: int = EACH) -> None:
        self.labels: list[Label] = []
        self.residents: list[Resident] = []
        entries: dict[str, DeviceEntry] = {}
        datastream = 1
        for profile in load_profiles().values():
            for number in range(each):
                device = DeviceId(TENANT, f"{profile.key}-{number}")
                planned = tuple(one for one in PLAN if is_faulty and one.device == number)
                longitude, latitude = 5.1700 + 1e-5 * number, 52.2200
                spec = DeviceSpec(device, profile.key, Transport.MQTT, longitude, latitude)
                instrument = _instrument(spec, profile, seed, planned)
                virtual = VirtualDevice(spec, seed=seed, epoch=START_US, instrument=instrument)
                phase_us = round(share(seed_of(seed, device), 0) * profile.interval_s * 1e6)
                self.residents.append(Resident(virtual, profile, phase_us, planned))
                size = len(profile.uplinks)
                ids = tuple(range(datastream, datastream + size))
                datastream += size
                row = len(entries) + 1
                active = DeviceStatus.ACTIVE
                entries[str(device)] = DeviceEntry(row, device, active, profile.key, row, ids, longitude, latitude)
        self.directory = Directory(1, entries, ())
        self.roster = Roster.build(self.directory, load_profiles())

    def messages(self, hours: float) -> Iterator[Message]:
        """Everything that is said in so many hours."""
        position = 0
        turn_us = 60_000_000
        order = sorted(self.residents, key=lambda one: one.phase_us % turn_us)
        subjects = [up_subject(one.device.spec.device) for one in order]
        for turn in range(round(hours * 60)):
            for one, subject in zip(order, subjects, strict=True):
                interval_us = one.profile.interval_s * 1_000_000
                minute, offset_us = divmod(one.phase_us, turn_us)
                if (turn - minute) % (interval_us // turn_us):
                    continue
                at_us = START_US + turn * turn_us + offset_us
                for payload in self._said(one.device, at_us, interval_us):
                    position += 1
                    yield Message(subject, payload, position, at_us + DELIVERED_US)

    def _said(self, device: VirtualDevice, at_us: int, interval_us: int) -> list[bytes]:
        device.live(at_us, interval_us)
        self.labels += device.labels
        device.labels = []
        packs = []
        while (waiting := device.outbox.take(0.0)) is not None:
            device.outbox.accept(waiting.seq)
            packs.append(waiting.payload)
        return packs


def _instrument(spec: DeviceSpec, profile: Profile, seed: int, planned: Sequence[Planned]) -> Instrument:
    place: dict[str, Any] = {"longitude": spec.longitude, "latitude": spec.latitude}
    sound = Sound(Curves(profile, seed=seed, device=str(spec.device), **place))
    spoilers, silent = [], []
    for number, one in enumerate(planned):
        begin_us = START_US + round(one.from_h * HOUR_US)
        if one.kind is None:
            silent.append((begin_us, begin_us + round(one.hours * HOUR_US)))
        else:
            fault = Fault(
                one.kind,
                clock=one.clock,
                start_s=one.from_h * 3600,
                duration_s=one.hours * 3600,
                knobs=one.knobs,
            )
            spoilers.append(Spoiler.of(fault, number, str(spec.device), seed, START_US))
    return Faulty(sound, profile, spoilers, silent) if planned else sound
