"""What goes wrong with the device's identity.

EdgeError
├── KeyFileError            the private key is missing, damaged, or can be read by others
├── CertificateError        what came, or what is kept, is no certificate that this device may use
├── EstError                the EST server cannot be reached, or answers what cannot be used
└── IdentityRefusedError    the server refuses this device, or this device the server (in `refusals`)
"""

from lichtmast.edge.errors import EdgeError


class KeyFileError(EdgeError):
    """The private key cannot be used; the message says why, and never holds any of it."""


class CertificateError(EdgeError):
    """A certificate or a bundle is refused; what was kept before stays."""


class EstError(EdgeError):
    """An exchange with the EST server failed; it is tried again."""
