"""Our extension labels, all in the first record; other SenML readers ignore them (RFC 8428 section 4.4).

`lm-epoch` and `lm-seq` number the pack. `lm-dropped` declares numbers of the same epoch, below the pack's own, that
will never come because the device had to drop them: "100-180,190". `lm-time-error` is the sender's bound on the error
of its clock, in seconds, and left out while that is small.

Will not: remember what was declared, or doubt it; the server's books do.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

from lichtmast.wire import limits
from lichtmast.wire.refusal import PackError, Refusal

EPOCH_LABEL: Final = "lm-epoch"
SEQ_LABEL: Final = "lm-seq"
DROPPED_LABEL: Final = "lm-dropped"
TIME_ERROR_LABEL: Final = "lm-time-error"
LABELS_OF_FIRST: Final = frozenset((EPOCH_LABEL, SEQ_LABEL, DROPPED_LABEL, TIME_ERROR_LABEL))

Ranges: TypeAlias = tuple[tuple[int, int], ...]

_ONE: Final = r"[1-9][0-9]{0,15}(?:-[1-9][0-9]{0,15})?"
_DROPPED: Final = re.compile(rf"{_ONE}(?:,{_ONE})*", re.ASCII)


def read_sequence(first: dict[str, Any]) -> tuple[int | None, int | None]:
    """Epoch and number of the pack whose first record this is, or neither. Raises PackError."""
    if EPOCH_LABEL not in first and SEQ_LABEL not in first:
        return None, None
    return (
        _count(first.get(EPOCH_LABEL), EPOCH_LABEL, 0, limits.EPOCH_MAX),
        _count(first.get(SEQ_LABEL), SEQ_LABEL, 1, limits.SEQ_MAX),
    )


def read_dropped(first: dict[str, Any], seq: int | None) -> Ranges:
    """The declared ranges, ascending; none where the label is absent. Raises PackError."""
    if DROPPED_LABEL not in first:
        return ()
    told = first[DROPPED_LABEL]
    if type(told) is not str or len(told) > limits.DROPPED_TEXT_LENGTH_MAX or not _DROPPED.fullmatch(told):
        raise PackError(
            Refusal.BAD_SEQUENCE,
            f'{DROPPED_LABEL} is not at most {limits.DROPPED_RANGES_MAX} ranges as in "100-180,190"',
        )
    ranges = tuple(_range(part) for part in told.split(","))
    wrong = wrong_ranges(ranges, seq)
    if wrong is not None:
        raise PackError(Refusal.BAD_SEQUENCE, f"{DROPPED_LABEL}: {wrong}")
    return ranges


def read_time_error_s(first: dict[str, Any]) -> float | None:
    """The sender's bound on its clock error; None where it tells none. Raises PackError."""
    if TIME_ERROR_LABEL not in first:
        return None
    told = first[TIME_ERROR_LABEL]
    if type(told) not in (int, float, Decimal) or not 0 <= told <= limits.TIME_ERROR_MAX_S:
        raise PackError(
            Refusal.BAD_TIME, f"{TIME_ERROR_LABEL} is not a number of seconds from 0 to {limits.TIME_ERROR_MAX_S}"
        )
    return float(told)


def write_dropped(ranges: Sequence[tuple[int, int]]) -> str:
    """The ranges as the label's text."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def wrong_ranges(ranges: Sequence[tuple[int, int]], seq: int | None) -> str | None:
    """Why a pack of this number cannot declare these ranges, and what to mend; None where it can."""
    if seq is None:
        return f"a pack without {SEQ_LABEL} declares nothing"
    if len(ranges) > limits.DROPPED_RANGES_MAX:
        return f"{len(ranges)} ranges, at most {limits.DROPPED_RANGES_MAX} in one pack; declare the rest with the next"
    before = 0
    for first, last in ranges:
        if not before < first <= last:
            return f"{first}-{last} does not ascend; ranges are ascending and apart"
        before = last
    if before >= seq:
        return f"{before} is not below the pack's own number {seq}"
    numbers = sum(last - first + 1 for first, last in ranges)
    if numbers > limits.DROPPED_NUMBERS_MAX:
        return f"{numbers} numbers, at most {limits.DROPPED_NUMBERS_MAX} in one pack; declare the rest with the next"
    return None


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _count(told: object, label: str, least: int, most: int) -> int:
    if type(told) is not int or not least <= told <= most:
        raise PackError(
            Refusal.BAD_SEQUENCE, f"{label} is not a whole number from {least} to 2^53-1, or its twin is missing"
        )
    return told
