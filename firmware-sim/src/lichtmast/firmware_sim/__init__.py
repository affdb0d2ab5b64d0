"""Virtual devices and towns that speak real MQTT and CoAP over real IPv6.

`hang_devices` puts devices on lampposts, `Town` lets them live and deliver, its `ledger()` says what was sent and what
became of it. `VirtualDevice` is the core without sockets, for tests in virtual time.
"""

from lichtmast.firmware_sim.curves import CurveError, Curves
from lichtmast.firmware_sim.device import DeviceSpec, SpecError, Transport, VirtualDevice
from lichtmast.firmware_sim.ledger import DeviceLedger, Ledger, Statistics, Tally
from lichtmast.firmware_sim.outbox import Outbox
from lichtmast.firmware_sim.placing import hang_devices
from lichtmast.firmware_sim.town import Town, TownError

__all__ = [
    "CurveError",
    "Curves",
    "DeviceLedger",
    "DeviceSpec",
    "Ledger",
    "Outbox",
    "SpecError",
    "Statistics",
    "Tally",
    "Town",
    "TownError",
    "Transport",
    "VirtualDevice",
    "hang_devices",
]
