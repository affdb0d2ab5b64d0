"""Devices with certificates before a DTLS layer: a town's files, a real admission, and lines that lose datagrams."""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from identity_town import Credentials, IdentityTown, fingerprints
from OpenSSL import SSL

from lichtmast.ingest.coap.dtls import Dtls, DtlsLayer
from lichtmast.ingest.coap.dtls.testing import GCM, DtlsClient, client_context
from lichtmast.registry.identity import Admission
from lichtmast.registry.identity.admission import IssuedCertificate
from lichtmast.registry.records import DeviceStatus

if TYPE_CHECKING:
    from lichtmast.ingest.coap.peers import Address


def now_us() -> int:
    return time.time_ns() // 1_000


class DtlsTown:
    """A town whose devices are admitted as `admit` last said."""

    def __init__(self, folder: Path) -> None:
        self.town = IdentityTown(folder)
        self._credentials: list[Credentials] = []
        self.admission = Admission(revision=0, certificates={}, statuses={})

    def device(self, name: str = "lm-0001", *, admitted: bool = True, **spoilt: Any) -> Credentials:  # noqa: ANN401
        """A device; it is admitted at once unless the test says otherwise."""
        credentials = self.town.device(name, **spoilt)
        if admitted:
            self._credentials.append(credentials)
            self.admit()
        return credentials

    def admit(self, *, revoked: Collection[Credentials] = (), asleep: Collection[Credentials] = ()) -> Admission:
        """Say anew who is admitted: all, but these."""
        out = {one.serial for one in revoked}
        self.admission = Admission(
            revision=self.admission.revision + 1,
            certificates={
                one.serial: IssuedCertificate(one.device, one.not_before_us, one.not_after_us, one.serial in out)
                for one in self._credentials
            },
            statuses={one.device: DeviceStatus.ACTIVE for one in self._credentials}
            | {one.device: DeviceStatus.SUSPENDED for one in asleep},
            fingerprints=fingerprints(self._credentials),
        )
        return self.admission

    def dtls(self, **changes: Any) -> Dtls:  # noqa: ANN401 - passed on to a dataclass that checks them
        town = self.town
        dtls = Dtls(town.server_certificate, town.server_key, town.device_trust, lambda: self.admission)
        return replace(dtls, **{"handshakes_per_s": 1e6, "subnet_handshakes_per_s": 1e6, **changes})

    def layer(self, **changes: Any) -> DtlsLayer:  # noqa: ANN401 - as above
        return DtlsLayer(self.dtls(**changes), b"s" * 32)

    def context(self, credentials: Credentials | None, *, suites: bytes = GCM) -> SSL.Context:
        if credentials is None:
            return client_context(self.town.root, None, None, suites=suites)
        return client_context(self.town.root, credentials.certificate, credentials.key, suites=suites)


class Line:
    """One client, the layer, and the way between them. `sent` is all that the client has sent."""

    def __init__(self, layer: DtlsLayer, client: DtlsClient, port: int = 40_001, host: str = "2001:db8::1") -> None:
        self.layer, self.client = layer, client
        self.address: Address = (host, port, 0, 0)
        self.received: list[tuple[bytes, Address]] = []
        self.sent: list[bytes] = []
        self.now_s = 1.0
        self._count = 0

    def start(self) -> None:
        self.carry(self.client.start())

    def carry(
        self,
        datagrams: Iterable[bytes],
        *,
        lose: Callable[[int], bool] = lambda _number: False,
        order: Callable[[list[bytes]], list[bytes]] = list,
    ) -> None:
        """Carry datagrams and all that answers them, until both are silent."""
        there = order(list(datagrams))
        while there:
            self.sent += there
            for datagram in there:
                if not self._lost(lose):
                    self.received += self.layer.receive(datagram, self.address, self.now_s)
            back = order(self.answers())
            there = order([answer for one in back if not self._lost(lose) for answer in self.client.receive(one)])

    def answers(self) -> list[bytes]:
        """Let the layer work; what it sends to this client."""
        while self.layer.has_work:
            self.layer.work(self.now_s, now_us())
        mine = [datagram for datagram, address in self.layer.outgoing if address == self.address]
        self.layer.outgoing = [one for one in self.layer.outgoing if one[1] != self.address]
        return mine

    def hears(self, message: bytes) -> bool:
        """Whether a message of the client gets through."""
        self.carry([self.client.seal(message)])
        return any(one == message for one, _ in self.received)

    def _lost(self, lose: Callable[[int], bool]) -> bool:
        self._count += 1
        return lose(self._count)


def hello_bytes(
    *,
    version: bytes = b"\xfe\xfd",
    random: bytes = b"r" * 32,
    cookie: bytes = b"",
    suites: bytes = b"\xc0\x2b",
    session_id: bytes = b"",
    extensions: bytes = b"",
) -> bytes:
    """The smallest ClientHello, as a datagram."""
    body = version + random + bytes([len(session_id)]) + session_id + bytes([len(cookie)]) + cookie
    body += len(suites).to_bytes(2, "big") + suites + b"\x01\x00" + extensions
    size = len(body).to_bytes(3, "big")
    number = b"\x00\x01" if cookie else b"\x00\x00"
    message = b"\x01" + size + number + b"\x00\x00\x00" + size + body
    return b"\x16\xfe\xff\x00\x00" + b"\x00\x00\x00\x00\x00\x07" + len(message).to_bytes(2, "big") + message


def connected(
    town: DtlsTown, layer: DtlsLayer, credentials: Credentials, port: int = 40_001, host: str = "2001:db8::1"
) -> Line:
    """A line with a session on it."""
    line = Line(layer, DtlsClient(town.context(credentials)), port, host)
    line.start()
    assert line.client.is_open, line.client.failure
    return line
