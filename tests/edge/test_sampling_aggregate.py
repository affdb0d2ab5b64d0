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


def test_a_counters_increase_needs_a_value_before_it_and_survives_that_it_begins_again() -> None:
    one = Aggregate()
    one.add_counter(1_000.0, 0.0)
    assert not one.has("increase")
    one.add_counter(1_007.0, 1.0)
    assert one.value("increase") == 7.0
    one.clear()
    assert not one.has("last")
    one.add_counter(1_010.0, 2.0)
    one.add_counter(4.0, 3.0)  # the meter was switched off and on
    assert (one.value("increase"), one.value("last")) == (7.0, 4.0)


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
