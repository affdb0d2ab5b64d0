"""Drivers: what measures and moves. The port, loading by kind, and a thread for each so that none can stop another."""

from lichtmast.edge.drivers.errors import DriverError
from lichtmast.edge.drivers.loading import build_driver
from lichtmast.edge.drivers.port import GROUP, Channel, Driver, DriverContext, Factory, Identifiers, Value
from lichtmast.edge.drivers.worker import Worker, WorkerStatistics

__all__ = [
    "GROUP",
    "Channel",
    "Driver",
    "DriverContext",
    "DriverError",
    "Factory",
    "Identifiers",
    "Value",
    "Worker",
    "WorkerStatistics",
    "build_driver",
]
