"""Telling systemd that the agent is ready and alive (sd_notify): a datagram on a socket, no library.

Alive means that the event loop turns, and with it measuring, rules and delivery, which end together when one fails. A
disk or a driver that hangs does not count: their threads hold up nobody, and a restart would not mend them.
"""

import asyncio
import socket
from dataclasses import dataclass
from typing import Never, Self

from lichtmast.edge.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Where systemd listens, and how often it wants to hear; without an address nothing is said."""

    address: str
    patience_s: float | None

    @classmethod
    def of(cls, notify_socket: str, watchdog_usec: str) -> Self:
        """From NOTIFY_SOCKET and WATCHDOG_USEC (sd_notify(3)), empty without systemd. Raises SettingsError."""
        address = f"\0{notify_socket[1:]}" if notify_socket.startswith("@") else notify_socket
        if not watchdog_usec:
            return cls(address, None)
        if not watchdog_usec.isdecimal() or not int(watchdog_usec):
            raise SettingsError(f"WATCHDOG_USEC is {watchdog_usec!r}, which is no number of microseconds")
        return cls(address, int(watchdog_usec) / 1e6)

    def say(self, state: str) -> None:
        """Send `READY=1` or `STOPPING=1`; a systemd that does not listen is no fault of ours."""
        if not self.address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify:
            try:
                notify.sendto(state.encode(), self.address)
            except OSError:
                return

    async def run(self) -> Never:
        """Say `WATCHDOG=1` thrice within its patience, until cancelled."""
        if self.patience_s is None:
            await asyncio.Event().wait()
        while True:
            self.say("WATCHDOG=1")
            await asyncio.sleep((self.patience_s or 0) / 3)
