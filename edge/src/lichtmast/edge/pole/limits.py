"""The bounds of the server at the pole, named once."""

from typing import Final

REQUEST_BYTES_MAX: Final = 512
PAYLOAD_BYTES_MAX: Final = 512
"""A longer answer comes in blocks of this size (RFC 7959), so that no datagram of ours has more than 1,024 bytes."""
BLOCK_EXPONENT: Final = 5
"""2 to the power of this plus 4 is PAYLOAD_BYTES_MAX (RFC 7959 section 2.2)."""

REQUESTS_PER_S: Final = 4.0
REQUESTS_BURST: Final = 16
"""Of all peers together: aiocoap remembers a request for 247 s, so this bounds its memory to about 1,000 of them."""
PEER_REQUESTS_PER_S: Final = 2.0
PEER_REQUESTS_BURST: Final = 8
PEERS_MAX: Final = 64

LEISURE_S: Final = 2.0
"""RFC 7252 section 8.2: an answer to a group waits a random part of this. Fifty poles of 300 bytes at 10 kB/s."""

OBSERVERS_MAX: Final = 8
OBSERVE_LOOK_S: Final = 1.0
OBSERVE_MAX_S: Final = 600.0
"""An observation ends after this; a client that still wants it asks again (RFC 7641 section 3.3)."""

SELFTEST_S: Final = 60.0
SELFTEST_PAUSE_S: Final = 10.0
RESCAN_S: Final = 10.0
"""How often interfaces are looked at again: links go up and down, and an address is tentative at first."""
