"""Every limit of timekeeping, named once."""

from typing import Final

DRIFT_S_PER_S: Final = 500e-6
"""How far a clock that nobody corrects may wander: the tolerance that NTP assumes of any (RFC 5905, MAXFREQ)."""
CONSISTENT_S: Final = 0.1
"""Two observations further apart than their errors and this are a jump."""
CONFIRM_S: Final = 30.0
"""How long a source must stand by a jump before it is believed."""
TIME_BELOW_US: Final = 4_102_444_800 * 1_000_000
"""2100-01-01: the wire refuses readings from there on (lichtmast.wire.limits.TIME_BELOW_S)."""

POLL_S: Final = 1_024.0
"""Between requests to a server that answers."""
POLL_MIN_S: Final = 64.0
"""RFC 4330 section 10: never more often than once in 15 seconds; RFC 5905's shortest usual poll is 64."""
POLL_MAX_S: Final = 36 * 3_600.0
"""The longest pause after requests to slow down."""
JITTER: Final = 0.25
"""The share of a pause that chance takes off, so that a street that came back to power does not ask in step."""
START_S: Final = 5.0
"""RFC 4330 section 10 lets chance decide on 1 to 5 minutes before the first request; readings wait, so seconds here."""
ANSWER_S: Final = 3.0
"""How long an answer is waited for."""
ROUND_TRIP_S_MAX: Final = 1.0
ROOT_S_MAX: Final = 1.0
"""Root delay and dispersion from here on are refused (RFC 4330 section 5 item 5)."""
PACKET_BYTES: Final = 48
"""Of an NTP packet without extensions (RFC 5905 section 7.3); what follows is not looked at."""
