"""Tells devices what is on disk: thousands of small messages a second, written to the broker in one go.

Speaks the sending half of the NATS client protocol (INFO, CONNECT, PUB, PING, PONG) and nothing else. The client
library used for the log costs 89 µs for each message published (measured, docs/adr/0009), this 1 µs. Messages are
dropped while the broker is away: acknowledgements are cumulative, and a device that misses one sends its pack again
and is told again.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable
from typing import Final

_log = logging.getLogger(__name__)

BUFFER_BYTES_MAX: Final = 8 * 1024 * 1024
RECONNECT_DELAY_S: Final = 0.5


def publication(subject: str, payload: bytes) -> bytes:
    """One PUB of the NATS client protocol."""
    return b"PUB %b %d\r\n%b\r\n" % (subject.encode("ascii"), len(payload), payload)


class Announcer:
    """A connection that only publishes. Run `run()` as a task; `announce_nowait` never blocks."""

    def __init__(self, host: str, port: int, user: str, password: str) -> None:
        self._host = host
        self._port = port
        self._login = {"verbose": False, "pedantic": False, "user": user, "pass": password, "lang": "python"}
        self._writer: asyncio.StreamWriter | None = None
        self.announced = 0
        self.dropped = 0

    def announce_nowait(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish (subject, payload) pairs, or drop and count them while there is no connection."""
        block = [publication(subject, payload) for subject, payload in messages]
        writer = self._writer
        if writer is None or writer.transport.get_write_buffer_size() > BUFFER_BYTES_MAX:
            self.dropped += len(block)
            return
        writer.write(b"".join(block))
        self.announced += len(block)

    async def run(self) -> None:
        """Keep connected until cancelled."""
        while True:
            try:
                await self._stay_connected()
            except (OSError, ValueError, asyncio.IncompleteReadError):
                _log.warning("announcer_disconnected retry_in_s=%.1f", RECONNECT_DELAY_S)
            finally:
                self._writer = None
            await asyncio.sleep(RECONNECT_DELAY_S)

    async def _stay_connected(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            await reader.readuntil(b"\r\n")  # INFO
            writer.write(b"CONNECT %b\r\nPING\r\n" % json.dumps(self._login).encode())
            while True:
                line = await reader.readuntil(b"\r\n")
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
                elif line.startswith(b"PONG"):
                    self._writer = writer
                elif line.startswith(b"-ERR"):
                    raise ValueError(line)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
