"""Topics and subjects: the same names in MQTT (slashes) and in the log (dots).

DESIGN section 2: MQTT topic `lm/{tenant}/{device}/up` is log subject `lm.{tenant}.{device}.up`.
"""

from typing import Final

from lichtmast.wire.identity import DeviceId, IdentityError

READINGS_STREAM: Final = "READINGS"
READINGS_SUBJECT: Final = "lm.*.*.up"
OBSERVATIONS_STREAM: Final = "OBSERVATIONS"
OBSERVATIONS_SUBJECT: Final = "lm-observations"

EVENTS_STREAM: Final = "EVENTS"
EVENTS_SUBJECTS: Final = ("lm.*.*.ev", "lm.*.*.state")

COAP_DOOR_SUBJECT: Final = "lm.door.coap.up"
"""Envelopes of the CoAP door. `door` is no tenant, so no device can ever own this subject."""
REPLAY_SUBJECT: Final = "lm.door.replay.up"
"""Orders about the quarantine (`lichtmast.wire.replay`): part of the log's one order, like any pack."""


def up_topic(device: DeviceId) -> str:
    """Where the device publishes packs over MQTT."""
    return f"lm/{device.tenant}/{device.device}/up"


def up_subject(device: DeviceId) -> str:
    """The log subject of the device's packs."""
    return f"lm.{device.tenant}.{device.device}.up"


def ack_topic(device: DeviceId) -> str:
    """Where the device hears cumulative acknowledgements over MQTT."""
    return f"lm/{device.tenant}/{device.device}/ack"


def ack_subject(device: DeviceId) -> str:
    """The subject of the device's acknowledgements."""
    return f"lm.{device.tenant}.{device.device}.ack"


def ack_subject_of(name: str) -> str:
    """The same for `tenant/device` as text that is known to be valid."""
    return f"lm.{name.replace('/', '.')}.ack"


def cfg_topic(device: DeviceId) -> str:
    """Where the device hears its desired configuration: retained, QoS 1."""
    return f"lm/{device.tenant}/{device.device}/cfg"


def cmd_topic(device: DeviceId) -> str:
    """Where the device hears commands: QoS 1, never retained."""
    return f"lm/{device.tenant}/{device.device}/cmd"


def state_topic(device: DeviceId) -> str:
    """Where the device reports its state: retained, QoS 1."""
    return f"lm/{device.tenant}/{device.device}/state"


def ev_topic(device: DeviceId) -> str:
    """Where the device reports events: QoS 1."""
    return f"lm/{device.tenant}/{device.device}/ev"


def state_subject(device: DeviceId) -> str:
    """The log subject of the device's states."""
    return f"lm.{device.tenant}.{device.device}.state"


def ev_subject(device: DeviceId) -> str:
    """The log subject of the device's events."""
    return f"lm.{device.tenant}.{device.device}.ev"


def device_of_subject(subject: str) -> DeviceId:
    """The device that owns an `up` subject. Raises IdentityError where the subject has no valid device."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[0] != "lm" or parts[3] != "up":  # noqa: PLR2004 - lm, tenant, device, up
        raise IdentityError(f"subject {subject[:100]!r} is not lm.TENANT.DEVICE.up")
    return DeviceId(parts[1], parts[2])
