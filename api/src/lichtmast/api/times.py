"""Instants as text: RFC 3339, in UTC going out, any offset coming in. Inside: microseconds since 1970 UTC."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_MICROSECOND: Final = timedelta(microseconds=1)
_DIGITS: Final = 6


def iso(instant_us: int) -> str:
    """`2026-11-21T20:30:17Z`, with as many decimals as there are."""
    moment = EPOCH + timedelta(microseconds=instant_us)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if moment.microsecond:
        text += f".{moment.microsecond:06d}".rstrip("0")
    return text + "Z"


def iso_of_day(day: date) -> str:
    """The first instant of a day, in UTC."""
    return f"{day.isoformat()}T00:00:00Z"


def instant_us(text: str) -> int:
    """Read an RFC 3339 instant of any offset. Raises ValueError for anything else, and for less than a microsecond."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is no instant such as 2026-11-21T20:30:00Z")
    day, clock, fraction, offset = match.groups()
    digits = (fraction or "").rstrip("0")
    if len(digits) > _DIGITS:
        raise ValueError(f"{text[:60]!r} is finer than a microsecond")
    moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    return (moment - EPOCH) // _MICROSECOND + int(digits.ljust(_DIGITS, "0"))
