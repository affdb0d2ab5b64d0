"""Accepts TLS connections: so many at one time, so many from one network, and each handshake with an end.

uvicorn would hold any number of connections that never finish their handshake, for a minute each. Knows no HTTP: what
speaks on a connection is made by the caller. Each connection is made with the certificate that is newest then.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from lichtmast.api import limits
from lichtmast.api.http_protocol import HttpProtocol
from lichtmast.api.refusal_log import RefusalLog
from lichtmast.api.sources import network_of

_log = logging.getLogger(__name__)

_PAUSE_S: Final = 0.2
"""After an accept that failed because the machine is short of something."""


@dataclass(frozen=True, slots=True)
class DoorStatistics:
    """What came to a TLS door so far."""

    open: int
    """Connections that stand or shake hands now."""
    accepted: int
    """Handshakes that were finished."""
    refused: Mapping[str, int]
    """Connections that were not, by reason."""


class TlsDoor:
    """One listening socket. `protocol` makes what speaks on a connection whose handshake is done."""

    def __init__(
        self,
        listener: socket.socket,
        context: Callable[[], ssl.SSLContext],
        protocol: Callable[[], HttpProtocol],
        *,
        handshake_timeout_s: float = limits.TLS_HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self._listener = listener
        self._context = context
        self._protocol = protocol
        self._handshake_timeout_s = handshake_timeout_s
        self._open: Counter[str] = Counter()
        self._shaking = 0
        self._accepted = 0
        self._refusals = RefusalLog("tls_refused", _log)

    def statistics(self) -> DoorStatistics:
        """The counts so far."""
        return DoorStatistics(self._open.total(), self._accepted, self._refusals.counts)

    async def run(self) -> None:
        """Accept until cancelled; handshakes that are not finished then are cut off."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    connection, address = await loop.sock_accept(self._listener)
                except OSError as error:
                    _log.error("tls_accept_failed reason=%s", error.strerror)
                    await asyncio.sleep(_PAUSE_S)
                    continue
                network = network_of(address[0])
                full = self._full(network)
                if full is not None:
                    connection.close()
                    self._refusals.note(full, source=network)
                    continue
                self._open[network] += 1
                self._shaking += 1
                group.create_task(self._hold(connection, network), name=f"tls connection {address[0]}")

    def _full(self, network: str) -> str | None:
        if self._open.total() >= limits.CONNECTIONS_MAX:
            return "too_many_connections"
        if self._open[network] >= limits.CONNECTIONS_OF_NETWORK_MAX:
            return "too_many_connections_of_network"
        return "too_many_handshakes" if self._shaking >= limits.TLS_HANDSHAKES_MAX else None

    async def _hold(self, connection: socket.socket, network: str) -> None:
        """One connection from its handshake to its end."""
        loop = asyncio.get_running_loop()
        speaker = self._protocol()  # ours: what a loop gives back may be a layer of its own around it, as uvloop's is
        try:
            try:
                await loop.connect_accepted_socket(
                    lambda: speaker,
                    connection,
                    ssl=self._context(),
                    ssl_handshake_timeout=self._handshake_timeout_s,
                    ssl_shutdown_timeout=limits.TLS_CLOSE_TIMEOUT_S,
                )
            finally:
                self._shaking -= 1
            self._accepted += 1
            await speaker.wait_closed()
        except OSError as error:
            connection.close()
            self._refusals.note(_reason(error), source=network)
        except Exception:  # noqa: BLE001 - the outermost of this task
            # One connection, whatever is wrong with it, must not end the door for all others.
            connection.close()
            _log.exception("tls_connection_failed source=%s", network)
        finally:
            self._open[network] -= 1
            if not self._open[network]:
                del self._open[network]


def _reason(error: OSError) -> str:
    """Why a handshake failed, in one word for a counter; never what the client sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"client_certificate_{error.verify_message.replace(' ', '_')}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "tls_error").lower()
    return "handshake_not_finished"
