"""What goes wrong in the agent, as a tree; every package raises a class of its own below the root.

| class | raised by |
|---|---|
| EdgeError | the root |
| SettingsError | `settings` and `tables` |
| OutboxError and its kinds | `outbox` |
| DriverError | `drivers` |
| UplinkError | `uplink` |
| KeyFileError, CertificateError, EstError, IdentityRefusedError | `identity` |
"""


class EdgeError(Exception):
    """The root: the message says what happened, where, and the next step."""


class SettingsError(EdgeError):
    """The settings file cannot be used; the message names the table, the key and what would be right."""
