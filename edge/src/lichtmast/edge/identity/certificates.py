"""What an EST server sends, read strictly: a bundle of authorities, and the certificate that it made for us.

Roots are believed for one of two reasons only: the label pins their key, or one that is believed has signed for their
key. A certificate is taken only when it is ours in every part.

Pure: bytes and time come in. Imported as `keys` is.
"""

import binascii
from base64 import b64decode
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID

from lichtmast.edge.identity import limits
from lichtmast.edge.identity.errors import CertificateError
from lichtmast.edge.identity.keeping import Certificate
from lichtmast.edge.identity.tls import Moment
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.label import spki_pin

_UNREADABLE: Final = (ValueError, TypeError, OverflowError, UnsupportedAlgorithm, x509.UnsupportedGeneralNameType)


def read_bundle(body: bytes) -> list[x509.Certificate]:
    """The certificates of an EST answer: base64 of a certs-only PKCS#7 (RFC 7030 section 4.1.3).

    Raises CertificateError.
    """
    try:
        der = b64decode(b"".join(body.split()), validate=True)
        found = load_der_pkcs7_certificates(der)
    except (*_UNREADABLE, binascii.Error) as error:
        raise CertificateError("the EST server's answer is not base64 of a PKCS#7 bundle of certificates") from error
    if not 1 <= len(found) <= limits.CERTIFICATES_MAX:
        raise CertificateError(f"the EST server sent {len(found)} certificates, not 1 to {limits.CERTIFICATES_MAX}")
    return found


def believed_roots(
    bundle: Collection[x509.Certificate], trusted: Iterable[x509.Certificate], root_pin: bytes | None
) -> list[x509.Certificate]:
    """The roots of a bundle that may be believed: those trusted already, the pinned, and whom those have signed for.

    A new root comes with a certificate over its name and key that is signed by a believed one (RFC 4210 section 4.4),
    so that a device that slept through two changes still follows both.
    """
    roots = [one for one in bundle if _is_root(one)]
    known = {_spki(one) for one in trusted}
    believed = [one for one in roots if _spki(one) in known or spki_pin(_spki(one)) == root_pin]
    while True:
        more = [
            one
            for one in roots
            if one not in believed
            and any(_is_cross(cross, one) and _is_issued(cross, by) for cross in bundle for by in believed)
        ]
        if not more:
            return believed
        believed += more


def read_issued(
    answer: Sequence[x509.Certificate],
    bundle: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    *,
    device: DeviceId,
    spki: bytes,
    moment: Moment,
) -> tuple[Certificate, bytes]:
    """The certificate made for us, and PEM of it with its chain. Raises CertificateError."""
    leaves = [one for one in answer if not _is_authority(one)]
    if len(leaves) != 1:
        raise CertificateError(f"the EST server sent {len(leaves)} certificates of devices instead of one")
    (leaf,) = leaves
    told = read_certificate(leaf, device=device, spki=spki)
    now_us = moment.wall_us
    if told.not_after_us <= now_us:
        raise CertificateError("the EST server sent a certificate that has ended; see that its clock is right")
    if moment.is_trusted and told.not_before_us > now_us + limits.SERVER_CLOCK_S * 1e6:
        raise CertificateError("the EST server sent a certificate that is not valid yet; see that its clock is right")
    chain = _chain(leaf, (*answer, *bundle), roots)
    return told, b"".join(one.public_bytes(Encoding.PEM) for one in (leaf, *chain))


def read_certificate(leaf: x509.Certificate, *, device: DeviceId, spki: bytes) -> Certificate:
    """What a certificate of ours says. Raises CertificateError where it is another's, or for something else."""
    if _spki(leaf) != spki:
        raise CertificateError("the certificate is over another key than this device's")
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, *_UNREADABLE) as error:
        raise CertificateError("the certificate says neither whose it is nor what for") from error
    if [*names] != [x509.UniformResourceIdentifier(device.urn)]:
        raise CertificateError(f"the certificate does not name {device.urn}, and nothing else")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise CertificateError("the certificate is not one for clients")
    return Certificate(f"{leaf.serial_number:x}", _us(leaf.not_valid_before_utc), _us(leaf.not_valid_after_utc))


def read_pem(pem: bytes) -> list[x509.Certificate]:
    """Certificates that were kept. Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except _UNREADABLE as error:
        raise CertificateError("a kept certificate cannot be read") from error


def as_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """PEM of them, one after the other."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def pin_of(certificate: x509.Certificate) -> bytes:
    """The pin of its key."""
    return spki_pin(_spki(certificate))


def _chain(
    leaf: x509.Certificate, others: Collection[x509.Certificate], roots: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """The authorities between a certificate and a root, without the root. Raises CertificateError."""
    chain: list[x509.Certificate] = []
    last = leaf
    while not any(_is_issued(last, root) for root in roots):
        above = next((one for one in others if one not in chain and not _is_root(one) and _is_issued(last, one)), None)
        if above is None or len(chain) >= limits.CHAIN_MAX:
            raise CertificateError("the certificate does not lead to a root that this device trusts")
        chain.append(above)
        last = above
    return chain


def _is_issued(one: x509.Certificate, by: x509.Certificate) -> bool:
    """Whether `by` is an authority that signed `one`."""
    if not _is_authority(by) or one == by:
        return False
    try:
        one.verify_directly_issued_by(by)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _is_cross(one: x509.Certificate, root: x509.Certificate) -> bool:
    """Whether it makes `root`, under its own name, an authority without bounds.

    What certifies an issuing authority has bounds, a path length and a purpose: whoever steals that authority's key
    must not become a root with it.
    """
    try:
        bounds = one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        purposes = [extension for extension in one.extensions if extension.oid == x509.ExtendedKeyUsage.oid]
        is_named = one.subject == root.subject
    except (x509.ExtensionNotFound, x509.DuplicateExtension, *_UNREADABLE):
        return False
    return is_named and bounds is None and not purposes and _spki(one) == _spki(root)


def _is_root(one: x509.Certificate) -> bool:
    """Whether it is an authority that signed itself."""
    if not _is_authority(one):
        return False
    try:
        one.verify_directly_issued_by(one)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _is_authority(one: x509.Certificate) -> bool:
    try:
        limits_ = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, *_UNREADABLE):
        return False
    return limits_.ca and usage.key_cert_sign


def _spki(one: x509.Certificate) -> bytes:
    try:
        return one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        return b""


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
