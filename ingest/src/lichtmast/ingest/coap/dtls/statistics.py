"""What the DTLS layer has counted and what it holds, as one value at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DtlsStatistics:
    """Counts since the door opened, and sizes now. The names are explained in docs/reference/coap.md."""

    cookies_sent: int
    handshakes_begun: int
    handshakes_finished: int
    handshakes_failed: dict[str, int]
    """By reason."""
    handshakes_open: int
    sessions: int
    sessions_ended: dict[str, int]
    """By reason."""
    discarded: dict[str, int]
    """Datagrams that led to nothing, by reason."""
    bytes_received: int
    bytes_sent: int
