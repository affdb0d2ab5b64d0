"""What goes wrong in the outbox.

| class | when |
|---|---|
| OutboxError | the root of these |
| OutboxInUseError, OutboxForeignError | the file is another process's or another device's; waiting does not help |
| OutboxBrokenError | the disk failed; nothing is certain until the file was opened anew |
| OutboxDamagedError | a kind of it: the file itself cannot be believed any more |
"""

from lichtmast.edge.errors import EdgeError


class OutboxError(EdgeError):
    """The outbox cannot do what it was asked; the message names the file."""


class OutboxInUseError(OutboxError):
    """Another process holds the file; two agents would number packs alike."""


class OutboxForeignError(OutboxError):
    """The file belongs to another device."""


class OutboxBrokenError(OutboxError):
    """Reading or writing failed. What the file holds is known only after it was opened anew."""


class OutboxDamagedError(OutboxBrokenError):
    """The file is damaged beyond single packs: what can be read is carried over into a new one."""
