"""Seals what the register must be able to read again, TOTP seeds, with a key that is not in the register."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lichtmast.registry.people.errors import PeopleError

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Seal:
    """A pair of functions; both take what the bytes are about, so that they mean nothing anywhere else."""

    seal: Callable[[bytes, bytes], bytes]
    unseal: Callable[[bytes, bytes], bytes]
    """Raises PeopleError where the bytes were sealed with another key or for something else."""

    @classmethod
    def from_secret(cls, secret: bytes) -> Seal:
        """AES-256-GCM with a key of its own, derived from the secret that unlocks the data folder (RFC 5869)."""
        key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"lichtmast people 1").derive(secret)
        cipher = AESGCM(key)

        def seal(plain: bytes, about: bytes) -> bytes:
            nonce = secrets.token_bytes(_NONCE_BYTES)
            return nonce + cipher.encrypt(nonce, plain, about)

        def unseal(sealed: bytes, about: bytes) -> bytes:
            try:
                return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
            except (InvalidTag, ValueError) as error:
                raise PeopleError(
                    "what is sealed in the register does not open with this unlock secret; start with the one it was "
                    "sealed with"
                ) from error

        return cls(seal, unseal)
