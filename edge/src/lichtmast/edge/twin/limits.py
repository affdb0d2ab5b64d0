"""The bounds of the twin's files, memory and waits, named once; those of documents are in lichtmast.wire.twin."""

from typing import Final

FILE_BYTES_MAX: Final = 256 * 1024
"""A file of ours that is longer was not written by us; it is refused before it is read into memory."""

EXPIRY_MAX_S: Final = 24 * 3600
"""A command that expires later is refused: its id must be remembered until then."""
DIM_MAX_S: Final = 7 * 24 * 3600
"""The longest that a command may stand above the rules; a wish for longer is a configuration."""
COMMANDS_REMEMBERED_MAX: Final = 256
COMMANDS_WAITING_MAX: Final = 16
REASON_REMEMBERED_MAX: Final = 100
"""Characters of a reason that are kept with an id; the first answer has all of them."""

TICK_S: Final = 1.0
"""How often levels are decided; also half the period of blinking."""
REWRITE_S: Final = 600.0
"""How often a lamp is told its level again although nothing changed: a controller that lost power alone forgot it."""
ACTUATION_RETRY_MIN_S: Final = 1.0
ACTUATION_RETRY_MAX_S: Final = 60.0
REBOOT_COMMAND_S: Final = 60.0
WISH_RETRY_S: Final = 60.0
"""How long after a wish could not be written it is tried again."""
