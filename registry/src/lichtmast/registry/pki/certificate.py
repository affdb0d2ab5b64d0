"""A device's certificate, read strictly: whose it is, and from when to when.

That it was signed by our device authority is the TLS library's word; this refuses what no such certificate of
ours looks like. Whether the device may come in is the register's word (`lichtmast.registry.identity`). Any bytes give a
CertifiedDevice or a CertificateRefused.
"""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lichtmast.registry.pki import certifying
from lichtmast.registry.pki.csr import SIGNATURES, UNREADABLE
from lichtmast.registry.pki.errors import CertificateFlaw, CertificateRefused
from lichtmast.registry.pki.limits import CERTIFICATE_BYTES_MAX
from lichtmast.wire import DeviceId
from lichtmast.wire.identity import IdentityError

_TWICE: Final = (x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@dataclass(frozen=True, slots=True)
class CertifiedDevice:
    """What a device's certificate says."""

    device: DeviceId
    serial: int
    not_before_us: int
    not_after_us: int


def device_of_certificate(der: bytes) -> CertifiedDevice:
    """Whose certificate it is. Raises CertificateRefused, and nothing else whatever the bytes are."""
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise CertificateRefused(
            CertificateFlaw.TOO_LARGE, f"it has {len(der)} bytes; at most {CERTIFICATE_BYTES_MAX} are read"
        )
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        algorithm = certificate.signature_algorithm_oid
        extensions = {type(one.value): one.value for one in certificate.extensions}
        subject = list(certificate.subject)
        begin_us, end_us = certifying.not_before_us(certificate), certifying.not_after_us(certificate)
    except (*UNREADABLE, *_TWICE) as error:
        raise CertificateRefused(
            CertificateFlaw.UNREADABLE, "it is no X.509 certificate in DER, or says something twice"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateRefused(CertificateFlaw.KEY, "its key is not P-256")
    if algorithm not in SIGNATURES:
        raise CertificateRefused(
            CertificateFlaw.SIGNATURE_ALGORITHM, "it is not signed with ECDSA and SHA-256 or SHA-384"
        )
    _require_leaf(extensions)
    device = _device(extensions)
    if len(subject) != 1 or subject[0].oid != NameOID.COMMON_NAME or subject[0].value != device.device:
        raise CertificateRefused(CertificateFlaw.SUBJECT, "its common name is not the device's of its URN")
    return CertifiedDevice(device, certificate.serial_number, begin_us, end_us)


def _require_leaf(extensions: dict[type, object]) -> None:
    constraints, usage = extensions.get(x509.BasicConstraints), extensions.get(x509.KeyUsage)
    if not isinstance(constraints, x509.BasicConstraints) or constraints.ca:
        raise CertificateRefused(CertificateFlaw.AUTHORITY, "it does not say that it is no authority's")
    if not isinstance(usage, x509.KeyUsage) or usage.key_cert_sign or usage.crl_sign or not usage.digital_signature:
        raise CertificateRefused(CertificateFlaw.USAGE, "its key usage is not to sign handshakes alone")
    extended = extensions.get(x509.ExtendedKeyUsage)
    if not isinstance(extended, x509.ExtendedKeyUsage) or list(extended) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        raise CertificateRefused(CertificateFlaw.USAGE, "its extended key usage is not clientAuth alone")


def _device(extensions: dict[type, object]) -> DeviceId:
    names = extensions.get(x509.SubjectAlternativeName)
    listed = list(names) if isinstance(names, x509.SubjectAlternativeName) else []
    if len(listed) != 1 or not isinstance(listed[0], x509.UniformResourceIdentifier):
        raise CertificateRefused(CertificateFlaw.NAMES, "its alternative names are not one device's URN alone")
    try:
        return DeviceId.from_urn(listed[0].value)
    except IdentityError as error:
        raise CertificateRefused(CertificateFlaw.NAMES, "its URI is no device's URN") from error
