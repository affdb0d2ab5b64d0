"""A tap on the wire of one agent: what it sends and what it is told, taken down outside of what the test kills."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from lichtmast.firmware_sim.history import Entry, digest
from lichtmast.wire import decode, topics
from lichtmast.wire.acknowledgement import decode_acknowledgement
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.senml import Pack, sniff
from lichtmast.wire.twin import Answer, Event, State, decode_event, decode_state


class Tap:
    """A relay on ::1 before the broker that takes down every pack and every acknowledgement which passes.

    `open` false refuses everybody; `swallow` keeps packs from the broker, while commands and events still pass.
    """

    def __init__(self, device: DeviceId, broker_port: int) -> None:
        self.open = True
        self.swallow = False
        self.entries: list[Entry] = []
        self.packs: dict[tuple[int, int], Pack] = {}
        self.acked: set[tuple[int, int]] = set()
        self.dropped: set[tuple[int, int]] = set()
        self.repeated = 0
        self.events: list[Event | Answer] = []
        self.states: list[State] = []
        self._device = device
        self._broker_port = broker_port
        self._lock = threading.Lock()
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._door = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._accept, name="tap", daemon=True).start()

    def cut(self) -> None:
        """Break every connection and let nobody in."""
        self.open = False
        with self._lock:
            links, self._links = self._links, []
        for one in links:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.cut()
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for one in self._threads:
            one.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._door.accept()
                if not self.open:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("::1", self._broker_port), timeout=5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._lock:
                    self._links += [near, far]
                for source, sink, hear in ((near, far, self._hear_up), (far, near, self._hear_down)):
                    thread = threading.Thread(target=_pump, args=(source, sink, hear), name="tap", daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _hear_up(self, topic: str, payload: bytes) -> bool:
        """Whether the packet may pass."""
        if topic == topics.state_topic(self._device):
            self.states.append(decode_state(payload))
        elif topic == topics.ev_topic(self._device):
            self.events.append(decode_event(payload))
        if topic != topics.up_topic(self._device):
            return True
        if self.swallow:
            return False
        now_us = time.time_ns() // 1_000
        pack = decode(payload, sniff(payload), now_us)
        assert pack.epoch is not None
        assert pack.seq is not None
        key = pack.epoch, pack.seq
        with self._lock:
            is_first = key not in self.packs
            self.repeated += not is_first
            self.packs.setdefault(key, pack)
            told = payload if is_first else b""
            self.entries.append(Entry("attempt", self._device, *key, digest(payload), now_us, told))
            for first, last in pack.dropped:
                for seq in range(first, last + 1):
                    if (pack.epoch, seq) not in self.dropped:
                        self.dropped.add((pack.epoch, seq))
                        self.entries.append(Entry("dropped", self._device, pack.epoch, seq, "", now_us))
        return True

    def _hear_down(self, topic: str, payload: bytes) -> bool:
        if topic == topics.ack_topic(self._device):
            ack = decode_acknowledgement(payload)
            with self._lock:
                for key in self.packs.keys() - self.acked:
                    if key[0] == ack.epoch and ack.covers(key[1]):
                        self.acked.add(key)
                        self.entries.append(Entry("ack", self._device, *key, "", time.time_ns() // 1_000))
        return True

    def seqs(self, epoch: int) -> set[int]:
        """The numbers of this epoch that were sent."""
        with self._lock:
            return {seq for one, seq in self.packs if one == epoch}


def _pump(source: socket.socket, sink: socket.socket, hear: Callable[[str, bytes], bool]) -> None:
    """Carry whole MQTT packets (3.1.1, section 2) from one socket to the other; both end together."""
    rest = b""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            rest += data
            while (size := _packet_bytes(rest)) is not None:
                packet, rest = rest[:size], rest[size:]
                if packet[0] >> 4 != 3 or hear(*_published(packet)):
                    sink.sendall(packet)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
    source.close()  # whoever still sends into it hears an OSError


def _packet_bytes(raw: bytes) -> int | None:
    """How long the first packet is; None while it is not whole."""
    length = 0
    for at, byte in enumerate(raw[1:5]):
        length |= (byte & 0x7F) << (7 * at)
        if not byte & 0x80:
            size = 2 + at + length
            return size if len(raw) >= size else None
    return None


def _published(packet: bytes) -> tuple[str, bytes]:
    at = 1 + next(number for number, byte in enumerate(packet[1:5], 1) if not byte & 0x80)
    size = int.from_bytes(packet[at : at + 2])
    topic = packet[at + 2 : at + 2 + size].decode()
    return topic, packet[at + 2 + size + (2 if packet[0] & 6 else 0) :]
