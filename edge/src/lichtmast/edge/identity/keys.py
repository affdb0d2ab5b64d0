"""The private key of this device: made, kept and used here alone. What leaves is its public key, and requests.

Imported by commands and by the process of an exchange only: `cryptography` costs the memory of half an agent.
"""

import os
from contextlib import suppress
from pathlib import Path
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
    load_pem_private_key,
)

from lichtmast.edge.identity.errors import KeyFileError
from lichtmast.edge.identity.keeping import read_key_file
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.label import spki_pin

_CURVE: Final = ec.SECP256R1


class DeviceKey:
    """A P-256 key. Its text form says nothing of it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "DeviceKey(***)"

    @property
    def pin(self) -> bytes:
        """The pin of its public key, as labels have it."""
        return spki_pin(self.spki)

    @property
    def spki(self) -> bytes:
        """The public key as DER SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def public_pem(self) -> str:
        """The public key as PEM."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def request(self, device: DeviceId, renewed: x509.Certificate | None = None) -> bytes:
        """A PKCS#10 request as DER: for this device, or for the names of the certificate that is renewed.

        RFC 7030 section 4.2.2: a renewal has the same subject and the same alternative names.
        """
        builder = x509.CertificateSigningRequestBuilder()
        if renewed is None:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(device.urn)])
            builder = builder.subject_name(x509.Name([])).add_extension(names, critical=True)
        else:
            found = renewed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.subject_name(renewed.subject).add_extension(found.value, critical=found.critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER)


def make_key(path: Path) -> DeviceKey:
    """Make a key where there is none. Raises KeyFileError; a key that is there is never replaced."""
    key = ec.generate_private_key(_CURVE())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    beside = path.with_name(f"{path.name}.new")
    try:
        with suppress(FileNotFoundError):
            beside.unlink()  # what a power cut left; it was told to nobody
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(beside)  # unlike a rename it replaces nothing
        beside.unlink()
        _sync(path.parent)
    except FileExistsError as error:
        beside.unlink(missing_ok=True)
        raise KeyFileError(
            f"{path} is there, and a key is made once: lichtmast-edge identity show tells of it, and wipe ends it"
        ) from error
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}; look at the disk") from error
    return DeviceKey(key)


def load_key(path: Path) -> DeviceKey:
    """The key at this place. Raises KeyFileError."""
    raw = read_key_file(path)
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, _CURVE):
        # Not "from error": the library's message may quote what it read.
        raise KeyFileError(f"{path} holds no P-256 key in PEM; wipe the device, and make a new key")
    return DeviceKey(key)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
