"""Every limit of the impaired network, named once. Units are last in the names."""

from typing import Final

MTU_BYTES_MIN: Final = 1280
"""RFC 8200 section 5: no IPv6 link carries less."""
LINK_MTU_BYTES: Final = 1500
PACKET_BYTES_MAX: Final = 65_535

DELAY_S_MAX: Final = 600.0
QUEUE_BYTES: Final = 65_536
"""What waits for a narrow band before the newest packet is thrown away; a cheap modem's buffer."""
RATE_BURST_BYTES: Final = 3_000
"""What a narrow band lets through at once: two full packets."""
CORRUPT_BITS_MAX: Final = 64
STEPS_MAX: Final = 200
PENDING_PACKETS_MAX: Final = 100_000
"""Packets on their way (delay times rate); what comes on top is thrown away and counted."""

LINK_QUEUE_PACKETS: Final = 10_000
"""What the kernel holds for the router; above it the kernel would lose packets that nobody counts."""
READS_PER_TURN: Final = 64
"""Packets taken from one side before the other has its turn."""

CHUNK_BYTES: Final = 16_384
"""What the relay takes from a stream at once."""
STREAM_CHECK_S: Final = 0.05
"""How often a stream that stands before a blackhole looks whether it may go on."""
PEERS_MAX: Final = 10_000
"""UDP peers of one relayed port; the one silent longest gives way."""

ANSWER_TIMEOUT_S: Final = 10.0
"""How long the carrier may take to answer a question."""
END_TIMEOUT_S: Final = 5.0
MESSAGE_BYTES_MAX: Final = 131_072
"""The longest message between a test and its carrier: a schedule."""
