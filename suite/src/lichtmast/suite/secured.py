"""What a Lichtmast has beside its rooms where everything is encrypted: certificates, people, and who is admitted.

One claim's way: the engineer's POST /v1/claims opens a window in the register; the node's CSR comes to the EST
listener, which asks the register and has the authority sign; the node connects, and the broker or the CoAP door asks
the gatekeeper. A revocation goes the same way back: register, gatekeeper, doors.
"""

import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lichtmast.api import TlsFiles
from lichtmast.api.access.openid import OpenIdProvider
from lichtmast.api.management import Management
from lichtmast.api.v1.refusals import RefusalBook
from lichtmast.ingest.broker import BrokerTls
from lichtmast.ingest.callout import RefusedConnection
from lichtmast.ingest.coap.dtls.settings import Dtls
from lichtmast.registry import Registry
from lichtmast.registry.people import PeopleBook, Seal
from lichtmast.registry.pki import Authority
from lichtmast.suite.clock import now_us
from lichtmast.suite.errors import SuiteError
from lichtmast.suite.folder import Folder
from lichtmast.suite.gatekeeper import Gatekeeper
from lichtmast.suite.own_certificates import OwnCertificates
from lichtmast.suite.settings import SecureSettings, Settings
from lichtmast.suite.unlock import unlock_secret
from lichtmast.wire import DeviceId
from lichtmast.wire.label import pin_text

_log = logging.getLogger(__name__)

MQTT_DOOR: Final = "mqtt"
COAP_DOOR: Final = "coap"
EST_DOOR: Final = "est"


@dataclass(slots=True)
class Secured:
    """One for the whole program."""

    certificates: OwnCertificates
    gatekeeper: Gatekeeper
    people: PeopleBook
    page_tls: TlsFiles
    est_tls: TlsFiles
    first_run: str | None
    """The secret of the link that makes the first admin; None where there is one."""
    openid: OpenIdProvider | None = None
    refusals: RefusalBook = field(default_factory=RefusalBook)

    @property
    def root_pin(self) -> str:
        """As it stands on labels."""
        return pin_text(self.certificates.authority().root_pin)

    @property
    def broker_tls(self) -> BrokerTls:
        """What the MQTT listener needs."""
        mine = self.certificates
        return BrokerTls(mine.certificate, mine.key, mine.device_trust)

    @property
    def dtls(self) -> Dtls:
        """What the CoAP door needs."""
        mine = self.certificates
        return Dtls(mine.certificate, mine.key, mine.device_trust, self.gatekeeper.admission, on_refused=self.note_coap)

    @property
    def management(self) -> Management:
        """What the pages and /v1 need."""
        return Management(
            self.people,
            self.certificates.authority,
            self._shown,
            self.refusals,
            self.openid,
        )

    def note_mqtt(self, refused: RefusedConnection) -> None:
        """Remember whom the broker turned away."""
        self._note(refused.device, MQTT_DOOR, str(refused.reason))

    def note_coap(self, claimed: str, reason: str) -> None:
        """Remember whom the CoAP door turned away; a certificate that is not ours may name anybody."""
        self._note(DeviceId.parse(claimed) if claimed else None, COAP_DOOR, reason)

    def note_est(self, device: DeviceId | None, reason: str) -> None:
        """Remember whom enrolment turned away."""
        self._note(device, EST_DOOR, reason)

    def _note(self, device: DeviceId | None, door: str, reason: str) -> None:
        """Under nobody's name where the register has no such device: strangers must not push ours out of the book."""
        known = device is not None and device in self.gatekeeper.admission().statuses
        self.refusals.note(device if known else None, door, reason, now_us())

    def _shown(self) -> Mapping[str, bytes]:
        return {
            "pages": self.page_tls.certificate.read_bytes(),
            "devices": self.certificates.certificate.read_bytes(),
        }


@asynccontextmanager
async def secured(folder: Folder, settings: Settings, registry: Registry) -> AsyncIterator[Secured | None]:
    """All of it for as long as the block lasts; None where the settings leave everything open."""
    chosen = settings.secure
    if chosen is None:
        yield None
        return
    secret = unlock_secret(folder)
    if not Authority.is_made(folder.authority) and registry.identity.admission().certificates:
        raise SuiteError(
            f"the register has issued certificates, and {folder.authority} holds no authority; put its copy back. "
            "A new one would be unknown to every device: for that, start with a new data folder"
        )
    certificates = OwnCertificates(folder, secret, settings.names, chance=random.random())  # noqa: S311 - spreads renewals
    page_files = _page_files(chosen, certificates)
    if page_files[0] != certificates.certificate:
        certificates.watch(*page_files)
    with PeopleBook.open(folder.registry, Seal.from_secret(secret)) as people:
        yield Secured(
            certificates,
            Gatekeeper(registry),
            people,
            page_tls=TlsFiles(*page_files),
            est_tls=TlsFiles(certificates.certificate, certificates.key),
            first_run=people.first_run(at_us=now_us()),
            openid=None if chosen.openid is None else OpenIdProvider(chosen.openid, now_us),
        )


def _page_files(chosen: SecureSettings, certificates: OwnCertificates) -> tuple[Path, Path]:
    if chosen.page_certificate is None or chosen.page_key is None:
        return certificates.certificate, certificates.key
    return chosen.page_certificate, chosen.page_key
