"""From bytes on a socket to observations on disk: doors, log, pipeline, acknowledgements."""

from lichtmast.ingest.announcer import Announcer
from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.coap import CoapDoor, CoapSettings
from lichtmast.ingest.errors import BrokerError, IngestError, LogError
from lichtmast.ingest.inspector import Inspector
from lichtmast.ingest.log import Log, LogSettings
from lichtmast.ingest.pipeline.run import Pipeline

__all__ = [
    "Announcer",
    "Broker",
    "BrokerError",
    "BrokerSettings",
    "CoapDoor",
    "CoapSettings",
    "IngestError",
    "Inspector",
    "Log",
    "LogError",
    "LogSettings",
    "Pipeline",
]
