"""The outbox and time: what waits for a trusted clock, what has become too old, and the floor below all of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox_parts import START_US, StillClock, draft, open_outbox, pack_of

from lichtmast.edge.outbox import Outbox, OutboxSettings, limits
from lichtmast.edge.outbox.book import Boot
from lichtmast.edge.outbox.placing import place_boots
from lichtmast.edge.timekeeping import Stamp


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def outbox(path: Path, clock: StillClock) -> Iterator[Outbox]:
    one = open_outbox(path, clock)
    yield one
    one.close()


def test_a_pack_that_is_older_than_the_hours_is_dropped(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(hours=2))
    outbox.put([draft()] * 2, clock.stamp())
    clock.now_s += 2 * 3600
    outbox.put([draft()], clock.stamp())
    assert outbox.statistics().dropped_packs == 0
    clock.now_s += 1
    assert outbox.put([draft()], clock.stamp()) == [4]
    assert list(outbox.sendable()) == [3, 4]
    assert pack_of(outbox, 4).dropped == ((1, 2),)
    outbox.close()


@pytest.mark.parametrize("dark_hours", [8 * 24, 1_024 * 7 * 24, -8 * 24], ids=["a week", "rollover", "backwards"])
def test_hours_without_power_do_not_count_and_no_wall_clock_deletes(
    path: Path, clock: StillClock, dark_hours: int
) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft()] * 50, clock.stamp())
    outbox.close()
    clock = StillClock("boot-2", 10.0, START_US + dark_hours * 3_600_000_000)
    again = open_outbox(path, clock)
    again.put([draft(at_s=10.0)], clock.stamp())
    clock.now_s = 100 * 3_600.0
    again.put([draft(at_s=clock.now_s)], clock.stamp())
    assert (again.statistics().dropped_packs, again.statistics().packs) == (0, 52)
    again.close()


def test_packs_of_earlier_boots_go_once_this_boot_alone_is_older_than_the_hours(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock, OutboxSettings(hours=2))
    outbox.put([draft()] * 3, clock.stamp())
    outbox.close()
    clock = StillClock("boot-2", 2 * 3_600.0)
    again = open_outbox(path, clock, OutboxSettings(hours=2))
    again.put([draft()], clock.stamp())
    assert again.statistics().dropped_packs == 0
    clock.now_s += 1
    again.put([draft()], None)
    assert (again.statistics().dropped_packs, again.statistics().packs) == (3, 2)
    again.close()


def test_readings_wait_for_a_trusted_clock_and_keep_their_moment(outbox: Outbox, clock: StillClock) -> None:
    assert outbox.put([draft(7.0, at_s=90.0)], None) == []
    assert (outbox.load([1]), outbox.statistics().unstamped) == ([], 1)
    clock.now_s += 500
    assert outbox.put([draft(8.0, at_s=600.0)], clock.stamp()) == [2]
    assert outbox.stamp_waiting(clock.stamp(error_s=1.5)) == [1]
    pack = pack_of(outbox, 1)
    assert (pack.records[0].value, pack.records[0].time_us) == (7.0, START_US + 90_000_000)
    assert pack.time_error_s == 1.5
    assert (outbox.statistics().unstamped, list(outbox.sendable())) == (0, [1, 2])
    assert outbox.stamp_waiting(clock.stamp()) == []


def test_more_packs_than_one_batch_are_stamped_and_take_no_more_room(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    for _ in range(10):
        outbox.put([draft(readings=6)] * 50, None)
    before = outbox.statistics()
    assert list(range(1, 501)) == outbox.stamp_waiting(clock.stamp(error_s=123.456789))
    after = outbox.statistics()
    assert after.payload_bytes <= before.payload_bytes
    assert outbox._book.packs == 500
    outbox.close()


def test_readings_of_earlier_boots_get_the_latest_time_that_is_possible_and_say_how_far_it_may_be_off(
    path: Path, clock: StillClock
) -> None:
    outbox = open_outbox(path, clock)
    outbox.put([draft()], clock.stamp(error_s=0.0))
    clock.now_s += limits.FLOOR_AFTER_S
    outbox.put([draft(1.0, at_s=clock.now_s)], clock.stamp(error_s=0.0))  # the last time that is known
    known_us = clock.wall_us()
    outbox.close()
    for boot, at_s in (("boot-2", 300.0), ("boot-3", 200.0)):
        clock = StillClock(boot, at_s)
        dark = open_outbox(path, clock)
        dark.put([draft(2.0, at_s=at_s - 1), draft(2.5, at_s=at_s)], None)
        dark.close()
    this_boot_us = known_us + (300 + 200 + 60) * 1_000_000  # a minute is unaccounted for
    clock = StillClock("boot-4", 50.0, this_boot_us)
    again = open_outbox(path, clock)
    assert again.stamp_waiting(clock.stamp(error_s=0.25)) == [3, 4, 5, 6]
    times = [pack_of(again, seq).records[0].time_us for seq in (3, 4, 5, 6)]
    assert [this_boot_us - back_s * 1_000_000 for back_s in (201, 200, 1, 0)] == times
    # The minute, and the length of the oldest boot: the last known time may have been within it.
    assert [pack_of(again, seq).time_error_s for seq in (3, 4, 5, 6)] == [360.25] * 4
    again.close()


def test_the_time_floor_is_what_was_last_known_and_stays_below_what_waits(path: Path, clock: StillClock) -> None:
    outbox = open_outbox(path, clock)
    assert outbox.floor_us == limits.FLOOR_US
    outbox.put([draft()], clock.stamp(error_s=0.5))
    clock.now_s += limits.FLOOR_AFTER_S
    outbox.put([draft()], clock.stamp(error_s=0.5))
    known_us = clock.wall_us() - 500_000
    assert outbox.floor_us == known_us
    outbox.put([draft()], None)
    for _ in range(2):
        clock.now_s += limits.FLOOR_AFTER_S
        outbox.put([draft()], clock.stamp(error_s=0.5))
    assert outbox.floor_us == known_us, "a pack still waits for its place in time"
    outbox.stamp_waiting(clock.stamp(error_s=0.5))
    outbox.put([draft()], clock.stamp(error_s=0.5))
    assert outbox.floor_us == clock.wall_us() - 500_000
    outbox.close()
    again = open_outbox(path, clock)
    assert again.floor_us == clock.wall_us() - 500_000, "it is durable"
    again.close()


def test_the_time_floor_follows_only_a_clock_that_has_stood_by_its_word_for_an_hour(
    outbox: Outbox, clock: StillClock
) -> None:
    def told(years: int) -> Stamp:
        return Stamp(START_US + years * 31_556_952_000_000, 0.0)

    for years in (20, 0, 20, 0):  # each for less than an hour
        for _ in range(5):
            clock.now_s += limits.FLOOR_AFTER_S / 5
            outbox.put([draft()], told(years))
    clock.now_s += limits.FLOOR_AFTER_S / 5
    outbox.put([], None)  # nobody vouches for the time: it begins anew
    clock.now_s += limits.FLOOR_AFTER_S / 5
    outbox.put([draft()], told(0))
    assert outbox.floor_us == limits.FLOOR_US


def test_a_time_floor_in_the_future_falls_when_an_earlier_time_has_stood_for_an_hour(
    outbox: Outbox, clock: StillClock
) -> None:
    wrong = Stamp(START_US + 20 * 31_556_952_000_000, 0.0)
    outbox.put([draft()], wrong)
    clock.now_s += limits.FLOOR_AFTER_S
    outbox.put([draft()], wrong)
    assert outbox.floor_us == wrong.wall_us(clock.now_s)
    outbox.put([draft()], None)  # waits: the floor may not rise, and must be able to fall
    outbox.put([draft()], clock.stamp())
    assert outbox.floor_us == wrong.wall_us(clock.now_s)
    clock.now_s += limits.FLOOR_AFTER_S
    outbox.put([draft()], clock.stamp(error_s=0.0))
    assert outbox.floor_us == clock.wall_us()


def test_a_stamp_that_senml_cannot_carry_drops_the_pack_and_declares_it(outbox: Outbox, clock: StillClock) -> None:
    outbox.put([draft(at_s=1.0)], None)
    assert outbox.stamp_waiting(Stamp(0, 0.0)) == []  # 1970
    assert outbox.statistics().dropped_packs == 1
    assert outbox.put([draft()], clock.stamp()) == [2]
    assert pack_of(outbox, 2).dropped == ((1, 1),)


def test_a_floor_that_was_raised_within_the_boot_that_is_placed_makes_its_bound_no_smaller() -> None:
    """The clock was trusted for a while, then lost; the readings after that are of the same boot as the floor."""
    start_us = 1_800_000_000_000_000
    rebooted = Stamp(start_us + 63_000_000, 0.02)
    placed = place_boots([Boot("a", 60.0)], rebooted, start_us + 40_000_000)
    assert placed["a"].error_s >= 23.0
