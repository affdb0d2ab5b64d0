"""Our CBOR writer against RFC 8949's own examples, and against cbor2's canonical form."""

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.wire.senml.canonical_cbor import write_cbor
from lichtmast.wire.senml.strict_cbor import LABELS

keys = st.one_of(st.sampled_from(sorted(LABELS)), st.text("lm-dropedtq_", min_size=1, max_size=30))
values = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.binary(max_size=300),
)
packs = st.lists(st.dictionaries(keys, values, max_size=30), max_size=30)


@pytest.mark.slow
@given(packs)
@settings(deadline=None, max_examples=300)
def test_packs_are_written_byte_for_byte_as_cbor2_writes_them_canonically(pack: list[dict[int | str, Any]]) -> None:
    assert write_cbor(pack) == cbor2.dumps(pack, canonical=True)


@given(values)
def test_each_value_is_written_as_cbor2_writes_it_canonically(value: object) -> None:
    assert write_cbor(value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize(
    ("item", "hexadecimal"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65535, "19ffff"),
        (65536, "1a00010000"),
        (2**32, "1b0000000100000000"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-1000, "3903e7"),
        (-(2**64), "3bffffffffffffffff"),
        (0.0, "f90000"),
        (-0.0, "f98000"),
        (1.5, "f93e00"),
        (65504.0, "f97bff"),
        (100000.0, "fa47c35000"),
        (3.4028234663852886e38, "fa7f7fffff"),
        (1.0e300, "fb7e37e43c8800759c"),
        (5.960464477539063e-8, "f90001"),
        (-4.1, "fbc010666666666666"),
        (False, "f4"),
        (True, "f5"),
        (b"", "40"),
        (b"\x01\x02\x03\x04", "4401020304"),
        ("ü", "62c3bc"),
        ([1, [2, 3], [4, 5]], "8301820203820405"),
        (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
        ({"a": 1, -1: 2, 100: 3, 10: 4}, "a40a04186403200261" + "6101"),
    ],
    ids=repr,
)
def test_examples_of_rfc_8949_appendix_a_and_section_4_2_1(item: object, hexadecimal: str) -> None:
    assert write_cbor(item).hex() == hexadecimal


@pytest.mark.parametrize("item", [None, {1, 2}, 2**64, -(2**64) - 1, [object()]], ids=repr)
def test_what_senml_has_not_is_a_type_error(item: object) -> None:
    with pytest.raises(TypeError):
        write_cbor(item)
