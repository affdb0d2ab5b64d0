"""A node's side of EST for tests: a key, requests good and bad, and one HTTP exchange a call."""

import http.client
import ssl
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, pkcs7
from cryptography.x509.oid import NameOID

from lichtmast.wire import DeviceId
from lichtmast.wire.label import Label, spki_pin

ROOT = "/.well-known/est"
CSR_TYPE = "application/pkcs10"


@dataclass(frozen=True, slots=True)
class Node:
    """A device with a key of its own."""

    device: DeviceId
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def spki(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def label(self, root_pin: bytes) -> Label:
        return Label(self.device, spki_pin(self.spki), root_pin)

    def csr(self, *, common_name: str | None = "", uris: Sequence[str] | None = None) -> bytes:
        """A request in DER, by its own names unless told otherwise; None and () leave a name out."""
        name = self.device.device if common_name == "" else common_name
        subject = x509.Name([] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        wanted = [self.device.urn] if uris is None else uris
        if wanted:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in wanted])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def certificates(self) -> list[x509.Certificate]:
        """Of a PKCS#7 that holds certificates only."""
        return pkcs7.load_der_pkcs7_certificates(b64decode(self.body))


def ask(
    port: int,
    operation: str,
    *,
    context: ssl.SSLContext,
    csr: bytes | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
) -> Answer:
    """One exchange: GET, or POST where there is a request (`csr` is DER, `body` goes as it is)."""
    connection = http.client.HTTPSConnection("::1", port, context=context, timeout=20)
    sent = b64encode(csr) if csr is not None else body
    try:
        connection.request(
            method or ("GET" if sent is None else "POST"),
            operation if operation.startswith("/") else f"{ROOT}/{operation}",
            sent,
            dict(headers if headers is not None else {} if sent is None else {"Content-Type": CSR_TYPE}),
        )
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, told, response.read())
    finally:
        connection.close()
