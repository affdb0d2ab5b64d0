"""DTLS records in datagrams (RFC 6347 section 4.1): where one ends, and how many go into one datagram."""

from collections.abc import Iterator
from typing import Final

from lichtmast.ingest.coap.dtls.limits import FLIGHT_BYTES_MAX

APPLICATION_DATA: Final = 23
HEADER_BYTES: Final = 13


def is_one_record(datagram: bytes) -> bool:
    """Whether the datagram is one record and nothing else, as nearly all are."""
    return int.from_bytes(datagram[11:HEADER_BYTES], "big") == len(datagram) - HEADER_BYTES


def in_datagrams(flight: bytes, bytes_max: int = FLIGHT_BYTES_MAX) -> Iterator[bytes]:
    """A flight as OpenSSL wrote it, cut between records into datagrams that no path has to fragment.

    A memory BIO runs the records together; OpenSSL has already kept each of them within the MTU.
    """
    start = end = 0
    while end < len(flight):
        record_end = end + HEADER_BYTES + int.from_bytes(flight[end + 11 : end + HEADER_BYTES], "big")
        if record_end - start > bytes_max and end > start:
            yield flight[start:end]
            start = end
        end = record_end
    if end > start:
        yield flight[start:end]
