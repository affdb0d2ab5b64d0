"""Virtual devices and towns that speak real MQTT and CoAP over real IPv6.

`hang_devices` puts devices on lampposts, `Town` lets them live and deliver, its `ledger()` says what was sent and what
became of it. `VirtualDevice` is the core without sockets, for tests in virtual time.

Each name is imported when it is first used (PEP 562): pytest imports this package in every run, for its plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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

_WORDS_OF: Final = {
    "curves": ("CurveError", "Curves"),
    "device": ("DeviceSpec", "SpecError", "Transport", "VirtualDevice"),
    "ledger": ("DeviceLedger", "Ledger", "Statistics", "Tally"),
    "outbox": ("Outbox",),
    "placing": ("hang_devices",),
    "town": ("Town", "TownError"),
}


def __getattr__(name: str) -> object:
    """The name, from the module that has it."""
    for module, words in _WORDS_OF.items():
        if name in words:
            found: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
