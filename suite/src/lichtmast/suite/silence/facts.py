"""What is known about a quiet device, as values: everything that a rung of the ladder may look at. No I/O."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Network

from lichtmast.api.v1.refusals import SeenRefusal
from lichtmast.registry import DeviceStatus
from lichtmast.registry.alerts.conditions import GroupKind
from lichtmast.registry.contacts import Contact
from lichtmast.suite.silence.limits import QUIET_INTERVALS, QUIET_LEAST_S
from lichtmast.wire.quality import Quality

SECOND_US = 1_000_000


class Reach(StrEnum):
    """What came of a probe."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The host itself says that nobody listens there (ICMPv6 type 1 code 4)."""
    PROHIBITED = "prohibited"
    """A firewall says that nothing passes (ICMPv6 type 1 code 1)."""
    SILENT = "silent"
    UNREACHABLE = "unreachable"
    """A router, or this machine, knows no way (ICMPv6 type 1, other codes)."""
    NOT_TRIED = "not_tried"
    """There is no address of the device that a probe may go to, or no right to send one."""


@dataclass(frozen=True, slots=True)
class Ours:
    """How this Lichtmast is. `lag` is None where the log does not answer."""

    broker_answers: bool = True
    lag: int | None = 0
    mqtt_listens: bool = True
    coap_listens: bool = True


@dataclass(frozen=True, slots=True)
class Certificate:
    """The newest of a device."""

    not_before_us: int
    not_after_us: int
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class Speech:
    """When readings of a device last came, and what they say of its clock."""

    last_us: int
    interval_s: float
    quality: Quality = Quality.GOOD
    """Flags of the readings that came last."""
    behind_s: float = 0.0
    """How old the newest of them was when it came; negative where it was of the future."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Packs of a device that were refused for one reason."""

    reason: str
    packs: int
    last_us: int


@dataclass(frozen=True, slots=True)
class Group:
    """The others at a feeder or in a neighbourhood that ever spoke, and how many of them are quiet."""

    kind: GroupKind
    name: str
    members: int
    quiet: int


@dataclass(frozen=True, slots=True)
class Name:
    """The DNS name of a device, and whether it has an AAAA record; None where the resolver did not say."""

    text: str
    resolves: bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it, at one moment. Of an unknown device only what everybody shares."""

    now_us: int
    ours: Ours = Ours()
    status: DeviceStatus | None = None
    is_secure: bool = True
    certificate: Certificate | None = None
    speech: Speech | None = None
    """None: it never spoke."""
    refusals: tuple[SeenRefusal, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    groups: tuple[Group, ...] = ()
    contact: Contact | None = None
    is_connected: bool = False
    name: Name | None = None
    plan: tuple[IPv6Network, ...] = ()
    echo: Reach = Reach.NOT_TRIED
    coap: Reach = Reach.NOT_TRIED

    @property
    def is_quiet(self) -> bool:
        """Whether readings fail to come."""
        return self.speech is None or is_quiet(self.speech.last_us, self.speech.interval_s, self.now_us)

    @property
    def last_us(self) -> int:
        """When it last spoke; 0 for never."""
        return 0 if self.speech is None else self.speech.last_us


def is_quiet(last_us: int, interval_s: float, now_us: int) -> bool:
    """Whether a device with this interval that was last heard then is quiet now."""
    return now_us - last_us > max(QUIET_INTERVALS * interval_s, QUIET_LEAST_S) * SECOND_US
