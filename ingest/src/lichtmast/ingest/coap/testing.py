"""Parts for tests of whatever speaks to the door: a log in memory, an inspector by payload, a raw UDP endpoint.

Ships with the package, as trio's and structlog's test parts do. Production code never imports it.
"""

import asyncio
import socket
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from lichtmast.ingest.coap.core import Core
from lichtmast.ingest.coap.door import CoapDoor
from lichtmast.ingest.coap.inspection import Inspection
from lichtmast.ingest.coap.message import Message, Type, code, decode, encode
from lichtmast.ingest.coap.peers import Address
from lichtmast.ingest.coap.settings import CoapSettings
from lichtmast.wire.envelope import Enclosed, disclose
from lichtmast.wire.refusal import Refusal

SENDER: Final = "gm0402/lm-0001"
PACK: Final = b'[{"bn":"urn:dev:lm:gm0402:lm-0001:","bt":1790000000,"lm-epoch":1,"lm-seq":1,"n":"lux","v":3.5}]'
PEER: Final[Address] = ("::1", 40_001, 0, 0)
UP_OPTIONS: Final = ((11, b"up"), (12, b"\x6e"))
PING: Final = b"\x40\x00\xfe\xfe"
PONG: Final = b"\x70\x00\xfe\xfe"

REFUSED: Final = {
    b"": Inspection("", Refusal.EMPTY, "a pack has at least one record"),
    b"undecodable": Inspection("", Refusal.UNDECODABLE, "not JSON at byte 0; send a SenML array"),
    b"unknown name": Inspection(SENDER, Refusal.UNKNOWN_NAME, "no name x in profile weather; see its list of names"),
    b"stranger": Inspection("", Refusal.UNKNOWN_DEVICE, "gm0402/lm-9999 is not in the register"),
}
"""What `inspect` says of these payloads; all others are sound packs of SENDER."""


def inspect(payload: bytes, _content_format: int, sender: str = "") -> Inspection:
    """Stand in for the inspector of a running program: who is authenticated is believed."""
    found = REFUSED.get(payload, Inspection(SENDER, None, ""))
    return replace(found, sender=sender or found.sender)


def post(
    message_id: int,
    payload: bytes = PACK,
    *,
    options: tuple[tuple[int, bytes], ...] = UP_OPTIONS,
    method: str = "0.02",
    kind: Type = Type.CON,
    token: bytes = b"\x01\x02",
) -> bytes:
    """A request as bytes, by default a plain POST of a pack."""
    return encode(Message(kind, code(method), message_id, token, options, payload))


def read(answer: object) -> Message:
    """An answer that must be a well-formed message."""
    message = decode(answer) if isinstance(answer, bytes) else None
    if not isinstance(message, Message):
        raise AssertionError(f"not a message: {answer!r}")  # noqa: TRY004 - a test fails by assertion
    return message


def new_settings(**changes: Any) -> CoapSettings:  # noqa: ANN401 - passed on to a dataclass that checks them
    """Settings for a door on a free port of ::1."""
    return replace(CoapSettings(port=0), **changes)


def new_core(**changes: Any) -> Core:  # noqa: ANN401 - passed on to a dataclass that checks them
    """A core that leaves nothing to chance."""
    return Core(new_settings(**changes), inspect, b"k" * 32, lambda: 0.5)


class MemoryLog:
    """A log that keeps what is published, and can stand still (`flowing`) or fail (`failure`)."""

    def __init__(self) -> None:
        self.envelopes: list[list[Enclosed]] = []
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.entered = asyncio.Event()
        self.failure: BaseException | None = None

    @property
    def payloads(self) -> list[bytes]:
        """All packs that were published, in order."""
        return [pack.payload for envelope in self.envelopes for pack in envelope]

    async def publish(self, envelope: bytes) -> None:
        """Take one envelope, when `flowing`; raises `failure` where there is one."""
        self.entered.set()
        await self.flowing.wait()
        if self.failure is not None:
            raise self.failure
        self.envelopes.append(disclose(envelope))


def open_door(log: MemoryLog, **changes: Any) -> CoapDoor:  # noqa: ANN401 - passed on to a dataclass that checks them
    """A door on a free port of ::1 that publishes into `log`."""
    return CoapDoor(new_settings(**changes), inspect, log.publish)


class Endpoint:
    """One UDP endpoint on ::1 that sends raw datagrams to the door and waits for raw answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._socket.connect(("::1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, datagram: bytes) -> None:
        """Send, and wait for nothing."""
        self._socket.send(datagram)

    async def receive(self, timeout_s: float = 30.0) -> bytes:
        """Wait for the next answer."""
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().sock_recv(self._socket, 65_535)

    async def ask(self, datagram: bytes) -> bytes:
        """Send, and wait for the next answer."""
        self.send(datagram)
        return await self.receive()

    async def ask_before_ping(self, datagram: bytes) -> list[bytes]:
        """Send, and collect what is answered before the answer to a ping that follows: silence, proven."""
        self.send(datagram)
        self.send(PING)
        answers: list[bytes] = []
        while (answer := await self.receive()) != PONG:
            answers.append(answer)
        return answers

    def drain(self) -> int:
        """Throw away what has arrived; how many datagrams that were."""
        count = 0
        with suppress(BlockingIOError):
            while self._socket.recv(65_535):
                count += 1
        return count
