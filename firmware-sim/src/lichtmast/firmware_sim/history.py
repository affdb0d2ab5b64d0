"""The history file: what devices attempted and what they were told, on disk outside of what the test kills.

One JSON object a line: {"op", "device", "epoch", "seq", "digest", "t_us"}; op is attempt, ack, refused or dropped. The
first attempt of a number also carries the pack itself ("payload", base64), so that a checker knows every value that was
sent. An attempt is on disk (fsync) before its first byte leaves, so a checker can say of every stored row who sent it.
Those that wait at the same time share one fsync. {"op": "mark", "what", "t_us"} says what was done to the server.

Will not rotate: a run has one file. Will not judge: `checker` does.
"""

import asyncio
import json
import os
from base64 import b64encode
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

from lichtmast.wire.identity import DeviceId


def digest(payload: bytes) -> str:
    """The fingerprint of a pack in the history: blake2b of 8 bytes, as hexadecimal."""
    return blake2b(payload, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `op` is attempt, ack, refused or dropped; `digest` is that of the pack's bytes.

    `payload` is the pack, given with the first attempt of a number and empty in every other line.
    """

    op: str
    device: DeviceId
    epoch: int
    seq: int
    digest: str
    t_us: int
    payload: bytes = b""


class History:
    """An append-only file with a shared fsync."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._lines: list[str] = []
        self._noted = 0
        self._written = 0
        self._writing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.wait_written()
        finally:
            os.close(self._descriptor)

    def note(self, entry: Entry) -> None:
        """Take one line; `wait_written` puts it on disk."""
        fields: dict[str, object] = {
            "op": entry.op,
            "device": str(entry.device),
            "epoch": entry.epoch,
            "seq": entry.seq,
            "digest": entry.digest,
            "t_us": entry.t_us,
        }
        if entry.payload:
            fields["payload"] = b64encode(entry.payload).decode()
        self._take(fields)

    def mark(self, what: str, t_us: int) -> None:
        """Take a line of the schedule, such as "kill broker": the report tells how long recovery took after it."""
        self._take({"op": "mark", "what": what, "t_us": t_us})

    def _take(self, fields: dict[str, object]) -> None:
        self._lines.append(json.dumps(fields, separators=(",", ":")))
        self._noted += 1

    async def wait_written(self) -> None:
        """Wait until all that was noted before this call is on disk."""
        target = self._noted
        while self._written < target:
            async with self._writing:
                if self._written >= target:
                    return
                lines, self._lines = self._lines, []
                upto = self._noted
                # Shielded: a device that stops waiting must not leave half a line, or a write after the close.
                writing = asyncio.ensure_future(asyncio.to_thread(self._write, "".join(f"{line}\n" for line in lines)))
                try:
                    await asyncio.shield(writing)
                except asyncio.CancelledError:
                    await writing
                    self._written = upto
                    raise
                self._written = upto

    def _write(self, text: str) -> None:
        left = memoryview(text.encode())
        while left:
            left = left[os.write(self._descriptor, left) :]
        os.fsync(self._descriptor)
