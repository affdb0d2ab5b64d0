"""The bounds of drivers and of what they may hand over."""

from typing import Final

CHANNELS_MAX: Final = 64
NAME_LENGTH_MAX: Final = 40
REASON_LENGTH_MAX: Final = 240
"""What of a driver's complaint is kept, logged and reported."""

NUMBER_MAX: Final = 1e15
"""No sensor on a pole measures more in a SenML unit; beyond it doubles no longer hold whole numbers for long."""
IDENTIFIERS_MAX: Final = 20_000
"""Addresses that one read may hand over; a festival square has fewer radios."""
IDENTIFIER_BYTES_MAX: Final = 64

READ_TIMEOUT_S_MIN: Final = 0.05
READ_TIMEOUT_S_MAX: Final = 120
READ_TIMEOUT_S: Final = 10

RETRY_S: Final = 1.0
RETRY_S_MAX: Final = 300.0

REPLACE_AFTER_S: Final = 300.0
"""A call that has not returned by then gets a successor: a fresh driver in a fresh thread."""
ABANDONED_MAX: Final = 3
"""Threads of one driver that may be left behind. A thread cannot be killed; beyond this only a restart helps."""

CONTROL_BYTES_MAX: Final = 64 * 1024
"""The simulated driver's control file."""
SYSFS_BYTES_MAX: Final = 4_096
"""A sysfs attribute fits in a page."""

TELL_EVERY_S: Final = 60.0
"""One driver's troubles are reported upstream at most this often; what comes between is counted."""
CLOSE_TIMEOUT_S: Final = 2.0
