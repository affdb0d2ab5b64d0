"""Devices that shake hands with the CoAP door by DTLS 1.2, thousands in one process, each from a port of its own."""

import socket
import time
from collections.abc import Iterable

from bench.load.town import Town
from bench.load.watch import LOOK_S, Watch

from lichtmast.ingest.coap.dtls.testing import DtlsClient, client_context

REPEAT_S = 1.0
GIVE_UP_S = 30.0


class DtlsDevice:
    """One device. `closed_s` is when the server's goodbye was heard."""

    def __init__(self, number: int, town: Town, port: int, watch: Watch) -> None:
        self.number = number
        self.closed_s = 0.0
        self.repeated = 0
        self._context = client_context(town.root, town.credentials(number), town.credentials(number))
        self._port = port
        self._watch = watch
        self._socket: socket.socket | None = None
        self._begun_s = self._sent_s = 0.0
        self.client = DtlsClient(self._context)

    @property
    def failure(self) -> str:
        """Why there is no session, where that is certain."""
        return self.client.failure

    def dial(self) -> None:
        """Begin a session from a new port."""
        self.hang_up()
        self.client, self.closed_s = DtlsClient(self._context), 0.0
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 - the socket API
        self._socket.connect(("::1", self._port))
        self._watch.add(self._socket.fileno(), self._hear)
        self._begun_s = time.monotonic()
        self._send(self.client.start())

    def hang_up(self) -> None:
        """Say goodbye, where there is a session, and close the port."""
        if self._socket is not None:
            if self.client.is_open and not self.client.is_closed:
                self._send(self.client.close())
            self._watch.drop(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def repeat_if_late(self, now_s: float) -> None:
        """What got lost is sent again, as OpenSSL says."""
        if now_s - self._begun_s > GIVE_UP_S:
            self.client.failure = "timeout"
        elif now_s - self._sent_s > REPEAT_S:
            self.repeated += 1
            self._send(self.client.repeat())

    def _hear(self) -> None:
        assert self._socket is not None
        try:
            while True:
                self._send(self.client.receive(self._socket.recv(65_535)))
        except BlockingIOError:
            pass
        except OSError as error:  # ICMPv6: nobody is there
            self.client.failure = self.client.failure or type(error).__name__
        if not self.closed_s and (self.client.is_closed or self.client.failure):
            self.closed_s = time.monotonic()

    def _send(self, datagrams: list[bytes]) -> None:
        assert self._socket is not None
        for datagram in datagrams:
            self._socket.send(datagram)
        self._sent_s = time.monotonic()


def shake_all(devices: Iterable[DtlsDevice], watch: Watch, at_once: int) -> dict[str, int]:
    """Open a session of each, never more than so many handshakes at one time; how often each failure came."""
    waiting = list(devices)
    busy: list[DtlsDevice] = []
    failures: dict[str, int] = {}
    while waiting or busy:
        while waiting and len(busy) < at_once:
            busy.append(waiting.pop())
            busy[-1].dial()
        now_s = time.monotonic()
        while time.monotonic() < now_s + LOOK_S:
            watch.step(LOOK_S)
        going_on = []
        for one in busy:
            if one.failure:
                failures[one.failure] = failures.get(one.failure, 0) + 1
            elif not one.client.is_open:
                one.repeat_if_late(now_s)
                going_on.append(one)
        busy = going_on
    return failures
