"""Every limit and timer of the CoAP door, named once. Units are last in the names."""

from typing import Final

# RFC 7252 section 4.8, table 2, and section 4.8.2, table 3.
ACK_TIMEOUT_S: Final = 2.0
ACK_RANDOM_FACTOR: Final = 1.5
MAX_RETRANSMIT: Final = 4
EXCHANGE_LIFETIME_S: Final = 247.0
MESSAGE_IDS: Final = 65_536
TOKEN_BYTES_MAX: Final = 8

SEPARATE_AFTER_S: Final = 1.0
"""How long an answer may take before the request is acknowledged empty (RFC 7252 section 5.2.2): half of ACK_TIMEOUT,
so that a client does not retransmit for our slowness."""
SEPARATE_MAX: Final = 1_024
"""Separate responses that are retransmitted at one time; further ones go out once, as non-confirmable."""

DATAGRAM_BYTES_MAX: Final = 4_096
"""Longer datagrams are answered 4.13 unread. RFC 7252 section 4.6 expects 1,152; larger packs travel by Block1."""
DATAGRAMS_PER_WAKE_MAX: Final = 256
"""After so many datagrams the loop gets a turn, so that a flood starves neither answers nor the rest of the program."""
RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Asked of the kernel for bursts; it grants at most net.core.rmem_max."""

AMPLIFICATION_MAX: Final = 3
"""Bytes towards an unverified address per byte from it (RFC 9175 section 2.4)."""
DIAGNOSTIC_BYTES_MAX: Final = 200
"""A diagnostic payload is read by people (RFC 7252 section 5.5.2), and must not make an answer fragment."""

BLOCK_SZX_MAX: Final = 6
"""1,024 bytes; 7 is reserved on UDP (RFC 7959 section 2.2)."""
BLOCK_LIFETIME_S: Final = EXCHANGE_LIFETIME_S
"""How long an unfinished body waits for its next block (RFC 7959 section 2.4)."""

ECHO_LIFETIME_S: Final = 60
"""How old an Echo value may be (RFC 9175 section 2.3)."""
VERIFIED_LIFETIME_S: Final = EXCHANGE_LIFETIME_S
"""How long an address counts as verified after it echoed."""

RETRY_AFTER_S: Final = 5
"""Max-Age of 5.03: when to try again (RFC 7252 section 5.9.3.4)."""
REMEMBERED_OVERHEAD_BYTES: Final = 200
"""What one remembered exchange costs beside its reply, measured with tracemalloc and rounded up."""
ASSEMBLY_OVERHEAD_BYTES: Final = 400
"""What one unfinished body costs beside its bytes."""
TICK_S: Final = 0.25
"""How often the shell lets the core act on time; the grain of every timer above."""
