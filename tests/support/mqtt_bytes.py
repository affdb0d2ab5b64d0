"""MQTT 3.1.1 packets as bytes, right and wrong ones: a client library would not send what must be refused."""

import struct


def length(count: int) -> bytes:
    """Remaining Length (section 2.2.3)."""
    out = b""
    while True:
        count, low = count >> 7, count & 0x7F
        out += bytes([low | (0x80 if count else 0)])
        if not count:
            return out


def packet(header: int, body: bytes) -> bytes:
    return bytes([header]) + length(len(body)) + body


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def connect(client: str = "probe", *, version: int = 4, will: tuple[str, bytes] | None = None) -> bytes:
    """CONNECT with clean session and a minute of keep-alive; `will` is (topic, payload) at QoS 1."""
    flags = 0x02 | (0x0E if will else 0)
    body = text("MQTT") + bytes([version, flags]) + b"\x00\x3c" + (b"\x00" if version == 5 else b"") + text(client)
    if will:
        body += text(will[0]) + text(will[1])
    return packet(0x10, body)


def publish(
    topic: str | bytes,
    payload: bytes,
    *,
    qos: int = 1,
    identifier: int = 1,
    duplicate: bool = False,
    retain: bool = False,
) -> bytes:
    header = 0x30 | duplicate << 3 | qos << 1 | retain
    return packet(header, text(topic) + (struct.pack(">H", identifier) if qos else b"") + payload)


def subscribe(topic: str | bytes, qos: int = 0) -> bytes:
    return packet(0x82, b"\x00\x01" + text(topic) + bytes([qos]))
