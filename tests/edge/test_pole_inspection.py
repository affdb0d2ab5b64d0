"""What reaches aiocoap: whole requests of neighbours, at a bounded rate; nothing else (RFC 7252)."""

from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

import pytest
from aiocoap import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.edge.pole import limits
from lichtmast.edge.pole.addresses import LinkLocal, link_local_addresses
from lichtmast.edge.pole.inspection import Inspection, Verdict, inspect

NEIGHBOUR: Final = IPv6Address("fe80::1")
CORE: Final = b"\xbb.well-known\x04core"
ASK: Final = b"\x41\x01\x12\x34\xaa\xb5state"
RESET: Final = b"\x70\x00\x12\x34"
BAD_OPTION: Final = b"\x61\x82\x12\x34\xaa"


@pytest.mark.parametrize(
    "data",
    [
        ASK,
        b"\x51\x01\x12\x34\xaa\xb5state",
        b"\x40\x02\x12\x34\xb8selftest\xffpayload",
        b"\x48\x01\x12\x3412345678" + CORE,
        b"\x40\x01\x12\x34\x60\x58readings\x61\x70\x61\x06",
        b"\x40\x01\x12\x34\x3d\x0a" + b"h" * 23 + b"\x82up\x4d\x07" + b"q" * 20,
    ],
    ids=["CON", "NON", "POST with a payload", "a token of 8", "Observe, Accept, Block2", "long options"],
)
def test_a_request_passes_as_it_is(data: bytes) -> None:
    assert inspect(data, to_group=False) == Verdict("request", data)


@pytest.mark.parametrize(
    "options",
    [
        b"\xb5state\xe1\x07\xd0?",
        b"\x82\xff\xfe\x35state",
        b"\x64abcd\x55state",
        b"\xb5state\xd2\x00\x12\x34",
        b"\x41e\x75state\x11\x2c",
    ],
    ids=["2281 unknown", "Location-Path that is no UTF-8", "Observe of 4 bytes", "258 unknown", "ETag, Content-Format"],
)
def test_elective_options_that_we_do_not_know_are_left_out(options: bytes) -> None:
    head = b"\x41\x02\x12\x34\xaa"
    verdict = inspect(head + options + b"\xffpayload", to_group=False)
    assert verdict == Verdict("request", head + b"\xb5state" + b"\xffpayload")


def test_of_two_observe_options_the_first_counts() -> None:
    verdict = inspect(b"\x40\x01\x12\x34\x60\x01\x01\x55state", to_group=False)
    assert verdict == Verdict("request", b"\x40\x01\x12\x34\x60\x55state")


@pytest.mark.parametrize(
    ("data", "why"), [(b"\x40\x00\x12\x34", "ping"), (b"\x60\x00\x12\x34", "empty"), (b"\x70\x00\x12\x34", "empty")]
)
def test_an_empty_message_passes_but_not_to_a_group(data: bytes, why: str) -> None:
    assert inspect(data, to_group=False) == Verdict(why, data)
    assert inspect(data, to_group=True).passes is None


@pytest.mark.parametrize(
    ("data", "why", "reply"),
    [
        (b"", "bad_length", None),
        (b"\x40\x01\x12", "bad_length", None),
        (ASK + b"\xff" + b"x" * limits.REQUEST_BYTES_MAX, "bad_length", None),
        (b"\x80\x01\x12\x34", "other_version", None),
        (b"\x60\x45\x12\x34", "no_request", None),
        (b"\x40\x45\x12\x34", "no_request", None),
        (b"\x60\x01\x12\x34", "no_request", None),
        (b"\x40\xe1\x12\x34", "no_request", None),
        (b"\x49\x01\x12\x34123456789", "malformed", RESET),
        (b"\x59\x01\x12\x34123456789", "malformed", None),
        (b"\x48\x01\x12\x341234", "malformed", RESET),
        (b"\x41\x00\x12\x34\xaa", "malformed", RESET),
        (b"\x40\x01\x12\x34\xff", "malformed", RESET),
        (b"\x40\x01\x12\x34\xf0", "malformed", RESET),
        (b"\x40\x01\x12\x34\x0f", "malformed", RESET),
        (b"\x40\x01\x12\x34\xb5stat", "malformed", RESET),
        (b"\x40\x01\x12\x34\xdd\x01", "malformed", RESET),
        (b"\x40\x01\x12\x34\xee\x01", "malformed", RESET),
        (b"\x41\x01\x12\x34\xaa\x91\x01", "unknown_option", BAD_OPTION),
        (b"\x51\x01\x12\x34\xaa\x91\x01", "unknown_option", None),
        (b"\x41\x01\x12\x34\xaa\x13abc", "unknown_option", BAD_OPTION),
        (b"\x41\x01\x12\x34\xaa\xd1\x0e\x06", "unknown_option", BAD_OPTION),
        (b"\x41\x01\x12\x34\xaa\xd5\x16proxy", "unknown_option", BAD_OPTION),
        (b"\x41\x01\x12\x34\xaa\xd1\x04\x6e\x01\x6e", "unknown_option", BAD_OPTION),
        (b"\x41\x01\x12\x34\xaa\xd3\x04abc", "unknown_option", BAD_OPTION),
        (b"\x41\x01\x12\x34\xaa\xb2\xff\xfe", "unknown_option", BAD_OPTION),
    ],
    ids=[
        "nothing", "three bytes", "too long", "version 2", "ACK with a response", "response", "ACK with a request",
        "class 7", "token of 9", "token of 9 in a NON", "cut token", "empty with a token", "marker without payload",
        "delta 15", "length 15", "cut option", "cut delta", "cut long delta", "OSCORE", "OSCORE in a NON", "If-Match",
        "Block1", "Proxy-Uri", "Accept twice", "Accept of 3 bytes", "a path that is no UTF-8",
    ],
)  # fmt: skip
def test_anything_else_does_not_and_only_a_con_is_told(data: bytes, why: str, reply: bytes | None) -> None:
    assert inspect(data, to_group=False) == Verdict(why, reply=reply)


@pytest.mark.parametrize(
    ("data", "passes"),
    [
        (b"\x51\x01\x12\x34\xaa" + CORE, True),
        (b"\x51\x01\x12\x34\xaa" + CORE + b"\x44rt=x", True),
        (b"\x41\x01\x12\x34\xaa" + CORE, False),
        (b"\x51\x02\x12\x34\xaa" + CORE, False),
        (b"\x51\x01\x12\x34\xaa\xb5state", False),
        (b"\x51\x01\x12\x34\xaa", False),
        (b"\x49\x01\x12\x34\xaa", False),
        (b"\x51\x01\x12\x34\xaa" + CORE + b"\xd1\x03\x01", False),
    ],
    ids=["discovery", "with a query", "CON", "POST", "another path", "no path", "malformed CON", "critical option"],
)
def test_a_group_may_only_be_asked_what_there_is_and_gets_no_error(data: bytes, *, passes: bool) -> None:
    verdict = inspect(data, to_group=True)
    assert (verdict.passes is not None, verdict.reply) == (passes, None)


def option(part: tuple[int, bytes]) -> bytes:
    delta, value = part
    return bytes((delta << 4 | len(value),)) + value


options = st.lists(st.tuples(st.integers(0, 12), st.binary(max_size=12)).map(option), max_size=6).map(b"".join)


@given(
    st.binary(max_size=80)
    | st.binary(max_size=40).map(lambda rest: b"\x41\x01\x12\x34\xaa" + rest)
    | options.map(lambda rest: b"\x41\x01\x12\x34\xaa" + rest),
    st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_any_bytes_get_a_verdict_and_never_more_than_they_brought(data: bytes, to_group: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    verdict = inspect(data, to_group=to_group)
    assert verdict.passes is None or verdict.reply is None
    assert len(verdict.reply or b"") <= len(data) >= len(verdict.passes or b"")
    if verdict.passes is not None:
        assert inspect(verdict.passes, to_group=to_group) == verdict
        assert Message.decode(verdict.passes)
    assert not (to_group and verdict.reply)


@pytest.mark.parametrize("source", ["2001:db8::1", "fd00::1", "::", "ff02::1", "::ffff:c000:201"])
def test_who_is_not_on_the_link_gets_no_answer_to_anything(source: str) -> None:
    inspection = Inspection()
    for data in (ASK, b"\x49\x01\x12\x34123456789", b"\x41\x01\x12\x34\xaa\x91\x01", b"\x40\x00\x12\x34"):
        assert inspection.judge(data, IPv6Address(source), to_group=False, now_s=0) == Verdict("not_a_neighbour")
    assert inspection.counts == {"not_a_neighbour": 4}


def passed(inspection: Inspection, source: IPv6Address, count: int, now_s: float) -> int:
    return sum(inspection.judge(ASK, source, to_group=False, now_s=now_s).passes is not None for _ in range(count))


def test_one_neighbour_may_ask_so_often_and_all_of_them_so_often() -> None:
    inspection = Inspection()
    assert passed(inspection, NEIGHBOUR, 100, 0) == limits.PEER_REQUESTS_BURST
    assert passed(inspection, NEIGHBOUR, 100, 1) == limits.PEER_REQUESTS_PER_S
    others = [IPv6Address(f"fe80::2:{index:x}") for index in range(100)]
    assert sum(passed(inspection, one, 1, 1) for one in others) < limits.REQUESTS_BURST
    assert sum(passed(inspection, one, 1, 3) for one in others) == 2 * limits.REQUESTS_PER_S


def test_what_is_answered_without_aiocoap_counts_as_asking_and_acknowledgements_do_not() -> None:
    inspection = Inspection()
    malformed = b"\x49\x01\x12\x34123456789"
    verdicts = [inspection.judge(malformed, NEIGHBOUR, to_group=False, now_s=0) for _ in range(100)]
    assert sum(one.reply is not None for one in verdicts) == limits.PEER_REQUESTS_BURST
    assert inspection.judge(b"\x60\x00\x12\x34", NEIGHBOUR, to_group=False, now_s=0).passes


def test_the_memory_of_neighbours_is_bounded() -> None:
    inspection = Inspection()
    for index in range(10 * limits.PEERS_MAX):
        inspection.judge(ASK, IPv6Address(f"fe80::{index:x}"), to_group=False, now_s=float(index))
    assert len(inspection._peers) == limits.PEERS_MAX


TABLE: Final = """\
00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000025090fffe123456 02 40 20 80     eth0
fe80000000000000025090fffe123457 02 40 20 c0     eth0
fe80000000000000025090fffe123458 02 40 20 88     eth0
20010db8000000000000000000000001 02 40 00 80     eth0
fe800000000000000000000000000009 0a 40 20 80    wlan0
"""


def test_only_link_local_addresses_that_are_surely_ours_are_bound(tmp_path: Path) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(TABLE)
    eth0 = LinkLocal(IPv6Address("fe80::250:90ff:fe12:3456"), "eth0", 2)
    assert link_local_addresses(["eth0", "eth7"], table) == {eth0}
    assert link_local_addresses(["eth0", "wlan0"], table) == {eth0, LinkLocal(IPv6Address("fe80::9"), "wlan0", 10)}
    assert link_local_addresses([], table) == set()
    assert link_local_addresses(["eth0"], tmp_path / "nowhere") == set()
