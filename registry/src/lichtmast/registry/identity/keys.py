"""The public half of a node's key, as the node prints it."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from lichtmast.registry.limits import PUBLIC_KEY_BYTES_MAX

_NEXT: Final = "print it on the node with: lichtmast-edge identity label-key"


class PublicKeyError(ValueError):
    """A text is no public key that a node of ours makes."""


def read_public_key(pem: bytes) -> bytes:
    """The SubjectPublicKeyInfo, DER, of a P-256 key in PEM. Raises PublicKeyError."""
    if len(pem) > PUBLIC_KEY_BYTES_MAX:
        raise PublicKeyError(f"a public key has at most {PUBLIC_KEY_BYTES_MAX} bytes, this has {len(pem)}; {_NEXT}")
    if b"PRIVATE KEY" in pem:
        raise PublicKeyError(f"this is a private key, which must never leave its node: make another there, and {_NEXT}")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PublicKeyError(f"this is no public key in PEM; {_NEXT}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise PublicKeyError(f"this public key is not P-256, the only kind that is certified; {_NEXT}")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
