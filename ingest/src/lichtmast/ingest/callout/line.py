"""A connection to the broker that subscribes and publishes: the part of the NATS client protocol that we need.

`Protocol` is the sans-IO half (bytes in, messages and answers out), `Line` the shell. Neither reconnects: whoever
uses a line opens a new one, because what was on its way is lost with the old one.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from lichtmast.ingest.callout import limits
from lichtmast.ingest.errors import BrokerError

_READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """What came on a subscription. `reply` is empty where nobody waits for an answer."""

    subject: bytes
    reply: bytes
    payload: bytes


class Protocol:
    """Takes bytes of the server apart. Raises BrokerError for what is no NATS protocol or breaks a limit."""

    __slots__ = ("_buffer", "_message", "_payload_bytes", "greeting", "pongs")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message: tuple[bytes, bytes] | None = None
        self._payload_bytes = 0
        self.greeting: dict[str, object] | None = None
        self.pongs = 0

    def feed(self, received: bytes) -> tuple[list[Message], int]:
        """Messages that are whole now, and how many PINGs want an answer."""
        try:
            return self._taken_apart(received)
        except ValueError as error:
            raise BrokerError("the server's bytes are no NATS protocol") from error

    def _taken_apart(self, received: bytes) -> tuple[list[Message], int]:
        buffer = self._buffer
        buffer += received
        messages: list[Message] = []
        pings = at = 0
        while True:
            if self._message is not None:
                end = at + self._payload_bytes
                if len(buffer) < end + 2:
                    break
                messages.append(Message(*self._message, bytes(buffer[at:end])))
                self._message = None
                at = end + 2
            end = buffer.find(b"\r\n", at)
            if end < 0:
                if len(buffer) - at > limits.LINE_BYTES_MAX:
                    raise BrokerError("a line of the server is too long")
                break
            pings += self._take(bytes(buffer[at:end]))
            at = end + 2
        del buffer[:at]
        return messages, pings

    def _take(self, line: bytes) -> bool:
        """Note what a line says; True for a PING."""
        verb, _, rest = line.partition(b" ")
        if verb == b"MSG":
            subject, _, *reply, size = rest.split(b" ")
            self._message = subject, reply[0] if reply else b""
            self._payload_bytes = int(size)
            if not 0 <= self._payload_bytes <= limits.ANSWER_BYTES_MAX:
                raise BrokerError(f"a message of {self._payload_bytes} bytes is too large")
        elif verb == b"INFO":
            self.greeting = json.loads(rest)
        elif verb == b"PONG":
            self.pongs += 1
        elif verb == b"-ERR":
            raise BrokerError(f"the server says {rest.decode('ascii', 'replace')}")
        return verb == b"PING"


class Line:
    """An open connection. Get one with `async with open_line(...)`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = Protocol()
        self._inbox = f"_INBOX.{secrets.token_hex(12)}"
        self.server_id = ""

    def subscribe(self, subject: str) -> None:
        """Hear what is published there."""
        self._writer.write(b"SUB %b 1\r\n" % subject.encode("ascii"))

    def publish(self, subject: bytes, payload: bytes) -> None:
        """Send one message, an answer for example."""
        self._writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload))

    def order(self, subject: str, payloads: Iterable[bytes]) -> None:
        """Requests whose answers nobody reads. The server's own services do nothing for a message without a reply."""
        self._writer.write(b"".join(_request(subject, b"_INBOX.unread", payload) for payload in payloads))

    async def request(self, subject: str, payload: bytes) -> bytes:
        """Ask and wait for one answer. For lines that hear nothing else. Raises TimeoutError."""
        inbox = f"{self._inbox}.{secrets.token_hex(8)}".encode("ascii")
        self._writer.write(_request(subject, inbox, payload))
        async with asyncio.timeout(limits.REQUEST_TIMEOUT_S):
            async for portion in self.messages():
                for message in portion:
                    if message.subject == inbox:
                        return message.payload
        raise ConnectionResetError

    async def messages(self) -> AsyncIterator[list[Message]]:
        """What comes, in the portions it comes in. Raises OSError when the connection ends."""
        while True:
            yield self._feed(await self._read())

    async def _read(self) -> bytes:
        received = await self._reader.read(_READ_BYTES)
        if not received:
            raise ConnectionResetError("the broker closed the connection")
        return received

    def _feed(self, received: bytes) -> list[Message]:
        messages, pings = self._protocol.feed(received)
        self._writer.write(b"PONG\r\n" * pings)
        return messages

    async def sign_in(self, user: str, password: str) -> None:
        """The opening: the server's greeting, our CONNECT, and the proof that both have been taken."""
        await self._until(lambda protocol: protocol.greeting is not None)
        self.server_id = str((self._protocol.greeting or {}).get("server_id", ""))
        login = {"verbose": False, "pedantic": False, "user": user, "pass": password, "lang": "python"}
        inbox = self._inbox.encode()
        self._writer.write(b"CONNECT %b\r\nSUB %b.* 2\r\nPING\r\n" % (json.dumps(login).encode(), inbox))
        await self._until(lambda protocol: protocol.pongs > 0)

    async def _until(self, reached: Callable[[Protocol], bool]) -> None:
        while not reached(self._protocol):
            self._feed(await self._read())


def _request(subject: str, reply: bytes, payload: bytes) -> bytes:
    return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode("ascii"), reply, len(payload), payload)


@asynccontextmanager
async def open_line(host: str, port: int, user: str, password: str) -> AsyncIterator[Line]:
    """Connect and sign in. Raises OSError where nobody answers in time, BrokerError where the server refuses."""
    reader, writer = await asyncio.open_connection(host, port)
    line = Line(reader, writer)
    try:
        async with asyncio.timeout(limits.REQUEST_TIMEOUT_S):
            await line.sign_in(user, password)
        yield line
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
