"""What the command line tells when it cannot go on.

SuiteError             root; the text says what happened and the next step
├── FolderError        the data folder cannot be used
├── UnlockError        the secret that unlocks the keys cannot be had
├── OperatorError      the running Lichtmast did not do what it was asked
└── DeviceOrderError   what a device should be told cannot be as it was given, or did not reach the broker
"""


class SuiteError(Exception):
    """Root of this distribution's errors; shown as one line, exit code 1."""


class FolderError(SuiteError):
    """The data folder cannot be used."""


class UnlockError(SuiteError):
    """The secret that unlocks the keys cannot be had."""


class OperatorError(SuiteError):
    """The running Lichtmast did not do what it was asked."""


class DeviceOrderError(SuiteError):
    """What a device should be told cannot be as it was given, or did not reach the broker."""
