"""Ports for servers that are killed and started again in the same place, so that port 0 will not do."""

import contextlib
import secrets
import socket

LOWEST, BEHIND_HIGHEST = 20_000, 32_768
"""Below what the system gives to those who dial (ip_local_port_range of Linux). A device that dials again and again
while nobody listens is else given that very port at some time, and talks to itself."""


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of ::1 that nobody uses now."""
    while True:
        port = LOWEST + secrets.randbelow(BEHIND_HIGHEST - LOWEST)
        with socket.socket(socket.AF_INET6, kind) as probe, contextlib.suppress(OSError):
            probe.bind(("::1", port))
            return port
