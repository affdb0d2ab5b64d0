"""The CoAP ingest door: a strict RFC 7252 server that answers 2.04 when a pack is in the log, and not before.

Why it is ours: docs/adr/0004-strict-coap-door.md; how it speaks DTLS: docs/adr/0032-dtls-door.md.
What it answers to what: docs/reference/coap.md.
"""

from lichtmast.ingest.coap.binding import CoapDoorError
from lichtmast.ingest.coap.door import CoapDoor, Publish, wall_clock_us
from lichtmast.ingest.coap.dtls import Dtls, DtlsStatistics
from lichtmast.ingest.coap.inspection import Inspect, Inspection
from lichtmast.ingest.coap.settings import CoapSettings, CoapSettingsError
from lichtmast.ingest.coap.statistics import CoapStatistics

__all__ = [
    "CoapDoor",
    "CoapDoorError",
    "CoapSettings",
    "CoapSettingsError",
    "CoapStatistics",
    "Dtls",
    "DtlsStatistics",
    "Inspect",
    "Inspection",
    "Publish",
    "wall_clock_us",
]
