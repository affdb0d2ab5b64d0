"""Notifications: channels per municipality, and an outbox of what is to be told about alerts.

`Registry.notifying` is the way in. Sending is `lichtmast.ingest.notifying`.
"""

from lichtmast.registry.notifying.book import NotificationBook
from lichtmast.registry.notifying.channel import Channel, ChannelDraft, ChannelKind, parse_channel, secret_text
from lichtmast.registry.notifying.errors import (
    ChannelDocumentError,
    ChannelInUseError,
    NotifyingError,
    UnknownChannelError,
)
from lichtmast.registry.notifying.quiet import QuietHours
from lichtmast.registry.notifying.records import Answer, DeliveryRecord, DeliveryState, Letter, Notice

__all__ = [
    "Answer",
    "Channel",
    "ChannelDocumentError",
    "ChannelDraft",
    "ChannelInUseError",
    "ChannelKind",
    "DeliveryRecord",
    "DeliveryState",
    "Letter",
    "Notice",
    "NotificationBook",
    "NotifyingError",
    "QuietHours",
    "UnknownChannelError",
    "parse_channel",
    "secret_text",
]
