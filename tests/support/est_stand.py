"""An EST server that a test plays with: it answers as told, well or badly, over real TLS on ::1.

The real one is `lichtmast.api.est`; this one also does what that never would.
"""

import ssl
import threading
from base64 import b64decode, encodebytes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from identity_town import Credentials, IdentityTown

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.identity import IdentityFolder, Moment
from lichtmast.edge.identity.caretaker import Errand
from lichtmast.edge.identity.exchange import Order
from lichtmast.edge.identity.keys import DeviceKey, make_key
from lichtmast.edge.identity.schedule import Step
from lichtmast.wire import DeviceId
from lichtmast.wire.label import Label, spki_pin

PKCS7 = "application/pkcs7-mime; smime-type=certs-only"


class Reply(NamedTuple):
    """What a request gets."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    content_type: str = "text/plain"


class PublicOnly:
    """The public half where `IdentityTown.device` wants a key: a certificate for a request."""

    def __init__(self, public_key: ec.EllipticCurvePublicKey) -> None:
        self._public_key = public_key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public_key

    def private_bytes(self, *_: object) -> bytes:
        return b""


def bundle(certificates: Sequence[x509.Certificate]) -> Reply:
    """RFC 7030 section 4.1.3."""
    return Reply(200, encodebytes(serialize_certificates([*certificates], Encoding.DER)), content_type=PKCS7)


class EstStand:
    """Issues for whoever asks, while `is_claimed`; `overrides` answers for an operation instead."""

    def __init__(self, town: IdentityTown, device: DeviceId) -> None:
        self.town, self.device = town, device
        self.is_claimed = True
        self.authorities = [town.root_issuer.certificate, town.devices.certificate, town.servers.certificate]
        self.issue: dict[str, Any] = {}
        self.overrides: dict[str, Callable[[bytes], Reply]] = {}
        self.asked: list[str] = []
        self.requests: list[x509.CertificateSigningRequest] = []
        self.issued: list[Credentials] = []
        self.port = 0

    def reply(self, operation: str, body: bytes, client: dict[str, Any] | None) -> Reply:
        self.asked.append(operation)
        if operation in self.overrides:
            return self.overrides[operation](body)
        if operation == "cacerts":
            return bundle(self.authorities)
        request = x509.load_der_x509_csr(b64decode(body))
        self.requests.append(request)
        if operation == "simplereenroll" and not client:
            return Reply(401, b"a certificate is needed")
        if not self.is_claimed and operation == "simpleenroll":
            return Reply(202, headers={"Retry-After": "1"})
        return self.certificate(request)

    def certificate(self, request: x509.CertificateSigningRequest) -> Reply:
        """A certificate for a request, spoilt as `issue` says."""
        key = cast("ec.EllipticCurvePrivateKey", PublicOnly(cast("ec.EllipticCurvePublicKey", request.public_key())))
        made = self.town.device(**{"device": self.device, "key": key, **self.issue})
        self.issued.append(made)
        return bundle([x509.load_der_x509_certificate(made.der)])

    @contextmanager
    def running(self, chain: Path | None = None, key: Path | None = None) -> Iterator["EstStand"]:
        """Answer on ::1, with the town's server certificate or another."""
        stand = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                client = cast("ssl.SSLSocket", self.connection).getpeercert()
                told = stand.reply(self.path.rpartition("/")[2], body, client)
                self.send_response(told.status)
                self.send_header("Content-Type", told.content_type)
                self.send_header("Content-Length", str(len(told.body)))
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told.body)

            def do_GET(self) -> None:
                self._do()

            def do_POST(self) -> None:
                self._do()

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            address_family = AF_INET6
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                return

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain or self.town.server_certificate, key or self.town.server_key)
        context.load_verify_locations(self.town.root)
        context.verify_mode = ssl.CERT_OPTIONAL
        server = Server(("::1", self.port), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)


class Node:
    """A device fresh from its staging: a key, and a label that somebody printed for it."""

    def __init__(self, folder: Path, town: IdentityTown, device: DeviceId) -> None:
        self.state = folder
        self.folder = IdentityFolder(folder)
        self.folder.make()
        self.key: DeviceKey = make_key(self.folder.key)
        self.device = device
        self.label = label_of(town, self.key, device)

    def errand(self, stand: EstStand, host: str = "::1") -> Errand:
        return Errand(self.label, host, stand.port, self.folder)

    def order(
        self, stand: EstStand, step: Step = Step.ENROL, *, host: str = "::1", moment: Moment | None = None
    ) -> Order:
        now = moment or Moment(SystemClock().wall_us(), is_trusted=True)
        return Order(
            step,
            self.label.text,
            host,
            stand.port,
            str(self.state),
            str(self.folder.key),
            now.wall_us,
            now.is_trusted,
        )


def label_of(town: IdentityTown, key: DeviceKey, device: DeviceId) -> Label:
    """The label that the city prints for a key."""
    root = town.root_issuer.certificate.public_key()
    return Label(device, key.pin, spki_pin(root.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))
