"""Each check by itself: what it sees, and what it leaves alone."""

from dataclasses import replace

import pytest
from validation_town import MINUTE_US, NOON_US, RULES, Said, Station, roster, steady

from lichtmast.ingest.validation import Layout
from lichtmast.wire import Quality

HOUR_US = 60 * MINUTE_US
RESTLESS = (20.0, 20.1, 20.2, 20.1)


def restless(count: int) -> list[float]:
    """A temperature that stirs a little, as a sound sensor's does."""
    return [RESTLESS[at % 4] for at in range(count)]


def flags(values: list[float]) -> list[Quality]:
    """The quality of these readings of one lonely station, a minute apart."""
    return Station().hear(steady(0, values))


def test_sound_readings_bear_no_flag() -> None:
    assert flags(restless(200)) == [Quality.GOOD] * 200


def test_a_value_outside_the_range_is_flagged_by_the_rules_of_now() -> None:
    station = Station()
    assert Quality.OUT_OF_RANGE in station.hear([Said(0, NOON_US, 56.0, 1, NOON_US)])[0]
    wider = {"profile": {"weather": {"temperature": {"maximum": 60}}}}
    station.validator.renew(roster(rules=wider, revision=2))
    later = NOON_US + MINUTE_US
    assert Quality.OUT_OF_RANGE not in station.hear([Said(0, later, 56.0, 2, later, int(Quality.OUT_OF_RANGE))])[0]


def test_one_datastream_may_have_a_range_of_its_own() -> None:
    rules = {**RULES, "datastream": {"20": {"maximum": 25}}}
    station = Station(roster(rules=rules))
    told = station.hear([Said(0, NOON_US, 30.0, 1, NOON_US), Said(1, NOON_US, 30.0, 1, NOON_US)])
    assert told == [Quality.GOOD, Quality.OUT_OF_RANGE]


def test_a_change_at_the_fastest_believable_rate_is_believed_and_a_little_more_is_not() -> None:
    assert Quality.RATE not in Station().hear(steady(0, [20.0, 25.1], every_us=10_000_000))[1]
    assert Quality.RATE in Station().hear(steady(0, [20.0, 25.2], every_us=10_000_000))[1]


def test_a_spike_is_flagged_and_the_return_from_it_is_not() -> None:
    told = flags([*restless(20), 29.0, *restless(5)])
    assert told[20] == Quality.SPIKE
    assert told[:20] + told[21:] == [Quality.GOOD] * 25


def test_a_lasting_step_is_doubted_until_half_of_the_window_has_seen_it() -> None:
    told = flags([*restless(32), *(one + 9 for one in restless(32))])
    doubted = [at for at, one in enumerate(told) if Quality.SPIKE in one]
    assert doubted == list(range(32, 48))


def test_what_varies_much_may_jump_much() -> None:
    wild = [20.0 + 4 * (at % 3) for at in range(30)]
    assert Quality.SPIKE not in flags([*wild, 30.0])[-1]
    assert Quality.SPIKE in flags([*restless(30), 30.0])[-1]


def test_too_few_readings_make_no_spike() -> None:
    assert not any(Quality.SPIKE in one for one in flags([*restless(7), 29.0]))
    assert Quality.SPIKE in flags([*restless(8), 29.0])[-1]


def test_readings_from_before_a_gap_say_nothing_about_those_after_it() -> None:
    before = steady(0, restless(20))
    after = steady(0, [30.0, 30.1, 30.0], first_us=before[-1].time_us + HOUR_US, seq=21)
    assert Station().hear([*before, *after])[20:] == [Quality.AFTER_GAP, Quality.GOOD, Quality.GOOD]


def test_a_gap_is_longer_than_three_intervals_of_the_profile_or_of_the_device() -> None:
    def after(every_us: int, pause_us: int) -> Quality:
        before = steady(0, restless(4), every_us=every_us)
        last_us = before[-1].time_us + pause_us
        return Station().hear([*before, Said(0, last_us, 20.0, 5, last_us)])[-1]

    assert Quality.AFTER_GAP not in after(MINUTE_US, 3 * MINUTE_US)
    assert Quality.AFTER_GAP in after(MINUTE_US, 3 * MINUTE_US + 1)
    assert Quality.AFTER_GAP not in after(10_000_000, 3 * MINUTE_US)
    assert Quality.AFTER_GAP not in after(5 * MINUTE_US, 15 * MINUTE_US)
    assert Quality.AFTER_GAP in after(5 * MINUTE_US, 16 * MINUTE_US)


def test_equal_results_are_stuck_from_the_number_that_the_rule_says() -> None:
    told = flags([*restless(3), *[20.3] * 6, 20.4])
    assert [Quality.STUCK in one for one in told] == [False] * 7 + [True, True, False]


def test_a_result_between_two_steps_is_told_and_not_doubted() -> None:
    told = flags([20.0, 20.05, 20.1, 0.3, -20.1])
    assert [Quality.OFF_STEP in one for one in told] == [False, True, False, False, False]


def test_a_late_reading_is_told_and_changes_nothing_for_those_in_order() -> None:
    said = steady(0, restless(20))
    late = replace(said[10], value=52.0, received_us=said[-1].received_us + 1)
    rest = steady(0, restless(10), first_us=said[-1].time_us + MINUTE_US, seq=21)
    told = Station().hear([*said[:10], *said[11:], late, *rest])
    assert told[19] == Quality.LATE
    assert told[:19] + told[20:] == [Quality.GOOD] * 29


def test_a_clock_set_back_is_suspect_for_as_long_as_time_repeats_itself() -> None:
    before = steady(0, restless(60))
    back = [
        replace(one, time_us=one.received_us - HOUR_US // 2)
        for one in steady(0, restless(60), first_us=before[-1].time_us + MINUTE_US, seq=61)
    ]
    told = Station().hear([*before, *back])
    assert all(Quality.CLOCK_SUSPECT in one for one in told[60:89])
    # From then on it is later than what had come; a steady half hour of delay tells after two readings more.
    assert [Quality.CLOCK_SUSPECT in one for one in told[92:]] == [True] * 28


def test_an_old_backlog_in_order_is_no_clock() -> None:
    before = steady(0, restless(10))
    drained = [
        replace(one, received_us=NOON_US + 2 * HOUR_US + at * 10_000)
        for at, one in enumerate(steady(0, restless(60), first_us=NOON_US + 10 * MINUTE_US, seq=11))
    ]
    live = steady(0, restless(5), first_us=NOON_US + 2 * HOUR_US + MINUTE_US, seq=71)
    assert not any(Quality.CLOCK_SUSPECT in one for one in Station().hear([*before, *drained, *live]))


def test_a_backlog_behind_live_packs_is_late_and_no_clock() -> None:
    live = steady(0, restless(3), first_us=NOON_US + HOUR_US, seq=50)
    backlog = [
        replace(one, received_us=live[-1].received_us + at) for at, one in enumerate(steady(0, restless(20), seq=30))
    ]
    assert Station().hear([*live, *backlog])[3:] == [Quality.LATE] * 20


def test_readings_without_numbers_are_late_and_never_a_clock() -> None:
    said = [replace(one, seq=-1, epoch=-1) for one in steady(0, restless(3))]
    assert Station().hear([said[0], said[2], said[1]]) == [Quality.GOOD, Quality.GOOD, Quality.LATE]


def test_a_clock_that_runs_ahead_is_suspect_from_a_minute_on() -> None:
    said = steady(0, restless(4))
    fast = [replace(one, time_us=one.time_us + MINUTE_US + extra) for one, extra in zip(said, (0, 1), strict=False)]
    assert [Quality.CLOCK_SUSPECT in one for one in Station().hear(fast)] == [False, True]


def test_a_time_from_the_future_moves_nothing_on() -> None:
    said = steady(0, restless(4))
    ahead = replace(said[1], time_us=said[1].time_us + HOUR_US, quality=int(Quality.TIME_IN_FUTURE))
    told = Station().hear([said[0], ahead, said[2], said[3]])
    assert told[1] == Quality.TIME_IN_FUTURE | Quality.CLOCK_SUSPECT
    assert told[2:] == [Quality.GOOD, Quality.GOOD]


def neighbours(values: list[float], minutes: int = 3) -> list[Quality]:
    """What the last round says of stations that say these values again and again."""
    rounds = [
        [Said(device, at_us, value, at + 1, at_us + device) for device, value in enumerate(values)]
        for at in range(minutes)
        for at_us in [NOON_US + at * MINUTE_US]
    ]
    station = Station(roster(len(values)))
    return [station.hear(one) for one in rounds][-1]


def test_one_that_is_far_from_its_neighbours_is_implausible() -> None:
    told = neighbours([20.0, 20.1, 19.9, 20.2, 25.2, 14.8])
    assert [Quality.IMPLAUSIBLE in one for one in told] == [False, False, False, False, True, True]


def test_fewer_than_five_fresh_neighbours_say_nothing() -> None:
    assert not any(neighbours([20.0, 20.1, 19.9, 40.0]))
    station = Station()
    for device in range(6):
        station.hear([Said(device, NOON_US, 20.0, 1, NOON_US + device)])
    late_us = NOON_US + 5 * MINUTE_US
    told = [station.hear([Said(device, late_us, 30.0, 2, late_us + device)])[0] for device in (0, 1)]
    assert not any(Quality.IMPLAUSIBLE in one for one in told)


def test_a_new_roster_keeps_what_is_remembered_and_takes_what_it_does_not_know_as_it_comes() -> None:
    station = Station(roster(2))
    station.hear(steady(0, restless(20)))
    station.validator.renew(roster(2, first=1, revision=2))
    strange = NOON_US + 20 * MINUTE_US
    assert station.hear([Said(0, strange, 20.0, 21, strange)]) == [Quality.GOOD]
    station.validator.renew(roster(3, revision=3))
    assert station.hear([Said(0, strange, 29.0, 22, strange)]) == [Quality.GOOD]  # forgotten when it was gone
    kept = Station(roster(2))
    kept.hear(steady(1, restless(20)))
    kept.validator.renew(roster(2, first=1, revision=2))
    said = replace(Said(1, strange, 29.0, 21, strange), device=1)
    assert Quality.SPIKE in kept.hear([said])[0]


def test_memory_is_bounded_by_the_datastreams_alone() -> None:
    station = Station(roster(6))
    size = station.validator.size_bytes
    assert size == 304 * len(Layout.of(station.roster))
    station.hear(steady(0, restless(500)))
    assert station.validator.size_bytes == size


@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_batch_and_an_empty_town_are_no_trouble(count: int) -> None:
    assert Station(roster(count)).hear([]) == []
    station = Station(roster(count))
    station.start_again()
    assert station.hear([]) == []


@pytest.mark.parametrize("at", range(50, 58))
def test_a_restart_in_the_middle_of_a_step_changes_nothing(at: int) -> None:
    said = steady(0, [*restless(40), *(one + 9 for one in restless(32))])
    station = Station()
    told = station.hear(said[:at])
    station.start_again()
    assert told + station.hear(said[at:]) == Station().hear(said)


def test_a_restart_remembers_the_pace_of_a_slow_device() -> None:
    said = steady(0, restless(4), every_us=5 * MINUTE_US)
    station = Station()
    station.hear(said)
    station.start_again()
    pause_us = said[-1].time_us + 14 * MINUTE_US
    assert station.hear([Said(0, pause_us, 20.0, 5, pause_us)]) == [Quality.GOOD]
