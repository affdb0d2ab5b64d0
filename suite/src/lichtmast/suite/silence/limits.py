"""Limits of the silence ladder. Units are last in the names."""

from typing import Final

PROBE_TIMEOUT_S: Final = 2.0
"""How long one probe waits for its answer; all of a question go at the same time."""
QUESTIONS_MAX: Final = 4
"""Devices that are asked about at the same time; whoever comes next waits."""

QUIET_INTERVALS: Final = 3
QUIET_LEAST_S: Final = 120.0
"""A device is quiet after so many of its intervals without a reading, and never sooner than this: longer than an MQTT
connection outlives its device."""
CERTIFICATE_LATE_SHARE: Final = 0.1
"""A node renews its certificate long before this part of its life is left."""
LAG_MESSAGES_MAX: Final = 10_000
"""More messages than this waiting to be stored are the reason why a device seems quiet."""
REFUSED_LATELY_US: Final = 24 * 3600 * 1_000_000

GROUP_LEAST: Final = 3
GROUP_QUIET_SHARE: Final = 0.8
"""Of at least so many others that ever spoke, this part is quiet too: then it is not the device."""
MEMBERS_MAX: Final = 2_000
"""Of a feeder or neighbourhood that are looked at."""
RHYTHM_ROWS: Final = 200
"""Readings of the last day from which the interval between packs is taken."""

CONTACT_ROUND_S: Final = 60.0
"""How often it is written down from where devices are heard."""
CONTACT_AGAIN_US: Final = 10 * 60 * 1_000_000
"""A device that stays at its address is written down anew after this time."""
LISTING_CONNECTIONS_MAX: Final = 100_000
"""Connections that the broker lists at a time."""
