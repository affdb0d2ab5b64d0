"""The load over MQTT: packs of a fleet, as fast as the broker takes them.

MQTT 3.1.1 written by hand, because a client library would take the core that is to be measured.
"""

import selectors
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Sequence

from lichtmast.wire import load_profiles

PROFILE = "air-quality"
READINGS = 6
IN_FLIGHT_MAX = 1_000
CHUNK = 250
ACCEPTED = b"\x20\x02\x00\x00"
_READ_BYTES = 65_536


def connect_packet(client: str) -> bytes:
    """CONNECT with clean session, no keep-alive (MQTT 3.1.1 section 3.1)."""
    body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(client)) + client.encode()
    return bytes([0x10, len(body)]) + body


def subscribe_packet(topic: str) -> bytes:
    """SUBSCRIBE with QoS 0 (section 3.8)."""
    body = struct.pack(">HH", 1, len(topic)) + topic.encode() + b"\x00"
    return bytes([0x82, len(body)]) + body


class Fleet:
    """Devices that send in turn, and the next number of each."""

    def __init__(self, devices: Iterable[int]) -> None:
        uplinks = load_profiles()[PROFILE].uplinks[:READINGS]
        tail = "".join(
            f',{{"n":"{one.suffix}","u":"{one.unit}","v":{_value(one.minimum, one.maximum, place)}}}'
            for place, one in enumerate(uplinks[1:], 1)
        )
        first = uplinks[0]
        numbers = list(devices)
        self.templates = [
            (
                f'[{{"bn":"urn:dev:lm:gm0402:lm-{number:05d}","bt":%b,"lm-epoch":1,"lm-seq":%d,'
                f'"n":"{first.suffix}","u":"{first.unit}","v":{_value(first.minimum, first.maximum, number)}}}{tail}]'
            ).encode()
            for number in numbers
        ]
        topics = [f"lm/gm0402/lm-{number:05d}/up".encode() for number in numbers]
        self.heads = [struct.pack(">H", len(topic)) + topic for topic in topics]
        self.sent = 0

    def publications(self, count: int) -> bytes:
        """The next packs of the fleet as PUBLISH packets, QoS 1 (section 3.3)."""
        now = b"%.3f" % time.time()
        parts = []
        heads, templates, devices = self.heads, self.templates, len(self.heads)
        for number in range(self.sent, self.sent + count):
            device = number % devices
            payload = templates[device] % (now, number // devices + 1)
            identifier = number % 65_535 + 1
            length = len(heads[device]) + 2 + len(payload)
            parts.append(
                b"\x32%c%c%b%c%c%b"
                % (length & 0x7F | 0x80, length >> 7, heads[device], identifier >> 8, identifier & 0xFF, payload)
            )
        self.sent += count
        return b"".join(parts)

    @property
    def example(self) -> bytes:
        """One pack, to be shown."""
        return self.templates[0] % (b"%.3f" % time.time(), 1)


def _value(minimum: float | None, maximum: float | None, salt: int) -> str:
    low, high = minimum or 0.0, 100.0 if maximum is None else maximum
    return f"{low + (high - low) * ((salt * 37 % 100) / 200):.6g}"


def connect(port: int, client: str, tls: ssl.SSLContext | None = None) -> socket.socket:
    """A connection that the broker has accepted."""
    connection = socket.create_connection(("::1", port))
    if tls is not None:
        connection = tls.wrap_socket(connection, server_hostname="::1")
    connection.sendall(connect_packet(client))
    if connection.recv(4) != ACCEPTED:
        raise SystemExit("the broker refused the load's connection")
    return connection


def send(
    lanes: Sequence[tuple[socket.socket, Fleet]], packs: int, in_flight_max: int = IN_FLIGHT_MAX, chunk: int = CHUNK
) -> None:
    """Publish so many packs over all connections, each with packs of its fleet, and wait for every PUBACK.

    No connection has more than `in_flight_max` unacknowledged. `chunk` of them are one write: with TLS, few records.
    """
    selector = selectors.DefaultSelector()
    fleets = dict(lanes)
    waiting: dict[socket.socket, memoryview] = {}
    in_flight: dict[socket.socket, int] = {}
    for connection, _ in lanes:
        connection.setblocking(False)  # noqa: FBT003 - the socket API
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        waiting[connection], in_flight[connection] = memoryview(b""), 0
    left, unacknowledged, rest = packs, packs, dict.fromkeys(waiting, 0)
    while unacknowledged:
        for key, events in selector.select(10):
            assert isinstance(key.fileobj, socket.socket)
            connection = key.fileobj
            if events & selectors.EVENT_READ:
                done, rest[connection] = divmod(_read(connection) + rest[connection], 4)
                in_flight[connection] -= done
                unacknowledged -= done
            if events & selectors.EVENT_WRITE and (waiting[connection] or left):
                if not waiting[connection] and in_flight[connection] <= in_flight_max - chunk:
                    count = min(chunk, left)
                    waiting[connection] = memoryview(fleets[connection].publications(count))
                    in_flight[connection] += count
                    left -= count
                if waiting[connection]:
                    waiting[connection] = _write(connection, waiting[connection])
            wanted = selectors.EVENT_READ
            if waiting[connection] or (left and in_flight[connection] <= in_flight_max - chunk):
                wanted |= selectors.EVENT_WRITE
            if key.events != wanted:
                selector.modify(connection, wanted)
    selector.close()


def _read(connection: socket.socket) -> int:
    """How many bytes came: all that TLS holds decrypted too, of which the kernel would not tell again."""
    came = 0
    try:
        while got := len(connection.recv(_READ_BYTES)):
            came += got
            if not isinstance(connection, ssl.SSLSocket):
                return came
    except ssl.SSLWantReadError:
        return came
    raise SystemExit("the broker closed a connection of the load")


def _write(connection: socket.socket, waiting: memoryview) -> memoryview:
    """Write what goes; what is left. TLS takes no more than a record at a time."""
    try:
        while waiting:
            waiting = waiting[connection.send(waiting) :]
            if not isinstance(connection, ssl.SSLSocket):
                break
    except ssl.SSLWantWriteError:
        pass
    return waiting
