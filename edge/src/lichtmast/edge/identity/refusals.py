"""Why a secured connection does not come about: one reason each, one plain sentence, and who can help.

TLS and DTLS tell little: an alert's name, or an error of the library. Both come here as the same reasons.
"""

from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from lichtmast.edge.errors import EdgeError


@unique
class Refusal(StrEnum):
    """The first part is what the server thinks of us, the second what we think of the server."""

    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_MISSING = "certificate_missing"
    NOT_ADMITTED = "not_admitted"
    SERVER_UNTRUSTED = "server_untrusted"
    SERVER_NAME = "server_name"
    SERVER_EXPIRED = "server_expired"
    SERVER_NOT_YET_VALID = "server_not_yet_valid"
    SERVER_PURPOSE = "server_purpose"
    HANDSHAKE = "handshake"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a refusal says, and whether a new certificate may help (`enrols`) or newer authorities (`refreshes`)."""

    told: str
    enrols: bool = False
    refreshes: bool = False


MEANINGS: Final = MappingProxyType(
    {
        Refusal.CERTIFICATE_EXPIRED: Meaning(
            "the server says that this device's certificate has expired; it asks for a new one, and an engineer may "
            "have to claim it again",
            enrols=True,
        ),
        Refusal.CERTIFICATE_REVOKED: Meaning(
            "the server says that this device's certificate is revoked; it asks for a new one, which an engineer "
            "allows by claiming it again",
            enrols=True,
        ),
        Refusal.CERTIFICATE_UNTRUSTED: Meaning(
            "the server does not trust this device's certificate; it asks for a new one, and an engineer may have to "
            "claim it again",
            enrols=True,
        ),
        Refusal.CERTIFICATE_MISSING: Meaning("the server saw no certificate of this device; see the agent's log"),
        Refusal.NOT_ADMITTED: Meaning(
            "the server does not admit this device: it is suspended, retired, or its certificate was revoked; ask "
            "whoever manages it",
            enrols=True,
        ),
        Refusal.SERVER_UNTRUSTED: Meaning(
            "the server's certificate is not under the root of this device's label; see that host and label belong "
            "to the same city",
            refreshes=True,
        ),
        Refusal.SERVER_NAME: Meaning(
            "the server's certificate names another host; give the host as the certificate has it, or start the "
            "server with this name"
        ),
        Refusal.SERVER_EXPIRED: Meaning("the server's certificate has expired; whoever runs the server must renew it"),
        Refusal.SERVER_NOT_YET_VALID: Meaning(
            "the server's certificate is not valid yet; see that the clocks of device and server are right"
        ),
        Refusal.SERVER_PURPOSE: Meaning("the server's certificate is not one for servers; see who answers there"),
        Refusal.HANDSHAKE: Meaning("the server and this device found no common way to speak; see the agent's log"),
    }
)


class IdentityRefusedError(EdgeError):
    """A connection ended for the sake of identity, on one side or the other."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(MEANINGS[refusal].told)
        self.refusal = refusal


def of_alert(name: str) -> Refusal:
    """What the other side's alert says (RFC 8446 section 6.2), by OpenSSL's name of it."""
    words = name.upper().replace(" ", "_")
    for part, refusal in (
        ("CERTIFICATE_EXPIRED", Refusal.CERTIFICATE_EXPIRED),
        ("CERTIFICATE_REVOKED", Refusal.CERTIFICATE_REVOKED),
        ("CERTIFICATE_REQUIRED", Refusal.CERTIFICATE_MISSING),
        ("CERTIFICATE_UNKNOWN", Refusal.NOT_ADMITTED),
        ("CERTIFICATE", Refusal.CERTIFICATE_UNTRUSTED),
        ("UNKNOWN_CA", Refusal.CERTIFICATE_UNTRUSTED),
        ("ACCESS_DENIED", Refusal.NOT_ADMITTED),
    ):
        if part in words:
            return refusal
    return Refusal.HANDSHAKE


_VERIFY_PURPOSE: Final = 26
_VERIFY_NAMES: Final = (62, 64)
"""X509_V_ERR_INVALID_PURPOSE, X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (x509_vfy.h)."""


def of_verification(code: int) -> Refusal:
    """What OpenSSL found wrong with the server's chain, by its number. Dates are not its business here."""
    if code in _VERIFY_NAMES:
        return Refusal.SERVER_NAME
    if code == _VERIFY_PURPOSE:
        return Refusal.SERVER_PURPOSE
    return Refusal.SERVER_UNTRUSTED
