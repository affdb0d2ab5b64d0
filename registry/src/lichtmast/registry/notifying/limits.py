"""Every limit of notifications in the register, named once. Units are last in the names."""

from typing import Final

CHANNELS_MAX: Final = 50
"""Of one municipality."""
NAME_CHARACTERS_MAX: Final = 60
TARGET_CHARACTERS_MAX: Final = 1_000
ADDRESS_CHARACTERS_MAX: Final = 254
"""Of an e-mail address (RFC 5321 4.5.3.1.3)."""
RULES_MAX: Final = 100
"""Rule names of one channel."""
ESCALATE_AFTER_MAX_S: Final = 7 * 24 * 3600
SECRET_BYTES: Final = 32
"""Of a webhook; Standard Webhooks asks for 24 to 64."""

NOTICES_PER_ROUND_MAX: Final = 500
"""Notices that become deliveries in one transaction; the rest follows in the next."""
NOTICES_PER_MESSAGE_MAX: Final = 40
"""What is due together is told together, and what is more follows in the next message."""
FACT_BYTES_MAX: Final = 100
BECAUSE_BYTES_MAX: Final = 300
"""Texts of a notice: a full message stays below the 64 KiB of a CloudEvent, whatever the texts are."""
ANSWER_BYTES_MAX: Final = 300
"""What is kept of what the other side said."""
KEPT_US: Final = 90 * 24 * 3600 * 1_000_000
"""How long an ended delivery stays readable."""
PAGE_DELIVERIES_MAX: Final = 1_000
