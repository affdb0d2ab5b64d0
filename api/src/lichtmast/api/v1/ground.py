"""What the routes stand on: the register, the store and the clock, handed in once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lichtmast.api.catalogue import Catalogue
from lichtmast.api.v1.quarantine_desk import QuarantineDesk
from lichtmast.api.v1.refusals import RefusalBook
from lichtmast.api.workers import Workers
from lichtmast.registry import Registry
from lichtmast.registry.alerts import AlertRule
from lichtmast.registry.notifying import Answer
from lichtmast.registry.people import Seal
from lichtmast.registry.pki import Authority
from lichtmast.store.port import ObservationStore
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.validation import RuleSet


@dataclass(frozen=True, slots=True)
class Ground:
    """One for the whole router. `authority` and `server_certificates` are asked anew each time: both change."""

    registry: Registry
    store: ObservationStore
    catalogue: Callable[[], Catalogue]
    """Blocks: it is called in a worker."""
    workers: Workers
    clock_us: Callable[[], int]
    authority: Callable[[], Authority | None] = lambda: None
    """None in development, where nothing is encrypted: then the city on a label is not compared."""
    server_certificates: Callable[[], Mapping[str, bytes]] = dict
    """The PEM chains that this server shows, by the name of the door."""
    refusals: RefusalBook = field(default_factory=RefusalBook)
    try_rules: Callable[[RuleSet, float], Mapping[str, Any]] | None = None
    """Holds rules of validation against so many days of what is stored; blocks. None where nobody offers that."""
    quarantine: QuarantineDesk | None = None
    """Replays and discards. None where no pipeline runs."""
    try_alert_rule: Callable[[AlertRule, float], Mapping[str, Any]] | None = None
    """Holds a rule of alerts against so many days of what is stored; blocks. None where nobody offers that."""
    test_channel: Callable[[int], Awaitable[Answer]] | None = None
    """Sends a test message to a channel; None where nobody sends."""
    seal: Seal | None = None
    """What secrets of channels are sealed with; None where nothing is kept sealed."""
    why_silent: Callable[[DeviceId], Awaitable[Mapping[str, Any]]] | None = None
    """Finds out why a device is quiet, within seconds; None where no doors run."""
