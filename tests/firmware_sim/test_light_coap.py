"""The light device's CoAP: one confirmable POST, its retransmissions, and every way an answer may come."""

from typing import Any

import aiocoap
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.light import coap

MESSAGE_ID = 0x1234
TOKEN = b"\xab\xcd"


def exchange(now_s: float = 0.0, payload: bytes = b"[]", content_format: int = 110) -> coap.Exchange:
    return coap.Exchange(payload, content_format, message_id=MESSAGE_ID, token=TOKEN, first_timeout_s=2.0, now_s=now_s)


def response(
    code: aiocoap.numbers.codes.Code = aiocoap.CHANGED,
    kind: aiocoap.numbers.types.Type = aiocoap.ACK,
    message_id: int = MESSAGE_ID,
    token: bytes = TOKEN,
    **options: object,
) -> bytes:
    """Written by aiocoap, who knows nothing of us."""
    message = aiocoap.Message(code=code, payload=b"detail", **options)
    message.mtype, message.mid, message.token = kind, message_id, token
    return bytes(message.encode())


@pytest.mark.parametrize("content_format", [110, 112])
def test_the_request_is_what_an_independent_reader_takes_it_for(content_format: int) -> None:
    read = aiocoap.Message.decode(exchange(payload=b"abc", content_format=content_format).request)
    assert (read.mtype, read.code, read.mid, read.token) == (aiocoap.CON, aiocoap.POST, MESSAGE_ID, TOKEN)
    assert read.opt.uri_path == ("up",)
    assert read.opt.content_format == content_format
    assert read.payload == b"abc"


@pytest.mark.parametrize(
    ("code", "max_age", "meaning", "wait_s"),
    [
        (aiocoap.CHANGED, None, ("2.04", "success"), 0),
        (aiocoap.BAD_REQUEST, None, ("4.00", "refused"), 0),
        (aiocoap.TOO_MANY_REQUESTS, 7, ("4.29", "later"), 7),
        (aiocoap.SERVICE_UNAVAILABLE, 300, ("5.03", "later"), 300),
        (aiocoap.INTERNAL_SERVER_ERROR, None, ("5.00", "later"), 0),
    ],
)
def test_an_answer_in_the_acknowledgement_is_read(
    code: aiocoap.numbers.codes.Code, max_age: int | None, meaning: tuple[str, str], wait_s: int
) -> None:
    options: dict[str, Any] = {} if max_age is None else {"max_age": max_age}
    heard = exchange().heard(response(code, uri_query=("x" * 300,), **options))
    assert heard.answer is not None
    means = "success" if heard.answer.is_success else "later" if heard.answer.is_later else "refused"
    assert (heard.answer.dotted, means) == meaning
    assert heard.answer.max_age_s == wait_s
    assert heard.reply == b""


def test_an_answer_apart_is_acknowledged() -> None:
    waiting = exchange()
    assert waiting.heard(b"\x60\x00\x12\x34") == coap.Heard()
    assert waiting.tick(10.0) == b"", "an acknowledged request is not sent again"
    heard = waiting.heard(response(kind=aiocoap.CON, message_id=0x7777))
    assert heard.answer is not None
    assert heard.reply == b"\x60\x00\x77\x77"
    heard = exchange().heard(response(kind=aiocoap.NON, message_id=0x7777))
    assert (heard.reply, heard.answer is not None) == (b"", True)


@pytest.mark.parametrize(
    ("datagram", "reply"),
    [
        (response(token=b"no"), b""),
        (response(message_id=1), b""),
        (response(kind=aiocoap.CON, message_id=0x7777, token=b"no"), b"\x70\x00\x77\x77"),
        (b"\x40\x00\x77\x77", b"\x70\x00\x77\x77"),  # a CoAP ping
        (b"\x40\x01\x77\x77", b"\x70\x00\x77\x77"),  # a request: this device serves nothing
        (b"\x60\x00\x12\x34junk", b""),
        (b"\x00\x44\x12\x34", b""),
        (b"\x40", b""),
        (b"", b""),
        (response()[:-7] + b"\xff", b""),
    ],
)
def test_what_is_not_the_answer_is_rejected_or_ignored(datagram: bytes, reply: bytes) -> None:
    assert exchange().heard(datagram) == coap.Heard(reply)


def test_a_reset_of_the_request_is_a_rejection() -> None:
    assert exchange().heard(b"\x70\x00\x12\x34").rejected
    assert not exchange().heard(b"\x70\x00\x12\x35").rejected


@given(st.binary(max_size=80))
def test_any_datagram_is_heard_without_an_error(datagram: bytes) -> None:
    exchange().heard(datagram)
    coap.refused(datagram)


def test_retransmissions_double_and_end() -> None:
    """RFC 7252 section 4.2, with MAX_RETRANSMIT as in limits."""
    waiting = exchange()
    assert waiting.tick(1.9) == b""
    sent_at_s = []
    now_s = 0.0
    while True:
        now_s = waiting.wake_at_s
        again = waiting.tick(now_s)
        if again is None:
            break
        assert again == waiting.request
        sent_at_s.append(now_s)
    assert sent_at_s == [2.0, 6.0]
    assert len(sent_at_s) == limits.COAP_MAX_RETRANSMIT
    assert now_s == 14.0


def test_an_answer_apart_that_never_comes_is_given_up() -> None:
    waiting = exchange()
    waiting.heard(b"\x60\x00\x12\x34")
    assert waiting.wake_at_s == limits.COAP_ANSWER_TIMEOUT_S
    assert waiting.tick(limits.COAP_ANSWER_TIMEOUT_S) is None
