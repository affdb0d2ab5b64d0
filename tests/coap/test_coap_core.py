"""The core by its rules: duplicates, rates, blocks, amplification, separate responses, and the bounds of them all."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichtmast.ingest.coap import core as core_module
from lichtmast.ingest.coap.core import Core
from lichtmast.ingest.coap.discovery import CORE_LINKS
from lichtmast.ingest.coap.exchange import Exchange
from lichtmast.ingest.coap.limits import (
    ACK_TIMEOUT_S,
    AMPLIFICATION_MAX,
    BLOCK_LIFETIME_S,
    DATAGRAM_BYTES_MAX,
    EXCHANGE_LIFETIME_S,
    SEPARATE_MAX,
)
from lichtmast.ingest.coap.message import Message, Type, code, dotted, encode_uint
from lichtmast.ingest.coap.testing import PACK, PEER, PING, PONG, SENDER, UP_OPTIONS, new_core, new_settings, post, read
from lichtmast.wire.limits import PACK_BYTES_MAX

OTHER = ("::1", 40_002, 0, 0)
WELL_KNOWN = ((11, b".well-known"), (11, b"core"))
CHANGED = bytes.fromhex("6244")
BLOCK_MESSAGE_IDS = itertools.count(1_000)


def get(message_id: int, *more: tuple[int, bytes]) -> bytes:
    return post(message_id, b"", method="0.01", options=tuple(sorted((*WELL_KNOWN, *more))))


def block(number: int, payload: bytes, *, more: bool, szx: int = 0, tag: bytes | None = None) -> bytes:
    options = (*UP_OPTIONS, (27, encode_uint(number << 4 | more << 3 | szx)))
    return post(next(BLOCK_MESSAGE_IDS) % 65_536, payload, options=options if tag is None else (*options, (292, tag)))


def take(core: Core, datagram: bytes, now_s: float = 0.0, address: tuple[str, int, int, int] = PEER) -> Exchange:
    exchange = core.receive(datagram, address, now_s)
    assert isinstance(exchange, Exchange), exchange
    return exchange


def say(core: Core, datagram: bytes, now_s: float = 0.0, address: tuple[str, int, int, int] = PEER) -> Message:
    return read(core.receive(datagram, address, now_s))


def accept(core: Core, datagram: bytes, now_s: float = 0.0, address: tuple[str, int, int, int] = PEER) -> bytes:
    return core.complete(take(core, datagram, now_s, address), logged=True, now_s=now_s)


# A pack's way.


def test_a_pack_is_handed_out_whole_with_its_sender_and_answered_only_when_logged() -> None:
    core = new_core()
    exchange = take(core, post(7))
    assert (exchange.sender, exchange.content_format, exchange.payload) == (SENDER, 110, PACK)
    assert core.waiting_packs == 1
    assert CHANGED + bytes.fromhex("0007 0102") == core.complete(exchange, logged=True, now_s=0.0)
    assert (core.waiting_packs, core.waiting_bytes) == (0, 0)


def test_a_pack_that_the_log_did_not_take_is_answered_503_with_max_age() -> None:
    core = new_core()
    answer = read(core.complete(take(core, post(7)), logged=False, now_s=0.0))
    assert code("5.03") == answer.code
    assert answer.options == ((14, b"\x05"),)
    assert b"send it again" in answer.payload


def test_a_non_confirmable_request_is_answered_non_confirmable_under_our_own_message_id() -> None:
    core = new_core()
    first, second = (read(accept(core, post(number, kind=Type.NON))) for number in (7, 8))
    assert (Type.NON, code("2.04"), b"\x01\x02") == (first.type, first.code, first.token)
    assert (first.message_id + 1) % 65_536 == second.message_id


def test_a_refused_pack_of_nobody_is_answered_at_once_and_never_reaches_the_log() -> None:
    answer = say(new_core(), post(7, b"undecodable"))
    assert code("4.00") == answer.code
    assert answer.payload.startswith(b"not JSON")


def test_a_stranger_is_answered_403() -> None:
    assert code("4.03") == say(new_core(), post(7, b"stranger")).code


def test_a_refused_pack_of_a_known_sender_goes_to_the_log_first_and_is_then_refused() -> None:
    core = new_core()
    exchange = take(core, post(7, b"unknown name"))
    assert exchange.sender == SENDER
    answer = read(core.complete(exchange, logged=True, now_s=0.0))
    assert code("4.00") == answer.code
    assert answer.payload.startswith(b"no name x")


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
@pytest.mark.parametrize("token", [b"", b"\x01", b"12345678"])
@pytest.mark.parametrize("payload", [PACK, b"", b"undecodable", b"unknown name", b"x" * DATAGRAM_BYTES_MAX])
@pytest.mark.parametrize("content_format", [b"\x6e", b"\x70", b"\x00\x6e", b"\x32"])
def test_the_short_way_for_usual_packs_answers_what_the_long_way_answers(
    kind: Type, token: bytes, payload: bytes, content_format: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    datagram = post(7, payload, kind=kind, token=token, options=((11, b"up"), (12, content_format)))

    def answers() -> tuple[object, ...]:
        core = new_core()
        effect = core.receive(datagram, PEER, 0.0)
        if not isinstance(effect, Exchange):
            return (effect, core.answers)
        found = (effect.sender, effect.content_format, effect.payload, effect.head, effect.request_bytes)
        return (*found, core.complete(effect, logged=True, now_s=0.0), core.answers)

    short = answers()
    monkeypatch.setattr(core_module, "_USUAL_OPTIONS", {})
    assert short == answers()


# Totality.


@pytest.mark.slow
@settings(max_examples=400)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.binary(max_size=40).map(lambda tail: b"\x41\x02\x00\x01a" + tail)
        | st.builds(
            post,
            st.integers(0, 3),
            st.sampled_from([PACK, b"", b"undecodable", b"unknown name"]) | st.binary(max_size=30),
            kind=st.sampled_from(Type),
            method=st.sampled_from(["0.01", "0.02", "0.03", "0.07", "0.08", "0.31", "1.00", "2.05", "7.01"]),
            options=st.lists(
                st.tuples(
                    st.sampled_from([1, 3, 6, 7, 11, 12, 15, 17, 23, 27, 35, 39, 60, 252, 292, 9, 65_001]),
                    st.sampled_from([b"", b"up", b"\x6e", b"\x0e", b"\xff\xff\xff"]) | st.binary(max_size=5),
                ),
                max_size=6,
            ).map(lambda options: tuple(sorted(options))),
        ),
        max_size=6,
    )
)
def test_any_bytes_get_a_small_well_formed_answer_or_none_and_leave_the_core_working(datagrams: list[bytes]) -> None:
    core = new_core()
    for datagram in datagrams:
        effect = core.receive(datagram, PEER, 0.0)
        if isinstance(effect, Exchange):
            effect = core.complete(effect, logged=True, now_s=0.0)
        if effect is not None:
            read(effect)
            assert len(effect) <= AMPLIFICATION_MAX * len(datagram)
    assert accept(core, post(60_000))[:2] == CHANGED
    assert core.waiting_packs == 0


# Duplicates (RFC 7252 section 4.5).


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
def test_a_retransmission_gets_the_identical_answer_and_is_not_logged_again(kind: Type) -> None:
    core = new_core()
    answer = accept(core, post(7, kind=kind))
    assert answer == core.receive(post(7, kind=kind), PEER, 246.9)
    assert core.counts["duplicate"] == 1


def test_a_retransmission_of_a_refused_request_gets_the_identical_refusal() -> None:
    core = new_core()
    refused = core.receive(post(7, b"undecodable", kind=Type.NON), PEER, 0.0)
    assert refused == core.receive(post(7, b"undecodable", kind=Type.NON), PEER, 1.0)
    assert core.answers[code("4.00")] == 1


def test_a_copy_that_overtakes_the_answer_is_silent() -> None:
    core = new_core()
    take(core, post(7))
    assert core.receive(post(7), PEER, 0.5) is None


def test_the_same_message_id_with_other_content_is_never_acknowledged() -> None:
    core = new_core()
    accept(core, post(7))
    assert core.receive(post(7, b"[{}]"), PEER, 1.0) == b"\x70\x00\x00\x07"
    assert (core.counts["duplicate"], core.counts["conflict"]) == (0, 1)


def test_a_remembered_answer_is_no_way_around_the_amplification_limit() -> None:
    core = new_core()
    core.receive(post(7, b"undecodable"), PEER, 0.0)
    assert core.receive(b"\x40\x01\x00\x07", PEER, 0.0) == b"\x70\x00\x00\x07"
    assert core.counts["conflict"] == 1


def test_message_ids_of_two_endpoints_are_independent() -> None:
    core = new_core()
    accept(core, post(7))
    take(core, post(7), address=OTHER)


def test_after_exchange_lifetime_a_message_id_is_new() -> None:
    core = new_core()
    accept(core, post(7))
    core.tick(EXCHANGE_LIFETIME_S)
    take(core, post(7), EXCHANGE_LIFETIME_S)
    assert core.memory.bytes > 0


def test_the_memory_holds_its_entries_and_at_one_more_forgets_the_oldest() -> None:
    core = new_core(remembered_max=3)
    for number in range(4):
        accept(core, post(number))
    assert len(core.memory.entries) == 3
    assert core.receive(post(1), PEER, 0.0) is not None
    take(core, post(0))


def test_the_memory_is_bounded_in_bytes_and_counts_them_to_zero() -> None:
    core = new_core(remembered_bytes_max=10_000)
    for number in range(1_000):
        core.receive(post(number, b"undecodable"), PEER, 0.0)
        assert core.memory.bytes <= 10_000
    core.tick(EXCHANGE_LIFETIME_S)
    assert (len(core.memory.entries), core.memory.bytes) == (0, 0)


def test_an_exchange_that_was_forgotten_before_its_answer_is_still_answered() -> None:
    core = new_core(remembered_max=1)
    first, second = take(core, post(1)), take(core, post(2))
    assert core.complete(first, logged=True, now_s=0.0)[:2] == CHANGED
    assert core.complete(second, logged=True, now_s=0.0)[:2] == CHANGED
    core.tick(EXCHANGE_LIFETIME_S)
    assert core.memory.bytes == 0


def test_peers_are_bounded_and_the_silent_ones_are_forgotten_first() -> None:
    core = new_core(peers_max=100)
    for port in range(1, 1_001):
        accept(core, post(1), address=("::1", port, 0, 0))
        accept(core, post(port + 1), address=OTHER)
        assert len(core.peers) <= 101
    assert core.receive(post(2), OTHER, 0.0) is not None, "who keeps speaking keeps its memory"
    assert core.counts["duplicate"] == 1


# Rates.


def test_an_endpoint_may_burst_then_gets_429_with_max_age_then_recovers_and_others_never_notice() -> None:
    core = new_core(peer_burst_requests=10, peer_requests_per_s=2.0)
    for number in range(10):
        accept(core, post(number))
    limited = say(core, post(10))
    assert (code("4.29"), ((14, b"\x01"),)) == (limited.code, limited.options)
    accept(core, post(10), address=OTHER)
    assert code("4.29") == say(core, post(10), 0.4).code
    accept(core, post(10), 0.5)
    assert code("4.29") == say(core, post(11), 0.5).code


@pytest.mark.slow
def test_seventy_thousand_requests_of_one_endpoint_in_a_lifetime_are_limited_bounded_and_recovered_from() -> None:
    core = new_core()
    answers = {"2.04": 0, "4.29": 0}
    for number in range(70_000):
        effect = core.receive(post(number % 65_536), PEER, number * EXCHANGE_LIFETIME_S / 70_000)
        if isinstance(effect, Exchange):
            effect = core.complete(effect, logged=True, now_s=0.0)
        answers[dotted(read(effect).code)] += 1
    assert sum(answers.values()) == 70_000
    allowed = new_settings().peer_requests_per_s * EXCHANGE_LIFETIME_S + new_settings().peer_burst_requests
    assert 0.9 * allowed <= core.answers[code("2.04")] <= allowed
    assert answers["4.29"] > 35_000
    assert len(core.memory.entries) <= allowed
    accept(core, post(65_000), 2 * EXCHANGE_LIFETIME_S)


def test_more_waiting_than_the_limit_is_answered_503_and_taken_when_there_is_room() -> None:
    core = new_core(waiting_packs_max=2)
    first = take(core, post(1))
    take(core, post(2))
    refused = say(core, post(3))
    assert (code("5.03"), ((14, b"\x05"),)) == (refused.code, refused.options)
    core.complete(first, logged=True, now_s=0.0)
    take(core, post(3))


def test_waiting_bytes_are_limited_too() -> None:
    core = new_core(waiting_bytes_max=2 * len(PACK))
    for number in (1, 2):
        take(core, post(number))
    assert code("5.03") == say(core, post(3)).code


# Block1 (RFC 7959).


def test_a_body_in_blocks_arrives_whole_and_the_last_answer_names_its_block() -> None:
    core = new_core()
    assert (code("2.31"), ((27, b"\x08"),)) == _code_options(say(core, block(0, b"a" * 16, more=True)))
    assert (code("2.31"), ((27, b"\x18"),)) == _code_options(say(core, block(1, b"b" * 16, more=True)))
    last = take(core, block(2, b"c", more=False))
    assert last.payload == b"a" * 16 + b"b" * 16 + b"c"
    assert (code("2.04"), ((27, b"\x20"),)) == _code_options(read(core.complete(last, logged=True, now_s=0.0)))
    assert (len(core.assemblies), core.assemblies.bytes) == (0, 0)


def test_a_refused_body_is_refused_with_its_block() -> None:
    answer = say(new_core(), block(0, b"undecodable", more=False))
    assert (code("4.00"), ((27, b""),)) == _code_options(answer)


@pytest.mark.parametrize(
    "blocks",
    [
        [(1, 16, True, 0, None)],
        [(0, 16, True, 0, None), (2, 16, True, 0, None)],
        [(0, 16, True, 0, None), (1, 16, True, 0, None), (1, 16, True, 0, None)],
        [(0, 32, True, 1, None), (1, 16, True, 0, None)],
        [(0, 32, True, 1, None), (2, 16, True, 0, None)],
        [(0, 16, True, 0, b"A"), (0, 16, True, 0, b"B"), (1, 1, False, 0, b"A")],
        [(0, 16, True, 0, b"A"), (1, 1, False, 0, None)],
    ],
    ids=["no start", "gap", "overlap", "mixed sizes", "mixed sizes in place", "other tag", "no tag"],
)
def test_blocks_that_do_not_follow_are_answered_408(blocks: list[tuple[int, int, bool, int, bytes | None]]) -> None:
    core = new_core()
    for number, size, more, szx, tag in blocks[:-1]:
        assert code("2.31") == say(core, block(number, b"x" * size, more=more, szx=szx, tag=tag)).code
    number, size, more, szx, tag = blocks[-1]
    assert code("4.08") == say(core, block(number, b"x" * size, more=more, szx=szx, tag=tag)).code
    assert core.assemblies.bytes == 0
    accept(core, block(0, PACK[:16], more=False))


@pytest.mark.parametrize(("size", "more"), [(15, True), (17, True), (17, False), (0, True)])
def test_a_block_of_the_wrong_length_is_answered_400(size: int, *, more: bool) -> None:
    assert code("4.00") == say(new_core(), block(0, b"x" * size, more=more)).code


def test_a_body_of_the_limit_is_taken_and_one_byte_more_is_413_with_size1() -> None:
    core = new_core()
    blocks = PACK_BYTES_MAX // 1024
    for number in range(blocks - 1):
        assert code("2.31") == say(core, block(number, b"x" * 1024, more=True, szx=6)).code
    assert len(take(core, block(blocks - 1, b"x" * 1024, more=False, szx=6)).payload) == PACK_BYTES_MAX
    for number in range(blocks):
        assert code("2.31") == say(core, block(number, b"x" * 1024, more=True, szx=6)).code
    answer = say(core, block(blocks, b"x", more=False, szx=6))
    assert code("4.13") == answer.code
    assert (60, encode_uint(PACK_BYTES_MAX)) in answer.options
    assert core.assemblies.bytes == 0


def test_a_body_that_announces_too_much_is_refused_at_its_first_block() -> None:
    options = (*UP_OPTIONS, (27, b"\x0e"), (60, encode_uint(PACK_BYTES_MAX + 1)))
    assert code("4.13") == say(new_core(), post(1, b"x" * 1024, options=options)).code


def test_a_datagram_over_the_limit_is_pointed_to_blocks() -> None:
    answer = say(new_core(), post(1, b"x" * DATAGRAM_BYTES_MAX))
    assert (code("4.13"), ((27, b"\x06"), (60, encode_uint(PACK_BYTES_MAX)))) == _code_options(answer)


def test_unfinished_bodies_of_1500_sources_stay_within_their_bytes_and_expire() -> None:
    core = new_core(assembly_bytes_max=256 * 1024)
    for port in range(1, 1_501):
        assert code("2.31") == say(core, block(0, b"x" * 1024, more=True, szx=6), address=("::1", port, 0, 0)).code
        assert core.assemblies.bytes <= 256 * 1024
    assert core.assemblies.dropped == 1_500 - len(core.assemblies)
    assert code("4.08") == say(core, block(1, b"y", more=False, szx=6), address=("::1", 1, 0, 0)).code
    take(core, block(1, b"y", more=False, szx=6), address=("::1", 1_500, 0, 0))
    core.tick(BLOCK_LIFETIME_S)
    assert (len(core.assemblies), core.assemblies.bytes) == (0, 0)


def test_a_body_that_pauses_longer_than_its_lifetime_starts_again() -> None:
    core = new_core()
    say(core, block(0, b"x" * 16, more=True))
    assert code("4.08") == say(core, block(1, b"y", more=False), BLOCK_LIFETIME_S).code


# Discovery and amplification (RFC 6690, RFC 9175).


def test_a_small_request_from_an_unverified_address_must_echo_before_it_gets_the_links() -> None:
    core = new_core()
    challenge = say(core, get(1))
    assert code("4.01") == challenge.code
    ((number, echo),) = challenge.options
    assert number == 252
    answer = say(core, get(2, (252, echo)), 59.0)
    assert (code("2.05"), CORE_LINKS, ((12, b"\x28"),)) == (answer.code, answer.payload, answer.options)
    assert code("2.05") == say(core, get(3), 60.0).code, "an address that has echoed is verified for a while"
    assert code("4.01") == say(core, get(4), 59.0 + EXCHANGE_LIFETIME_S).code


@pytest.mark.parametrize(
    ("forge", "address", "now_s"),
    [
        (lambda echo: echo, OTHER, 0.0),
        (lambda echo: echo, PEER, 61.0),
        (lambda echo: bytes((echo[0] ^ 1,)) + echo[1:], PEER, 0.0),
        (lambda echo: echo[:-1], PEER, 0.0),
        (lambda echo: echo + b"x", PEER, 0.0),
        (lambda _: b"\x00", PEER, 0.0),
    ],
    ids=["other address", "too old", "other time", "cut", "longer", "made up"],
)
def test_an_echo_that_is_not_ours_for_this_address_and_time_proves_nothing(
    forge: Callable[[bytes], bytes], address: tuple[str, int, int, int], now_s: float
) -> None:
    core = new_core()
    echo = say(core, get(1)).options[0][1]
    say(core, get(2, (252, forge(echo))), now_s, address)  # itself long enough for the links to be within three times
    assert code("4.01") == say(core, get(3), now_s, address).code


def test_links_can_be_had_in_blocks_small_enough_to_need_no_echo() -> None:
    core, links = new_core(), b""
    for number in range(20):
        answer = say(core, get(number, (23, encode_uint(number << 4))))
        assert code("2.05") == answer.code
        links += answer.payload
        if not answer.options[1][1][-1] & 0x08:
            break
    assert links == CORE_LINKS


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ((23, encode_uint((2**20 - 1) << 4)), "4.00"),
        ((23, b"\x07"), "4.00"),
        ((17, b"\x32"), "4.06"),
        ((27, b"\x00"), "4.02"),
        ((17, b"\x28"), "4.01"),
    ],
)
def test_a_get_that_asks_for_what_there_is_not_is_told_so(more: tuple[int, bytes], answer: str) -> None:
    assert code(answer) == say(new_core(), get(1, more)).code


def test_a_long_diagnostic_is_cut_to_three_times_the_request_in_whole_characters() -> None:
    core = new_core()
    short = post(1, b"unknown name", token=b"")
    answer = core.complete(take(core, short), logged=True, now_s=0.0)
    assert len(answer) <= AMPLIFICATION_MAX * len(short)
    assert read(answer).payload.decode()


# Separate responses (RFC 7252 section 5.2.2).


def test_an_answer_that_takes_longer_than_a_second_is_acknowledged_empty_and_then_sent_until_acknowledged() -> None:
    core = new_core()
    exchange = take(core, post(7))
    assert core.tick(0.9) == []
    assert [(bytes.fromhex("60000007"), PEER)] == core.tick(1.0)
    assert core.tick(1.25) == []
    assert bytes.fromhex("60000007") == core.receive(post(7), PEER, 1.3)
    answer = core.complete(exchange, logged=True, now_s=2.0)
    separate = read(answer)
    assert (Type.CON, code("2.04"), b"\x01\x02") == (separate.type, separate.code, separate.token)
    assert bytes.fromhex("60000007") == core.receive(post(7), PEER, 2.1), "every copy gets the same acknowledgement"
    timeout_s = 1.25 * ACK_TIMEOUT_S  # chance is 0.5 of ACK_RANDOM_FACTOR 1.5
    assert core.tick(2.0 + timeout_s - 0.01) == []
    assert [(answer, PEER)] == core.tick(2.0 + timeout_s)
    assert core.receive(b"\x60\x00" + separate.message_id.to_bytes(2, "big"), PEER, 5.0) is None
    assert core.tick(100.0) == []
    assert len(core.retransmissions) == 0


def test_a_separate_answer_that_nobody_acknowledges_is_sent_five_times_and_given_up() -> None:
    core = new_core()
    exchange = take(core, post(7))
    core.tick(1.0)
    core.complete(exchange, logged=True, now_s=1.0)
    sent = [now_s for now_s in range(1, 200) if core.tick(float(now_s))]
    assert sent == [4, 9, 19, 39]
    assert (len(core.retransmissions), core.retransmissions.undelivered) == (0, 1)


def test_a_reset_ends_the_repetition_of_a_separate_answer_and_anothers_does_not() -> None:
    core = new_core()
    exchange = take(core, post(7))
    core.tick(1.0)
    answer = read(core.complete(exchange, logged=True, now_s=1.0))
    reset = b"\x70\x00" + answer.message_id.to_bytes(2, "big")
    core.receive(reset, OTHER, 1.1)
    assert len(core.retransmissions) == 1
    core.receive(reset, PEER, 1.1)
    assert len(core.retransmissions) == 0


def test_a_non_confirmable_request_is_never_acknowledged_empty() -> None:
    core = new_core()
    exchange = take(core, post(7, kind=Type.NON))
    assert core.tick(5.0) == []
    assert read(core.complete(exchange, logged=True, now_s=5.0)).type == Type.NON


def test_beyond_their_limit_separate_answers_are_sent_once_as_non() -> None:
    core = new_core()
    exchanges = [take(core, post(7), 0.0, ("::1", port, 0, 0)) for port in range(1, SEPARATE_MAX + 2)]
    assert len(core.tick(1.0)) == SEPARATE_MAX + 1
    kinds = [read(core.complete(exchange, logged=True, now_s=1.0)).type for exchange in exchanges]
    assert kinds == [Type.CON] * SEPARATE_MAX + [Type.NON]
    assert len(core.retransmissions) == SEPARATE_MAX


def test_all_that_a_slow_refusal_makes_us_send_stays_within_three_times_the_request() -> None:
    core = new_core()
    request = post(7, b"unknown name")
    exchange = take(core, request)
    sent = sum(len(datagram) for datagram, _ in core.tick(1.0))
    sent += len(core.complete(exchange, logged=True, now_s=1.0))
    for now_s in range(2, 300):
        sent += sum(len(datagram) for datagram, _ in core.tick(float(now_s)))
    assert sent <= AMPLIFICATION_MAX * len(request)


def test_a_ping_is_answered_by_a_reset() -> None:
    assert new_core().receive(PING, PEER, 0.0) == PONG


def _code_options(message: Message) -> tuple[int, tuple[tuple[int, bytes], ...]]:
    return message.code, message.options
