"""Serving the application inside another program's event loop, over IPv6, with an end that does not hang."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import uvicorn
from fastapi import FastAPI

from lichtmast.api import limits
from lichtmast.api.live import Broadcaster

SHUTDOWN_S: Final = 5
KEEP_ALIVE_S: Final = 15


class ServerError(RuntimeError):
    """The HTTP server could not start; the text or the log says why."""


class _EmbeddedServer(uvicorn.Server):
    """A server whose program handles the signals, and that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()


def open_socket(host: str = "::1", port: int = 8080) -> socket.socket:
    """A listening IPv6 socket; port 0 picks a free one. Raises ServerError where the address cannot be had."""
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
        next_step = "stop the server that has it, or set another port with --http-port"
        if error.errno != errno.EADDRINUSE:
            next_step = (
                f"{error.strerror}; set another port with --http-port, or an address of this machine with --host"
            )
        raise ServerError(f"cannot listen on TCP [{host}]:{port}: {next_step}") from error
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(
    app: FastAPI,
    listeners: Sequence[socket.socket],
    broadcaster: Broadcaster,
    *,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until cancelled. Then live streams end first, open requests get SHUTDOWN_S, and the listeners are closed.

    Raises ServerError where the application does not start.
    """
    config = uvicorn.Config(
        app,
        http="h11",
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
    server = _EmbeddedServer(config, on_started)
    serving = asyncio.create_task(server.serve(sockets=list(listeners)), name="http server")
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
