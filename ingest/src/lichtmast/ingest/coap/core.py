"""The CoAP server as a state machine: datagrams and time in, answers and exchanges out (RFC 7252, 7959, 9175).

What it does: duplicates, rates, format errors, options, blocks, amplification, empty acknowledgements and separate
responses, all bounded. What it will not: sockets, clocks, the log. Whoever drives it publishes what `receive` hands
out and then calls `complete`; nothing is answered 2.04 before that.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from xxhash import xxh32_digest

from lichtmast.ingest.coap.blockwise import Assemblies, Block
from lichtmast.ingest.coap.dedup import FINGERPRINT_BYTES, ReplyMemory
from lichtmast.ingest.coap.discovery import describe
from lichtmast.ingest.coap.echo import Echoes
from lichtmast.ingest.coap.exchange import CHANGED, Exchange, Response
from lichtmast.ingest.coap.inspection import Inspect
from lichtmast.ingest.coap.limits import (
    AMPLIFICATION_MAX,
    BLOCK_SZX_MAX,
    DATAGRAM_BYTES_MAX,
    RETRY_AFTER_S,
    SEPARATE_AFTER_S,
    TOKEN_BYTES_MAX,
    VERIFIED_LIFETIME_S,
)
from lichtmast.ingest.coap.message import EMPTY, HEADER_BYTES, Malformed, Message, code, decode, encode_uint
from lichtmast.ingest.coap.options import BLOCK1, ECHO, MAX_AGE
from lichtmast.ingest.coap.peers import Address, Peer, PeerTable
from lichtmast.ingest.coap.reply import ACK, CON, NON, RST, TKL_MASK, TYPE_MASK, VERSION_1, direct, empty, separate
from lichtmast.ingest.coap.request import BAD_OPTION, BAD_REQUEST, METHOD_NOT_ALLOWED, Request, read_request
from lichtmast.ingest.coap.separate import Retransmissions
from lichtmast.ingest.coap.settings import CoapSettings
from lichtmast.wire import limits as wire_limits
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON
from lichtmast.wire.refusal import ANSWERS, Refusal

UP_PATH: Final = ("up",)
CORE_PATH: Final = (".well-known", "core")

_GET, _POST = code("0.01"), code("0.02")
_REQUEST_MAX: Final = code("0.31")
_UNAUTHORIZED: Final = code("4.01")
_NOT_FOUND: Final = code("4.04")
_UNSUPPORTED_CONTENT_FORMAT: Final = code("4.15")
_TOO_MANY_REQUESTS: Final = code("4.29")
_SERVICE_UNAVAILABLE: Final = code("5.03")

_RETRY_AFTER: Final = ((MAX_AGE, encode_uint(RETRY_AFTER_S)),)
_NOT_LOGGED: Final = Response(_SERVICE_UNAVAILABLE, "the log did not take it; send it again", _RETRY_AFTER)
_OVERLOADED: Final = Response(_SERVICE_UNAVAILABLE, "too much is waiting; send it again", _RETRY_AFTER)

_VERSION_MASK: Final = 0xC0
_REQUEST_MASK: Final = 0xE0
"""Version and the high bit of the type: what remains is VERSION_1 for a CON or NON."""
_RESERVED_CLASSES: Final = (1, 3, 6, 7)
"""Code classes without a meaning on UDP (RFC 7252 section 12.1; class 7 is RFC 8323's, for TCP)."""

_USUAL_OPTIONS: Final = {
    # Uri-Path "up", Content-Format, payload marker: how every plain POST of a pack goes on behind its token.
    b"\xb2up\x11\x6e\xff": SENML_JSON,
    b"\xb2up\x11\x70\xff": SENML_CBOR,
}
_USUAL_BYTES: Final = 6
_ACK_CHANGED: Final = tuple(bytes((VERSION_1 | ACK | tkl, CHANGED.code)) for tkl in range(TOKEN_BYTES_MAX + 1))

Effect = bytes | Exchange | None
"""What to do about a datagram: send this back to where it came from, put this exchange in the log, or nothing."""


class Core:
    """One server. Not thread-safe; `now_s` is monotonic and never goes back. `chance` gives numbers from 0 to 1.

    `authenticated`: addresses are endpoints of DTLS sessions, so that each names its device.
    """

    def __init__(
        self,
        settings: CoapSettings,
        inspect: Inspect,
        secret: bytes,
        chance: Callable[[], float],
        *,
        authenticated: bool = False,
    ) -> None:
        self._inspect = inspect
        self._chance = chance
        self._echoes = Echoes(secret)
        self._interval_s = 1.0 / settings.peer_requests_per_s
        self._burst_s = settings.peer_burst_requests * self._interval_s
        self._waiting_packs_max = settings.waiting_packs_max
        self._waiting_bytes_max = settings.waiting_bytes_max
        self.peers = PeerTable(settings.peers_max, chance, authenticated=authenticated)
        self.memory = ReplyMemory(settings.remembered_max, settings.remembered_bytes_max)
        self.assemblies = Assemblies(wire_limits.PACK_BYTES_MAX, settings.assembly_bytes_max)
        self.retransmissions = Retransmissions()
        self._unanswered: deque[Exchange] = deque()
        self.waiting_packs = 0
        self.waiting_bytes = 0
        self.answers = [0] * 256
        """Answers by code byte, each counted when it is decided, not again for a repetition."""
        self.counts: Counter[str] = Counter()
        """What else happened: `ignored_*`, `reset_*`, `duplicate`, `conflict`, `separate`, `identity_mismatch`."""

    def receive(self, datagram: bytes, address: Address, now_s: float) -> Effect:
        """Take one datagram. Never raises, whatever the bytes, as long as `inspect` does not."""
        end = len(datagram)
        if (
            end < HEADER_BYTES
            or (first := datagram[0]) & _REQUEST_MASK != VERSION_1
            or not EMPTY < datagram[1] <= _REQUEST_MAX
            or (head_bytes := HEADER_BYTES + (first & TKL_MASK)) > end
            or first & TKL_MASK > TOKEN_BYTES_MAX
        ):
            return self._receive_no_request(datagram, address, now_s)
        peer = self.peers.young.get(address) or self.peers.admit(address, now_s)
        key = peer.number << 16 | datagram[2] << 8 | datagram[3]
        if key in self.memory.entries:
            return self._repeat(key, datagram)
        # A bucket of `burst` tokens kept as one number: when the peer's allowance will be whole again.
        due_s = (peer.due_s if peer.due_s > now_s else now_s) + self._interval_s  # noqa: FURB136 - max() costs 3 times
        if due_s > now_s + self._burst_s:
            return self._limit(peer, datagram, now_s)
        peer.due_s = due_s
        if datagram[1] == _POST:
            content_format = _USUAL_OPTIONS.get(datagram[head_bytes : head_bytes + _USUAL_BYTES])
            if content_format is not None and head_bytes + _USUAL_BYTES < end <= DATAGRAM_BYTES_MAX:
                payload = datagram[head_bytes + _USUAL_BYTES :]
                return self._take_pack(peer, key, datagram, content_format, payload, (), now_s)
        return self._receive_unusual(peer, key, datagram, now_s)

    def complete(self, exchange: Exchange, *, logged: bool, now_s: float) -> bytes:
        """The log has the exchange's pack, or failed to take it: the datagram that tells its peer."""
        exchange.answered = True
        self.waiting_packs -= 1
        self.waiting_bytes -= len(exchange.payload)
        unanswered = self._unanswered
        while unanswered and unanswered[0].answered:
            unanswered.popleft()
        response = exchange.response if logged else _NOT_LOGGED
        head = exchange.head
        self.answers[response.code] += 1
        if exchange.acknowledged:
            return self._answer_separately(exchange, response, now_s)
        if response is CHANGED and not head[0] & TYPE_MASK:
            answer = _ACK_CHANGED[head[0] & TKL_MASK] + head[2:]
        else:
            answer = direct(exchange.peer, head, response, exchange.request_bytes, now_s)
        self.memory.finish(exchange, answer)
        return answer

    def tick(self, now_s: float) -> list[tuple[bytes, Address]]:
        """Act on time: what is to be sent now. Call it every TICK_S."""
        self.memory.expire(now_s)
        self.assemblies.expire(now_s)
        self.peers.tick(now_s)
        due = self.retransmissions.tick(now_s)
        for exchange in self._unanswered:
            if exchange.received_s + SEPARATE_AFTER_S > now_s:
                break
            if not (exchange.answered or exchange.acknowledged or exchange.head[0] & TYPE_MASK):
                exchange.acknowledged = True
                self.counts["separate"] += 1
                due.append((empty(ACK, exchange.head), exchange.peer.address))
        return due

    # What is no request: format errors, pings, acknowledgements, and answers that nobody asked for.

    def _receive_no_request(self, datagram: bytes, address: Address, now_s: float) -> bytes | None:
        message = decode(datagram)
        if isinstance(message, Malformed):
            return self._reject(datagram, message)
        kind = datagram[0] & TYPE_MASK
        if kind in (ACK, RST):
            peer = self.peers.young.get(address) or self.peers.admit(address, now_s)
            # An acknowledgement with a code would answer a request, and we make none.
            if message.code != EMPTY or not self.retransmissions.end(peer.number << 16 | message.message_id):
                self.counts["ignored_unexpected"] += 1
            return None
        if message.code >> 5 in _RESERVED_CLASSES:
            self.counts["ignored_reserved_class"] += 1
            return None
        if kind == NON:
            self.counts["ignored_unexpected"] += 1
            return None
        self.counts["reset_ping" if message.code == EMPTY else "reset_response"] += 1
        return empty(RST, datagram)

    def _reject(self, datagram: bytes, malformed: Malformed) -> bytes | None:
        """Sections 4.2 and 4.3: a reset where the message is confirmable, silence otherwise."""
        unreadable = malformed in (Malformed.SHORT, Malformed.VERSION)
        if unreadable or datagram[0] & TYPE_MASK:
            self.counts["ignored_" + malformed.value] += 1
            return None
        self.counts["reset_" + malformed.value] += 1
        return empty(RST, datagram)

    def _repeat(self, key: int, datagram: bytes) -> bytes | None:
        remembered = self.memory.entries[key]
        fingerprint = remembered.fingerprint if isinstance(remembered, Exchange) else remembered[:FINGERPRINT_BYTES]
        if fingerprint != xxh32_digest(datagram):
            # Another request under a used message id (section 4.4 forbids it; devices that restart do it). The old
            # answer would acknowledge a pack that nobody has, so it is rejected: its sender keeps it and tries again.
            self.counts["conflict"] += 1
            return empty(RST, datagram)
        self.counts["duplicate"] += 1
        if isinstance(remembered, bytes):
            return remembered[FINGERPRINT_BYTES:]
        # The answer is on its way; until then a copy hears what the first one heard.
        return empty(ACK, remembered.head) if remembered.acknowledged else None

    def _limit(self, peer: Peer, datagram: bytes, now_s: float) -> bytes:
        """4.29 (RFC 8516), not remembered: it costs no memory, and a later copy may find room."""
        wait_s = peer.due_s + self._interval_s - self._burst_s - now_s
        max_age = encode_uint(1 + int(max(0.0, wait_s)))
        response = Response(_TOO_MANY_REQUESTS, "too many requests", ((MAX_AGE, max_age),))
        return self._answer_now(peer, datagram, response, now_s)

    # Requests that are not a plain POST of a pack.

    def _receive_unusual(self, peer: Peer, key: int, datagram: bytes, now_s: float) -> Effect:
        """Read a request as the standard says, option by option."""
        if len(datagram) > DATAGRAM_BYTES_MAX:
            return self._finish(peer, key, datagram, self._use_blocks(), now_s)
        message = decode(datagram)
        if isinstance(message, Malformed):
            return self._reject(datagram, message)
        request = read_request(message)
        if isinstance(request, Response):
            return self._finish(peer, key, datagram, request, now_s)
        if request.path == CORE_PATH and message.code == _GET:
            return self._discover(peer, datagram, request, now_s)
        body = self._body(peer, message, request, now_s)
        if isinstance(body, Response):
            return self._finish(peer, key, datagram, body, now_s)
        options = () if request.block1 is None else ((BLOCK1, request.block1.encode()),)
        return self._take_pack(peer, key, datagram, request.content_format, body, options, now_s)

    def _body(self, peer: Peer, message: Message, request: Request, now_s: float) -> bytes | Response:
        """The complete payload of a POST to /up, or the answer to anything else."""
        refused: Response | None = None
        if request.path not in (UP_PATH, CORE_PATH):
            refused = Response(_NOT_FOUND, "here are /up and /.well-known/core")
        elif request.path == CORE_PATH or message.code != _POST:
            allowed = "GET" if request.path == CORE_PATH else "POST"
            refused = Response(METHOD_NOT_ALLOWED, f"only {allowed}")
        elif request.has_query:
            refused = Response(BAD_OPTION, "Uri-Query: /up takes none")
        elif request.block2 is not None and request.block2.number:
            refused = Response(BAD_REQUEST, "Block2: behind the end")
        elif request.content_format not in (SENML_JSON, SENML_CBOR):
            refused = Response(_UNSUPPORTED_CONTENT_FORMAT, f"Content-Format must be {SENML_JSON} or {SENML_CBOR}")
        if refused is not None:
            return refused
        if request.block1 is None:
            return message.payload
        return self.assemblies.add(
            peer.number,
            tag=request.tag,
            content_format=request.content_format,
            announced_bytes=request.size1_bytes,
            block=request.block1,
            payload=message.payload,
            now_s=now_s,
        )

    def _use_blocks(self) -> Response:
        too_large = self.assemblies.too_large()
        hint = (BLOCK1, Block(0, more=False, szx=BLOCK_SZX_MAX).encode())
        return Response(
            too_large.code, f"datagram over {DATAGRAM_BYTES_MAX} bytes; use Block1", (hint, *too_large.options)
        )

    def _discover(self, peer: Peer, datagram: bytes, request: Request, now_s: float) -> bytes:
        """GET is safe, so it is not remembered but done again for each copy (section 4.5 allows it)."""
        if request.echo is not None and self._echoes.verify(peer.address, request.echo, now_s):
            peer.verified_until_s = now_s + VERIFIED_LIFETIME_S
        response = describe(request)
        if peer.verified_until_s <= now_s:
            answer_bytes = len(direct(peer, datagram, response, len(datagram), now_s))
            if answer_bytes > AMPLIFICATION_MAX * len(datagram):
                echo = self._echoes.make(peer.address, now_s)
                response = Response(_UNAUTHORIZED, options=((ECHO, echo),))
        return self._answer_now(peer, datagram, response, now_s)

    # Packs and answers.

    def _take_pack(
        self,
        peer: Peer,
        key: int,
        datagram: bytes,
        content_format: int,
        payload: bytes,
        options: tuple[tuple[int, bytes], ...],
        now_s: float,
    ) -> bytes | Exchange:
        if self.waiting_packs >= self._waiting_packs_max or self.waiting_bytes + len(payload) > self._waiting_bytes_max:
            return self._answer_now(peer, datagram, _OVERLOADED, now_s)
        inspection = self._inspect(payload, content_format, peer.sender)
        response = CHANGED
        if inspection.refusal is not None:
            self.counts["identity_mismatch"] += inspection.refusal is Refusal.IDENTITY_MISMATCH
            major, minor = ANSWERS[inspection.refusal].coap
            response = Response(major << 5 | minor, inspection.detail or inspection.refusal.value, options)
            if not inspection.sender:
                return self._finish(peer, key, datagram, response, now_s)
        elif options:
            response = Response(CHANGED.code, options=options)
        exchange = Exchange(
            peer,
            key,
            datagram[: HEADER_BYTES + (datagram[0] & TKL_MASK)],
            len(datagram),
            xxh32_digest(datagram),
            inspection.sender,
            content_format,
            payload,
            response,
            now_s,
        )
        self.memory.begin(key, exchange, now_s)
        self._unanswered.append(exchange)
        self.waiting_packs += 1
        self.waiting_bytes += len(payload)
        return exchange

    def _finish(self, peer: Peer, key: int, datagram: bytes, response: Response, now_s: float) -> bytes:
        """Answer at once and remember the answer."""
        answer = self._answer_now(peer, datagram, response, now_s)
        self.memory.begin(key, xxh32_digest(datagram) + answer, now_s)
        return answer

    def _answer_now(self, peer: Peer, datagram: bytes, response: Response, now_s: float) -> bytes:
        self.answers[response.code] += 1
        return direct(peer, datagram, response, len(datagram), now_s)

    def _answer_separately(self, exchange: Exchange, response: Response, now_s: float) -> bytes:
        """Answer a request that was acknowledged empty, by a message that is repeated until acknowledged."""
        # Section 4.2: every copy of the request gets the same acknowledgement, which was the empty one.
        self.memory.finish(exchange, empty(ACK, exchange.head))
        peer = exchange.peer
        message_id = peer.next_message_id()
        if self.retransmissions.is_full:
            return separate(NON, message_id, exchange, response, now_s)
        answer = separate(CON, message_id, exchange, response, now_s)
        key = peer.number << 16 | int.from_bytes(message_id, "big")
        self.retransmissions.begin(key, answer, peer.address, now_s, self._chance())
        return answer
