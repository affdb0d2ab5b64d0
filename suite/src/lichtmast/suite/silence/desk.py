"""Answers why a device is quiet, of one running Lichtmast: gathers the facts, probes, climbs the ladder, tells."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lichtmast.ingest.broker_settings import OWN_HOST
from lichtmast.ingest.errors import BrokerError
from lichtmast.registry import DeviceRecord
from lichtmast.registry.contacts import Contact, ContactBook
from lichtmast.suite.silence import gathering, limits, probes
from lichtmast.suite.silence.contacts import connected
from lichtmast.suite.silence.facts import Facts, Name, Ours, Reach
from lichtmast.suite.silence.finding import Finding, Verdict
from lichtmast.suite.silence.ladder import climb, verdict
from lichtmast.suite.silence.silence_file import SilenceSettings
from lichtmast.wire import DeviceId
from lichtmast.wire.profile import load_profiles

if TYPE_CHECKING:
    from lichtmast.suite.service import Service

_UNTIL_S: Final = limits.PROBE_TIMEOUT_S + 0.5
"""A blocking probe keeps its own time; the resolver does not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The ladder of one device."""

    device: DeviceId
    facts: Facts
    findings: tuple[Finding, ...]
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """For everybody who may see the device: without its address."""
        return {
            "device": str(self.device),
            "quiet": self.facts.is_quiet,
            "rung": None if self.verdict.rung is None else self.verdict.rung.value,
            "sentence": self.verdict.sentence.as_json(),
            "next": self.verdict.step.as_json(),
            "ladder": [
                {"rung": one.rung.value, "state": one.state.value, "text": one.text.as_json()} for one in self.findings
            ],
        }

    def with_contact(self) -> dict[str, Any]:
        """For the operator of this machine: with the address that it was last heard from."""
        one = self.facts.contact
        told = one and {
            "transport": one.bearer.value,
            "address": str(one.address),
            "heard": datetime.fromtimestamp(one.heard_us // 1_000_000, UTC).isoformat(),
        }
        return self.as_json() | {"contact": told}


class SilenceDesk:
    """One for the whole program."""

    def __init__(
        self, service: "Service", book: ContactBook, settings: SilenceSettings, clock_us: Callable[[], int]
    ) -> None:
        self._service = service
        self._book = book
        self._settings = settings
        self._clock_us = clock_us
        self._turns = asyncio.Semaphore(limits.QUESTIONS_MAX)

    async def why(self, device: DeviceId) -> Answer:
        """Down the ladder. Takes a few seconds at most; nothing that fails on the way raises."""
        async with self._turns:
            facts = await self._facts(device)
        findings = tuple(climb(facts))
        return Answer(device, facts, findings, verdict(findings, facts))

    async def told(self, device: DeviceId) -> dict[str, Any]:
        """The answer for the API."""
        return (await self.why(device)).as_json()

    async def _facts(self, device: DeviceId) -> Facts:
        now_us = self._clock_us()
        (standing, contact, record), (ours, now_connected) = await asyncio.gather(
            asyncio.to_thread(self._known, device, now_us), self._of_broker(device, now_us)
        )
        contact = now_connected or contact
        echo, coap, name = await self._probed(device if record else None, contact, is_connected=bool(now_connected))
        return Facts(
            now_us,
            ours,
            contact=contact,
            is_connected=now_connected is not None,
            name=name,
            plan=self._settings.device_prefixes,
            echo=echo,
            coap=coap,
            **standing,
        )

    def _known(self, device: DeviceId, now_us: int) -> tuple[dict[str, Any], Contact | None, DeviceRecord | None]:
        """What register, store and doors know."""
        service = self._service
        registry, store, secure = service.registry, service.store, service.secure
        record = registry.device(device)
        if record is None:
            return {"is_secure": secure is not None}, None, None
        directory = registry.directory()
        entry = directory.entries.get(str(device))
        known: dict[str, Any] = {
            "status": record.status,
            "is_secure": secure is not None,
            "certificate": gathering.newest_certificate(registry, device),
            "refusals": () if secure is None else tuple(secure.refusals.of(device)),
            "quarantined": gathering.quarantined(store, device),
        }
        if entry is not None and entry.profile in load_profiles():
            known["speech"] = gathering.speech(store, entry, now_us)
            known["groups"] = gathering.groups(directory, registry.alerts.groups(), store, entry, now_us)
        return known, next(iter(self._book.of(device)), None), record

    async def _of_broker(self, device: DeviceId, now_us: int) -> tuple[Ours, Contact | None]:
        """How this server is, and whether the device is connected to it."""
        service = self._service
        session: Contact | None = None
        answers = service.broker.ready.is_set()
        try:
            async with asyncio.timeout(limits.PROBE_TIMEOUT_S):
                session = next(iter(await connected(service.broker, now_us, device)), None)
        except (OSError, BrokerError):
            answers = False
        lag = service.lag
        mqtt = await _listens(service.settings.host, service.broker.mqtt_port)
        return Ours(answers, lag, mqtt, self._coap_listens()), session

    def _coap_listens(self) -> bool:
        try:
            return self._service.door.port > 0
        except OSError:
            return False

    async def _probed(
        self, device: DeviceId | None, contact: Contact | None, *, is_connected: bool
    ) -> tuple[Reach, Reach, Name | None]:
        """Echo, CoAP and name at the same time. Whoever is connected needs no probe."""
        address = None if contact is None or is_connected else contact.address
        text = None if device is None else self._settings.name_of(device)

        async def reached(probe: Callable[..., Reach]) -> Reach:
            if address is None or not probes.may_be_asked(address):
                return Reach.NOT_TRIED
            return await asyncio.to_thread(probe, address)

        async def named() -> Name | None:
            if text is None:
                return None
            try:
                async with asyncio.timeout(_UNTIL_S):
                    return Name(text, await asyncio.to_thread(probes.resolves, text))
            except TimeoutError:
                return Name(text, None)

        return await asyncio.gather(reached(probes.echo), reached(probes.coap), named())


async def _listens(host: str, port: int) -> bool:
    """Whether our own door takes connections. One that is bound to every address takes them at ::1."""
    try:
        async with asyncio.timeout(limits.PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(OWN_HOST if host == "::" else host, port)
    except OSError:
        return False
    writer.close()
    return True
