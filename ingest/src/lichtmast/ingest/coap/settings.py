"""What an operator can set of the CoAP door. Each field is described in docs/reference/coap.md."""

import ipaddress
from dataclasses import dataclass

from lichtmast.ingest.coap.limits import EXCHANGE_LIFETIME_S, MESSAGE_IDS


class CoapSettingsError(ValueError):
    """A setting that cannot work; the message names it and says what can."""


@dataclass(frozen=True, slots=True)
class CoapSettings:
    """Where the door listens and how much it holds. Valid by construction; raises CoapSettingsError."""

    host: str = "::1"
    """IPv6 address to bind, with a zone id where it is link-local. Beyond loopback the door must have certificates."""
    port: int = 5683
    """UDP port; 0 lets the system choose."""
    peer_requests_per_s: float = 100.0
    """How many requests one endpoint (address and port) may make, sustained."""
    peer_burst_requests: int = 2_000
    """How many requests one endpoint may make at once, such as an outbox that empties."""
    peers_max: int = 65_536
    """Endpoints known at one time; beyond it those that are silent longest are forgotten."""
    remembered_max: int = 200_000
    """Exchanges whose answer is kept for retransmissions; beyond it the oldest is forgotten."""
    remembered_bytes_max: int = 48 * 1024 * 1024
    """The same, in bytes."""
    waiting_packs_max: int = 16_384
    """Packs that wait for the log; beyond it requests are answered 5.03."""
    waiting_bytes_max: int = 16 * 1024 * 1024
    """The same, in bytes of payload."""
    assembly_bytes_max: int = 4 * 1024 * 1024
    """Unfinished Block1 bodies of all endpoints together; beyond it the oldest is dropped."""
    publish_timeout_s: float = 10.0
    """How long the log may take before its packs are answered 5.03."""
    shutdown_s: float = 5.0
    """How long a closing door waits for the log to take what has arrived."""

    def __post_init__(self) -> None:
        try:
            ipaddress.IPv6Address(self.host)
        except ValueError as error:
            raise CoapSettingsError(f"host {self.host[:80]!r} is no IPv6 address; use ::1 or ::") from error
        if not 0 <= self.port <= 65_535:  # noqa: PLR2004 - UDP
            raise CoapSettingsError(f"port {self.port} is not 0 to 65535")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise CoapSettingsError(f"{name} is {getattr(self, name)}; it must be above 0")
        in_a_lifetime = self.peer_requests_per_s * EXCHANGE_LIFETIME_S + self.peer_burst_requests
        if in_a_lifetime > MESSAGE_IDS:
            # Then an endpoint within its rate would have to reuse a message id that still counts as a duplicate.
            raise CoapSettingsError(
                f"peer_requests_per_s x {EXCHANGE_LIFETIME_S:.0f} s + peer_burst_requests is {in_a_lifetime:.0f}, "
                f"more than the {MESSAGE_IDS} message ids an endpoint has in that time (RFC 7252 section 4.4)"
            )

    def check_plaintext(self) -> None:
        """Raise CoapSettingsError unless plaintext stays inside this machine."""
        if not ipaddress.IPv6Address(self.host).is_loopback:
            raise CoapSettingsError(
                f"host [{self.host}] is not loopback, and without certificates CoAP is plaintext from nobody in "
                "particular: use ::1, or give the door its certificate, key and device trust"
            )


_POSITIVE = (
    "peer_requests_per_s",
    "peer_burst_requests",
    "peers_max",
    "remembered_max",
    "remembered_bytes_max",
    "waiting_packs_max",
    "waiting_bytes_max",
    "assembly_bytes_max",
    "publish_timeout_s",
    "shutdown_s",
)
