"""The certificates and revocation lists themselves: who may sign what, for how long, with which extensions.

Pure: keys, times and serials come in, signed objects go out. A key is used through cryptography's
`EllipticCurvePrivateKey` alone, so one that lives in a PKCS#11 token signs as well (ADR 0026).

Will not: copy anything from a request but the public key; decide who gets a certificate.
"""

import ipaddress
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lichtmast.registry.pki import limits
from lichtmast.registry.pki.errors import AuthorityError
from lichtmast.wire import DeviceId
from lichtmast.wire.label import spki_pin

_1970: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
SERVER_NAME: Final = "Lichtmast server"


class AuthorityKind(StrEnum):
    """The authorities: one that everybody trusts, and what each of the two under it may sign."""

    ROOT = "root"
    DEVICES = "devices"
    SERVERS = "servers"


USAGE: Final = {
    AuthorityKind.DEVICES: ExtendedKeyUsageOID.CLIENT_AUTH,
    AuthorityKind.SERVERS: ExtendedKeyUsageOID.SERVER_AUTH,
}


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate of an authority, and the key that signs for it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class RevokedSerial:
    """A certificate that is revoked: its serial, since when, and RFC 5280's word for why."""

    serial: int
    at_us: int
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """What a TLS server shows: its key, in the clear, and its certificate with those above it but the root."""

    key_pem: bytes
    chain_pem: bytes
    not_after_us: int


def new_serial() -> int:
    """A serial number of 128 random bits, never zero (RFC 5280 section 4.1.2.2)."""
    return secrets.randbelow(2**limits.SERIAL_BITS - 1) + 1


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def new_root(organisation: str, now_us: int) -> Issuer:
    """A root that signs itself, with its key. Its name holds its pin, so no two roots share a name."""
    key = new_key()
    name = _authority_name(organisation, "root", key.public_key())
    end_us = now_us + limits.ROOT_DAYS * limits.DAY_US
    # No path length: a later root is certified below this one (roll-over), and it has authorities below itself.
    return Issuer(_authority(name, name, key.public_key(), key, _begin(now_us), end_us, path_length=None), key)


def new_issuing(kind: AuthorityKind, root: Issuer, organisation: str, now_us: int) -> Issuer:
    """A new authority under the root that signs leaves of one kind and nothing else, with its key."""
    key = new_key()
    name = _authority_name(organisation, kind.value, key.public_key())
    begin_us, end_us = _within(root.certificate, now_us, limits.ISSUING_DAYS)
    usage = x509.ExtendedKeyUsage([USAGE[kind]])
    above = root.certificate.subject
    certificate = _authority(name, above, key.public_key(), root.key, begin_us, end_us, path_length=0, usage=usage)
    return Issuer(certificate, key)


def certify_across(of: x509.Certificate, by: Issuer, now_us: int, days: int) -> x509.Certificate:
    """One root certified by another (RFC 4210 section 4.4), for so many days and as long as both are valid."""
    begin_us, end_us = _within(by.certificate, now_us, days)
    end_us = min(end_us, not_after_us(of))
    return _authority(of.subject, by.certificate.subject, _p256(of), by.key, begin_us, end_us, path_length=None)


def certify_device(
    device: DeviceId, key: ec.EllipticCurvePublicKey, issuer: Issuer, serial: int, now_us: int
) -> x509.Certificate:
    """A device's certificate: its name and the key it asked with, nothing else that it asked for."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device.device)])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(device.urn)])
    return _leaf(subject, names, ExtendedKeyUsageOID.CLIENT_AUTH, key, issuer, serial, now_us)


def certify_server(
    hosts: Sequence[str], key: ec.EllipticCurvePublicKey, issuer: Issuer, serial: int, now_us: int
) -> x509.Certificate:
    """A server's certificate for IPv6 addresses and DNS names. Raises AuthorityError for any other host."""
    if not 1 <= len(hosts) <= limits.HOSTS_MAX:
        raise AuthorityError(f"a server certificate is for 1 to {limits.HOSTS_MAX} names, not {len(hosts)}")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    names = x509.SubjectAlternativeName(list(dict.fromkeys(_host(one) for one in hosts)))
    return _leaf(subject, names, ExtendedKeyUsageOID.SERVER_AUTH, key, issuer, serial, now_us)


def revocation_list(issuer: Issuer, revoked: Iterable[RevokedSerial], now_us: int) -> x509.CertificateRevocationList:
    """The issuer's list, with the second of its making as number: it grows without anyone keeping count."""
    now = _time(now_us)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(_time(_begin(now_us)))
        .next_update(now + timedelta(days=limits.CRL_DAYS))
        .add_extension(_issued_by(issuer.certificate), critical=False)
        .add_extension(x509.CRLNumber(now_us // 1_000_000), critical=False)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(_time(one.at_us))
        if one.reason is not x509.ReasonFlags.unspecified:  # RFC 5280 section 5.3.1: rather absent than unspecified
            entry = entry.add_extension(x509.CRLReason(one.reason), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, hashes.SHA256())


def p256_of(spki_der: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key in a SubjectPublicKeyInfo. Raises AuthorityError for any other."""
    try:
        key = load_der_public_key(spki_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuthorityError("the public key to certify cannot be read; it must be P-256") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError("the public key to certify is not P-256")
    return key


def _p256(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    return p256_of(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pin_of(key: x509.Certificate | ec.EllipticCurvePublicKey) -> bytes:
    """The pin of a key, as labels carry it."""
    public = key.public_key() if isinstance(key, x509.Certificate) else key
    return spki_pin(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def open_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A server's key in the clear, as TLS libraries and the broker read it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pem_of(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(Encoding.PEM)


def der_of(certificate: x509.Certificate) -> bytes:
    """The certificate as DER."""
    return certificate.public_bytes(Encoding.DER)


def not_after_us(certificate: x509.Certificate) -> int:
    """When it ends, in microseconds since 1970 UTC."""
    return _us(certificate.not_valid_after_utc)


def not_before_us(certificate: x509.Certificate) -> int:
    """When it begins, in microseconds since 1970 UTC."""
    return _us(certificate.not_valid_before_utc)


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signing: ec.EllipticCurvePrivateKey,
    begin_us: int,
    end_us: int,
    *,
    path_length: int | None,
    usage: x509.ExtendedKeyUsage | None = None,
) -> x509.Certificate:
    builder = (
        _begun(subject, issuer, key, new_serial(), begin_us, end_us)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(usage, critical=False)
    return builder.sign(signing, hashes.SHA256())


def _leaf(
    subject: x509.Name,
    names: x509.SubjectAlternativeName,
    usage: x509.ObjectIdentifier,
    key: ec.EllipticCurvePublicKey,
    issuer: Issuer,
    serial: int,
    now_us: int,
) -> x509.Certificate:
    begin_us, end_us = _within(issuer.certificate, now_us, limits.LEAF_DAYS)
    return (
        _begun(subject, issuer.certificate.subject, key, serial, begin_us, end_us)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(_issued_by(issuer.certificate), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, begin_us: int, end_us: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_time(begin_us))
        .not_valid_after(_time(end_us))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _within(issuer: x509.Certificate, now_us: int, days: int) -> tuple[int, int]:
    """From a little before now for so many days, and never outside the issuer's own time."""
    end_us = min(now_us + days * limits.DAY_US, not_after_us(issuer))
    begin_us = max(_begin(now_us), not_before_us(issuer))
    if not begin_us <= now_us < end_us:
        raise AuthorityError(
            f"the authority {_shown(issuer)} is valid from {issuer.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{issuer.not_valid_after_utc:%Y-%m-%d %H:%M} UTC and it is {_time(now_us):%Y-%m-%d %H:%M}; set the clock, "
            "or roll the authority over"
        )
    return begin_us, end_us


def _issued_by(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_name(organisation: str, role: str, key: ec.EllipticCurvePublicKey) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Lichtmast {role} {pin_of(key).hex()[:8]}"),
        ]
    )


def _host(text: str) -> x509.GeneralName:
    bare = text.removeprefix("[").removesuffix("]")
    try:
        return x509.IPAddress(ipaddress.IPv6Address(bare))
    except ValueError:
        pass  # then it is a name
    name = text.lower()
    labels = name.split(".")
    if len(name) > limits.HOST_CHARACTERS_MAX or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdecimal():
        raise AuthorityError(f"{text[:80]!r} is neither an IPv6 address nor a DNS name, as in lamps.example.nl")
    return x509.DNSName(name)


def _shown(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _begin(now_us: int) -> int:
    return now_us - limits.SKEW_US


def _us(moment: datetime) -> int:
    return (moment - _1970) // timedelta(microseconds=1)


def _time(at_us: int) -> datetime:
    return _1970 + timedelta(seconds=at_us // 1_000_000)
