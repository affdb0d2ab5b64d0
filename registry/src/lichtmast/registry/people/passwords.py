"""Passwords: which are accepted, and argon2id (RFC 9106) around them. Costs 64 MiB a call: run few at a time."""

import unicodedata
from typing import Final

from argon2 import Parameters, PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from lichtmast.registry.people.errors import NotAcceptedError
from lichtmast.registry.people.limits import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN

_DISTINCT_MIN: Final = 5
_TELLING_MIN: Final = 4
"""Parts of the login this long must not be in the password."""
_WORN: Final = (
    "password", "passw0rd", "wachtwoord", "welkom", "welcome", "letmein", "qwerty", "administrator", "changeme",
    "12345678", "lichtmast", "lantaarn", "gemeente", "raspberry", "default", "iloveyou", "geheim",
)  # fmt: skip


class Passwords:
    """Hashes and verifies. Weaker `parameters` are for tests only; a hash of others is renewed at the next sign-in."""

    def __init__(self, parameters: Parameters = RFC_9106_LOW_MEMORY) -> None:
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._parameters = parameters
        self._nobody = self._hasher.hash("nobody's")

    def hash(self, password: str) -> str:
        """What the register keeps. Raises NotAcceptedError."""
        if len(password) > PASSWORD_CHARACTERS_MAX:
            raise NotAcceptedError(f"a password has at most {PASSWORD_CHARACTERS_MAX} characters")
        return self._hasher.hash(_normal(password))

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether it is the one. Takes as long where there is none to compare with: time tells nobody who exists."""
        if len(password) > PASSWORD_CHARACTERS_MAX:
            password = ""
        try:
            right = self._hasher.verify(kept or self._nobody, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return right and kept is not None

    def stale(self, kept: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return extract_parameters(kept) != self._parameters


def require_good(password: str, login: str) -> None:
    """Raise NotAcceptedError for what is guessed first; NIST SP 800-63B section 3.1.1.2, no rules about symbols."""
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise NotAcceptedError(
            f"a password has at least {PASSWORD_CHARACTERS_MIN} characters; a few words in a row are easy to remember"
        )
    if len(password) > PASSWORD_CHARACTERS_MAX:
        raise NotAcceptedError(f"a password has at most {PASSWORD_CHARACTERS_MAX} characters")
    plain = _normal(password).casefold()
    if len(set(plain)) < _DISTINCT_MIN:
        raise NotAcceptedError("this password repeats a few characters; choose one with more different ones")
    parts = [login, *login.replace("@", ".").split(".")]
    rest = plain
    for one in [*(part.casefold() for part in parts if len(part) >= _TELLING_MIN), *_WORN]:
        rest = rest.replace(one, "")
    if len(rest) < PASSWORD_CHARACTERS_MIN // 2:
        raise NotAcceptedError(
            "this password is hardly more than the login or a word that is tried first; choose another"
        )


def _normal(password: str) -> str:
    """The same password from every keyboard (NIST SP 800-63B section 3.1.1.2: NFKC)."""
    return unicodedata.normalize("NFKC", password)
