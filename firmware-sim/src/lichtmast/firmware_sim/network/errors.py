"""What can go wrong with an impaired network; every message says the next step.

NetworkError
├── ImpairmentError     a knob out of its bounds, or one that this carrier cannot turn
├── NamespaceError      this machine does not let us make namespaces, TUN devices or filters
└── CarrierError        the process that carries the packets has ended or does not answer
"""


class NetworkError(Exception):
    """The root of this package's errors."""


class ImpairmentError(NetworkError, ValueError):
    """What was asked for cannot be done to packets; the message names the knob."""


class NamespaceError(NetworkError):
    """The machine refuses a namespace, a TUN device or a filter; the message says what is needed."""


class CarrierError(NetworkError):
    """The process that carries the packets has ended or does not answer."""
