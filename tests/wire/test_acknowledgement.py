"""The cumulative acknowledgement: what a device may delete, and what it must keep."""

import json
from contextlib import suppress
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.wire import limits
from lichtmast.wire.acknowledgement import Acknowledgement, AcknowledgementError, Refused, decode_acknowledgement
from lichtmast.wire.refusal import Refusal

counts: Final = st.integers(0, limits.SEQ_MAX)
ranges: Final = st.tuples(counts, counts).map(lambda pair: (min(pair), max(pair)))
acknowledgements: Final = st.builds(
    Acknowledgement,
    counts,
    counts,
    st.lists(ranges, max_size=limits.ACK_RANGES_MAX).map(tuple),
    st.lists(
        st.builds(Refused, counts, st.sampled_from([one.value for one in Refusal]), st.text(max_size=40)),
        max_size=limits.ACK_REFUSALS_MAX,
    ).map(tuple),
)


@given(acknowledgements)
@settings(deadline=None)
def test_what_is_encoded_is_decoded(sent: Acknowledgement) -> None:
    assert decode_acknowledgement(sent.encode()) == sent


@given(
    st.one_of(
        st.binary(max_size=100), st.recursive(st.none() | counts, st.lists).map(lambda one: json.dumps(one).encode())
    )
)
@settings(deadline=None)
def test_any_bytes_are_an_acknowledgement_or_its_error(raw: bytes) -> None:
    with suppress(AcknowledgementError):
        assert decode_acknowledgement(raw).epoch >= 0


def test_the_example_of_the_documentation() -> None:
    sent = Acknowledgement(7, 41, ((43, 45),), (Refused(44, "unknown_name", "no name x in profile y"),))
    assert json.loads(sent.encode()) == {
        "epoch": 7,
        "upto": 41,
        "ranges": [[43, 45]],
        "refused": [[44, "unknown_name", "no name x in profile y"]],
    }
    assert [seq for seq in range(1, 50) if sent.covers(seq)] == [*range(1, 42), 43, 44, 45]


def test_empty_members_are_left_out() -> None:
    assert Acknowledgement(7, 0).encode() == b'{"epoch":7,"upto":0}'


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"epoch":7}',
        b'{"upto":7}',
        b'{"epoch":-1,"upto":0}',
        b'{"epoch":true,"upto":0}',
        b'{"epoch":1.0,"upto":0}',
        b'{"epoch":"1","upto":0}',
        b'{"epoch":1,"upto":NaN}',
        b'{"epoch":1,"upto":%d}' % 2**53,
        b'{"epoch":1,"upto":0,"ranges":{}}',
        b'{"epoch":1,"upto":0,"ranges":[1]}',
        b'{"epoch":1,"upto":0,"ranges":[[1]]}',
        b'{"epoch":1,"upto":0,"ranges":[[2,1]]}',
        b'{"epoch":1,"upto":0,"ranges":[["1","2"]]}',
        b'{"epoch":1,"upto":0,"refused":[[1,"x"]]}',
        b'{"epoch":1,"upto":0,"refused":[[1,2,"x"]]}',
        b"[" * 5_000,
        b"\xff\xfe",
    ],
    ids=lambda raw: repr(raw)[:40],
)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(AcknowledgementError):
        decode_acknowledgement(raw)


def test_ranges_refusals_and_bytes_are_limited() -> None:
    one = Refused(1, "bad_time", "")
    most = Acknowledgement(1, 1, ((2, 2),) * limits.ACK_RANGES_MAX, (one,) * limits.ACK_REFUSALS_MAX)
    assert decode_acknowledgement(most.encode()) == most
    for over in (
        Acknowledgement(1, 1, ((2, 2),) * (limits.ACK_RANGES_MAX + 1)),
        Acknowledgement(1, 1, (), (one,) * (limits.ACK_REFUSALS_MAX + 1)),
        Acknowledgement(1, 1, (), (Refused(1, "bad_time", "x" * 16 * 1024),)),
    ):
        with pytest.raises(AcknowledgementError):
            decode_acknowledgement(over.encode())
