"""What each device sends over MQTT, by the server's own counts, and who has to pause. Sans-IO.

MQTT 3.1.1 has no way to tell a client to slow down, and the server no limit for one client. So a device that sends more
than its allowance is disconnected and kept out for a while, for longer each time. What the log took from it stays: the
pause costs it nothing but time, since what was not acknowledged is still in its outbox.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lichtmast.ingest.callout import limits
from lichtmast.ingest.callout.sessions import Traffic
from lichtmast.wire import DeviceId

_NOTHING: Final = Traffic(0, 0)


@dataclass(frozen=True, slots=True)
class Pause:
    """A device is kept out until `until_s`, for `length_s`."""

    until_s: float
    length_s: float


@dataclass(slots=True)
class _Used:
    """How much of its allowance a device has used up; it comes back with time."""

    messages: float = 0.0
    size_bytes: float = 0.0

    def spend(self, before: Traffic, now: Traffic) -> None:
        self.messages += now.messages - before.messages
        self.size_bytes += now.size_bytes - before.size_bytes

    def recover(self, passed_s: float) -> None:
        self.messages = max(self.messages - passed_s * limits.DEVICE_MESSAGES_PER_S, 0.0)
        self.size_bytes = max(self.size_bytes - passed_s * limits.DEVICE_BYTES_PER_S, 0.0)

    @property
    def is_too_much(self) -> bool:
        return self.messages > limits.DEVICE_BURST_MESSAGES or self.size_bytes > limits.DEVICE_BURST_BYTES

    @property
    def is_whole(self) -> bool:
        return not (self.messages or self.size_bytes)


@dataclass(slots=True)
class Pace:
    """One for the whole server. Allowances are a device's, not a connection's: connecting anew brings none."""

    _looked_s: float
    _heard: dict[int, Traffic] = field(default_factory=dict)
    _used: dict[DeviceId, _Used] = field(default_factory=dict)
    _pauses: dict[DeviceId, Pause] = field(default_factory=dict)

    def begin(self) -> None:
        """The server was started anew, and counts anew."""
        self._heard.clear()

    def is_held(self, device: DeviceId, now_s: float) -> bool:
        """Whether this device has to pause now."""
        pause = self._pauses.get(device)
        return pause is not None and now_s < pause.until_s

    def look(
        self, listed: Mapping[int, Traffic], devices: Mapping[int, DeviceId], now_s: float
    ) -> dict[DeviceId, Pause]:
        """Take the server's present counts; the devices whose pause begins now."""
        used = self._used
        for number, traffic in listed.items():
            before = self._heard.get(number, _NOTHING)
            if traffic != before and (device := devices.get(number)) is not None:
                used.setdefault(device, _Used()).spend(before, traffic)
        for one in used.values():
            one.recover(now_s - self._looked_s)
        self._heard, self._looked_s = dict(listed), now_s
        begun = {device: self._pause(device, now_s) for device, one in used.items() if one.is_too_much}
        self._used = {device: one for device, one in used.items() if device not in begun and not one.is_whole}
        remembered = {device: one for device, one in self._pauses.items() if now_s < one.until_s + limits.HELD_MAX_S}
        self._pauses = remembered | begun
        return begun

    def _pause(self, device: DeviceId, now_s: float) -> Pause:
        before = self._pauses.get(device)
        if before is None or now_s >= before.until_s + limits.HELD_MAX_S:
            length_s = limits.HELD_S
        else:
            length_s = min(before.length_s * 2, limits.HELD_MAX_S)
        return Pause(now_s + length_s, length_s)
