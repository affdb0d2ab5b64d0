"""What is asked of the network: one ICMPv6 echo, one CoAP ping, one look in the DNS. Each blocks for two seconds.

They go only to the address from which the device itself spoke, one datagram each: no scan, no repetition.
"""

import errno
import secrets
import socket
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

from lichtmast.suite.silence.facts import Reach
from lichtmast.suite.silence.limits import PROBE_TIMEOUT_S

COAP_PORT: Final = 5683
_COAP_PING: Final = b"\x40\x00"
"""An empty confirmable message: a CoAP endpoint answers it with a reset (RFC 7252 section 4.3)."""
_COAP_RESET: Final = b"\x70\x00"
_ECHO_REQUEST, _ECHO_REPLY = 128, 129  # RFC 4443 section 4
_NONCE_BYTES: Final = 8
_REACH_BY_ERRNO: Final = {
    errno.ECONNREFUSED: Reach.REFUSED,
    errno.EACCES: Reach.PROHIBITED,
    errno.ENETUNREACH: Reach.UNREACHABLE,
    errno.EHOSTUNREACH: Reach.UNREACHABLE,
    errno.EADDRNOTAVAIL: Reach.UNREACHABLE,
}
_ANSWER_BYTES_MAX: Final = 1_280


def may_be_asked(address: IPv6Address) -> bool:
    """Whether the address is of one host somewhere, to which a probe says something about that host."""
    return not (address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local)


def echo(address: IPv6Address, timeout_s: float = PROBE_TIMEOUT_S) -> Reach:
    """Ask for an ICMPv6 echo. NOT_TRIED where this user may not (it takes CAP_NET_RAW, or a ping group)."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    request = bytes((_ECHO_REQUEST, 0, 0, 0)) + secrets.token_bytes(2) + b"\0\1" + nonce  # the kernel sums it
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            sender = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6)
        except PermissionError:
            continue
        with sender:
            return _asked(
                sender,
                (str(address), 0),
                request,
                lambda got: got[:1] == bytes((_ECHO_REPLY,)) and nonce in got,
                timeout_s,
            )
    return Reach.NOT_TRIED


def coap(address: IPv6Address, timeout_s: float = PROBE_TIMEOUT_S, port: int = COAP_PORT) -> Reach:
    """Ping by CoAP."""
    number = secrets.token_bytes(2)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        return _asked(
            sender, (str(address), port), _COAP_PING + number, lambda got: got == _COAP_RESET + number, timeout_s
        )


def resolves(name: str) -> bool | None:
    """Whether a name has an AAAA record; None where the resolver cannot say now. The resolver keeps its own time."""
    try:
        return bool(socket.getaddrinfo(name, None, socket.AF_INET6))
    except socket.gaierror as error:
        return False if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA} else None


def _asked(
    sender: socket.socket, target: tuple[str, int], request: bytes, is_answer: Callable[[bytes], bool], timeout_s: float
) -> Reach:
    """Send once, and wait for what answers that. Connected, so that ICMPv6 errors about it come as errors."""
    until_s = time.monotonic() + timeout_s
    try:
        sender.connect(target)
        sender.settimeout(timeout_s)
        sender.send(request)
        while not is_answer(sender.recv(_ANSWER_BYTES_MAX)):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return Reach.SILENT
            sender.settimeout(left_s)
    except TimeoutError:
        return Reach.SILENT
    except OSError as error:
        return _REACH_BY_ERRNO.get(error.errno or 0, Reach.UNREACHABLE)
    return Reach.ANSWERED
