"""The certificate authority: keys at rest, certificates for devices and servers, revocation lists, roll-over.

`Authority.create` and `Authority.open` are the way in. `read_csr` and `device_of_certificate` read what strangers send.
Who is issued a certificate is decided in `lichtmast.registry.identity`.
"""

from lichtmast.registry.pki.authority import Authority, Told
from lichtmast.registry.pki.certificate import CertifiedDevice, device_of_certificate
from lichtmast.registry.pki.certifying import AuthorityKind, RevokedSerial, ServerCertificate, new_serial
from lichtmast.registry.pki.chronicle import AuthorityAction, log_authority
from lichtmast.registry.pki.csr import Csr, read_csr
from lichtmast.registry.pki.due import (
    ServerCertificateDue,
    certificate_times_us,
    renewal_at_us,
    server_certificate_due,
)
from lichtmast.registry.pki.errors import (
    AuthorityError,
    CertificateFlaw,
    CertificateRefused,
    CsrFlaw,
    CsrRefused,
    KeyDamagedError,
    KeyMissingError,
    VaultError,
    WrongSecretError,
)

__all__ = [
    "Authority",
    "AuthorityAction",
    "AuthorityError",
    "AuthorityKind",
    "CertificateFlaw",
    "CertificateRefused",
    "CertifiedDevice",
    "Csr",
    "CsrFlaw",
    "CsrRefused",
    "KeyDamagedError",
    "KeyMissingError",
    "RevokedSerial",
    "ServerCertificate",
    "ServerCertificateDue",
    "Told",
    "VaultError",
    "WrongSecretError",
    "certificate_times_us",
    "device_of_certificate",
    "log_authority",
    "new_serial",
    "read_csr",
    "renewal_at_us",
    "server_certificate_due",
]
