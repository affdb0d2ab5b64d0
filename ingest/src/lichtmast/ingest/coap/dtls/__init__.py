"""DTLS 1.2 with certificates on both sides, by OpenSSL, under the CoAP door: docs/adr/0032-dtls-door.md."""

from lichtmast.ingest.coap.dtls.layer import DtlsLayer
from lichtmast.ingest.coap.dtls.settings import Dtls
from lichtmast.ingest.coap.dtls.statistics import DtlsStatistics

__all__ = ["Dtls", "DtlsLayer", "DtlsStatistics"]
