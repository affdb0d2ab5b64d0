"""Every limit and timer of the DTLS layer, named once. Units are last in the names."""

from typing import Final

from lichtmast.ingest.coap.limits import DATAGRAM_BYTES_MAX

FLIGHT_BYTES_MAX: Final = 1_232
"""UDP payload that fits the smallest IPv6 MTU, 1,280, behind 40 bytes of IPv6 and 8 of UDP (RFC 8200 section 5)."""
RECORD_OVERHEAD_BYTES: Final = 64
"""What a record adds to a message, rounded up: 13 bytes of header, 8 of nonce, 16 of tag."""
SEALED_BYTES_MAX: Final = DATAGRAM_BYTES_MAX + RECORD_OVERHEAD_BYTES
"""The largest CoAP message in a record. What is longer is cut by the socket, and OpenSSL then drops it."""

COOKIE_BYTES: Final = 16
COOKIE_TURN_S: Final = 30
"""A cookie is good in the turn it was made in and the next (RFC 6347 section 4.2.1), so for 30 to 60 s."""

HANDSHAKE_DEADLINE_S: Final = 30.0
"""Flights that are lost and repeated after 1, 2, 4 and 8 s fit; a half-open handshake costs no more than that long."""
HANDSHAKE_BYTES_MAX: Final = 16 * 1024
"""Bytes from one peer until its handshake is finished: ten times an honest one's, copies included."""
HANDSHAKE_BUDGET_S: Final = 0.005
"""How long handshakes may keep the packs of standing sessions waiting, each time the event loop comes round."""
RATE_BURST_S: Final = 2.0
"""How many seconds' worth of handshakes may begin at once."""
SUBNETS_MAX: Final = 4_096
"""Subnets whose rate is remembered; those with nothing owing are forgotten first."""
SUBNET_BYTES: Final = 8
"""A /64: what one attacker has for free."""
REFUSALS_REPORTED_MAX: Final = 10
"""Refused certificates that get a log line of their own between two reports; the others are counted."""
