"""No number that is sent says anything of fewer than k people, alone or together with all others that were sent."""

import itertools
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.edge.drivers import Channel, Identifiers
from lichtmast.edge.sampling import CountingRule, Report, Sampler, read_drivers
from lichtmast.edge.sampling import limits as sampling_limits
from lichtmast.edge.sampling.counting import Flow, Visitors

QUARTER_S = 900.0


def flow_told(numbers: Iterable[float], k: int, days: Iterable[int | None] = itertools.repeat(None)) -> list[object]:
    flow = Flow(CountingRule(k))
    return [tuple(sorted(flow.close(number, day).items())) for number, day in zip(numbers, days, strict=False)]


@given(st.lists(st.integers(0, 40)), st.integers(3, 20))
def test_whatever_passes_each_told_piece_is_nought_or_k_and_totals_are_their_sums(numbers: list[int], k: int) -> None:
    flow, told_sum = Flow(CountingRule(k)), 0.0
    for upto, number in enumerate(numbers, 1):
        told = flow.close(number, None)
        if told:
            assert told["passed"] == 0 or told["passed"] >= k
            told_sum += told["passed"]
            assert told["total"] == told_sum == sum(numbers[:upto])  # nobody is lost


@pytest.mark.parametrize("days", [(None,) * 4, (1, 1, 2, 2)])
@pytest.mark.slow
def test_knowing_the_algorithm_and_all_that_is_sent_no_small_count_can_be_worked_out(
    days: tuple[int | None, ...],
) -> None:
    k, most = 3, 9
    worlds: defaultdict[object, list[tuple[int, ...]]] = defaultdict(list)
    for numbers in itertools.product(range(most + 1), repeat=len(days)):
        worlds[tuple(flow_told(numbers, k, days))].append(numbers)
    checked = 0
    for numbers_here in worlds.values():
        if max(map(sum, numbers_here)) >= most:
            continue  # only because the test counts no further would the largest be known
        for place in range(len(days)):
            possible = {numbers[place] for numbers in numbers_here}
            if any(0 < one < k for one in possible):
                assert len(possible) > 1, numbers_here
                checked += 1
    assert checked > 50


def test_small_counts_wait_for_company() -> None:
    assert flow_told((12, 4, 0, 7, 0), 10) == [
        (("passed", 12.0), ("total", 12.0)),
        (),
        (),
        (("passed", 11.0), ("total", 23.0)),
        (("passed", 0.0), ("total", 23.0)),
    ]


def test_today_is_told_from_the_first_midnight_and_what_waited_joins_the_new_day() -> None:
    told = flow_told((50, 4, 8, 20, 30), 10, (7, 7, 8, 8, 9))
    assert [dict(one).get("today") for one in told] == [None, None, 12, 32, 30]  # type: ignore[call-overload] # pairs


def test_without_a_trusted_clock_nothing_is_said_of_today() -> None:
    assert all("today" not in dict(one) for one in flow_told((20, 20), 10, (None, None)))  # type: ignore[call-overload]


def counter(line: str, channel: Channel) -> Sampler:
    text = f'[[driver]]\nname = "d"\nkind = "x"\n[[driver.reading]]\nchannel = "c"\nsample_s = 10\n{line}\n'
    return Sampler(
        read_drivers(tomllib.loads(text)["driver"]), {"d": (channel,)}, now_s=0.0, fresh_salt=iter_salts().__next__
    )


def iter_salts() -> Iterator[bytes]:
    return (b"salt %d" % number for number in itertools.count())


def told(report: Report) -> tuple[dict[str, object], list[tuple[str, int]]]:
    return (
        {one.suffix: one.value for one in report.readings},
        [(one.suffix, one.k) for one in report.suppressed],
    )


def test_a_counted_reading_comes_every_quarter_however_often_packs_are_sent() -> None:
    one = counter('statistics = { passed = "/people/0/passed" }\ncounted = {}', Channel("c", "counter", "count"))
    moments = []
    for minute in range(61):
        one.take("d", {"c": minute * 20.0}, minute * 60.0)
        moments += [(reading.at_s / 60, reading.value) for reading in one.report(minute * 60.0).readings]
    assert moments == [(15, 300.0), (30, 300.0), (45, 300.0), (60, 300.0)]


def test_what_a_counter_of_people_said_is_not_in_the_reason_why_it_was_refused() -> None:
    one = counter('statistics = { passed = "/people/0/passed" }\ncounted = {}', Channel("c", "counter", "count"))
    for at_s, number in enumerate((0.0, 7.0, 3.0)):
        one.take("d", {"c": number}, float(at_s))
    assert one.statistics().last_refusal == "/people/0/passed: fell"


def test_a_suppressed_count_is_marked_and_is_neither_nought_nor_missing_without_a_word() -> None:
    line = 'statistics = { passed = "/people/0/passed", total = "/people/0/total" }\ncounted = {}'
    one = counter(line, Channel("c", "number", "count"))
    history = []
    for quarter, passed in enumerate((3.0, 0.0, 8.0, 0.0, None), 1):
        if passed is not None:
            one.take("d", {"c": passed}, quarter * QUARTER_S - 1)
        history.append(told(one.report(quarter * QUARTER_S)))
    hidden = [("/people/0/passed", 10), ("/people/0/total", 10)]
    assert history == [
        ({}, hidden),
        ({}, hidden),
        ({"/people/0/passed": 11.0, "/people/0/total": 11.0}, []),
        ({"/people/0/passed": 0.0, "/people/0/total": 11.0}, []),
        ({}, []),  # nothing was measured: that is not nought people, and nothing is hidden
    ]
    assert one.statistics().suppressed == 4


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
def test_a_counted_gauge_is_sent_as_nought_or_k_or_not_at_all(numbers: list[int]) -> None:
    one = counter('statistics = { mean = "/people/0/present" }\ncounted = {}', Channel("c", "number", "count"))
    for at_s, number in enumerate(numbers):
        one.take("d", {"c": float(number)}, at_s * 10.0)
    report = one.report(QUARTER_S)
    mean = sum(numbers) / len(numbers)
    assert [reading.value for reading in report.readings] == ([] if 0 < mean < 10 else [pytest.approx(mean)])
    assert len(report.suppressed) == (0 < mean < 10)


def test_addresses_are_counted_once_an_interval_and_anew_in_the_next() -> None:
    one = counter('statistics = { passed = "/people/0/passed" }\ncounted = { k = 3 }', Channel("c", "identifiers"))
    crowd = [b"02:00:5e:00:53:%02x" % number for number in range(20)]
    for at_s in range(0, 900, 10):
        one.take("d", {"c": Identifiers(crowd[: at_s // 10 + 1])}, float(at_s))
    (reading,) = one.report(QUARTER_S).readings
    assert (reading.value, reading.unit, reading.at_s) == (20.0, "count", QUARTER_S)
    one.take("d", {"c": Identifiers(crowd[:4])}, QUARTER_S + 1)
    assert [reading.value for reading in one.report(2 * QUARTER_S).readings] == [4.0]
    assert "/people/0/passed" in one.latest()


def test_everybody_is_counted_however_often_the_driver_is_read() -> None:
    one = counter('statistics = { passed = "/people/0/passed" }\ncounted = { k = 3 }', Channel("c", "identifiers"))
    for second in range(100):
        one.take("d", {"c": Identifiers([b"%d" % second])}, float(second))
    assert [reading.value for reading in one.report(QUARTER_S).readings] == [100.0]


def test_what_is_kept_of_an_address_means_nothing_in_the_next_interval() -> None:
    visitors = Visitors(iter([b"first", b"second", b"third"]).__next__)
    visitors.add([b"02:00:5e:00:53:01"])
    (first,) = visitors._seen
    assert visitors.take() == 1
    visitors.add([b"02:00:5e:00:53:01"])
    (second,) = visitors._seen
    assert first != second
    assert repr(visitors) == "Visitors(1 not shown)"


def test_a_crowd_beyond_the_limit_costs_no_more_memory() -> None:
    visitors = Visitors(lambda: b"salt")
    visitors.add(b"%d" % number for number in range(sampling_limits.VISITORS_MAX + 10))
    assert visitors.take() == sampling_limits.VISITORS_MAX
