"""The quick look that a door takes at a pack before it answers: whose it is, and whether the pipeline will refuse it.

Certain and fast for a sound pack in canonical JSON; everything else goes to the strict judge, whose word is the answer.
"""

import re
import time
from collections.abc import Callable
from typing import Final

from lichtmast.ingest.coap.inspection import Inspection
from lichtmast.ingest.decode import ABSENT, BASE_KEYS, UNREADABLE, Record, decode_records, is_unusual
from lichtmast.ingest.pipeline.judge import Rejected, judge
from lichtmast.ingest.pipeline.roster import UNKNOWN, Roster
from lichtmast.wire import limits
from lichtmast.wire.envelope import SENML_JSON
from lichtmast.wire.identity import URN_PREFIX, DeviceId, IdentityError
from lichtmast.wire.profile import ResultKind
from lichtmast.wire.refusal import Refusal

_BASE_NAME_BYTES_MAX: Final = 128
_URN: Final = URN_PREFIX.encode()
_DEVICE_URN: Final = re.compile(rb"urn:dev:lm:[a-z0-9]+:[a-z0-9-]+")
_QUOTE: Final = ord('"')
_CBOR_TEXT_8: Final = 0x78
_CBOR_LENGTH: Final = 0x1F


class Inspector:
    """Inspects packs against a roster; `renew` gives it the next one."""

    def __init__(self, roster: Roster, clock_us: Callable[[], int] | None = None) -> None:
        self._clock_us = clock_us or _now_us
        self.renew(roster)

    def renew(self, roster: Roster) -> None:
        """Go on with another roster."""
        self._roster = roster
        self._device_of_urn = {urn: row for urn, row in roster.device_of_urn.items() if roster.active[row]}
        self._expected = [
            {
                one.suffix: (one.unit or "", one.kind is ResultKind.BOOLEAN)
                for one in profile.uplinks
                if one.kind is not ResultKind.TEXT
            }
            for profile in roster.profiles
        ]
        self._profile_of = roster.profile_of.tolist()

    def inspect(self, raw: bytes, content_format: int, sender: str = "") -> Inspection:
        """Look at one payload of `sender`, which is authenticated, or of whom it claims to be from. Never raises."""
        if content_format == SENML_JSON:
            device = self._certain(raw)
            if device is not None and (not sender or self._roster.names[device] == sender):
                return Inspection(self._roster.names[device], None, "")
        return self._strict(raw, content_format, sender)

    def _certain(self, raw: bytes) -> int | None:
        """The roster's row of the sender of a sound pack; None where a closer look is needed."""
        if len(raw) > limits.PACK_BYTES_MAX or is_unusual(raw):
            return None
        try:
            records = decode_records(raw)
        except UNREADABLE:
            return None
        if not records or len(records) > limits.PACK_RECORDS_MAX:
            return None
        first = records[0]
        device = self._device_of_urn.get(first.bn)
        if device is None or first.epoch < 0 or first.seq < 1 or first.bt < limits.SENML_RELATIVE_BELOW:
            return None
        keys = self._keys(records, first.bt, self._expected[self._profile_of[device]])
        return device if raw.count(b'":') == keys + BASE_KEYS else None

    def _keys(self, records: list[Record], base_time_s: float, expected: dict[str, tuple[str, bool]]) -> int:
        """How many keys sound records have; an impossible number where one is not sound."""
        now_s = self._clock_us() / 1e6 - base_time_s
        earliest_s, latest_s = now_s - limits.TIME_PAST_MAX_S, now_s + limits.TIME_FUTURE_MAX_S
        keys = 0
        for record in records:
            meaning = expected.get(record.n)
            if meaning is None or (record.u and record.u != meaning[0]):
                return -BASE_KEYS - 1
            time_s = 0.0 if record.t == ABSENT else record.t
            if not earliest_s <= time_s <= latest_s or (record.vb is None if meaning[1] else record.v == ABSENT):
                return -BASE_KEYS - 1
            keys += 2 + (record.t != ABSENT) + bool(record.u)
        return keys

    def _strict(self, raw: bytes, content_format: int, authenticated: str) -> Inspection:
        sender = authenticated or _claimed(raw)
        device = self._roster.device_of_name.get(sender, UNKNOWN)
        verdict = judge(raw, content_format, self._clock_us(), device, sender, self._roster)
        if not isinstance(verdict, Rejected):
            return Inspection(sender, None, "")
        if verdict.refusal is Refusal.IDENTITY_MISMATCH and not authenticated:
            return Inspection("", verdict.refusal, verdict.detail)  # with nobody's name on it, it is nobody's
        return Inspection(sender, verdict.refusal, verdict.detail)


def _claimed(raw: bytes) -> str:
    """The device that an unauthenticated pack claims to be from by its base name; empty where none can be read.

    Looks for the URN itself, so that it works in JSON and CBOR and in packs that are broken elsewhere.
    """
    start = raw.find(_URN)
    if start < 1:
        return ""
    end = start + _BASE_NAME_BYTES_MAX
    if raw[start - 1] != _QUOTE:  # CBOR: the length stands before the text (RFC 8949 section 3)
        end = start + (raw[start - 1] if raw[start - 2] == _CBOR_TEXT_8 else raw[start - 1] & _CBOR_LENGTH)
    urn = _DEVICE_URN.match(raw, start, end)
    if urn is None:
        return ""
    try:
        return str(DeviceId.from_urn(urn.group().decode()))
    except IdentityError:
        return ""


def _now_us() -> int:
    return time.time_ns() // 1000
