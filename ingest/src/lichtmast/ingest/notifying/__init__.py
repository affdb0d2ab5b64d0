"""Notifications on their way out: e-mail, webhooks and the broker, from the outbox in the register.

`notifying(...)` puts it together; run `Notifier.run()` as a task, and give `Notifier.send_test` to the test button.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lichtmast.ingest.notifying.mqtt import BrokerLine
from lichtmast.ingest.notifying.notifier import Notifier
from lichtmast.ingest.notifying.post import Post
from lichtmast.ingest.notifying.settings import NotifyingSettings, SmtpSecurity, SmtpSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from lichtmast.registry.notifying import NotificationBook
    from lichtmast.registry.people import Seal


def notifying(
    book: NotificationBook, seal: Seal, line: BrokerLine, settings: NotifyingSettings, clock_us: Callable[[], int]
) -> Notifier:
    """The worker for a register's book (`Registry.notifying`)."""
    post = Post(settings, line, lambda channel_id: book.secret(channel_id, seal), clock_us)
    return Notifier(book, post, clock_us)


__all__ = [
    "BrokerLine",
    "Notifier",
    "NotifyingSettings",
    "Post",
    "SmtpSecurity",
    "SmtpSettings",
    "notifying",
]
