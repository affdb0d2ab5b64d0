"""Whether a port is free, asked before a child process finds out in words that name neither port nor option."""

import asyncio
import errno
import socket

from lichtmast.ingest.broker import PORT_WAIT_S
from lichtmast.suite.errors import SuiteError


async def require_free(host: str, port: int, option: str, wait_s: float = PORT_WAIT_S) -> None:
    """Wait until nobody listens on the TCP port: a predecessor that was killed has it a moment longer.

    Raises SuiteError where somebody keeps it. What else may be wrong with it, its user says best.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    while True:
        try:
            socket.create_server((host, port), family=socket.AF_INET6).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return
            if loop.time() >= until_s:
                raise SuiteError(
                    f"cannot listen on TCP [{host}]:{port}: stop the server that has it, or set another port "
                    f"with {option}"
                ) from error
            await asyncio.sleep(0.05)
        else:
            return
