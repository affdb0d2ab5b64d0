"""SenML packs (RFC 8428, 8798, 9100): strict decoding of bytes that nobody vouches for, and compact encoding.

`decode` reads a pack of ours: SenML rules, time policy, sequence numbers, one device. `resolve` stops at the SenML
rules and takes any names. Both raise PackError, and only that, for any bytes. `encode` writes what `decode` reads back
exactly. `read_claim` tells what a pack says of itself that `decode` refuses.

Will not: read SenML in XML or EXI or as a stream, evaluate content-format labels, check names against a profile, or
believe that the sender is the device that the names tell.
"""

from lichtmast.wire.senml.encoding import EncodingError, encode
from lichtmast.wire.senml.labels import DROPPED_LABEL, EPOCH_LABEL, SEQ_LABEL, TIME_ERROR_LABEL
from lichtmast.wire.senml.packs import Claim, decode, read_claim, resolve, sniff
from lichtmast.wire.senml.records import Pack, Reading, Record

__all__ = [
    "DROPPED_LABEL",
    "EPOCH_LABEL",
    "SEQ_LABEL",
    "TIME_ERROR_LABEL",
    "Claim",
    "EncodingError",
    "Pack",
    "Reading",
    "Record",
    "decode",
    "encode",
    "read_claim",
    "resolve",
    "sniff",
]
