"""Nodes as a workshop has them: a key of their own, a label, and requests for certificates; and a city's authority."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from lichtmast.registry.auditing import Actor, ActorKind
from lichtmast.registry.pki import Authority, Csr, read_csr
from lichtmast.wire import DeviceId, Label, spki_pin

SECRET = b"a secret of the workshop's tests"
NOW_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
ENGINEER = Actor(ActorKind.USER, "jansen", "2001:db8::7")
OTHER_ENGINEER = Actor(ActorKind.USER, "devries", "2001:db8::8")


def city(folder: Path, *, now_us: int = NOW_US - DAY_US) -> Authority:
    """An authority that a city made a day ago."""
    return Authority.create(folder, SECRET, organisation="Test town", now_us=now_us)


class Node:
    """A node with its key. `name` is its own, whatever the request says."""

    def __init__(self, name: str, *, tenant: str = "gm0402") -> None:
        self.device = DeviceId(tenant, name)
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key()
        self.spki_der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def label(self, authority: Authority, *, root_pin: bytes | None = None) -> Label:
        """Its label, of the authority's city."""
        return Label(self.device, spki_pin(self.spki_der), root_pin or authority.root_pin)

    def csr(self, *, names: DeviceId | None = None, common_name: str | None = None) -> Csr:
        """A request signed by its key, naming whom it is told to, or nobody."""
        subject = [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
        if names is not None:
            uri = x509.UniformResourceIdentifier(names.urn)
            builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=False)
        return read_csr(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER))
