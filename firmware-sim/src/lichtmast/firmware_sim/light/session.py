"""One MQTT connection of a light device, from CONNECT to its end, without a socket or a clock.

Bytes and moments in; bytes to send, and what happened, out. One message at QoS 1 is in flight at a time.
"""

from enum import Enum, unique
from typing import Final

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.light import mqtt

_SUBSCRIBE_ID: Final = 1
_IDENTIFIERS: Final = 65_535


@unique
class Happened(Enum):
    """What the broker's bytes meant to the device."""

    READY = "ready"
    PUBLISHED = "published"


class Session:
    """Connected or not yet; a session that raised MqttFault is over."""

    __slots__ = (
        "_heard_at_s",
        "_identifier",
        "_parser",
        "_pinged_at_s",
        "_published_at_s",
        "_sent_at_s",
        "_topic",
        "ready",
    )

    def __init__(self, ack_topic: str, now_s: float) -> None:
        self._topic = ack_topic
        self._parser = mqtt.Parser()
        self._identifier = _SUBSCRIBE_ID
        self._sent_at_s = now_s
        self._heard_at_s = now_s
        self._published_at_s: float | None = None
        self._pinged_at_s: float | None = None
        self.ready = False

    @property
    def may_publish(self) -> bool:
        """Whether the next message may go."""
        return self.ready and self._published_at_s is None

    def publish(self, topic: str, payload: bytes, now_s: float) -> bytes:
        """The bytes of a message; the session is busy until the broker has it."""
        self._identifier = self._identifier % _IDENTIFIERS + 1
        self._published_at_s = self._sent_at_s = now_s
        return mqtt.publish(topic, payload, self._identifier)

    def heard(self, data: bytes, now_s: float) -> tuple[bytes, list[Happened | bytes]]:
        """Bytes to send now, and what happened in order; an acknowledgement is its payload. Raises MqttFault."""
        reply = b""
        happened: list[Happened | bytes] = []
        self._heard_at_s = now_s
        for packet in self._parser.feed(data):
            match packet:
                case mqtt.Puback(identifier):
                    if self._published_at_s is None or identifier != self._identifier:
                        raise mqtt.MqttFault(f"PUBACK {identifier} for what is not in flight")
                    self._published_at_s = None
                    happened.append(Happened.PUBLISHED)
                case mqtt.Publish(topic, payload):
                    if topic == self._topic:
                        happened.append(payload)
                case mqtt.Connack(code):
                    if code or self.ready:
                        raise mqtt.MqttFault(f"CONNACK with code {code}")
                    self._sent_at_s = now_s
                    reply += mqtt.subscribe(self._topic, _SUBSCRIBE_ID)
                case mqtt.Suback(identifier, code):
                    if code or identifier != _SUBSCRIBE_ID or self.ready:
                        raise mqtt.MqttFault(f"SUBACK {identifier} with code 0x{code:02x}")
                    self.ready = True
                    happened.append(Happened.READY)
                case mqtt.Pingresp():
                    self._pinged_at_s = None
        return reply, happened

    def tick(self, now_s: float) -> bytes:
        """What the time asks for: nothing, or a PINGREQ. Raises MqttFault where the broker fell silent."""
        for what, since_s in (("PUBLISH", self._published_at_s), ("PINGREQ", self._pinged_at_s)):
            if since_s is not None and now_s - max(since_s, self._heard_at_s) >= limits.MQTT_TIMEOUT_S:
                raise mqtt.MqttFault(f"no answer to {what} for {limits.MQTT_TIMEOUT_S:.0f} s")
        if self.ready and self._pinged_at_s is None and now_s - self._sent_at_s >= limits.MQTT_KEEPALIVE_S:
            self._pinged_at_s = self._sent_at_s = now_s
            return mqtt.PINGREQ
        return b""

    def wake_at_s(self) -> float:
        """When `tick` has something to do next."""
        waiting = [one for one in (self._published_at_s, self._pinged_at_s) if one is not None]
        times = [max(one, self._heard_at_s) + limits.MQTT_TIMEOUT_S for one in waiting]
        return (
            min(*times, self._sent_at_s + limits.MQTT_KEEPALIVE_S)
            if times
            else self._sent_at_s + limits.MQTT_KEEPALIVE_S
        )
