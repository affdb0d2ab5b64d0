"""Limits of the commands, named once. Units are last in the names."""

from typing import Final

WAIT_MAX_S: Final = 300.0
"""The longest that a command to a device waits for its answer."""

RULE_FILE_BYTES_MAX: Final = 64 * 1024**2
"""A file of rules of alerts; 100,000 rules are about 30 MB of JSON."""
TRIAL_DAYS_DEFAULT, TRIAL_DAYS_MAX = 30.0, 92.0
"""How far back a rule of alerts is tried."""
TRIAL_EPISODES_MAX: Final = 1_000
"""Episodes of a trial that are told one by one."""
