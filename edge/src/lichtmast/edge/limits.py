"""The bounds of the agent's own settings and waits, named once. Rooms inside have a limits.py of their own."""

from types import MappingProxyType
from typing import Final

COAP_PORT: Final = 5683
PORTS: Final = MappingProxyType({"mqtt": (1883, 8883), "coap": (COAP_PORT, 5684)})
"""Of each link: in plaintext, which stays on this machine, and secured."""
EST_PORT: Final = 9443
SNTP_PORT: Final = 123
SNTP_SERVERS_MAX: Final = 4

INTERVAL_S_MIN: Final = 0.1
INTERVAL_S_MAX: Final = 86_400
"""A pack a day at least: a device that says less cannot be told from one that is dead."""

OUTBOX_HOURS_MIN: Final = 0.01
OUTBOX_HOURS_MAX: Final = 700
"""The server refuses readings older than thirty days (lichtmast.wire.limits.TIME_PAST_MAX_S)."""
OUTBOX_BYTES_MIN: Final = 256 * 1024
OUTBOX_BYTES_MAX: Final = 64 * 1024 * 1024 * 1024

CLOCK_DOUBT_S: Final = 5.0
"""So long after the start somebody should vouch for the clock; else it is told, once."""
CLOCK_POLL_S: Final = 60.0
CLOCK_POLL_UNTRUSTED_S: Final = 2.0
"""How often the kernel is asked whether the clock is right: often while it is not, as readings wait for it."""
STATE_S: Final = 900.0
"""How often the state is reported when nothing changes."""
TEXT_BYTES_MAX: Final = 300
REASON_BYTES_MAX: Final = 80
LEVELS_MAX: Final = 16
"""What of a text, of a driver's or a lamp's reason, and of how many lamps the state tells: with 32 drivers all in
trouble it is a document of less than 16 KiB still (lichtmast.wire.twin.limits.TWIN_BYTES_MAX)."""
LAST_KEEP_S: Final = 5.0
"""How long the running interval may take to reach the disk when the agent ends."""
CHECK_S: Final = 10.0
"""How long a check of the self-test may take."""
