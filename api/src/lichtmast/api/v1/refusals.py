"""Which devices were refused lately, at which door and why: for whoever asks why a device does not speak.

In memory and bounded: the doors count and log for good. Safe to use from several threads.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lichtmast.api import limits
from lichtmast.wire.identity import DeviceId


@dataclass(frozen=True, slots=True)
class SeenRefusal:
    """Why a device was refused at a door, how often, and when last."""

    door: str
    reason: str
    count: int
    last_us: int


class RefusalBook:
    """What the doors tell. Remembers the newest; one device cannot push out more than its own reasons."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[DeviceId | None, dict[tuple[str, str], SeenRefusal]] = OrderedDict()

    def note(self, device: DeviceId | None, door: str, reason: str, at_us: int) -> None:
        """One refusal; `device` is whom the certificate names, None where it names none. Doors and reasons are few."""
        with self._lock:
            of_device = self._seen.setdefault(device, {})
            seen = of_device.get((door, reason), SeenRefusal(door, reason, 0, at_us))
            of_device[door, reason] = replace(seen, count=seen.count + 1, last_us=at_us)
            self._seen.move_to_end(device)
            if len(self._seen) > limits.REFUSED_DEVICES_KEPT_MAX:
                self._seen.popitem(last=False)

    def of(self, device: DeviceId | None) -> Sequence[SeenRefusal]:
        """The refusals of a device, newest first."""
        with self._lock:
            return sorted(self._seen.get(device, {}).values(), key=lambda one: -one.last_us)
