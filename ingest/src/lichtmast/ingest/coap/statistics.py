"""What the door has counted and what it holds, as one value at one moment."""

from dataclasses import dataclass

from lichtmast.ingest.coap.dtls.statistics import DtlsStatistics


@dataclass(frozen=True, slots=True)
class CoapStatistics:
    """Counts since the door opened, and sizes now. The names are explained in docs/reference/coap.md."""

    answers: dict[str, int]
    """Answers by response code, such as `2.04`; repetitions of an answer are not counted again."""
    events: dict[str, int]
    """What happened beside answers, by name; names that never happened are left out."""
    datagrams: int
    envelopes: int
    envelopes_failed: int
    packs_logged: int
    packs_waiting: int
    bytes_waiting: int
    remembered: int
    remembered_bytes: int
    assemblies: int
    assembly_bytes: int
    separate_open: int
    peers: int
    dtls: DtlsStatistics | None = None
    """Of the layer below; None where the door speaks plaintext."""
