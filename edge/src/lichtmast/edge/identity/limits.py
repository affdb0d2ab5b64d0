"""The bounds of the device's identity, named once. Units are last in the names."""

from typing import Final

KEY_BYTES_MAX: Final = 4 * 1024
FILE_BYTES_MAX: Final = 60 * 1024
"""Of a kept certificate or bundle; below what a kept file may have (lichtmast.edge.twin.limits.FILE_BYTES_MAX)."""

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Of an EST answer: a dozen certificates are 12 KiB in base64."""
CERTIFICATES_MAX: Final = 16
"""In one bundle: a root and two issuing authorities, each rolled over, with the cross certificates."""
CHAIN_MAX: Final = 4
"""Certificates from ours to a root."""
CONNECT_S: Final = 10.0
ANSWER_S: Final = 20.0
"""How long the EST server may be silent, at the connect and between two pieces of an answer."""
STEP_S: Final = 60.0
"""How long one exchange may take in all; then its process is ended."""
OUTCOME_BYTES_MAX: Final = 64 * 1024
REASON_LENGTH_MAX: Final = 200
"""What a server says why it refuses is kept, but not without bound."""

RENEW_SHARE: Final = 2 / 3
"""A certificate is renewed when so much of its life is over."""
RENEW_SPREAD: Final = 1 / 20
"""And up to so much later by chance: certificates of one morning are not renewed in one minute."""
RENEW_REST_SHARE: Final = 1 / 1000
"""After a certificate came, none is renewed for this part of the time that it should have served, 86 minutes of 60
days: by a clock that is two months ahead every new one is due at once."""
NOT_ADMITTED_MIN: Final = 3
"""So often in a row a device is not admitted before that is believed: a broker that is too busy to ask the register
says the same (CONNACK 5), and a town that enrolled for it would make it busier."""
FRESH_S: Final = 10.0
"""A certificate that is younger may not be known yet to whoever lets devices in."""
REFRESH_S: Final = 7 * 86_400.0
"""How often the authorities are fetched anew, so that a roll-over is known long before it matters."""

RETRY_S: Final = 2.0
RETRY_MAX_S: Final = 300.0
"""First and longest pause while the EST server cannot be reached."""
LATER_MIN_S: Final = 1.0
LATER_MAX_S: Final = 3_600.0
"""The pauses that a server may ask for with Retry-After."""
REFUSED_S: Final = 60.0
REFUSED_MAX_S: Final = 3_600.0
"""First and longest pause after a refusal: somebody must act first, but nobody must come here for it to be noticed."""
SERVER_CLOCK_S: Final = 300.0
"""How far a certificate of ours may begin in the future: the server's clock and ours need not agree to the second."""

WIPE_CHUNK_BYTES: Final = 1024 * 1024
