"""Datagrams before aiocoap sees them: who may ask, how often, and whether the message is one (RFC 7252).

aiocoap executes requests with critical options that it does not know, takes token lengths of 9 and more, stumbles over
elective text options that are no UTF-8, and remembers each request for 247 seconds. So a datagram is read here first,
byte by byte, and only a well-formed request of a neighbour passes, written anew with the options that we know. Pure:
bytes, addresses and time come in, a verdict goes out.

Will not: answer anything but a reset to what is malformed and 4.02 to an unknown critical option, both to a neighbour.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address
from typing import Final

from lichtmast.edge.pole import limits


class _Type(IntEnum):
    """RFC 7252 section 3."""

    CON = 0
    NON = 1
    ACK = 2
    RST = 3


_VERSION: Final = 1
_HEADER_BYTES: Final = 4
_TOKEN_BYTES_MAX: Final = 8
_PAYLOAD_MARKER: Final = 0xFF
_GET: Final = 1
_BAD_OPTION: Final = 4 << 5 | 2
_URI_PATH: Final = 11
_WELL_KNOWN: Final = [b".well-known", b"core"]

_TEXT: Final = frozenset({3, 11, 15})
_CRITICAL: Final = {3: (1, 255), 7: (0, 2), _URI_PATH: (0, 255), 15: (0, 255), 17: (0, 2), 23: (0, 3)}
"""Uri-Host, Uri-Port, Uri-Path, Uri-Query, Accept, Block2, with their lengths (RFC 7252 5.10, RFC 7959 2.1)."""
_OBSERVE: Final = 6
_OBSERVE_BYTES_MAX: Final = 3
_REPEATABLE: Final = frozenset({_URI_PATH, 15})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What aiocoap may see of it, or None; `reply` is sent in its stead where not None. `why` counts."""

    why: str
    passes: bytes | None = None
    reply: bytes | None = None


class Inspection:
    """All that is remembered of peers: two buckets of tokens, bounded."""

    def __init__(self) -> None:
        self._all = _Bucket(limits.REQUESTS_PER_S, limits.REQUESTS_BURST)
        self._peers: OrderedDict[IPv6Address, _Bucket] = OrderedDict()
        self.counts: Counter[str] = Counter()

    def judge(self, data: bytes, source: IPv6Address, *, to_group: bool, now_s: float) -> Verdict:
        """What becomes of a datagram."""
        verdict = self._judge(data, source, to_group, now_s)
        self.counts[verdict.why] += 1
        return verdict

    def _judge(self, data: bytes, source: IPv6Address, to_group: bool, now_s: float) -> Verdict:  # noqa: FBT001 - handed on
        if not (source.is_link_local or source.is_loopback):
            return Verdict("not_a_neighbour")
        verdict = inspect(data, to_group=to_group)
        if verdict.passes is None and verdict.reply is None:
            return verdict
        if verdict.why != "empty" and not self._may_ask(source, now_s):
            return Verdict("too_often")
        return verdict

    def _may_ask(self, source: IPv6Address, now_s: float) -> bool:
        bucket = self._peers.get(source)
        if bucket is None:
            bucket = self._peers[source] = _Bucket(limits.PEER_REQUESTS_PER_S, limits.PEER_REQUESTS_BURST)
            if len(self._peers) > limits.PEERS_MAX:
                self._peers.popitem(last=False)
        self._peers.move_to_end(source)
        return bucket.takes(now_s) and self._all.takes(now_s)


class _Bucket:
    """So many a second, and a burst."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._tokens, self._at_s = float(burst), float("-inf")

    def takes(self, now_s: float) -> bool:
        """Whether one more is allowed; then it counts."""
        if self._at_s != float("-inf"):
            self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def inspect(data: bytes, *, to_group: bool) -> Verdict:
    """Whether a datagram is a request to us, or an empty message (ping, acknowledgement, reset)."""
    if not _HEADER_BYTES <= len(data) <= limits.REQUEST_BYTES_MAX:
        return Verdict("bad_length")
    if data[0] >> 6 != _VERSION:
        return Verdict("other_version")  # RFC 7252 section 3: silently ignored.
    kind, token_bytes, code = _Type(data[0] >> 4 & 3), data[0] & 15, data[1]
    may_tell = kind is _Type.CON and not to_group
    if code == 0:
        if token_bytes or len(data) > _HEADER_BYTES:
            return _malformed(data, may_tell=may_tell)
        return Verdict("ping" if kind is _Type.CON else "empty", None if to_group else data)
    if code >> 5 or kind not in (_Type.CON, _Type.NON):
        return Verdict("no_request")
    if to_group and (kind is not _Type.NON or code != _GET):
        return Verdict("not_for_a_group")  # RFC 7252 section 8.1: group requests are NON.
    return _inspect_request(data, token_bytes, to_group=to_group, may_tell=may_tell)


def _inspect_request(data: bytes, token_bytes: int, *, to_group: bool, may_tell: bool) -> Verdict:
    if token_bytes > _TOKEN_BYTES_MAX:  # Section 3: a message format error.
        return _malformed(data, may_tell=may_tell)
    try:
        options, payload = _options(data, _HEADER_BYTES + token_bytes)
    except _MalformedError:
        return _malformed(data, may_tell=may_tell)
    if to_group and [value for number, value in options if number == _URI_PATH] != _WELL_KNOWN:
        return Verdict("not_for_a_group")
    if not _are_known(options):
        # Section 5.4.1: a CON gets 4.02, a NON is rejected silently.
        return Verdict("unknown_option", reply=_bad_option(data, token_bytes) if may_tell else None)
    return Verdict("request", data[: _HEADER_BYTES + token_bytes] + _written(options) + payload)


class _MalformedError(Exception):
    """A message format error."""


def _malformed(data: bytes, *, may_tell: bool) -> Verdict:
    """Section 4.2: a CON that cannot be read is rejected with a reset, anything else silently."""
    reply = bytes((_VERSION << 6 | _Type.RST << 4, 0)) + data[2:4]
    return Verdict("malformed", reply=reply if may_tell else None)


def _bad_option(data: bytes, token_bytes: int) -> bytes:
    head = bytes((_VERSION << 6 | _Type.ACK << 4 | token_bytes, _BAD_OPTION))
    return head + data[2 : _HEADER_BYTES + token_bytes]


def _options(data: bytes, at: int) -> tuple[list[tuple[int, bytes]], bytes]:
    """Number and value of each option, and the payload with its marker (section 3.1). Raises _MalformedError."""
    if at > len(data):
        raise _MalformedError
    options: list[tuple[int, bytes]] = []
    number = 0
    while at < len(data) and data[at] != _PAYLOAD_MARKER:
        delta, length = data[at] >> 4, data[at] & 15
        delta, at = _extended(data, delta, at + 1)
        length, at = _extended(data, length, at)
        number += delta
        if at + length > len(data):
            raise _MalformedError
        options.append((number, data[at : at + length]))
        at += length
    if at + 1 == len(data):
        raise _MalformedError  # A marker and no payload.
    return options, data[at:]


def _written(options: list[tuple[int, bytes]]) -> bytes:
    """The options that we know, once more; section 5.4.1: unknown elective ones are ignored."""
    raw, last, is_observed = b"", 0, False
    for number, value in options:
        if number == _OBSERVE and not is_observed and len(value) <= _OBSERVE_BYTES_MAX:
            is_observed = True
        elif not number & 1:
            continue
        (delta, delta_more), (length, length_more) = _head(number - last), _head(len(value))
        raw += bytes((delta << 4 | length,)) + delta_more + length_more + value
        last = number
    return raw


def _head(value: int) -> tuple[int, bytes]:
    """A nibble, and the byte more that values from 13 have; what we know is below 269."""
    return (value, b"") if value < 13 else (13, bytes((value - 13,)))  # noqa: PLR2004 - section 3.1


def _extended(data: bytes, nibble: int, at: int) -> tuple[int, int]:
    """Values from 13 have a byte more, from 269 two; 15 is reserved."""
    more, base = {13: (1, 13), 14: (2, 269)}.get(nibble, (0, nibble))
    if nibble == 15 or at + more > len(data):  # noqa: PLR2004 - the reserved nibble
        raise _MalformedError
    return base + int.from_bytes(data[at : at + more], "big"), at + more


def _are_known(options: list[tuple[int, bytes]]) -> bool:
    """Whether each critical (odd) option is one of ours, once, and of a length and form that it may have."""
    seen: set[int] = set()
    for number, value in options:
        if not number & 1:
            continue
        bounds = _CRITICAL.get(number)
        if bounds is None or not bounds[0] <= len(value) <= bounds[1]:
            return False
        if number in seen and number not in _REPEATABLE:
            return False
        if number in _TEXT and not _is_text(value):
            return False
        seen.add(number)
    return True


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
