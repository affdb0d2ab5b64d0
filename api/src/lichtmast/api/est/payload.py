"""What EST sends back and forth: base64 of DER, always, whatever Content-Transfer-Encoding says (RFC 8951 section 3).

Pure. Does not look into a certificate request: that is `lichtmast.registry.pki`.
"""

import re
from base64 import b64decode, encodebytes
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import load_der_x509_certificate

CSR_ATTRIBUTES: Final = bytes.fromhex(
    "3021"  # CsrAttrs ::= SEQUENCE OF AttrOrOID (RFC 7030 section 4.5.2)
    "3015 06072a8648ce3d0201"  # an attribute: id-ecPublicKey ...
    "310a 06082a8648ce3d030107"  # ... on secp256r1
    "06082a8648ce3d040302"  # an OID: ecdsa-with-SHA256
)
"""The key and the signature that a request must have. Nothing else of it is looked at, so nothing else is asked."""

_WHITE: Final = re.compile(rb"[ \t\r\n]+")
_DER_SEQUENCE: Final = b"\x30"
_PEM: Final = b"-----"


class PayloadError(ValueError):
    """The body of a request is no base64; the text says what it looks like and what to send."""


def read_body(body: bytes) -> bytes:
    """The DER in a request's body; white space anywhere in it is taken. Raises PayloadError."""
    if not body:
        raise PayloadError("the body is empty; send the certificate request, base64 of DER")
    if body.startswith(_DER_SEQUENCE) and not body.isascii():
        raise PayloadError("the body is DER; send base64 of it (openssl base64)")
    if body.lstrip().startswith(_PEM):
        raise PayloadError(
            "the body is PEM; leave the lines with dashes away (openssl req -outform DER | openssl base64)"
        )
    try:
        return b64decode(_WHITE.sub(b"", body), validate=True)
    except Base64Error as error:
        raise PayloadError("the body is not base64; send base64 of the DER of the certificate request") from error


def body_of(der: bytes) -> bytes:
    """DER as a body, in lines of 76 characters: older clients read no longer ones."""
    return encodebytes(der)


def certs_only(certificates_der: Sequence[bytes]) -> bytes:
    """A PKCS#7 that holds certificates and nothing else, as a body (RFC 7030 section 4.1.3)."""
    certificates = [load_der_x509_certificate(one) for one in certificates_der]
    return body_of(pkcs7.serialize_certificates(certificates, Encoding.DER))
