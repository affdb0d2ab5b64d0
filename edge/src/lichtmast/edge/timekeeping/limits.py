"""Every limit of timekeeping, named once."""

from typing import Final

DRIFT_S_PER_S: Final = 500e-6
"""How far a clock that nobody corrects may wander: the tolerance that NTP assumes of any (RFC 5905, MAXFREQ)."""
CONSISTENT_S: Final = 0.1
"""Two observations further apart than their errors and this are a jump."""
CONFIRM_S: Final = 30.0
"""How long a source must stand by a jump, or by a first time that is far from the last known one."""
FLOOR_US: Final = 1_793_491_200 * 1_000_000
"""2026-11-01T00:00:00Z: this software did not exist before, so no time before this is ever right."""
NEAR_US: Final = 2 * 86_400 * 1_000_000
"""A first time up to here above the last known one is believed at once: a reboot, a power cut, a weekend."""
FAR_US: Final = 15 * 31_556_952 * 1_000_000
FAR_S: Final = 3_600.0
"""How long a source must stand by a time more than fifteen years ahead. A GPS receiver that takes its ten-bit week
for the wrong one is off by 19.6 years (1,024 weeks)."""
BELOW_FLOOR_S: Final = 86_400.0
"""How long a source must stand by a time before the last known one until that is taken for the wrong one."""
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
