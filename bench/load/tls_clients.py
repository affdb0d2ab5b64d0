"""Devices that connect by MQTT over TLS 1.3, thousands in one process: handshake, CONNECT, CONNACK, then listening."""

import socket
import ssl
import time
from collections.abc import Iterable
from enum import Enum

from bench.load.mqtt import ACCEPTED, connect_packet
from bench.load.town import Town, device
from bench.load.watch import LOOK_S, Watch

DIAL_S = 10.0
"""For the connection, and the same for the handshake: as `lichtmast-edge` has it (`MQTT_CONNECT_S`)."""
CONNACK_S = 20.0


class State(Enum):
    """How far a client is."""

    CLOSED = 0
    DIALLING = 1
    SHAKING = 2
    ASKING = 3
    OPEN = 4


class TlsClient:
    """One device. `closed_s` is when its connection was seen to end, `trouble` why the last one did."""

    def __init__(self, number: int, town: Town, port: int, watch: Watch) -> None:
        self.number = number
        self.state = State.CLOSED
        self.closed_s = 0.0
        self.trouble = ""
        self._hello = connect_packet(device(number).urn)
        self._context = town.tls(number)
        self._port = port
        self._watch = watch
        self._socket: socket.socket | ssl.SSLSocket
        self._late_s = 0.0

    def dial(self) -> None:
        """Begin a connection."""
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._socket.setblocking(False)  # noqa: FBT003 - the socket API
        self._socket.connect_ex(("::1", self._port))
        self.state, self.trouble = State.DIALLING, ""
        self._late_s = time.monotonic() + DIAL_S
        self._watch.add(self._socket.fileno(), self._go_on, writing=True)

    def close(self, trouble: str = "") -> None:
        """End it."""
        if self.state is not State.CLOSED:
            self.state, self.trouble, self.closed_s = State.CLOSED, trouble, time.monotonic()
            self._watch.drop(self._socket.fileno())
            self._socket.close()

    def close_if_late(self, now_s: float) -> None:
        """Give up a connection that takes too long, as the agent does."""
        if self.state not in {State.CLOSED, State.OPEN} and now_s > self._late_s:
            self.close(f"timeout {self.state.name}")

    def _go_on(self) -> None:
        try:
            if self.state is State.DIALLING:
                self._begin()
            if self.state is State.SHAKING:
                self._shake()
            elif self.state is State.ASKING:
                self._hear_connack()
            elif not self._socket.recv(4096):
                self.close("ended")
        except ssl.SSLWantReadError:
            self._watch.want(self._socket.fileno(), writing=False)
        except ssl.SSLWantWriteError:
            self._watch.want(self._socket.fileno(), writing=True)
        except OSError as error:
            self.close(type(error).__name__)

    def _begin(self) -> None:
        failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, "connect")
        self._socket = self._context.wrap_socket(self._socket, server_hostname="::1", do_handshake_on_connect=False)
        self.state, self._late_s = State.SHAKING, time.monotonic() + DIAL_S

    def _shake(self) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        self._socket.do_handshake()
        self._socket.send(self._hello)
        self.state, self._late_s = State.ASKING, time.monotonic() + CONNACK_S
        self._watch.want(self._socket.fileno(), writing=False)

    def _hear_connack(self) -> None:
        told = self._socket.recv(4)
        if told == ACCEPTED:
            self.state = State.OPEN
        else:
            self.close(f"refused {told.hex()}")


def connect_all(clients: Iterable[TlsClient], watch: Watch, at_once: int) -> dict[str, int]:
    """Connect all, never more than so many at one time; how often each trouble came, where it did."""
    waiting = list(clients)
    busy: list[TlsClient] = []
    troubles: dict[str, int] = {}
    while waiting or busy:
        while waiting and len(busy) < at_once:
            busy.append(waiting.pop())
            busy[-1].dial()
        now_s = time.monotonic()
        while time.monotonic() < now_s + LOOK_S:
            watch.step(LOOK_S)
        going_on = []
        for client in busy:
            client.close_if_late(now_s)
            if client.state is State.CLOSED:
                troubles[client.trouble] = troubles.get(client.trouble, 0) + 1
            elif client.state is not State.OPEN:
                going_on.append(client)
        busy = going_on
    return troubles
