"""Many packs in one log message: nothing is added, lost or changed on the way."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.wire import limits
from lichtmast.wire.envelope import MAGIC, Enclosed, EnvelopeError, disclose, enclose, enclosed_bytes

ONE: Final = Enclosed("gm0402/lm-0001", 1_763_757_018_000_000, 110, b"[]")

packs: Final = st.builds(
    Enclosed,
    st.text(st.characters(max_codepoint=127), max_size=255),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1),
    st.binary(max_size=300),
)


@given(st.lists(packs, max_size=8))
@settings(deadline=None)
def test_what_is_enclosed_is_disclosed(enclosed: list[Enclosed]) -> None:
    message = enclose(enclosed)
    assert disclose(message) == enclosed
    assert len(message) == len(MAGIC) + sum(enclosed_bytes(one.sender, one.payload) for one in enclosed)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_an_envelope_or_an_envelope_error(raw: bytes) -> None:
    for message in (raw, MAGIC + raw):
        try:
            enclosed = disclose(message)
        except EnvelopeError:
            continue
        assert enclose(enclosed) == message


def test_every_truncation_within_a_pack_is_noticed() -> None:
    message = enclose([ONE, ONE])
    whole = {len(MAGIC), (len(message) + len(MAGIC)) // 2, len(message)}
    for length in range(len(message) + 1):
        if length in whole:
            assert len(disclose(message[:length])) == sorted(whole).index(length)
        else:
            with pytest.raises(EnvelopeError):
                disclose(message[:length])


def test_layout_is_fixed() -> None:
    assert enclose([ONE]) == (
        b"LMB1" + (1_763_757_018_000_000).to_bytes(8, "little") + b"\x6e\x00\x0e\x02\x00\x00\x00gm0402/lm-0001[]"
    )


def test_a_foreign_message_is_no_envelope() -> None:
    with pytest.raises(EnvelopeError, match="LMB1"):
        disclose(b'[{"n":"a","v":1}]')


def test_a_sender_beyond_ascii_is_refused() -> None:
    with pytest.raises(EnvelopeError, match="ASCII"):
        disclose(MAGIC + bytes(8) + b"\x6e\x00\x01\x00\x00\x00\x00\xe9")


def test_packs_in_one_envelope_are_limited() -> None:
    empty = Enclosed("", 0, 110, b"")
    most = [empty] * limits.ENVELOPE_PACKS_MAX
    assert len(disclose(enclose(most))) == limits.ENVELOPE_PACKS_MAX
    with pytest.raises(EnvelopeError, match="more than"):
        disclose(enclose([*most, empty]))
