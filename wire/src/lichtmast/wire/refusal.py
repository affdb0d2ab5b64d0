"""Why something is refused, and what each transport then answers: one total table.

A refusal is an expected outcome, so it is a value; `tests/wire/test_refusal.py` proves the table total.
"""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final


@unique
class Refusal(Enum):
    """A reason, by the name that appears in acknowledgements, quarantine, logs and documentation."""

    # The bytes are no pack.
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNDECODABLE = "undecodable"
    DUPLICATE_KEY = "duplicate_key"
    TOO_DEEP = "too_deep"
    TOO_MANY_RECORDS = "too_many_records"
    # The pack breaks a SenML rule (RFC 8428).
    NOT_A_PACK = "not_a_pack"
    BAD_FIELD = "bad_field"
    BAD_NAME = "bad_name"
    BAD_VALUE = "bad_value"
    BAD_VERSION = "bad_version"
    MUST_UNDERSTAND = "must_understand"
    BAD_TIME = "bad_time"
    UNKNOWN_UNIT = "unknown_unit"
    # The pack is sound, but not this device's, or not in its profile.
    IDENTITY_MISMATCH = "identity_mismatch"
    UNKNOWN_DEVICE = "unknown_device"
    INACTIVE_DEVICE = "inactive_device"
    UNKNOWN_NAME = "unknown_name"
    WRONG_UNIT = "wrong_unit"
    WRONG_TYPE = "wrong_type"
    BAD_SEQUENCE = "bad_sequence"
    SEQUENCE_CONFLICT = "sequence_conflict"
    # The server cannot take it now.
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a refusal means on each transport.

    `retry`: sending the same bytes again later can succeed. `coap`: RFC 7252 section 5.9 code as (class, detail).
    `mqtt`: MQTT 5 reason code (section 2.4); 3.1.1 has none, there the reason travels in the acknowledgement.
    `http`: status code.
    """

    retry: bool
    coap: tuple[int, int]
    mqtt: int
    http: int


_BAD_PAYLOAD: Final = Answer(retry=False, coap=(4, 0), mqtt=0x99, http=400)
_FORBIDDEN: Final = Answer(retry=False, coap=(4, 3), mqtt=0x87, http=403)

ANSWERS: Final[dict[Refusal, Answer]] = {
    Refusal.EMPTY: _BAD_PAYLOAD,
    Refusal.TOO_LARGE: Answer(retry=False, coap=(4, 13), mqtt=0x95, http=413),
    Refusal.UNSUPPORTED_FORMAT: Answer(retry=False, coap=(4, 15), mqtt=0x99, http=415),
    Refusal.UNDECODABLE: _BAD_PAYLOAD,
    Refusal.DUPLICATE_KEY: _BAD_PAYLOAD,
    Refusal.TOO_DEEP: _BAD_PAYLOAD,
    Refusal.TOO_MANY_RECORDS: Answer(retry=False, coap=(4, 13), mqtt=0x95, http=413),
    Refusal.NOT_A_PACK: _BAD_PAYLOAD,
    Refusal.BAD_FIELD: _BAD_PAYLOAD,
    Refusal.BAD_NAME: _BAD_PAYLOAD,
    Refusal.BAD_VALUE: _BAD_PAYLOAD,
    Refusal.BAD_VERSION: _BAD_PAYLOAD,
    Refusal.MUST_UNDERSTAND: _BAD_PAYLOAD,
    Refusal.BAD_TIME: _BAD_PAYLOAD,
    Refusal.UNKNOWN_UNIT: _BAD_PAYLOAD,
    Refusal.IDENTITY_MISMATCH: _FORBIDDEN,
    Refusal.UNKNOWN_DEVICE: _FORBIDDEN,
    Refusal.INACTIVE_DEVICE: _FORBIDDEN,
    Refusal.UNKNOWN_NAME: _BAD_PAYLOAD,
    Refusal.WRONG_UNIT: _BAD_PAYLOAD,
    Refusal.WRONG_TYPE: _BAD_PAYLOAD,
    Refusal.BAD_SEQUENCE: _BAD_PAYLOAD,
    Refusal.SEQUENCE_CONFLICT: Answer(retry=False, coap=(4, 9), mqtt=0x83, http=409),
    Refusal.RATE_LIMITED: Answer(retry=True, coap=(4, 29), mqtt=0x96, http=429),
    Refusal.UNAVAILABLE: Answer(retry=True, coap=(5, 3), mqtt=0x88, http=503),
}


class PackError(ValueError):
    """The bytes are no valid pack. The only error a decoder of this package raises, whatever the bytes.

    `refusal` is the reason; `detail` says where and what to mend, without repeating long input.
    """

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal.value}: {detail}")
        self.refusal = refusal
        self.detail = detail
