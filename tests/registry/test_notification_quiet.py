"""Quiet hours by the wall clock of the Netherlands, in every night of the year."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lichtmast.registry.notifying.quiet import MINUTES_PER_DAY, QuietHours, released_at_us

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NIGHT = QuietHours(22 * 60, 7 * 60)
minutes = st.integers(0, MINUTES_PER_DAY - 1)


def us(text: str) -> int:
    """A moment with its offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("quiet", "now", "released"),
    [
        (NIGHT, "2026-11-22T21:59:59+01:00", "2026-11-22T21:59:59+01:00"),
        (NIGHT, "2026-11-22T22:00:00+01:00", "2026-11-23T07:00:00+01:00"),
        (NIGHT, "2026-11-23T06:59:59+01:00", "2026-11-23T07:00:00+01:00"),
        (QuietHours(12 * 60, 13 * 60), "2026-07-01T12:30:00+02:00", "2026-07-01T13:00:00+02:00"),
        # The night of 29 March 2026 skips 02:00 to 03:00, that of 25 October has it twice.
        (NIGHT, "2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00"),
        (NIGHT, "2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"),
        (QuietHours(0, 150), "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"),
        (QuietHours(120, 180), "2026-03-29T01:59:00+01:00", "2026-03-29T01:59:00+01:00"),
        (QuietHours(0, 150), "2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+02:00"),
        (QuietHours(0, 150), "2026-10-25T02:10:00+01:00", "2026-10-25T02:30:00+01:00"),
    ],
)
def test_what_is_quiet_ends_when_the_wall_clock_says_so(quiet: QuietHours, now: str, released: str) -> None:
    assert released_at_us(quiet, us(now)) == us(released)


@settings(max_examples=40)
@given(minutes, minutes, st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)))  # noqa: DTZ001 - made UTC below
def test_the_release_is_the_first_moment_that_is_not_quiet(first: int, last: int, moment: datetime) -> None:
    assume(first != last)
    quiet = QuietHours(first, last)
    now = moment.replace(tzinfo=UTC, microsecond=0)
    released = datetime.fromtimestamp(released_at_us(quiet, us(now.isoformat())) / 1e6, UTC)

    def is_quiet(at: datetime) -> bool:
        local = at.astimezone(AMSTERDAM)
        return quiet.holds(local.hour * 60 + local.minute)

    assert not is_quiet(released)
    assert released == now or all(is_quiet(one) for one in (now, released - timedelta(seconds=1)))
    assert released - now <= timedelta(hours=25)
