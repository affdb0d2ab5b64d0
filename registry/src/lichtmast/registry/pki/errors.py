"""What can go wrong here, as a branch of the registry's tree.

RegistryError
├── AuthorityError             the authority is missing, damaged, ended, or lacks the key that the work needs
│   └── VaultError             a key cannot be had
│       ├── KeyMissingError    it is not there
│       ├── WrongSecretError   it is whole, and this secret does not open it
│       └── KeyDamagedError    it is not what was written
├── CsrRefused                 a request for a certificate that is not granted; `flaw` says which rule it breaks
└── CertificateRefused         no certificate that a device of ours may show; `flaw` says why
"""

from enum import StrEnum

from lichtmast.registry.errors import RegistryError


class AuthorityError(RegistryError):
    """The authority is missing, damaged, ended, or lacks the key that the work needs."""


class VaultError(AuthorityError):
    """A key cannot be had."""


class KeyMissingError(VaultError):
    """It is not there."""


class WrongSecretError(VaultError):
    """It is whole, and this secret does not open it."""


class KeyDamagedError(VaultError):
    """It is not what was written."""


class CsrFlaw(StrEnum):
    """Which rule a certificate request breaks; docs/reference/certificates.md lists them."""

    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    KEY = "key"
    SIGNATURE_ALGORITHM = "signature_algorithm"
    SIGNATURE = "signature"
    SUBJECT = "subject"
    NAMES = "names"
    AUTHORITY = "authority"
    USAGE = "usage"
    EXTENSION = "extension"


class CertificateFlaw(StrEnum):
    """Why a certificate is none of a device of ours; docs/reference/certificates.md lists them."""

    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    KEY = "key"
    SIGNATURE_ALGORITHM = "signature_algorithm"
    AUTHORITY = "authority"
    USAGE = "usage"
    NAMES = "names"
    SUBJECT = "subject"


class CsrRefused(RegistryError):  # noqa: N818 - an expected answer, not a fault
    """A request for a certificate that is not granted."""

    def __init__(self, flaw: CsrFlaw, text: str) -> None:
        super().__init__(f"the certificate request is refused: {text}")
        self.flaw = flaw


class CertificateRefused(RegistryError):  # noqa: N818 - an expected answer, not a fault
    """No certificate that a device of ours may show."""

    def __init__(self, flaw: CertificateFlaw, text: str) -> None:
        super().__init__(f"the certificate is refused: {text}")
        self.flaw = flaw
