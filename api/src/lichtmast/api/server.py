"""Serving the application inside another program's event loop, over IPv6, with an end that does not hang."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from lichtmast.api import limits
from lichtmast.api.errors import ServerError
from lichtmast.api.http_protocol import HttpProtocol
from lichtmast.api.live import Broadcaster
from lichtmast.api.tls import TlsFiles
from lichtmast.api.tls_door import TlsDoor

__all__ = ["ServerError", "TlsFiles", "open_socket", "serve"]

SHUTDOWN_S: Final = 5
KEEP_ALIVE_S: Final = 15


class _EmbeddedServer(uvicorn.Server):
    """A server whose program handles the signals, that says when it listens, and that has doors of its own for TLS."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_started: Callable[[], None],
        encrypted: Sequence[socket.socket],
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._encrypted = encrypted
        self._context = context

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def main_loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            doors = [
                group.create_task(TlsDoor(listener, self._context, self._speaker).run(), name="tls door")
                for listener in self._encrypted
                if self._context is not None
            ]
            await super().main_loop()
            for door in doors:
                door.cancel()

    def _speaker(self) -> HttpProtocol:
        return HttpProtocol(self.config, self.server_state, self.lifespan.state)


def open_socket(host: str = "::1", port: int = 8080, option: str = "--http-port") -> socket.socket:
    """A listening IPv6 socket; port 0 picks a free one. Raises ServerError where the address cannot be had.

    `option` is what sets the port: the error names it.
    """
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # getaddrinfo reads zone ids, as in fe80::1%eth0.
        *_, address = socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0]
        listener.bind(address)
        listener.listen(limits.CONNECTIONS_MAX)
    except OSError as error:
        listener.close()
        next_step = f"stop the server that has it, or set another port with {option}"
        if error.errno != errno.EADDRINUSE:
            next_step = f"{error.strerror}; set another port with {option}, or an address of this machine with --host"
        raise ServerError(f"cannot listen on TCP [{host}]:{port}: {next_step}") from error
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(
    app: ASGIApp,
    listeners: Sequence[socket.socket],
    broadcaster: Broadcaster,
    *,
    tls: TlsFiles | None = None,
    client_trust: Path | None = None,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until cancelled. Then live streams end first, open requests get SHUTDOWN_S, and the listeners are closed.

    With `tls`, the listeners speak TLS and nothing else; `tls.reload()` changes the certificate of connections to come.
    With `client_trust`, clients may show a certificate of those issuers: see `lichtmast.api.tls.client_certificate`.
    Raises ServerError where the application does not start or a certificate cannot be used.
    """
    context = None if tls is None else partial(tls.context, client_trust)
    if context is not None:
        context()
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.CONNECTIONS_MAX,
        h11_max_incomplete_event_size=limits.HEADER_BYTES_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    plain, encrypted = (listeners, ()) if context is None else ((), listeners)
    server = _EmbeddedServer(config, on_started, encrypted, context)
    serving = asyncio.create_task(server.serve(sockets=list(plain)), name="http server")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        # uvicorn waits for open streams before it tells the application: they must end first.
        broadcaster.close()
        server.should_exit = True
        await serving
        raise
    finally:
        broadcaster.close()
        for listener in listeners:
            listener.close()
    if not server.started:
        raise ServerError("the HTTP server did not start; the log line above says why")
