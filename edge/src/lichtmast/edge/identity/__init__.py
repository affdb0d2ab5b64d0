"""Who this device is, so that others can tell: its key, its certificate, and whom it believes.

    schedule    what to do when                            (pure)
    caretaker   the task that does it, in the agent
    exchange    one exchange with the EST server           (a process of its own: python -m lichtmast.edge.identity)
      est         one request over TLS                     (RFC 7030)
      certificates, keys    what is read and made with `cryptography`
    keeping     the files
    tls         TLS with our root and our clock            (what the links use too)
    refusals    why a connection is refused, and who can help

The running agent imports nothing that imports `cryptography`: it would cost 11 MB for minutes in three months.

Will not: give the private key to anybody, believe a server that the label's root does not vouch for, or stop the agent
from measuring while it has no certificate.
"""

from lichtmast.edge.identity.errors import CertificateError, EstError, KeyFileError
from lichtmast.edge.identity.keeping import Certificate, IdentityFolder
from lichtmast.edge.identity.refusals import IdentityRefusedError, Refusal
from lichtmast.edge.identity.tls import Credentials, Moment

__all__ = [
    "Certificate",
    "CertificateError",
    "Credentials",
    "EstError",
    "IdentityFolder",
    "IdentityRefusedError",
    "KeyFileError",
    "Moment",
    "Refusal",
]
