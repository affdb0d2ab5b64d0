"""What the application needs besides readings where people sign in and manage: handed in once, by whoever runs it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lichtmast.api.access.openid import OpenIdProvider
from lichtmast.api.v1.quarantine_desk import QuarantineDesk
from lichtmast.api.v1.refusals import RefusalBook
from lichtmast.registry.alerts import AlertRule
from lichtmast.registry.notifying import Answer
from lichtmast.registry.people import PeopleBook, Seal
from lichtmast.registry.pki import Authority
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.validation import RuleSet


@dataclass(frozen=True, slots=True)
class Management:
    """People, and what they manage devices with. `authority` is None in development, where nothing is encrypted."""

    people: PeopleBook
    authority: Callable[[], Authority | None] = lambda: None
    server_certificates: Callable[[], Mapping[str, bytes]] = dict
    """The PEM chains that this server shows, by the name of the door."""
    refusals: RefusalBook = field(default_factory=RefusalBook)
    openid: OpenIdProvider | None = None
    """Where people of the operator's organisation sign in too; None for nowhere."""
    quarantine: QuarantineDesk | None = None
    """Replays and discards packs; None where no pipeline runs."""
    seal: Seal | None = None
    """What secrets of channels are sealed with; None: there can be no channels."""
    try_rules: Callable[[RuleSet, float], Mapping[str, Any]] | None = None
    """Holds rules of validation against so many days of what is stored; blocks. None: nobody offers that."""
    try_alert_rule: Callable[[AlertRule, float], Mapping[str, Any]] | None = None
    """The same with a rule of alerts."""
    test_channel: Callable[[int], Awaitable[Answer]] | None = None
    """Sends a test message to a channel; None: nobody sends."""
    why_silent: Callable[[DeviceId], Awaitable[Mapping[str, Any]]] | None = None
    """Finds out why a device is quiet, within seconds; None: no doors run that could tell."""
