"""SNTP packets: the request, and what an answer is worth (RFC 4330 section 5, RFC 5905 section 7.3).

Pure. The request's timestamp is chance and not the time: whoever did not see it cannot answer it, and it tells nobody
how wrong our clock is. Will not: average servers, or discipline a clock.
"""

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from lichtmast.edge.timekeeping import limits
from lichtmast.edge.timekeeping.values import Observation, Source

_PACKET: Final = struct.Struct(">BBbbII4s8s8s8s8s")  # RFC 5905 figure 8
_VERSION: Final = 4
_MODE_CLIENT: Final = 3
_MODE_SERVER: Final = 4
_LEAP_UNSYNCHRONISED: Final = 3
_STRATUM_MAX: Final = 15
_NTP_TO_UNIX_S: Final = 2_208_988_800
_ERA_S: Final = 2**32
NONCE_BYTES: Final = 8


class Refused(Enum):
    """Why an answer tells no time."""

    FORGED = "it does not answer our request"
    MALFORMED = "it is no answer of a server"
    UNSYNCHRONISED = "the server has no time itself"
    SLOW = "it took too long to bound the error"
    GO_AWAY = "the server does not want to be asked (kiss-o'-death DENY or RSTR)"
    SLOW_DOWN = "the server wants to be asked less often (kiss-o'-death RATE)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says: the wall time of the moment when its packet arrived."""

    observation: Observation


Verdict: TypeAlias = Answer | Refused


def request(nonce: bytes) -> bytes:
    """A client's packet; `nonce` are eight bytes by chance."""
    return _PACKET.pack(_VERSION << 3 | _MODE_CLIENT, 0, 0, 0, 0, 0, bytes(4), bytes(8), bytes(8), bytes(8), nonce)


def judge(raw: bytes, nonce: bytes, took_s: float, floor_us: int) -> Verdict:
    """What an answer is worth that came `took_s` after the request; `floor_us` tells the era of its 32-bit seconds."""
    if len(raw) < limits.PACKET_BYTES:
        return Refused.MALFORMED
    first, stratum, _, _, delay, dispersion, kiss, _, origin, received, sent = _PACKET.unpack_from(raw)
    if origin != nonce:
        return Refused.FORGED
    if first & 7 != _MODE_SERVER or not 1 <= first >> 3 & 7 <= _VERSION:
        return Refused.MALFORMED
    if stratum == 0:
        return {b"DENY": Refused.GO_AWAY, b"RSTR": Refused.GO_AWAY, b"RATE": Refused.SLOW_DOWN}.get(
            kiss, Refused.UNSYNCHRONISED
        )
    root_s = delay / 2**17 + dispersion / 2**16
    if first >> 6 == _LEAP_UNSYNCHRONISED or stratum > _STRATUM_MAX or root_s >= limits.ROOT_S_MAX or not any(sent):
        return Refused.UNSYNCHRONISED
    sent_us, received_us = _unix_us(sent, floor_us), _unix_us(received, floor_us)
    round_trip_s = took_s - (sent_us - received_us) / 1e6
    if sent_us < received_us or not 0 <= round_trip_s <= limits.ROUND_TRIP_S_MAX:
        return Refused.SLOW
    return Answer(Observation(Source.SNTP, sent_us + round(round_trip_s / 2 * 1e6), round_trip_s / 2 + root_s))


def _unix_us(timestamp: bytes, floor_us: int) -> int:
    """Seconds since 1900 run over in 2036 (RFC 5905 section 6).

    The era is the one that comes nearest to the floor and not past the century: the floor may be the wrong one.
    """
    seconds = int.from_bytes(timestamp[:4])
    fraction = int.from_bytes(timestamp[4:])
    unix_s = seconds - _NTP_TO_UNIX_S
    while unix_s < floor_us // 1_000_000 - _ERA_S // 2 and unix_s + _ERA_S < limits.TIME_BELOW_US // 1_000_000:
        unix_s += _ERA_S
    return unix_s * 1_000_000 + (fraction * 1_000_000 >> 32)
