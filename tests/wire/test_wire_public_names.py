"""What the wire promises to its users: these names and no others."""

from collections.abc import Mapping
from enum import IntFlag

import lichtmast.wire
import lichtmast.wire.senml
from lichtmast.wire.quality import Quality

PUBLIC = """
ANSWERS SECONDARY_UNITS SENML_CBOR SENML_JSON UNITS
Acknowledgement AcknowledgementError Answer Capability DeviceId Direction Enclosed EncodingError EnvelopeError
IdentityError Label LabelError Numbers Pack PackError Profile ProfileError Quality Reading Record Refusal Refused
ResultKind SecondaryUnit Unit
decode decode_acknowledgement disclose enclose enclosed_bytes encode load_profiles parse_label pin_text resolve
sniff spki_pin
"""


def test_exported_names_are_fixed() -> None:
    assert lichtmast.wire.__all__ == PUBLIC.split()


def test_exported_names_of_senml_are_fixed() -> None:
    labels = "DROPPED_LABEL EPOCH_LABEL SEQ_LABEL TIME_ERROR_LABEL"
    names = f"{labels} Claim EncodingError Pack Reading Record decode encode read_claim resolve sniff"
    assert lichtmast.wire.senml.__all__ == names.split()


def test_every_exported_name_exists_and_is_documented() -> None:
    for name in lichtmast.wire.__all__:
        thing = getattr(lichtmast.wire, name)
        assert isinstance(thing, int | Mapping) or thing.__doc__


def test_quality_bits_never_move() -> None:
    assert issubclass(Quality, IntFlag)
    assert {flag.name: flag.value for flag in Quality} == {
        "OUT_OF_RANGE": 1,
        "TIME_FROM_SERVER": 2,
        "TIME_IN_FUTURE": 4,
        "UNIT_CONVERTED": 8,
        "UNIT_NOT_RECOMMENDED": 16,
        "TIME_UNCERTAIN": 32,
        "LATE": 64,
        "AFTER_GAP": 128,
        "RATE": 256,
        "SPIKE": 512,
        "STUCK": 1024,
        "OFF_STEP": 2048,
        "CLOCK_SUSPECT": 4096,
        "IMPLAUSIBLE": 8192,
        "REPLAYED": 16384,
    }
    assert Quality(0) is Quality.GOOD
