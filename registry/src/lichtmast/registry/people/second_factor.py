"""Time-based codes (RFC 6238): which of them is right now. Pure: the register remembers which were used."""

import hmac
import secrets
from base64 import b32encode
from typing import Final

import pyotp

from lichtmast.registry.people.limits import TOTP_SEED_BYTES, TOTP_STEP_S, TOTP_STEPS_ASIDE

DIGITS: Final = 6
ISSUER: Final = "Lichtmast"


def new_seed() -> bytes:
    """160 random bits (RFC 4226 section 4, R6)."""
    return secrets.token_bytes(TOTP_SEED_BYTES)


def seed_text(seed: bytes) -> str:
    """The seed as people type it where they cannot scan."""
    return b32encode(seed).decode()


def otpauth(seed: bytes, login: str) -> str:
    """What the QR code says."""
    return pyotp.TOTP(seed_text(seed), digits=DIGITS, interval=TOTP_STEP_S).provisioning_uri(
        name=login, issuer_name=ISSUER
    )


def matching_step(seed: bytes, code: str, now_us: int, last_step: int | None) -> int | None:
    """The time step whose code this is; None where it is of none near now, or of one that was used already."""
    if not (len(code) == DIGITS and code.isascii() and code.isdecimal()):
        return None
    generator = pyotp.HOTP(seed_text(seed), digits=DIGITS)
    now = now_us // 1_000_000 // TOTP_STEP_S
    found = None
    for step in range(now - TOTP_STEPS_ASIDE, now + TOTP_STEPS_ASIDE + 1):
        if hmac.compare_digest(generator.at(step), code) and (last_step is None or step > last_step):
            found = step
    return found
