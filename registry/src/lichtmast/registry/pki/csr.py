"""A certificate request, read as an enemy wrote it: size, key, signature, then every name and wish in it.

What a client may ask for without harm is passed over in silence, as nothing but the public key goes into a certificate.
Anything that it would not get is refused, so that nobody believes to have what he has not. Any bytes give a Csr or a
CsrRefused.
"""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from lichtmast.registry.pki.errors import CsrFlaw, CsrRefused
from lichtmast.registry.pki.limits import CSR_BYTES_MAX
from lichtmast.wire import DeviceId
from lichtmast.wire.identity import IdentityError
from lichtmast.wire.label import spki_pin

SIGNATURES: Final = (SignatureAlgorithmOID.ECDSA_WITH_SHA256, SignatureAlgorithmOID.ECDSA_WITH_SHA384)
UNREADABLE: Final = (ValueError, TypeError, KeyError, OverflowError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What cryptography raises for bytes that are no certificate object, besides two exceptions of its own."""
_TWICE: Final = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, slots=True)
class Csr:
    """A request that proved to hold its key; `device` where it names one as URI, `common_name` where it has one."""

    spki_der: bytes
    pin: bytes
    device: DeviceId | None
    common_name: str | None

    def require_names_of(self, device: DeviceId) -> None:
        """Raises CsrRefused where it names another device than the one that the register knows by this key."""
        if self.device not in {None, device} or self.common_name not in {None, device.device}:
            raise CsrRefused(CsrFlaw.NAMES, f"its key is {device}'s, and it names another device")


def read_csr(der: bytes) -> Csr:
    """Read a PKCS#10 request. Raises CsrRefused, and nothing else whatever the bytes are."""
    if len(der) > CSR_BYTES_MAX:
        raise CsrRefused(CsrFlaw.TOO_LARGE, f"it has {len(der)} bytes; at most {CSR_BYTES_MAX} are read")
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        algorithm = request.signature_algorithm_oid
        subject = request.subject
        extensions = list(request.extensions)
    except (*UNREADABLE, *_TWICE) as error:
        raise CsrRefused(
            CsrFlaw.UNREADABLE, "it is no PKCS#10 request in DER with a P-256 key, or says something twice"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrRefused(CsrFlaw.KEY, "its key is not P-256; make one with openssl ecparam -name prime256v1")
    if algorithm not in SIGNATURES:
        raise CsrRefused(CsrFlaw.SIGNATURE_ALGORITHM, "it is not signed with ECDSA and SHA-256 or SHA-384")
    if not _is_signed(request):
        raise CsrRefused(CsrFlaw.SIGNATURE, "it is not signed by the key that it holds")
    spki_der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    common_name, device = _common_name(subject), None
    for extension in extensions:
        device = _judge(extension) or device
    csr = Csr(spki_der, spki_pin(spki_der), device, common_name)
    if device is not None:
        csr.require_names_of(device)
    return csr


def _is_signed(request: x509.CertificateSigningRequest) -> bool:
    try:
        return request.is_signature_valid
    except UNREADABLE:
        return False


def _common_name(subject: x509.Name) -> str | None:
    attributes = list(subject)
    if not attributes:
        return None
    value = attributes[0].value
    if len(attributes) > 1 or attributes[0].oid != NameOID.COMMON_NAME or not isinstance(value, str):
        raise CsrRefused(CsrFlaw.SUBJECT, "its subject is more than one common name; leave the rest out")
    try:
        return DeviceId("gm0000", value).device
    except IdentityError as error:
        raise CsrRefused(CsrFlaw.SUBJECT, "its common name is no device's; leave it out") from error


def _judge(extension: x509.Extension[x509.ExtensionType]) -> DeviceId | None:
    """The device that an extension names, if it is that one. Raises CsrRefused for a wish that is not granted."""
    match extension.value:
        case x509.SubjectAlternativeName() as names:
            return _device(names)
        case x509.BasicConstraints(ca=True):
            raise CsrRefused(CsrFlaw.AUTHORITY, "it asks to be an authority")
        case x509.KeyUsage() as usage if usage.key_cert_sign or usage.crl_sign:
            raise CsrRefused(CsrFlaw.AUTHORITY, "it asks for a key that signs certificates or revocation lists")
        case x509.ExtendedKeyUsage() as usage if list(usage) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
            raise CsrRefused(CsrFlaw.USAGE, "it asks for another extended key usage than clientAuth")
        case x509.BasicConstraints() | x509.KeyUsage() | x509.ExtendedKeyUsage() | x509.SubjectKeyIdentifier():
            return None
    raise CsrRefused(
        CsrFlaw.EXTENSION, f"it asks for the extension {extension.oid.dotted_string[:80]}, which no device gets"
    )


def _device(names: x509.SubjectAlternativeName) -> DeviceId:
    listed = list(names)
    if len(listed) != 1 or not isinstance(listed[0], x509.UniformResourceIdentifier):
        raise CsrRefused(CsrFlaw.NAMES, "its alternative names are not the device's URN alone")
    try:
        return DeviceId.from_urn(listed[0].value)
    except IdentityError as error:
        raise CsrRefused(CsrFlaw.NAMES, "the URI that it names is no device's URN") from error
