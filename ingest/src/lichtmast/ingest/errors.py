"""What can go wrong in the ingest tier.

IngestError
├── BrokerError     the nats-server cannot be found, started or reached
└── LogError        a stream is missing, damaged or refuses a message
"""


class IngestError(Exception):
    """Root of this distribution's errors."""


class BrokerError(IngestError):
    """The nats-server cannot be found, started or reached."""


class LogError(IngestError):
    """A stream is missing, damaged or refuses a message."""
