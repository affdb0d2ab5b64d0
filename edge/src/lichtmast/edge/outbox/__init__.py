"""The outbox: packs on the disk, numbered and accounted for, from their measurement to their delivery.

`Outbox` is the file and blocks; `OutboxThread` runs it in a thread of its own and survives what the disk does.

Will not: send packs, or know which link they take.
"""

from lichtmast.edge.outbox.errors import (
    OutboxBrokenError,
    OutboxDamagedError,
    OutboxError,
    OutboxForeignError,
    OutboxInUseError,
)
from lichtmast.edge.outbox.inspection import inspect_outbox
from lichtmast.edge.outbox.outbox import Outbox
from lichtmast.edge.outbox.thread import OutboxThread
from lichtmast.edge.outbox.values import Draft, Measurement, OutboxSettings, OutboxStatistics, Packed

__all__ = [
    "Draft",
    "Measurement",
    "Outbox",
    "OutboxBrokenError",
    "OutboxDamagedError",
    "OutboxError",
    "OutboxForeignError",
    "OutboxInUseError",
    "OutboxSettings",
    "OutboxStatistics",
    "OutboxThread",
    "Packed",
    "inspect_outbox",
]
