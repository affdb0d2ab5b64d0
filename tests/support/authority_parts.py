"""An authority to test on, certificates as nobody should make them, and OpenSSL's command line as the judge."""

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lichtmast.registry.pki import Authority
from lichtmast.registry.pki.certifying import Issuer
from lichtmast.wire import DeviceId

SECRET = b"a secret for tests, of forty-two bytes 12345"
ORGANISATION = "Gemeente Voorbeeld"
DEVICE = DeviceId("gm0402", "lm-0001")
DAY_US = 86_400_000_000


def now_us() -> int:
    """OpenSSL judges by the real clock, so these tests live by it too."""
    return time.time_ns() // 1000


@cache
def _pristine() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory()
    Authority.create(Path(folder.name) / "authority", SECRET, organisation=ORGANISATION, now_us=now_us())
    return folder


def new_authority(folder: Path) -> Authority:
    """A fresh copy of one authority: making each anew would take a test's time for nothing."""
    shutil.copytree(Path(_pristine().name) / "authority", folder)
    return Authority.open(folder, SECRET)


def active(folder: Path, kind: str) -> Path:
    """The certificate file of the only authority of a kind."""
    (found,) = folder.glob(f"{kind}-*.pem")
    return found


def stolen(authority: Authority, kind: str) -> Issuer:
    """The working authority of a kind, with its key, as a thief or a mistake would use it."""
    return authority._issuer(authority._state.active(next(one for one in authority._state.members if one == kind)))


@cache
def p256() -> ec.EllipticCurvePrivateKey:
    """One key for all tests that do not care which."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def name(*common_names: str, organisation: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common_names]
    if organisation is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def uris(*values: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in values])


def key_usage(*, sign: bool = True, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def request(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    subject: x509.Name | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
) -> bytes:
    """A certificate request, DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(key or p256(), algorithm or hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Leaf:
    """A device's certificate with something wrong in it. As it stands nothing is."""

    subject: x509.Name = field(default_factory=lambda: name(DEVICE.device))
    names: x509.SubjectAlternativeName | None = field(default_factory=lambda: uris(DEVICE.urn))
    basic: x509.BasicConstraints | None = field(default_factory=lambda: x509.BasicConstraints(False, None))  # noqa: FBT003
    usage: x509.KeyUsage | None = field(default_factory=key_usage)
    extended: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(default_factory=p256)
    begins_in: timedelta = timedelta(minutes=-5)
    ends_in: timedelta = timedelta(days=90)

    def signed(self, issuer: Issuer, algorithm: hashes.SHA256 | hashes.SHA512 | None = None) -> x509.Certificate:
        now = datetime.now(UTC)
        public = self.key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(issuer.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + self.begins_in)
            .not_valid_after(now + self.ends_in)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_issued_by(issuer.certificate), critical=False)
        )
        for extension, critical in ((self.basic, True), (self.usage, True), (self.names, False)):
            if extension is not None:
                builder = builder.add_extension(extension, critical=critical)
        if self.extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.extended), critical=False)
        return builder.sign(issuer.key, algorithm or hashes.SHA256())


def _issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def openssl(*words: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run OpenSSL's command to its end."""
    return subprocess.run(["openssl", *map(str, words)], input=given, capture_output=True, timeout=20, check=False)


def verified(leaf: Path, trust: Path, purpose: str, *more: str | Path) -> str:
    """What `openssl verify` says: `ok`, or the reason."""
    done = openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", trust, *more, leaf)
    if done.returncode == 0:
        return "ok"
    lines = done.stderr.decode().splitlines()
    return next((line.partition("lookup:")[2] for line in lines if "lookup:" in line), "\n".join(lines))
