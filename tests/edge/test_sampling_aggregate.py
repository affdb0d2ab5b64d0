"""What the samples of an interval become."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.edge.sampling.aggregate import STATISTICS, Aggregate


def of(*values: float) -> Aggregate:
    one = Aggregate()
    for at_s, value in enumerate(values):
        one.add_number(value, float(at_s))
    return one


def test_numbers() -> None:
    one = of(1.0, 5.0, 3.0)
    names = ("mean", "min", "max", "last", "sum", "count")
    assert [one.value(name) for name in names] == [3.0, 1.0, 5.0, 3.0, 9.0, 3.0]
    assert one.last_at_s == 2.0


def test_the_mean_of_decibels_is_one_of_energy() -> None:
    # 59 minutes of a quiet street and one of a lorry: the plain mean would say 50.5 dB.
    assert of(*[50.0] * 59, 80.0).value("energy_mean") == pytest.approx(62.47, abs=0.01)
    assert of(60.0, 60.0).value("energy_mean") == pytest.approx(60.0)
    assert [of(value).has("energy_mean") for value in (60.0, 1e9, -1e9)] == [True, False, False]


def test_the_mean_of_directions_is_one_of_vectors() -> None:
    assert of(math.radians(350), math.radians(20)).value("direction_mean") == pytest.approx(math.radians(5))
    assert of(math.radians(170), math.radians(200)).value("direction_mean") == pytest.approx(math.radians(185))


def counted(*values: float) -> Aggregate:
    one = Aggregate()
    for at_s, value in enumerate(values):
        one.add_counter(value, float(at_s))
    return one


def test_a_counters_increase_needs_a_value_before_it_and_survives_that_it_begins_anew() -> None:
    one = Aggregate()
    one.add_counter(1_000.0, 0.0)
    assert not one.has("increase")
    one.add_counter(1_007.0, 1.0)
    assert one.value("increase") == 7.0
    one.clear()
    assert not one.has("last")
    one.add_counter(1_010.0, 2.0)
    assert one.add_counter(4.0, 3.0) == "fell from 1010 to 4"  # the meter was switched off and on
    assert (one.value("increase"), one.value("last"), one.value("count")) == (3.0, 1_010.0, 1.0)
    one.add_counter(9.0, 4.0)
    assert (one.value("increase"), one.value("last")) == (8.0, 9.0)


@pytest.mark.parametrize(
    ("values", "increase"),
    [
        ((5_000_000, 5_000_010, 5_000_009, 5_000_020), 20),
        ((5_000_000, 5_000_010, 5_000_009, 5_000_009, 5_000_020), 20),
        ((5_000_000, 0, 5_000_020), 20),
        ((5_000_000, 0, 0, 0, 5_000_020), 20),
        ((5_000_000, 0, 0, 3, 6), 6),
        ((100, 90, 5, 7, 9), 4),
        ((65_530, 4, 14, 24), 20),
        ((100, 0, 60, 120, 180), 140),
    ],
    ids=[
        "a last digit that wobbles",
        "and stays below for two reads",
        "one read of nought",
        "a meter that starts gives nought for a while",
        "one that did begin anew",
        "one that fell twice",
        "a register that wraps",
        "one that passes where it was before loses no more than that sample again",
    ],
)
def test_a_counter_that_falls_never_adds_its_whole_value(values: tuple[float, ...], increase: float) -> None:
    assert counted(*values).value("increase") == increase


@given(
    st.lists(st.tuples(st.integers(0, 50), st.none() | st.integers(0, 10**6)), min_size=2, max_size=30),
    st.integers(10**6, 10**9),
)
def test_single_bad_reads_change_nothing(reads: list[tuple[int, int | None]], begin: int) -> None:
    """Each true read grows a little, and one that is far too low may stand before it."""
    one, true = Aggregate(), begin
    one.add_counter(float(begin), 0.0)
    for step, bad in reads:
        if bad is not None and bad < true:
            assert one.add_counter(float(bad), 0.0)
        true += step
        assert one.add_counter(float(true), 0.0) == ""
    assert one.value("increase") == true - begin
    assert one.value("last") == true


@given(st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=12), min_size=1, max_size=6))
def test_a_counter_that_begins_anew_loses_at_most_the_samples_around_it_and_gains_nothing(
    lives: list[list[int]],
) -> None:
    one, true = Aggregate(), 0
    for number, steps in enumerate(lives):
        value = 0
        for sample, step in enumerate(steps):
            value += step
            true += step if number or sample else 0
            one.add_counter(float(value), 0.0)
    assert true - 3 * 20 * (len(lives) - 1) <= float(one.value("increase")) <= true


def test_switches_and_texts() -> None:
    one = Aggregate()
    for value in (False, True, False):
        one.add_state(value, 0.0)
    assert (one.value("any"), one.value("last"), one.value("count")) == (True, False, 3.0)
    one.clear()
    one.add_state("idle", 5.0)
    assert one.value("last") == "idle"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_the_mean_lies_between_least_and_most(values: list[float]) -> None:
    one = of(*values)
    least, mean, most = (float(one.value(name)) for name in ("min", "mean", "max"))
    assert least - 1e-6 <= mean <= most + 1e-6


@given(st.lists(st.floats(-1e15, 1e15), min_size=1))
def test_every_statistic_of_numbers_can_be_made_of_any_numbers(values: list[float]) -> None:
    one = of(*values)
    for name, kinds in STATISTICS.items():
        if "number" in kinds and one.has(name):
            assert math.isfinite(float(one.value(name))), name
