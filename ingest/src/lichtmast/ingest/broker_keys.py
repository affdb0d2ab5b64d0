"""The keys of one run: what signs admissions, and the certificate of our own MQTT clients.

Both are drawn when the program starts and die with it. The issuer's key never touches the disk; the server gets its
public half. Signatures are Ed25519 over NATS's kind of JWT: 48 µs each with `nkeys`, 70 µs with `cryptography`.
"""

import secrets
from base64 import b32decode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import nkeys  # type: ignore[import-untyped] # it ships no types
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PARTS: Final = 3
_SERVER_KEY_BYTES: Final = 35
"""Prefix, 32 bytes of Ed25519, CRC-16."""


class Issuer:
    """The account key that the server takes admissions from."""

    __slots__ = ("_keys", "public")

    def __init__(self) -> None:
        self._keys = nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_ACCOUNT))
        self.public: str = self._keys.public_key.decode("ascii")

    def __repr__(self) -> str:
        return f"Issuer({self.public})"

    def sign(self, claims: dict[str, Any]) -> str:
        """Claims as a token of ours."""
        body = b".".join((_HEADER, _encode(msgspec.json.encode(claims | {"iss": self.public}))))
        return b".".join((body, _encode(self._keys.sign(body)))).decode("ascii")


def verified_claims(token: bytes, server_id: str) -> bytes | None:
    """The claims, as JSON, of a token that this server signed; None for anything else.

    A server's id is its public key, so it takes no list of trusted keys: the connection said who is at the other end.
    """
    parts = token.split(b".")
    if len(parts) != _PARTS or parts[0] != _HEADER:
        return None
    try:
        signature, claims, key = (
            _decode(parts[2]),
            _decode(parts[1]),
            b32decode(server_id + "=" * (-len(server_id) % 8)),
        )
        if len(key) != _SERVER_KEY_BYTES or key[0] != nkeys.PREFIX_BYTE_SERVER:
            return None
        Ed25519PublicKey.from_public_bytes(key[1:-2]).verify(signature, b".".join(parts[:2]))
    except (Base64Error, ValueError, InvalidSignature):
        return None
    return claims


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """With it our own MQTT clients pass the handshake; who they are they then prove with their password.

    Self-signed and no authority: trusting it trusts one key and nothing that key could sign.
    """

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "OwnCertificate()"


def make_own_certificate(now_us: int) -> OwnCertificate:
    """For as long as the program may run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lichtmast")])
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .sign(key, hashes.SHA256())
    )
    return OwnCertificate(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _encode(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return urlsafe_b64decode(text + b"=" * (-len(text) % 4))


_HEADER: Final = _encode(b'{"typ":"JWT","alg":"ed25519-nkey"}')
