"""A throw-away certificate authority with devices good and bad, and the admission that a register would give.

Plain `cryptography`, so that it can also make what our own authority refuses to make. `IdentityTown(folder)` writes
PEM files; `town.device("lm-0")` is a good device, the named arguments make a bad one.
"""

import itertools
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from lichtmast.registry.identity.admission import Admission, IssuedCertificate
from lichtmast.registry.pki import CertificateRefused, device_of_certificate
from lichtmast.registry.records import DeviceStatus
from lichtmast.wire import DeviceId

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
_revisions = itertools.count(1)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Issuer:
    """A key that signs, and its certificate."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a device holds: two PEM files. `der` is the leaf, for judging it without a connection."""

    device: DeviceId
    certificate: Path
    key: Path
    der: bytes
    serial: int
    not_before_us: int
    not_after_us: int

    def client_context(self, trust: Path) -> ssl.SSLContext:
        """For Python's own TLS clients."""
        context = ssl.create_default_context(cafile=str(trust))
        context.load_cert_chain(self.certificate, self.key)
        return context


class IdentityTown:
    """Root, one issuer for devices (more on demand), one for servers.

    `root` and `device_trust` are the files that devices and doors trust; `server_certificate` and `server_key` are the
    doors'. `issued` is the register's issuance log.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.root_issuer = self_signed("Lichtmast test root")
        self.devices = self.issuer("Lichtmast test devices")
        self.servers = self.issuer("Lichtmast test servers")
        self.root = self._write("root.pem", self.root_issuer.pem)
        self.device_trust = self._write("device-trust.pem", self.devices.pem)
        self.server_certificate, self.server_key = self.server()
        self.issued: list[Credentials] = []
        self._count = 0

    def trust_also(self, *issuers: Issuer) -> None:
        """Roll over: devices of these issuers are trusted beside those of the first."""
        self.device_trust.write_bytes(b"".join(one.pem for one in (self.devices, *issuers)))

    def issuer(self, name: str, *, under: Issuer | None = None) -> Issuer:
        """An issuing authority under the root."""
        under = under or self.root_issuer
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, key.public_key(), under.certificate.subject, timedelta(days=-1), timedelta(days=365))
        return Issuer(_sign(_as_authority(builder, key, under.key, 0), under.key), key)

    def server(
        self,
        name: str = "server",
        *,
        hosts: Sequence[str] = ("::1", "localhost"),
        usage: Sequence[ObjectIdentifier] = SERVER,
        starts_in: timedelta = timedelta(hours=-1),
        ends_in: timedelta = timedelta(days=90),
        issuer: Issuer | None = None,
    ) -> tuple[Path, Path]:
        """Files of a server's chain and key. The same name again replaces them, as a renewal does."""
        issuer = issuer or self.servers
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, key.public_key(), issuer.certificate.subject, starts_in, ends_in)
        names = [x509.IPAddress(IPv6Address(host)) if ":" in host else x509.DNSName(host) for host in hosts]
        leaf = _sign(_as_leaf(builder, key, issuer.key, names, usage), issuer.key)
        return self._write(f"{name}.pem", leaf.public_bytes(Encoding.PEM) + issuer.pem), self._write_key(name, key)

    def device(  # noqa: PLR0913 - each argument spoils one thing
        self,
        device: str | DeviceId,
        *,
        issuer: Issuer | None = None,
        starts_in: timedelta = timedelta(hours=-1),
        ends_in: timedelta = timedelta(days=90),
        usage: Sequence[ObjectIdentifier] = CLIENT,
        authority: bool = False,
        common_name: str | None = None,
        uris: Sequence[str] | None = None,
        key: PrivateKey | None = None,
        serial: int | None = None,
        issued: bool = True,
    ) -> Credentials:
        """A device's certificate and key. `issued=False` leaves it out of the issuance log."""
        if isinstance(device, str):
            device = DeviceId("gm0402", device)
        issuer, key = issuer or self.devices, key or ec.generate_private_key(ec.SECP256R1())
        name = common_name or device.device
        builder = _builder(name, key.public_key(), issuer.certificate.subject, starts_in, ends_in, serial)
        if authority:
            builder = _as_authority(builder, key, issuer.key, None)
        else:
            names = [x509.UniformResourceIdentifier(uri) for uri in ([device.urn] if uris is None else uris)]
            builder = _as_leaf(builder, key, issuer.key, names, usage)
        leaf = _sign(builder, issuer.key)
        self._count += 1
        file = f"{device.tenant}-{device.device}-{self._count}"
        made = Credentials(
            device,
            self._write(f"{file}.pem", leaf.public_bytes(Encoding.PEM)),
            self._write_key(file, key),
            leaf.public_bytes(Encoding.DER),
            leaf.serial_number,
            _us(leaf.not_valid_before_utc),
            _us(leaf.not_valid_after_utc),
        )
        if issued:
            self.issued.append(made)
        return made

    def admission(self, *, revoked: Iterable[Credentials] = (), asleep: Iterable[DeviceId] = ()) -> Admission:
        """What the register would answer if it had issued all that was `issued`; each one has a higher revision."""
        gone = {one.serial for one in revoked}
        sleepers = set(asleep)
        return Admission(
            next(_revisions),
            {
                one.serial: IssuedCertificate(one.device, one.not_before_us, one.not_after_us, one.serial in gone)
                for one in self.issued
            },
            {
                one.device: DeviceStatus.SUSPENDED if one.device in sleepers else DeviceStatus.ACTIVE
                for one in self.issued
            },
            fingerprints(self.issued),
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def _write_key(self, name: str, key: PrivateKey) -> Path:
        path = self._write(f"{name}.key", b"")
        path.chmod(0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return path


def fingerprints(issued: Iterable[Credentials]) -> dict[bytes, int]:
    """As the issuance log has them: of certificates that our own authority could have made, and of no odd ones."""
    return {sha256(one.der).digest(): one.serial for one in issued if _is_in_order(one.der)}


def _is_in_order(der: bytes) -> bool:
    try:
        device_of_certificate(der)
    except CertificateRefused:
        return False
    return True


def self_signed(name: str) -> Issuer:
    """A root of its own: a foreign city's, or an impostor under a known name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(name, key.public_key(), subject, timedelta(days=-1), timedelta(days=3650))
    return Issuer(_sign(_as_authority(builder, key, key, None), key), key)


def _builder(
    name: str,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: x509.Name,
    starts_in: timedelta,
    ends_in: timedelta,
    serial: int | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + starts_in)
        .not_valid_after(now + ends_in)
    )


def _as_authority(
    builder: x509.CertificateBuilder, key: PrivateKey, by: ec.EllipticCurvePrivateKey, path_length: int | None
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )


def _as_leaf(
    builder: x509.CertificateBuilder,
    key: PrivateKey,
    by: ec.EllipticCurvePrivateKey,
    names: Sequence[x509.GeneralName],
    usage: Sequence[ObjectIdentifier],
) -> x509.CertificateBuilder:
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
