"""Chips on I²C: one module each, pure but for the link that they talk through.

A chip has `channels` and `measure(link)`. It keeps nothing but its calibration, and after every failure a new one is
made, because a chip that lost its supply has forgotten how it was set up.
"""

from typing import Protocol

from lichtmast.edge.drivers.port import Channel

__all__ = ["Chip", "Link"]


class Link(Protocol):
    """The bus as one chip sees it. All calls raise DriverError where the chip does not answer."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, count: int) -> bytes:
        """Receive bytes."""

    def read_register(self, register: int, count: int) -> bytes:
        """Send a register's number and receive bytes without letting go of the bus (repeated start)."""

    def wait(self, seconds: float) -> None:
        """Give the chip time to measure."""


class Chip(Protocol):
    """One kind of chip, for as long as its bus is open. The addresses that it can have belong to its class."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What it measures."""

    def measure(self, link: Link) -> dict[str, float]:
        """One measurement of every channel. Raises DriverError where the chip's answer cannot be right."""
