"""The few packets of MQTT 3.1.1 that a light device speaks, as bytes; what it hears is read strictly.

A light device connects with a clean session, subscribes to one topic at QoS 0 and publishes at QoS 1. Whatever else a
broker may send (QoS 2, packets of a server to come) is a fault of this conversation, and ends it.

Will not do I/O: bytes in, packets out.
"""

from dataclasses import dataclass
from typing import Final

from lichtmast.firmware_sim.limits import MQTT_PACKET_BYTES_MAX

PINGREQ: Final = b"\xc0\x00"
DISCONNECT: Final = b"\xe0\x00"

_CONNACK: Final = 0x20
_PUBLISH: Final = 3
_PUBACK: Final = 0x40
_SUBACK: Final = 0x90
_PINGRESP: Final = 0xD0
_LENGTH_BYTES_MAX: Final = 4
_TWO: Final = 2
_CLEAN_SESSION: Final = 0x02


class MqttFault(Exception):  # noqa: N818 - a fault of the peer, not an error of this program
    """The other side broke MQTT 3.1.1, refused, or fell silent; the text says how."""


@dataclass(frozen=True, slots=True)
class Connack:
    """CONNECT is answered; code 0 is welcome (section 3.2)."""

    code: int


@dataclass(frozen=True, slots=True)
class Suback:
    """SUBSCRIBE is answered; code 0x80 is a refusal (section 3.9)."""

    identifier: int
    code: int


@dataclass(frozen=True, slots=True)
class Puback:
    """The broker has the message (section 3.4)."""

    identifier: int


@dataclass(frozen=True, slots=True)
class Publish:
    """A message at QoS 0 (section 3.3)."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Pingresp:
    """The broker lives (section 3.13)."""


Packet = Connack | Suback | Puback | Publish | Pingresp


def connect(client_id: str, keepalive_s: int) -> bytes:
    """CONNECT with a clean session (section 3.1)."""
    body = _text("MQTT") + bytes((4, _CLEAN_SESSION)) + keepalive_s.to_bytes(2, "big") + _text(client_id)
    return _packet(0x10, body)


def subscribe(topic: str, identifier: int) -> bytes:
    """SUBSCRIBE to one topic at QoS 0 (section 3.8)."""
    return _packet(0x82, identifier.to_bytes(2, "big") + _text(topic) + b"\x00")


def publish(topic: str, payload: bytes, identifier: int) -> bytes:
    """PUBLISH at QoS 1 (section 3.3)."""
    return _packet(0x32, _text(topic) + identifier.to_bytes(2, "big") + payload)


class Parser:
    """The broker's bytes as packets, however they are cut."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are whole now. Raises MqttFault, and is of no use after it."""
        data = self._rest + data
        packets: list[Packet] = []
        at = 0
        while (found := _frame(data, at)) is not None:
            begin, end = found
            packets.append(_read(data[at], data[begin:end]))
            at = end
        self._rest = data[at:]
        return packets


def _frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` lies; None where it is not whole yet (section 2.2)."""
    length = 0
    for place in range(_LENGTH_BYTES_MAX):
        where = at + 1 + place
        if where >= len(data):
            return None
        byte = data[where]
        length |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            if place and not byte:
                raise MqttFault("remaining length is not in its shortest form")
            if length > MQTT_PACKET_BYTES_MAX:
                raise MqttFault(f"a packet of {length} bytes; at most {MQTT_PACKET_BYTES_MAX} are read")
            return (where + 1, where + 1 + length) if where + 1 + length <= len(data) else None
    raise MqttFault("remaining length has more than four bytes")


def _read(header: int, body: bytes) -> Packet:
    if header == _PUBACK and len(body) == _TWO:
        return Puback(int.from_bytes(body, "big"))
    if header >> 4 == _PUBLISH:
        return _read_publish(header, body)
    if header == _CONNACK and len(body) == _TWO and body[0] <= 1:
        return Connack(body[1])
    if header == _SUBACK and len(body) == _TWO + 1:
        return Suback(int.from_bytes(body[:2], "big"), body[2])
    if header == _PINGRESP and not body:
        return Pingresp()
    raise MqttFault(f"a packet that starts with 0x{header:02x} and has {len(body)} bytes is not expected here")


def _read_publish(header: int, body: bytes) -> Publish:
    if header & 0x0E:
        raise MqttFault(f"PUBLISH with flags 0x{header & 0x0F:x}; the subscription is at QoS 0")
    size = int.from_bytes(body[:2], "big")
    if len(body) < _TWO + size or not size:
        raise MqttFault("PUBLISH without a whole topic")
    try:
        return Publish(body[2 : 2 + size].decode(), body[2 + size :])
    except UnicodeDecodeError as error:
        raise MqttFault("PUBLISH with a topic that is not UTF-8") from error


def _packet(header: int, body: bytes) -> bytes:
    length = len(body)
    head = bytearray((header,))
    while True:
        length, low = length >> 7, length & 0x7F
        head.append(low | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw
