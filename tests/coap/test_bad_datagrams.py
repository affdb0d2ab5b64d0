"""The bad-input catalogue for CoAP (B4, groups 31 to 59), over a real socket on ::1.

Each case sends its bytes, expects its answers and nothing else, and then a sound pack of the same endpoint must still
be stored and answered 2.04.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from lichtmast.ingest.coap.limits import AMPLIFICATION_MAX
from lichtmast.ingest.coap.message import Type, code, encode_options, encode_uint
from lichtmast.ingest.coap.testing import PACK, UP_OPTIONS, Endpoint, MemoryLog, open_door, post, read
from lichtmast.wire.limits import PACK_BYTES_MAX

WELL_KNOWN = ((11, b".well-known"), (11, b"core"))
RESET = "RST"
UP_BYTES = encode_options(UP_OPTIONS)


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and the code of the answer to each datagram that gets one."""

    group: int
    name: str
    datagrams: Sequence[bytes]
    answers: Sequence[str]
    stored: int = 0
    """Packs that the log has afterwards, the final sound one not counted."""


def up(*more: tuple[int, bytes], message_id: int = 9, payload: bytes = PACK, kind: Type = Type.CON) -> bytes:
    return post(message_id, payload, kind=kind, options=tuple(sorted((*UP_OPTIONS, *more))))


def path(*segments: bytes) -> bytes:
    return post(9, options=(*((11, segment) for segment in segments), (12, b"\x6e")))


def block1(number: int, size: int, message_id: int, *, more: bool = True, szx: int = 2) -> bytes:
    option = (27, encode_uint(number << 4 | more << 3 | szx))
    return up(option, message_id=message_id, payload=b"x" * size)


def _con_and_non(group: int, name: str, tail: bytes, first: int = 0x40, method: int = 2) -> list[Case]:
    """A format error: a reset where it came as CON, silence where it came as NON, ACK or RST."""
    cases = []
    for kind, answers in ((0x00, [RESET]), (0x10, []), (0x20, []), (0x30, [])):
        datagram = bytes((first | kind, method, 0, 9)) + tail
        cases.append(Case(group, f"{name}, type {kind >> 4}", [datagram], answers))
    return cases


CASES = [
    *(Case(31, f"{size} bytes", [b"\x40\x02\x00"[:size]], []) for size in range(4)),
    *(Case(32, f"version {version}", [bytes((version << 6, 2, 0, 9)) + UP_BYTES], []) for version in (0, 2, 3)),
    *(case for tkl in range(9, 16) for case in _con_and_non(33, f"TKL {tkl}", b"t" * tkl + UP_BYTES, 0x40 | tkl)),
    *_con_and_non(34, "TKL longer than the datagram", b"ttt", 0x44),
    *_con_and_non(35, "empty message with payload", b"\xff1", method=0),
    *_con_and_non(35, "empty message with token", b"t", 0x41, method=0),
    *_con_and_non(36, "marker without payload", UP_BYTES + b"\xff"),
    *_con_and_non(37, "option delta 15", b"\xf1x"),
    *_con_and_non(37, "option length 15", b"\x1f" + b"x" * 20),
    *_con_and_non(38, "option past the end", b"\xb3up"),
    *_con_and_non(38, "extended delta past the end", b"\xe0\x00"),
    *_con_and_non(38, "extended length past the end", b"\x0e\x00"),
    Case(39, "option number over 65535", [post(9, options=(*UP_OPTIONS, (65_536, b"")))], ["4.02"]),
    Case(39, "deltas that would wrap to Uri-Path", [post(9, options=((60_000, b""), (65_547, b"up")))], ["4.02"]),
    *(
        Case(40, f"critical option {number}", [up((number, b"x"), kind=kind)], ["4.02"])
        for number in (1, 5, 9, 13, 19, 21, 25, 2_049, 65_001)
        for kind in (Type.CON, Type.NON)
    ),
    Case(40, "If-None-Match is not passed over", [up((5, b""))], ["4.02"]),
    *(
        Case(41, f"elective option {number}", [up((number, b"x"), kind=kind)], ["2.04"], 1)
        for number in (2, 4, 8, 14, 16, 20, 28, 60, 252, 258, 292, 65_000)
        for kind in (Type.CON, Type.NON)
    ),
    Case(42, "Content-Format twice", [up((12, b"\x70"))], ["4.02"]),
    Case(42, "Content-Format twice, equal", [up((12, b"\x6e"))], ["4.02"]),
    *(
        Case(43, f"Content-Format {value}", [post(9, options=((11, b"up"), (12, encode_uint(value))))], ["4.15"])
        for value in (0, 50, 60, 111, 113, 114, 310, 65_535)
    ),
    Case(43, "no Content-Format", [post(9, options=((11, b"up"),))], ["4.15"]),
    Case(43, "Content-Format of three bytes", [post(9, options=((11, b"up"), (12, b"\x00\x00\x6e")))], ["4.02"]),
    *(Case(44, f"Uri-Path {bad.hex()}", [path(bad)], ["4.00"]) for bad in (b"\xff", b"\xc3\x28", b"\xed\xa0\x80")),
    *(Case(44, f"Uri-Path {dots!r}", [path(b"up", dots, b"up")], ["4.00"]) for dots in (b".", b"..")),
    Case(44, "Uri-Path of 255 bytes", [path(b"u" * 255)], ["4.04"]),
    Case(44, "Uri-Path of 256 bytes", [path(b"u" * 256)], ["4.02"]),
    Case(44, "200 segments", [path(*[b"up"] * 200)], ["4.04"]),
    Case(44, "no path", [path()], ["4.04"]),
    Case(44, "trailing slash", [path(b"up", b"")], ["4.04"]),
    Case(44, "other case", [path(b"UP")], ["4.04"]),
    Case(44, "query", [up((15, b"a=b"))], ["4.02"]),
    Case(45, "Proxy-Uri", [up((35, b"coap://[::1]/up"))], ["5.05"]),
    Case(45, "Proxy-Scheme", [up((39, b"coap"))], ["5.05"]),
    *(
        Case(46, f"method {method}", [post(9, method=method, kind=kind)], ["4.05"])
        for method in ("0.01", "0.03", "0.04", "0.05", "0.06", "0.07", "0.08", "0.31")
        for kind in (Type.CON, Type.NON)
    ),
    Case(46, "POST to the links", [post(9, b"", options=WELL_KNOWN)], ["4.05"]),
    *(
        Case(46, f"code {reserved}", [post(9, method=reserved, kind=kind)], [])
        for reserved in ("1.00", "1.31", "3.04", "6.00", "7.00", "7.31")
        for kind in Type
    ),
    *(
        Case(47, f"response {answer}, type {kind.name}", [post(9, method=answer, kind=kind)], answers)
        for answer in ("2.04", "2.05", "4.04", "5.00")
        for kind, answers in ((Type.CON, [RESET]), (Type.NON, []), (Type.ACK, []), (Type.RST, []))
    ),
    *(Case(47, f"request as {kind.name}", [post(9, kind=kind)], []) for kind in (Type.ACK, Type.RST)),
    Case(48, "Block1 with SZX 7", [up((27, b"\x07")), up((27, b"\x0f"), message_id=10)], ["4.00", "4.00"]),
    Case(48, "Block2 with SZX 7", [up((23, b"\x07"))], ["4.00"]),
    Case(48, "Block1 of four bytes", [up((27, b"\x00\x00\x00\x0e"))], ["4.02"]),
    Case(49, "Block1 1 without 0", [block1(1, 64, 9)], ["4.08"]),
    Case(49, "Block1 with a gap", [block1(0, 64, 9), block1(2, 64, 10)], ["2.31", "4.08"]),
    Case(51, "overlapping", [block1(0, 64, 9), block1(1, 64, 10), block1(1, 64, 11)], ["2.31", "2.31", "4.08"]),
    Case(51, "mixed sizes", [block1(0, 64, 9), block1(2, 32, 10, szx=1)], ["2.31", "4.08"]),
    Case(51, "block longer than its size", [block1(0, 65, 9)], ["4.00"]),
    Case(51, "block shorter than its size", [block1(0, 63, 9)], ["4.00"]),
    Case(
        52,
        "announced too large",
        [up((27, b"\x0e"), (60, encode_uint(PACK_BYTES_MAX + 1)), payload=b"x" * 1_024)],
        ["4.13"],
    ),
    Case(52, "reaching too far", [block1(2**20 - 1, 64, 9)], ["4.13"]),
    Case(52, "one datagram too large", [up(payload=b"x" * 5_000)], ["4.13"]),
    Case(
        53, "Block2 far behind", [post(9, b"", method="0.01", options=(*WELL_KNOWN, (23, b"\xff\xff\xf0")))], ["4.00"]
    ),
    Case(53, "Block2 far behind on POST", [up((23, b"\xff\xff\xf6"))], ["4.00"]),
    Case(54, "retransmission", [up(), up(), up()], ["2.04"] * 3, 1),
    Case(54, "NON retransmission", [up(kind=Type.NON), up(kind=Type.NON)], ["2.04"] * 2, 1),
    Case(54, "retransmitted refusal", [up(payload=b"undecodable")] * 2, ["4.00"] * 2),
    Case(55, "same message id, other content", [up(), up(payload=PACK + b" ")], ["2.04", RESET], 1),
    Case(57, "links for an unverified source", [post(9, b"", method="0.01", options=WELL_KNOWN)], ["4.01"]),
    Case(59, "Observe on POST is passed over", [up((6, b""))], ["2.04"], 1),
    Case(59, "Observe on GET", [post(9, b"", method="0.01", options=((6, b""), *WELL_KNOWN))], ["4.01"]),
    Case(61, "empty payload", [up(payload=b"")], ["4.00"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_bad_datagrams_get_their_answer_and_the_next_pack_is_stored(case: Case) -> None:
    asyncio.run(_check(case))


async def _check(case: Case) -> None:
    log = MemoryLog()
    async with open_door(log) as door:
        with Endpoint(door.port) as endpoint:
            answers: list[bytes] = []
            for datagram in case.datagrams:
                expected = len(answers) < len(case.answers)
                got = [await endpoint.ask(datagram)] if expected else await endpoint.ask_before_ping(datagram)
                answers += got
                assert sum(map(len, got)) <= AMPLIFICATION_MAX * len(datagram)
            assert list(case.answers) == [_outcome(answer) for answer in answers]
            for first, again in itertools.pairwise(answers):
                if case.group == 54:
                    assert first == again
            assert case.stored == len(log.payloads)
            sound = read(await endpoint.ask(post(99)))
            assert (code("2.04"), 99) == (sound.code, sound.message_id)
            assert log.payloads[-1] == PACK
        assert "fault" not in door.statistics().events


def test_every_group_of_the_catalogue_has_a_case_here_or_a_named_test() -> None:
    elsewhere = {50, 56}  # 1,500 sources and 70,000 requests: test_coap_core.py, on a clock of its own
    elsewhere |= {58}  # multicast: test_coap_multicast.py, in a network namespace
    assert set(range(31, 60)) == {case.group for case in CASES if case.group < 60} | elsewhere


def _outcome(answer: bytes) -> str:
    message = read(answer)
    if message.type is Type.RST:
        assert len(answer) == 4
        return RESET
    return f"{message.code >> 5}.{message.code & 31:02}"
