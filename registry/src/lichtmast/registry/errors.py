"""What can go wrong here, as one tree.

RegistryError
├── RegistryUnavailableError   the database cannot be opened, or is of a newer version
│   └── RegistryBusyError      another process writes for longer than BUSY_TIMEOUT_MS; nothing was changed, try again
├── UnknownRecordError         a tenant, asset, device or profile that is not in the register
├── ConflictError              the change contradicts what the register holds
└── SourceUnreadableError      an import file that cannot be opened at all

A wrong row in an import file is no exception: it is a line in the ImportReport.
"""


class RegistryError(Exception):
    """Root of this distribution's errors; the text says what, where and the next step."""


class RegistryUnavailableError(RegistryError):
    """The database cannot be opened, or a newer version wrote it."""


class RegistryBusyError(RegistryUnavailableError):
    """Another process is writing, such as an import; nothing was changed, and the same again may succeed."""


class UnknownRecordError(RegistryError):
    """A tenant, asset, device or profile that is not in the register."""


class ConflictError(RegistryError):
    """The change contradicts what the register holds."""


class SourceUnreadableError(RegistryError):
    """An import file cannot be opened."""
