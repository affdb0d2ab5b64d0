"""Every limit of sending notifications, named once. Units are last in the names."""

from typing import Final

POLL_S: Final = 1.0
"""How long a notice waits at most before somebody looks."""
FORGET_EVERY_S: Final = 3600.0
SENDERS_MAX: Final = 8
"""Messages under way at the same time; of one channel there is one at most."""

RETRY_S: Final = 5.0
"""The longest first wait after a failure; each next one is twice as long."""
RETRY_MAX_S: Final = 900.0
GIVE_UP_S: Final = 24 * 3600
"""After the first attempt of a message."""
MISFIT_TRIES: Final = 3
"""A webhook that does not understand a message is asked so often: it must not hold up those behind it for a day."""

CONNECT_TIMEOUT_S: Final = 10.0
ATTEMPT_TIMEOUT_S: Final = 30.0
RESPONSE_BYTES_MAX: Final = 4096
"""What is read of a webhook's answer; the status says all that matters."""
SHOWN_BYTES_MAX: Final = 200
"""How much of the other side's words people are shown."""
EVENT_BYTES_MAX: Final = 64 * 1024
"""Of a CloudEvent: what every intermediary must forward (CloudEvents 1.0, Size Limits)."""
SUBJECT_CHARACTERS_MAX: Final = 150
