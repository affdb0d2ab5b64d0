"""Limits of the quarantine's desk, named once."""

from typing import Final

ROUND_ENTRIES_MAX: Final = 500
"""Entries that one round looks at: a second's work, and a line of the log of changes where something is ordered."""
STORED_TIMEOUT_S: Final = 60.0
"""How long a round waits until the pipeline has stored what it ordered."""
STORED_POLL_S: Final = 0.02
REASON_CHARACTERS_MAX: Final = 500
"""Of why something is discarded, for the log of changes."""
