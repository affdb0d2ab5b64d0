"""The decoders raise PackError and nothing else, whatever the bytes, and what they accept others read the same."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lichtmast.wire.identity import DeviceId
from lichtmast.wire.refusal import PackError
from lichtmast.wire.senml import Pack, Reading, decode, encode, read_claim, sniff
from lichtmast.wire.senml.strict_cbor import LABELS, read_cbor
from lichtmast.wire.senml.strict_json import read_json

NOW_US: Final = 1_763_757_018_000_000
SOUND: Final = [
    encode(
        DeviceId("gm0402", "lm-0001"),
        [
            Reading("/a", 21.5, "Cel", NOW_US),
            Reading("/b", value=True, unit=None, time_us=NOW_US + 1),
            Reading("/c", "text", None, NOW_US),
            Reading("/d", b"data", None, NOW_US),
        ],
        epoch=7,
        seq=41,
        content_format=content_format,
        dropped=[(1, 9), (12, 12)],
        time_error_s=3.5,
    )
    for content_format in (110, 112)
]

labels = st.sampled_from([*LABELS.values(), "lm-epoch", "lm-seq", "lm-dropped", "lm-time-error", "x", "x_"])
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 10, 26, 2**28, 2**53, 1_763_757_018, -1]))
scalars = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.text(),
    st.sampled_from(["urn:dev:lm:gm0402:lm-0001/a", "/a", "a", "Cel", "ug/m3", "%", "aGk", "1-9", "1,3"]),
)
anything = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
json_packs = st.lists(st.dictionaries(labels, anything, max_size=6), max_size=4).map(
    lambda one: json.dumps(one).encode()
)

cbor_keys = st.one_of(st.sampled_from(list(LABELS)), labels, st.integers(-70, 70), st.floats(), st.binary(max_size=2))
cbor_items = st.one_of(
    anything,
    st.binary(),
    st.just(cbor2.undefined),
    st.builds(cbor2.CBORTag, st.integers(0, 40), st.lists(st.integers(-500, 500), max_size=3)),
    st.builds(cbor2.CBORSimpleValue, st.integers(0, 19)),
    st.decimals(),
)
cbor_packs = st.lists(st.dictionaries(cbor_keys, cbor_items, max_size=6), max_size=4).map(cbor2.dumps)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A sound pack with a few bytes changed, removed, doubled or put in."""
    raw = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw) - 1)) if raw else 0
        match draw(st.integers(0, 3)):
            case 0:
                raw[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del raw[at : at + draw(st.integers(1, 8))]
            case 2:
                raw[at:at] = raw[at : at + draw(st.integers(1, 16))]
            case _:
                raw[at:at] = draw(st.binary(max_size=4))
    return bytes(raw)


any_bytes = st.one_of(st.binary(max_size=200), mutations(), json_packs, cbor_packs)


def decoded(raw: bytes, content_format: int) -> Pack | None:
    try:
        return decode(raw, content_format, NOW_US)
    except PackError:
        return None


@pytest.mark.slow
@given(any_bytes)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_a_pack_or_a_pack_error(raw: bytes) -> None:
    for content_format in (110, 112):
        pack = decoded(raw, content_format)
        if pack is not None:
            assert content_format == sniff(raw)
            assert pack.records
        claim = read_claim(raw, content_format)
        if pack is not None:
            assert claim is not None
            assert (claim.epoch, claim.seq, claim.dropped) == (pack.epoch, pack.seq, pack.dropped)


@pytest.mark.slow
@given(st.one_of(mutations(), json_packs))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_json_reader_accepts_the_standard_library_reads_the_same(raw: bytes) -> None:
    with suppress(PackError):
        strict = read_json(raw)
        lenient = json.loads(raw)
        assert [list(record) for record in strict] == [list(record) for record in lenient]
        for ours, theirs in zip(strict, lenient, strict=True):
            for label in ours:
                if type(theirs[label]) in (int, float):
                    assert float(ours[label]) == float(theirs[label])
                elif label != "vd" and type(theirs[label]) in (str, bool, type(None)):
                    assert ours[label] == theirs[label]


def comparable(value: Any) -> Any:  # noqa: ANN401 - whatever CBOR holds
    """The value with decimal fractions as floats, so that -0.0, 1 and 1.0 compare as numbers do."""
    match value:
        case Decimal():
            return float(value)
        case list():
            return [comparable(one) for one in value]
        case dict():
            return {key: comparable(one) for key, one in value.items()}
    return value


@pytest.mark.slow
@given(st.one_of(mutations(), cbor_packs))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_cbor_reader_accepts_cbor2_reads_the_same(raw: bytes) -> None:
    with suppress(PackError):
        strict = read_cbor(raw)
        lenient = cbor2.loads(raw)
        numbered = set(LABELS.values())
        expected = [
            {LABELS.get(key, key): value for key, value in record.items() if key in LABELS or key not in numbered}
            for record in lenient
        ]
        expected = [{key: value for key, value in record.items() if type(key) is str} for record in expected]
        assert comparable(strict) == comparable(expected)


def test_hostile_strings_and_brackets_are_refused_in_linear_time() -> None:
    """Each would take minutes if scanning went back; the suite's time limit is the judge."""
    size = 60_000
    for raw in (
        b'[{"x":[' + b'"' + b'\\"' * (size // 2),
        b'[[{"x":{' + b'"\\' * (size // 2),
        b"[[" + b"{}" * (size // 2),
        b'[["' + b"a" * size,
        b"[" + b":" * size + b"[{",
        b"[1," + b": " * (size // 2) + b"[",
        b"[" + b":" + b" " * size + b"[",
        b"\x99\x03\xe8" + b"\xbb" + b"\x00" * 6 + b"\xff\xff" + b"\x00" * size,
    ):
        assert decoded(raw, sniff(raw)) is None


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="atheris has no build for this Python")
def test_the_coverage_fuzzer_finds_nothing_in_20_000_inputs(tmp_path: Path) -> None:
    fuzzer = Path(__file__).with_name("fuzz_senml.py")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for index, raw in enumerate(SOUND):
        (corpus / str(index)).write_bytes(b"jc"[index : index + 1] + raw)
    finished = subprocess.run(
        [sys.executable, str(fuzzer), "-runs=20000", "-seed=1", "-max_len=600", "-timeout=5", str(corpus)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4_000:]
    assert "Done 20000 runs" in finished.stderr
