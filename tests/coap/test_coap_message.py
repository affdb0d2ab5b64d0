"""The codec: canonical, total, and the same bytes as aiocoap writes."""

import aiocoap
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lichtmast.ingest.coap.message import (
    Malformed,
    Message,
    Type,
    code,
    decode,
    dotted,
    encode,
    encode_options,
    encode_uint,
)

FULL = encode(Message(Type.CON, code("0.02"), 7, b"\x01\x02", ((11, b"up"), (12, b"\x6e"), (300, b"x" * 300)), b"[]"))


@st.composite
def messages(draw: st.DrawFn, first_number: int = 0) -> Message:
    numbers = sorted(draw(st.lists(st.integers(first_number, 65_535), max_size=8)))
    options = tuple((number, draw(st.binary(max_size=320))) for number in numbers)
    return Message(
        draw(st.sampled_from(Type)),
        draw(st.integers(1, 255)),
        draw(st.integers(0, 65_535)),
        draw(st.binary(max_size=8)),
        options,
        draw(st.binary(max_size=40)),
    )


@given(messages())
def test_what_was_encoded_decodes_to_the_same_message(message: Message) -> None:
    assert message == decode(encode(message))


@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: b"\x42\x02\x00\x01ab" + tail))
@example(b"\x40\x00\x00\x01")
def test_any_bytes_decode_to_a_verdict_or_to_a_message_that_encodes_to_them(datagram: bytes) -> None:
    message = decode(datagram)
    if isinstance(message, Message):
        assert datagram == encode(message)
    else:
        assert isinstance(message, Malformed)


@pytest.mark.parametrize("end", range(len(FULL)))
def test_every_truncation_is_malformed_or_a_shorter_message_and_never_reads_past_the_end(end: int) -> None:
    message = decode(FULL[:end])
    if isinstance(message, Message):
        assert FULL[:end] == encode(message)
        assert len(message.payload) < 2


@given(messages(first_number=2_100))
def test_aiocoap_reads_what_we_write(message: Message) -> None:
    # Numbers that aiocoap has no type for: it raises on options that are not UTF-8 or have leading zeros.
    theirs = aiocoap.Message.decode(encode(message))
    assert (message.type, message.code, message.message_id, message.token, message.payload) == (
        theirs.mtype,
        theirs.code,
        theirs.mid,
        theirs.token,
        theirs.payload,
    )
    assert message.options == tuple((int(option.number), option.encode()) for option in theirs.opt.option_list())


@pytest.mark.parametrize("uri_path", [("up",), ("a" * 13, "b" * 255), ("x", "", "y")])
@pytest.mark.parametrize("content_format", [None, 0, 110, 112, 65_535])
def test_we_write_the_same_bytes_as_aiocoap(uri_path: tuple[str, ...], content_format: int | None) -> None:
    theirs = aiocoap.Message(
        code=aiocoap.POST,
        _mtype=aiocoap.NON,
        _mid=513,
        _token=b"abcd",
        uri_path=uri_path,
        content_format=content_format,
        payload=b"[1]",
        block1=(5, True, 6),
    )
    options = [(11, segment.encode()) for segment in uri_path]
    if content_format is not None:
        options.append((12, encode_uint(content_format)))
    options.append((27, encode_uint(5 << 4 | 8 | 6)))
    assert theirs.encode() == encode(Message(Type.NON, code("0.02"), 513, b"abcd", tuple(options), b"[1]"))


@pytest.mark.parametrize(
    ("datagram", "verdict"),
    [
        ("", Malformed.SHORT),
        ("400200", Malformed.SHORT),
        ("00020001", Malformed.VERSION),
        ("80020001", Malformed.VERSION),
        ("c0020001", Malformed.VERSION),
        ("490200010102030405060708090a", Malformed.TOKEN_LENGTH),
        ("4f020001", Malformed.TOKEN_LENGTH),
        ("4802000101020304050607", Malformed.TOKEN_LENGTH),
        ("4000000100", Malformed.EMPTY_WITH_CONTENT),
        ("41000001aa", Malformed.EMPTY_WITH_CONTENT),
        ("40020001ff", Malformed.MARKER_WITHOUT_PAYLOAD),
        ("40020001f0", Malformed.OPTION_RESERVED),
        ("400200010f", Malformed.OPTION_RESERVED),
        ("40020001b3aabb", Malformed.OPTION_OVERRUN),
        ("40020001d0", Malformed.OPTION_OVERRUN),
        ("40020001e000", Malformed.OPTION_OVERRUN),
        ("400200010d", Malformed.OPTION_OVERRUN),
        ("400200010e00", Malformed.OPTION_OVERRUN),
        ("400200010effff", Malformed.OPTION_OVERRUN),
    ],
)
def test_a_format_error_is_named(datagram: str, verdict: Malformed) -> None:
    assert verdict == decode(bytes.fromhex(datagram))


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Message(Type.CON, code("0.01"), 1, b"123456789"), "token"),
        (Message(Type.CON, 0, 1, b"1"), "empty message"),
        (Message(Type.CON, code("0.01"), 1, b"", ((12, b""), (11, b""))), "ascending order"),
        (Message(Type.CON, code("0.01"), 1, b"", ((11, b"x" * 66_000),)), "up to"),
    ],
)
def test_what_breaks_the_format_cannot_be_encoded(message: Message, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        encode(message)


def test_codes_are_written_as_the_standard_writes_them() -> None:
    assert (code("4.04"), code("0.02"), code("5.03")) == (0x84, 0x02, 0xA3)
    assert (dotted(0x84), dotted(0x02), dotted(0xA3)) == ("4.04", "0.02", "5.03")


@pytest.mark.parametrize(("value", "written"), [(0, ""), (1, "01"), (255, "ff"), (256, "0100"), (65_536, "010000")])
def test_a_uint_takes_the_fewest_bytes(value: int, written: str) -> None:
    assert bytes.fromhex(written) == encode_uint(value)


@pytest.mark.parametrize(
    ("delta", "written"), [(12, "c0"), (13, "d000"), (268, "d0ff"), (269, "e00000"), (65_535, "e0fef2")]
)
def test_option_deltas_switch_their_form_at_13_and_269(delta: int, written: str) -> None:
    assert bytes.fromhex(written) == encode_options(((delta, b""),))
