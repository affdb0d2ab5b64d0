"""Keys at rest: encrypted, readable by their owner alone, on disk whole or not at all.

A key is an encrypted PKCS#8 file as OpenSSL knows it: PBES2 with AES-256-CBC, PBKDF2-HMAC-SHA256 of 2,048 rounds over
the secret. So few rounds are enough because the secret is no password: it is at least 32 bytes, and 48 random ones
where Lichtmast made it. A line before it holds the SHA-256 of the rest, which tells a damaged file from a wrong secret.

Will not: keep the secret on disk, or find it.
"""

import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from lichtmast.registry.pki.errors import KeyDamagedError, KeyMissingError, VaultError, WrongSecretError
from lichtmast.registry.pki.limits import FILE_BYTES_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN

DRAFT: Final = ".draft"
_SUM: Final = b"sha256 "


class Vault:
    """What one secret locks and unlocks. Raises VaultError where the secret is too short or too long."""

    def __init__(self, secret: bytes) -> None:
        if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
            raise VaultError(
                f"the unlock secret has {len(secret)} bytes; it needs {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}: "
                "name the file of the whole one in LICHTMAST_UNLOCK_FILE"
            )
        self._secret = secret

    def write_key(self, path: Path, key: ec.EllipticCurvePrivateKey) -> None:
        """Keep a private key in a file of mode 0600."""
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(self._secret))
        write_whole(path, _SUM + hashlib.sha256(pem).hexdigest().encode() + b"\n" + pem)

    def read_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        """A private key that `write_key` kept. Raises KeyMissingError, WrongSecretError or KeyDamagedError."""
        told, newline, pem = read_whole(path).partition(b"\n")
        damaged = f"the key {path} is cut or altered; take it from a backup"
        if not newline or told != _SUM + hashlib.sha256(pem).hexdigest().encode():
            raise KeyDamagedError(damaged)
        try:
            key = load_pem_private_key(pem, self._secret)
        except ValueError as error:
            raise WrongSecretError(
                f"the key {path} is whole, but the unlock secret does not open it; name the file of the one that it "
                "was made with in LICHTMAST_UNLOCK_FILE"
            ) from error
        except (TypeError, UnsupportedAlgorithm) as error:  # not encrypted, or of a kind that we never write
            raise KeyDamagedError(damaged) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KeyDamagedError(damaged)
        return key


def make_folder(path: Path) -> None:
    """A folder that its owner alone may look into, also where it was there before."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """The file as a whole, on disk, or what was there before: written beside it, synced, renamed."""
    draft = path.with_name(path.name + DRAFT)
    draft.unlink(missing_ok=True)  # what a power cut left
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """What was renamed or removed in the folder stays so after a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_whole(path: Path) -> bytes:
    """The content of a small file. Raises KeyMissingError or KeyDamagedError."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise KeyMissingError(f"{path} is not there; take it from a backup") from error
    except OSError as error:
        raise VaultError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES_MAX:
        raise KeyDamagedError(f"{path} is larger than {FILE_BYTES_MAX} bytes, so it is none of ours")
    return content
