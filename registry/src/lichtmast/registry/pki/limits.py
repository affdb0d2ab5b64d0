"""Every limit and lifetime of the certificate authority, named once. Units are last in the names."""

from typing import Final

DAY_US: Final = 86_400_000_000

SKEW_US: Final = 5 * 60 * 1_000_000
"""How far back a certificate begins: a clock that is this slow still takes it."""

ROOT_DAYS: Final = 20 * 365
"""Longer than a node hangs on its pole: the root's pin is printed on the label."""
ISSUING_DAYS: Final = 3 * 365
"""Short enough that a lost key ends by itself, long enough that the root leaves its safe every two years or so."""
LEAF_DAYS: Final = 90
ROLL_DAYS: Final = 365
"""An issuing authority with less left than this should be followed by a new one."""

CRL_DAYS: Final = 7
"""nextUpdate; it is made anew daily, because an expired CRL locks everyone out."""

SERIAL_BITS: Final = 128

CSR_BYTES_MAX: Final = 2_048
"""A P-256 request of ours has 250 bytes, one with every harmless extension 450."""
CERTIFICATE_BYTES_MAX: Final = 2_048
"""A device certificate of ours has 450 bytes."""
FILE_BYTES_MAX: Final = 64 * 1024
"""Of a key, a certificate or the state."""
SECRET_BYTES_MIN: Final = 32
SECRET_BYTES_MAX: Final = 1_023
"""What an encrypted PKCS#8 key of OpenSSL takes."""
ORGANISATION_CHARACTERS_MAX: Final = 64
"""RFC 5280 appendix A.1, ub-organization-name."""
HOSTS_MAX: Final = 32
"""Names in one server certificate."""
HOST_CHARACTERS_MAX: Final = 253

ANNOUNCED_DAYS: Final = (30, 7, 1)
"""How long before its end a server certificate is announced."""
RENEWAL_JITTER: Final = 0.05
"""Of a certificate's life: so far behind two thirds of it a renewal may fall."""
