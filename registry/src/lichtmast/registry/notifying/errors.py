"""What can go wrong with channels, as part of the register's tree.

RegistryError
└── NotifyingError          the text says what happened and the next step
    ├── ChannelDocumentError    a channel that cannot be; it names the field
    ├── UnknownChannelError     no such channel or delivery
    └── ChannelInUseError       others escalate to it, or the municipality has too many
"""

from lichtmast.registry.errors import RegistryError


class NotifyingError(RegistryError):
    """Root of what can go wrong with channels and deliveries."""


class ChannelDocumentError(NotifyingError):
    """What was given is no channel; nothing has changed. `field` says where."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")
        self.field = field


class UnknownChannelError(NotifyingError):
    """No such channel or delivery."""


class ChannelInUseError(NotifyingError):
    """The state of the channels forbids it; nothing has changed."""
