"""aiocoap over a DTLS session of ours: a message interface with one peer (RFC 7252 section 9.1).

Will not: find peers, or make a session: that is the link's work.
"""

import asyncio
from typing import Any, Final

import aiocoap
import aiocoap.error
import aiocoap.interfaces

from lichtmast.edge.uplink.dtls import DtlsSocket

_SERVER: Final = "server"


async def make_context(opened: DtlsSocket, log: str) -> Any:  # noqa: ANN401 - aiocoap is untyped
    """A context whose every request goes through this session."""
    context = aiocoap.Context(loggername=log)

    async def interface(manager: Any) -> "_Interface":  # noqa: ANN401 - aiocoap is untyped
        return _Interface(manager, opened)

    # The seam to aiocoap: its public API takes no message interface of one's own (0.4.17).
    await context._append_tokenmanaged_messagemanaged_transport(interface)  # noqa: SLF001 - see above
    return context


class _Server(aiocoap.interfaces.EndpointAddress):  # type: ignore[misc] # aiocoap has no types
    """The other end of the session."""

    hostinfo = hostinfo_local = _SERVER
    uri_base = uri_base_local = f"coaps://{_SERVER}"
    scheme = "coaps"
    is_multicast = is_multicast_locally = False
    blockwise_key = _SERVER


class _Interface(aiocoap.interfaces.MessageInterface):  # type: ignore[misc] # aiocoap has no types
    """Messages to the session, and from it."""

    def __init__(self, manager: Any, opened: DtlsSocket) -> None:  # noqa: ANN401 - aiocoap is untyped
        self._manager = manager
        self._opened = opened
        self._server = _Server()
        opened.on_plaintext, opened.on_end = self._heard, self._ended

    def send(self, message: Any) -> None:  # noqa: ANN401 - aiocoap is untyped
        """Encode and encrypt; where the session has just ended, its end is told to what is asked too late."""
        if self._opened.ended is not None:
            asyncio.get_running_loop().call_soon(self._ended, self._opened.ended)
            return
        self._opened.send(message.encode())

    async def recognize_remote(self, remote: Any) -> bool:  # noqa: ANN401 - aiocoap is untyped
        """Whether this interface reaches it."""
        return remote is self._server

    async def determine_remote(self, _request: Any) -> _Server:  # noqa: ANN401 - aiocoap is untyped
        """Whom a request goes to: there is one."""
        return self._server

    async def shutdown(self) -> None:
        """Hear no more; who opened the session closes it."""
        self._manager = None

    def _heard(self, plaintext: bytes) -> None:
        if self._manager is None:
            return
        try:
            message = aiocoap.Message.decode(plaintext, remote=self._server)
        except aiocoap.error.UnparsableMessage:
            return  # RFC 7252 section 3: silently ignored
        message.direction = aiocoap.message.Direction.INCOMING
        self._manager.dispatch_message(message)

    def _ended(self, error: Exception) -> None:
        if self._manager is not None:
            self._manager.dispatch_error(ConnectionError(str(error)), self._server)
