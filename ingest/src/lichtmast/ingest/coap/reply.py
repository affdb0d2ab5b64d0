"""From a Response to a datagram: message type, message id, token, and no more bytes than the peer may be sent."""

from typing import Final

from lichtmast.ingest.coap.exchange import Exchange, Response
from lichtmast.ingest.coap.limits import AMPLIFICATION_MAX, DIAGNOSTIC_BYTES_MAX, MAX_RETRANSMIT
from lichtmast.ingest.coap.message import EMPTY, HEADER_BYTES, encode_options
from lichtmast.ingest.coap.peers import Peer

VERSION_1: Final = 0x40
TYPE_MASK, CON, NON, ACK, RST = 0x30, 0x00, 0x10, 0x20, 0x30
TKL_MASK: Final = 0x0F
_MARKER: Final = b"\xff"


def empty(kind: int, head: bytes) -> bytes:
    """An empty acknowledgement or reset for the message with this head (RFC 7252 section 4.1)."""
    return bytes((VERSION_1 | kind, EMPTY, head[2], head[3]))


def direct(peer: Peer, head: bytes, response: Response, request_bytes: int, now_s: float) -> bytes:
    """The answer to a request: piggybacked for CON, NON for NON (sections 5.2.1 and 5.2.3).

    `head` starts with the request's header and token. The diagnostic is cut so that an address that is not verified
    gets no more than AMPLIFICATION_MAX times what came from it.
    """
    tkl = head[0] & TKL_MASK
    token = head[HEADER_BYTES : HEADER_BYTES + tkl]
    if head[0] & TYPE_MASK:
        start = bytes((VERSION_1 | NON | tkl, response.code)) + peer.next_message_id()
    else:
        start = bytes((VERSION_1 | ACK | tkl, response.code)) + head[2:HEADER_BYTES]
    return _fill(peer, start + token, response, AMPLIFICATION_MAX * request_bytes, now_s)


def separate(kind: int, message_id: bytes, exchange: Exchange, response: Response, now_s: float) -> bytes:
    """The answer to a request that was acknowledged empty, as a message of our own (section 5.2.2)."""
    tkl = exchange.head[0] & TKL_MASK
    start = bytes((VERSION_1 | kind | tkl, response.code)) + message_id + exchange.head[HEADER_BYTES:]
    # The empty acknowledgement and all repetitions together count as the answer to one request.
    allowed_bytes = (AMPLIFICATION_MAX * exchange.request_bytes - HEADER_BYTES) // (1 + MAX_RETRANSMIT)
    return _fill(exchange.peer, start, response, allowed_bytes, now_s)


def _fill(peer: Peer, start: bytes, response: Response, allowed_bytes: int, now_s: float) -> bytes:
    answer = start + encode_options(response.options)
    if response.content:
        return answer + _MARKER + response.content
    room = DIAGNOSTIC_BYTES_MAX
    if peer.verified_until_s <= now_s:
        room = min(room, allowed_bytes - len(answer) - len(_MARKER))
    diagnostic = _cut_text(response.diagnostic, room)
    return answer + _MARKER + diagnostic if diagnostic else answer


def _cut_text(text: str, bytes_max: int) -> bytes:
    """As much of the text as fits, in whole characters."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded
    return encoded[: max(0, bytes_max)].decode(errors="ignore").encode()
