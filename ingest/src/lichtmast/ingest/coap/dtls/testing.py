"""Parts for tests of whatever speaks to the door by DTLS: a client as a state machine, and one on a socket.

Ships with the package, as `coap.testing` does. Production code never imports it. The client is OpenSSL's, as the layer
is; that others agree is shown with libcoap's.
"""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from OpenSSL import SSL

from lichtmast.ingest.coap.dtls.handshake import written
from lichtmast.ingest.coap.dtls.limits import FLIGHT_BYTES_MAX

GCM: Final = b"ECDHE-ECDSA-AES128-GCM-SHA256"
CCM_8: Final = b"ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"
_DTLS_1_2: Final = 0xFEFD
_READ_BYTES: Final = 65_536


def client_context(
    trust: Path, certificate: Path | None, key: Path | None, *, suites: bytes = GCM, version: int = _DTLS_1_2
) -> SSL.Context:
    """What a device brings: whom it trusts, and who it is."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    context.set_cipher_list(suites)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.load_verify_locations(trust)
    context.set_verify(SSL.VERIFY_PEER)
    if certificate is not None and key is not None:
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key)
    return context


class DtlsClient:
    """One client connection without a socket. `failure` is OpenSSL's word for why it came to nothing."""

    def __init__(self, context: SSL.Context, *, mtu_bytes: int = FLIGHT_BYTES_MAX) -> None:
        self._mtu_bytes = mtu_bytes
        self.connection = SSL.Connection(context)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(mtu_bytes)
        self.is_open = False
        self.is_closed = False
        self.failure = ""
        self.messages: list[bytes] = []

    def start(self) -> list[bytes]:
        """The first ClientHello."""
        return self._go_on()

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take a datagram; the datagrams to send for it. Messages collect in `messages`."""
        self.connection.bio_write(datagram)
        return self._go_on()

    def repeat(self) -> list[bytes]:
        """The flight that is overdue, if one is."""
        with suppress(SSL.Error):
            self.connection.DTLSv1_handle_timeout()
        return written(self.connection, self._mtu_bytes)

    def seal(self, message: bytes) -> bytes:
        """A message as a datagram."""
        self.connection.send(message)
        return self.connection.bio_read(_READ_BYTES)

    def close(self) -> list[bytes]:
        """Say goodbye."""
        self.connection.shutdown()
        return written(self.connection, self._mtu_bytes)

    def _go_on(self) -> list[bytes]:
        try:
            if not self.is_open:
                self.connection.do_handshake()
                self.is_open = True
            while True:
                self.messages.append(self.connection.recv(_READ_BYTES))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.is_closed = True
        except SSL.Error as error:
            self.failure = error.args[0][-1][-1] if error.args and error.args[0] else type(error).__name__
        return written(self.connection, self._mtu_bytes)


class DtlsEndpoint:
    """A client on a UDP socket of ::1."""

    def __init__(self, port: int, context: SSL.Context, *, source_port: int = 0) -> None:
        self.client = DtlsClient(context)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._socket.bind(("::1", source_port))
        self._socket.connect(("::1", port))

    @property
    def port(self) -> int:
        """The port it speaks from."""
        port: int = self._socket.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.close()

    async def shake_hands(self) -> bool:
        """Go through the handshake; whether it succeeded."""
        self._send(self.client.start())
        while not (self.client.is_open or self.client.failure):
            await self.hear()
        return self.client.is_open

    async def ask(self, message: bytes) -> bytes:
        """Send a message, and wait for the next."""
        self.send(self.client.seal(message))
        return await self.receive()

    async def receive(self) -> bytes:
        """Wait for the next message. Raises ConnectionError where the session ends instead."""
        while not self.client.messages:
            if self.client.is_closed or self.client.failure:
                raise ConnectionError(self.client.failure or "closed")
            await self.hear()
        return self.client.messages.pop(0)

    async def wait_closed(self) -> None:
        """Wait for the server's goodbye."""
        while not self.client.is_closed:
            await self.hear()

    async def hear(self) -> None:
        """Wait for one datagram, and answer what OpenSSL answers."""
        async with asyncio.timeout(30):
            datagram = await asyncio.get_running_loop().sock_recv(self._socket, 65_535)
        self._send(self.client.receive(datagram))

    def send(self, datagram: bytes) -> None:
        """Send raw bytes."""
        self._socket.send(datagram)

    def _send(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self.send(datagram)
