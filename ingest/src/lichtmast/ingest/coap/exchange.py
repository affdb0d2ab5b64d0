"""One request that goes to the log, and the answer that was decided for it: values that the core's parts share."""

from dataclasses import dataclass
from typing import Final

from lichtmast.ingest.coap.message import code
from lichtmast.ingest.coap.peers import Peer


@dataclass(frozen=True, slots=True)
class Response:
    """An answer before it is put in a message. `diagnostic` is cut to what the peer may be sent."""

    code: int
    diagnostic: str = ""
    options: tuple[tuple[int, bytes], ...] = ()
    content: bytes = b""


CHANGED: Final = Response(code("2.04"))


class Exchange:
    """A request whose payload must reach the log before its answer may leave.

    `head` is the request's header and token; `payload` is complete, whether it came in one datagram or in blocks.
    """

    __slots__ = (
        "acknowledged",
        "answered",
        "content_format",
        "fingerprint",
        "head",
        "key",
        "payload",
        "peer",
        "received_s",
        "request_bytes",
        "response",
        "sender",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - the hot path: keywords would cost a third more
        self,
        peer: Peer,
        key: int,
        head: bytes,
        request_bytes: int,
        fingerprint: bytes,
        sender: str,
        content_format: int,
        payload: bytes,
        response: Response,
        received_s: float,
    ) -> None:
        self.peer = peer
        self.key = key
        self.head = head
        self.request_bytes = request_bytes
        self.fingerprint = fingerprint
        self.sender = sender
        self.content_format = content_format
        self.payload = payload
        self.response = response
        self.received_s = received_s
        self.acknowledged = False
        self.answered = False
