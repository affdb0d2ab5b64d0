"""The contract between devices and Lichtmast: what the bytes mean.

Pure: values in, values out. No clock, socket or log lives here, so a device maker can depend on this package alone. The
only files it reads are its own data: units and device profiles.

Will not: know which devices exist, store anything, or send anything.
"""

from lichtmast.wire.acknowledgement import Acknowledgement, AcknowledgementError, Refused, decode_acknowledgement
from lichtmast.wire.envelope import SENML_CBOR, SENML_JSON, Enclosed, EnvelopeError, disclose, enclose, enclosed_bytes
from lichtmast.wire.identity import DeviceId, IdentityError
from lichtmast.wire.label import Label, LabelError, parse_label, pin_text, spki_pin
from lichtmast.wire.numbers import Numbers
from lichtmast.wire.profile import Capability, Direction, Profile, ProfileError, ResultKind, load_profiles
from lichtmast.wire.quality import Quality
from lichtmast.wire.refusal import ANSWERS, Answer, PackError, Refusal
from lichtmast.wire.senml import EncodingError, Pack, Reading, Record, decode, encode, resolve, sniff
from lichtmast.wire.units import SECONDARY_UNITS, UNITS, SecondaryUnit, Unit

__all__ = [
    "ANSWERS",
    "SECONDARY_UNITS",
    "SENML_CBOR",
    "SENML_JSON",
    "UNITS",
    "Acknowledgement",
    "AcknowledgementError",
    "Answer",
    "Capability",
    "DeviceId",
    "Direction",
    "Enclosed",
    "EncodingError",
    "EnvelopeError",
    "IdentityError",
    "Label",
    "LabelError",
    "Numbers",
    "Pack",
    "PackError",
    "Profile",
    "ProfileError",
    "Quality",
    "Reading",
    "Record",
    "Refusal",
    "Refused",
    "ResultKind",
    "SecondaryUnit",
    "Unit",
    "decode",
    "decode_acknowledgement",
    "disclose",
    "enclose",
    "enclosed_bytes",
    "encode",
    "load_profiles",
    "parse_label",
    "pin_text",
    "resolve",
    "sniff",
    "spki_pin",
]
