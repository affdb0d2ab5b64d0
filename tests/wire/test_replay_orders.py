"""Orders about the quarantine as log messages: nothing is added, lost or changed, and no device can write one."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.wire import limits, topics
from lichtmast.wire.envelope import EnvelopeError
from lichtmast.wire.identity import IdentityError
from lichtmast.wire.replay import REPLAY_MAGIC, Action, Ordered, read_orders, write_orders

ONE: Final = Ordered(Action.REPLAY, 7, 3, 1_763_757_018_000_000, "gm0402/lm-0001", 110, b"[]")
NAMES: Final = st.tuples(
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.text(st.characters(max_codepoint=127), max_size=255),
)
orders: Final = st.one_of(
    st.builds(lambda name: Ordered(Action.DISCARD, name[0], name[1], name[2], name[3]), NAMES),
    st.builds(
        lambda name, form, payload: Ordered(Action.REPLAY, name[0], name[1], name[2], name[3], form, payload),
        NAMES,
        st.integers(0, 2**16 - 1),
        st.binary(max_size=300),
    ),
)


@given(st.lists(orders, max_size=8))
@settings(deadline=None)
def test_what_is_written_is_read(written: list[Ordered]) -> None:
    assert [one for message in write_orders(written) for one in read_orders(message)] == written


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_orders_or_an_envelope_error(raw: bytes) -> None:
    for message in (raw, REPLAY_MAGIC + raw):
        try:
            found = read_orders(message)
        except EnvelopeError:
            continue
        assert b"".join(write_orders(found)) == (message if found else b"")


def test_every_truncation_within_an_entry_is_noticed() -> None:
    [message] = write_orders([ONE])
    for length in range(len(REPLAY_MAGIC) + 1, len(message)):
        with pytest.raises(EnvelopeError):
            read_orders(message[:length])


def test_layout_is_fixed() -> None:
    [message] = write_orders([ONE])
    head = b"\x00" + (7).to_bytes(8, "little") + (3).to_bytes(4, "little") + ONE.received_us.to_bytes(8, "little")
    assert message == b"LMR1" + head + b"\x6e\x00\x0e\x02\x00\x00\x00gm0402/lm-0001[]"


def test_messages_fit_into_the_log() -> None:
    large = Ordered(Action.REPLAY, 1, 0, 1, "gm0402/lm-1", 110, bytes(limits.PACK_BYTES_MAX))
    messages = list(write_orders([large] * 30 + [ONE] * (limits.ENVELOPE_PACKS_MAX + 1)))
    assert max(map(len, messages)) <= limits.ENVELOPE_BYTES_MAX + len(REPLAY_MAGIC)
    assert [len(read_orders(one)) for one in messages] == [14, 14, limits.ENVELOPE_PACKS_MAX, 3]


def test_no_device_owns_the_subject() -> None:
    with pytest.raises(IdentityError):
        topics.device_of_subject(topics.REPLAY_SUBJECT)
