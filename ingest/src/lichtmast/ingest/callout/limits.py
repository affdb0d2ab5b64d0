"""The limits of the callout."""

from typing import Final

REQUEST_BYTES_MAX: Final = 64 * 1024
"""One question of the server; with a chain of two certificates it has about 6 KB."""
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The list of all connections: 0.5 KB each."""
LINE_BYTES_MAX: Final = 8 * 1024
"""A protocol line; the server's INFO is the longest."""

RECONNECT_S: Final = 0.05
REQUEST_TIMEOUT_S: Final = 5.0
RECONCILE_S: Final = 10.0
"""How often connections are compared with the register, and with what a device may send, when nothing asks for it."""
UNLISTED_S: Final = 1.0
"""And how often after somebody was to be dropped who was let in, but is not listed yet."""
KICK_ROUNDS_MAX: Final = 20
KICK_WAIT_S: Final = 0.1

SAID_EACH_S: Final = 1.0
"""A refusal is a line in the log, but of each reason no more than one in this time; the next line counts the rest."""
SHOWN_CHARACTERS_MAX: Final = 80
"""Of a name that a stranger chose."""
SHOWN_DEVICES_MAX: Final = 20

DEVICE_MESSAGES_PER_S: Final = 100.0
"""What a device may publish for ever; as much as at the CoAP door."""
DEVICE_BURST_MESSAGES: Final = 2_000
"""And at once: from its outbox, after an outage."""
DEVICE_BYTES_PER_S: Final = 512 * 1024.0
DEVICE_BURST_BYTES: Final = 16 * 1024 * 1024
HELD_S: Final = 30.0
"""How long a device that sent more is kept out; twice as long each time that it does so again."""
HELD_MAX_S: Final = 3_600.0
"""At the longest; as long after its last pause, a device is new again."""

LOG_POLL_S: Final = 0.25
LOG_READ_BYTES: Final = 256 * 1024
"""Of the server's log at a time; a flood is read at its own pace, and what is rotated away meanwhile is not counted."""
