"""The socket under the door: one port, IPv6 only, shared with nobody."""

import errno
import socket
import sys
from typing import Final

from lichtmast.ingest.coap.limits import RECEIVE_BUFFER_BYTES

_IPV6_MULTICAST_ALL: Final = 29
"""linux/in6.h; Python does not name it."""


class CoapDoorError(OSError):
    """The door cannot open; the message says what to change."""


def bind(host: str, port: int) -> socket.socket:
    """An IPv6-only socket that nobody shares: without SO_REUSEPORT a second server fails instead of stealing half."""
    bound = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        if sys.platform == "linux":
            # RFC 7252 section 8: we answer no group. The kernel drops what was sent to one, before it costs anything.
            bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        bound.settimeout(0)
        bound.bind(socket.getaddrinfo(host, port, bound.family, bound.type, 0, socket.AI_NUMERICHOST)[0][4])
    except OSError as error:
        bound.close()
        next_step = "stop the server that has it, or set another port"
        if error.errno != errno.EADDRINUSE:
            next_step = "set host to an address of this machine, with the zone it has here"
        raise CoapDoorError(f"cannot bind UDP [{host}]:{port}: {next_step}") from error
    return bound
