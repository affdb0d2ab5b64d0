"""HTTP/1.1 on one connection: uvicorn's, with an end to requests that are never finished, and with the TLS extension.

uvicorn waits for a first request for ever, and tells the application nothing of the client's certificate
(ASGI TLS extension 0.2).
"""

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from lichtmast.api import limits
from lichtmast.api.tls import TLS_EXTENSION, extension_of


class HttpProtocol(H11Protocol):
    """What speaks on one connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._ended = asyncio.Event()
        self._late: asyncio.TimerHandle | None = None

    async def wait_closed(self) -> None:
        """Wait until the connection is gone; at once where it never came to be."""
        if self.transport is not None:
            await self._ended.wait()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app = _with_extension(self.app, extension_of(connection))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._ended.set()
        self._stop_watching()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Await the next request."""
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Give the client so long for each request, headers and body; while it waits for us, no time runs."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            self._stop_watching()
        elif self._late is None and not self._ended.is_set():
            self._late = self.loop.call_later(limits.REQUEST_TIMEOUT_S, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _with_extension(app: Any, extension: dict[str, Any]) -> Any:  # noqa: ANN401 - uvicorn's and Starlette's types of an application differ
    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[TLS_EXTENSION] = extension
        await app(scope, receive, send)

    return told
