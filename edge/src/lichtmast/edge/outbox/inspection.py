"""Looking into an outbox from outside, also while an agent writes to it: a copy is opened, never the file.

A file and its write-ahead log, copied in this order, are one consistent state as long as the log did not start over in
between; its header tells. Will not: change anything, or wait for the agent.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from lichtmast.edge.clock import Clock
from lichtmast.edge.outbox.errors import OutboxError
from lichtmast.edge.outbox.outbox import Outbox
from lichtmast.edge.outbox.storage import log_path
from lichtmast.edge.outbox.values import OutboxSettings, OutboxStatistics
from lichtmast.wire.identity import DeviceId

_TRIES: Final = 20
_LOG_HEADER_BYTES: Final = 32


def inspect_outbox(path: Path, device: DeviceId, *, settings: OutboxSettings, clock: Clock) -> OutboxStatistics:
    """The statistics of an outbox at this moment. Raises OutboxError where there is none, or it is another device's."""
    if not path.exists():
        raise OutboxError(f"{path} is not there: the agent has not run with this state folder yet")
    with tempfile.TemporaryDirectory(prefix="lichtmast-outbox-") as folder:
        copy = Path(folder) / path.name
        _copy(path, copy)
        outbox = Outbox.open(copy, device, settings=settings, clock=clock)
        try:
            return outbox.statistics()
        finally:
            outbox.close()


def _copy(path: Path, copy: Path) -> None:
    for _ in range(_TRIES):
        log_path(copy).unlink(missing_ok=True)
        try:
            before = _log_header(path)
            shutil.copyfile(path, copy)
            if log_path(path).exists():
                shutil.copyfile(log_path(path), log_path(copy))
            if before == _log_header(path):
                return
        except OSError as error:
            raise OutboxError(f"{path} cannot be copied to be looked into: {error.strerror}") from error
    raise OutboxError(f"{path} changes too fast to be looked into; try again")


def _log_header(path: Path) -> bytes:
    if not log_path(path).exists():
        return b""
    with log_path(path).open("rb") as log:
        return log.read(_LOG_HEADER_BYTES)
