"""Random secrets as text, and what the register keeps of them. None is ever kept as it is."""

import hashlib
import secrets
from base64 import b32encode

from lichtmast.registry.people.limits import RECOVERY_CODE_BYTES, SECRET_BYTES

TOKEN_MARK = "lm_"  # noqa: S105 - the start of all tokens, so that scanners of sources find one that slipped in
_PREFIX_BYTES = 4
_GROUP = 4


def new_secret() -> str:
    """256 random bits, for sessions and tickets."""
    return secrets.token_urlsafe(SECRET_BYTES)


def new_token() -> tuple[str, str]:
    """An API token and its prefix, by which people tell theirs apart."""
    prefix = secrets.token_hex(_PREFIX_BYTES)
    return f"{TOKEN_MARK}{prefix}_{new_secret()}", prefix


def new_recovery_code() -> str:
    """80 random bits in groups that one can read out."""
    text = b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def plain_code(text: str) -> str:
    """A code as it is compared: however it was typed, without spaces and hyphens, in lower case."""
    return "".join(text.split()).replace("-", "").lower()


def digest(text: str) -> bytes:
    """What the register keeps: enough, because nobody can guess 80 bits and more."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
