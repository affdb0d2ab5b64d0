"""The filter never calls a pack new that came before, and never tells a device more than what came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.ingest.pipeline import sequence
from lichtmast.ingest.pipeline.sequence import EPOCHS_MAX, Progress, Sequences
from lichtmast.wire.acknowledgement import Acknowledgement


@given(st.lists(st.integers(1, 60), max_size=200), st.integers(2, 6))
def test_new_is_certain_and_acknowledgements_never_run_ahead(seqs: list[int], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence, "RANGES_MAX", most)
        progress = Progress(1)
        came: set[int] = set()
        for seq in seqs:
            if progress.is_new(seq):
                assert seq not in came
            came.add(seq)
            progress.add(seq)
            told = Acknowledgement(*progress.standing())
            assert len(progress.ranges) <= most
            assert {one for one in range(1, 70) if told.covers(one)} <= came
            assert set(range(1, progress.upto + 1)) <= came


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 12)), max_size=100), st.integers(2, 6))
def test_declared_ranges_count_as_come_and_no_more_than_they_say(steps: list[tuple[int, int]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence, "RANGES_MAX", most)
        progress = Progress(1)
        come: set[int] = set()
        for first, more in steps:
            if progress.covers(first, first + more):
                assert set(range(first, first + more + 1)) <= come
            if more:
                progress.add_range(first, first + more)
            else:
                progress.add(first)
            come |= set(range(first, first + more + 1))
            told = Acknowledgement(*progress.standing())
            assert len(progress.ranges) <= most
            assert {one for one in range(1, 80) if told.covers(one)} <= come
            assert not any(progress.is_new(seq) for seq in come)
            assert progress.covers(first, first + more) or first < progress.certain_from
            ends = [progress.upto, *(end for pair in progress.ranges for end in pair)]
            assert ends == sorted(ends)
            assert all(before + 1 < after for before, after in zip(ends[::2], ends[1::2], strict=False)), (
                "ranges do not touch"
            )


def test_all_ranges_together_are_one_number() -> None:
    progress = Progress(1)
    for first in (31, 11, 21):
        progress.add_range(first, first + 9)
    progress.add_range(2, 2**53 - 1)
    progress.add(1)
    assert (progress.upto, progress.ranges) == (2**53 - 1, [])


@given(st.permutations(list(range(1, 40))))
def test_when_all_have_come_one_number_says_it(order: list[int]) -> None:
    progress = Progress(1)
    for seq in order:
        assert progress.is_new(seq)
        progress.add(seq)
    assert (progress.upto, progress.ranges) == (39, [])


@given(st.sets(st.integers(1, 500), max_size=300))
def test_progress_restored_from_the_store_is_as_certain_as_before(came: set[int]) -> None:
    progress = Progress(5)
    for seq in sorted(came):
        progress.add(seq)
    flat = [one for pair in progress.ranges for one in pair]
    restored = Sequences.restored([("gm0402/lm-1", 5, progress.upto, flat)]).of("gm0402/lm-1", 5)
    for seq in range(1, 510):
        if restored.is_new(seq):
            assert seq not in came


def test_a_restored_device_with_too_many_holes_is_doubtful_and_not_wrong() -> None:
    flat = [one for first in range(10, 10 + 3 * sequence.RANGES_MAX * 2, 3) for one in (first, first + 1)]
    restored = Sequences.restored([("gm0402/lm-1", 1, 3, flat)]).of("gm0402/lm-1", 1)
    assert not restored.is_new(10)
    assert not restored.is_new(9)
    assert restored.is_new(flat[-1] + 1)


def test_the_epoch_that_was_silent_longest_is_forgotten_and_then_doubtful() -> None:
    sequences = Sequences()
    for epoch in range(EPOCHS_MAX):
        sequences.of("gm0402/lm-1", epoch).add(1)
    assert sequences.of("gm0402/lm-1", 0).upto == 1  # spoke again, so it is not the oldest any more
    assert not sequences.of("gm0402/lm-1", EPOCHS_MAX).is_new(1)  # only the ledger can tell from now on
    assert not sequences.of("gm0402/lm-1", 1).is_new(1)
    assert sequences.of("gm0402/lm-1", 0).upto == 1
    assert sequences.of("gm0402/lm-2", 0).is_new(1), "another device is not concerned"
