"""Sets of sequence numbers as closed ranges, held against Python's own sets."""

import itertools
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.wire.numbers import Numbers

ends = st.integers(1, 30)
steps: Final = st.lists(st.tuples(st.sampled_from(["add", "add_range", "discard"]), ends, ends))


@given(steps)
def test_numbers_are_a_set_in_closed_ranges(taken: list[tuple[str, int, int]]) -> None:
    numbers, expected = Numbers(), set[int]()
    for step, first, last in taken:
        match step:
            case "add":
                numbers.add(first)
                expected.add(first)
            case "add_range":
                numbers.add_range(first, last)
                expected.update(range(first, last + 1))
            case _:
                numbers.discard(first)
                expected.discard(first)
    assert list(numbers) == sorted(expected)
    assert len(numbers) == len(expected)
    assert bool(numbers) is bool(expected)
    assert [seq in numbers for seq in range(62)] == [seq in expected for seq in range(62)]
    assert (numbers.first, numbers.last) == (min(expected, default=None), max(expected, default=None))
    assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(numbers.ranges))
    assert all(first <= last for first, last in numbers.ranges)


def test_a_range_costs_the_same_whatever_it_spans() -> None:
    numbers = Numbers()
    numbers.add_range(1, 2**53 - 1)
    numbers.discard(2**52)
    assert numbers.ranges == ((1, 2**52 - 1), (2**52 + 1, 2**53 - 1))
    assert 2**52 not in numbers
    assert 2**52 + 1 in numbers


def test_ranges_that_touch_become_one() -> None:
    numbers = Numbers()
    for seq in (5, 3, 4, 1, 2):
        numbers.add(seq)
    assert numbers.ranges == ((1, 5),)
    numbers.add_range(6, 9)
    numbers.add_range(12, 15)
    numbers.add_range(10, 11)
    assert numbers.ranges == ((1, 15),)


@pytest.mark.parametrize(("first", "last"), [(5, 4), (9, 1)])
def test_a_range_that_ends_before_it_begins_is_empty(first: int, last: int) -> None:
    numbers = Numbers()
    numbers.add_range(first, last)
    assert not numbers
