"""The documents of a device's twin: what it should do, what it is told, what it answers, and how it is.

    cfg    Desired    the server's wish, retained; each has a higher version than the one before
    cmd    Command    dim, identify or reboot, done at most once and only before it expires
    state  State      how the device is, retained
    ev     Event      what happened; an Answer is the event that ends a command

JSON objects of at most 16 KiB, read strictly: an unknown member, a duplicate, a NaN, a number out of its bounds or a
text with control characters refuses the document as a whole with TwinError, whose text says what to mend. `encode` of a
document writes only what its decoder reads.

Will not: know which suffixes, lamps and time zones a device has (the agent does), or keep or send anything.
"""

from lichtmast.wire.twin.documents import (
    Answer,
    Command,
    Desired,
    Dim,
    Event,
    Identify,
    Level,
    Order,
    Outcome,
    Reboot,
    SensorWish,
    State,
    decode_command,
    decode_desired,
    decode_event,
    decode_state,
)
from lichtmast.wire.twin.limits import TWIN_BYTES_MAX
from lichtmast.wire.twin.rules import AtDark, Dimmed, DuskRule, Rule, ThresholdRule, parse_rules
from lichtmast.wire.twin.strict import Scalar, TwinError

__all__ = [
    "TWIN_BYTES_MAX",
    "Answer",
    "AtDark",
    "Command",
    "Desired",
    "Dim",
    "Dimmed",
    "DuskRule",
    "Event",
    "Identify",
    "Level",
    "Order",
    "Outcome",
    "Reboot",
    "Rule",
    "Scalar",
    "SensorWish",
    "State",
    "ThresholdRule",
    "TwinError",
    "decode_command",
    "decode_desired",
    "decode_event",
    "decode_state",
    "parse_rules",
]
