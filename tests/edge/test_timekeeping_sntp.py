"""SNTP: what an answer is worth, and a client against servers on ::1 that tell the truth, lie, or say nothing."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbox_parts import START_US, StillClock

from lichtmast.edge.timekeeping import Observation, ask, limits, run_sntp, sntp
from lichtmast.edge.timekeeping.sntp_packets import Answer, Refused, Verdict, judge, request

NONCE = b"12345678"
NTP_S = 2_208_988_800


def answer(
    origin: bytes = NONCE,
    *,
    first: int = 0x24,  # no warning, version 4, server
    stratum: int = 2,
    delay: int = 0x0000_1000,  # 1/16 s
    dispersion: int = 0x0000_0800,  # 1/32 s
    kiss: bytes = b"GPS\0",
    received_us: int = START_US,
    sent_us: int = START_US,
) -> bytes:
    times = b"".join(
        struct.pack(">II", (us // 1_000_000 + NTP_S) % 2**32, (us % 1_000_000 << 32) // 1_000_000)
        for us in (received_us, sent_us)
    )
    return struct.pack(">BBbbII4s8s8s", first, stratum, 6, -20, delay, dispersion, kiss, bytes(8), origin) + times


def judged(raw: bytes, took_s: float = 0.1) -> Verdict:
    return judge(raw, NONCE, took_s, START_US)


def test_a_request_is_a_version_4_client_packet_that_tells_nothing_of_our_clock() -> None:
    raw = request(NONCE)
    assert (raw[0], len(raw), raw[40:]) == (0x23, 48, NONCE)
    assert raw[1:40] == bytes(39)


def test_half_the_round_trip_is_added_and_bounds_the_error() -> None:
    verdict = judged(answer(received_us=START_US, sent_us=START_US + 20_000), took_s=0.12)
    assert isinstance(verdict, Answer)
    assert verdict.observation.wall_us == pytest.approx(START_US + 20_000 + 50_000, abs=2)
    assert verdict.observation.error_s == pytest.approx(0.05 + 1 / 32 + 1 / 32, abs=1e-5)


@pytest.mark.parametrize(
    ("raw", "took_s", "refused"),
    [
        (answer()[:47], 0.1, Refused.MALFORMED),
        (b"", 0.1, Refused.MALFORMED),
        (answer(b"87654321"), 0.1, Refused.FORGED),
        (answer(bytes(8)), 0.1, Refused.FORGED),
        (answer(first=0x23), 0.1, Refused.MALFORMED),
        (answer(first=0x25), 0.1, Refused.MALFORMED),
        (answer(first=0x04), 0.1, Refused.MALFORMED),
        (answer(first=0xE4), 0.1, Refused.UNSYNCHRONISED),
        (answer(stratum=16), 0.1, Refused.UNSYNCHRONISED),
        (answer(delay=0x0002_0000), 0.1, Refused.UNSYNCHRONISED),
        (answer(dispersion=0x0001_0000), 0.1, Refused.UNSYNCHRONISED),
        (answer(sent_us=-NTP_S * 1_000_000), 0.1, Refused.UNSYNCHRONISED),
        (answer(stratum=0, kiss=b"DENY"), 0.1, Refused.GO_AWAY),
        (answer(stratum=0, kiss=b"RSTR"), 0.1, Refused.GO_AWAY),
        (answer(stratum=0, kiss=b"RATE"), 0.1, Refused.SLOW_DOWN),
        (answer(stratum=0, kiss=b"INIT"), 0.1, Refused.UNSYNCHRONISED),
        (answer(), 1.01, Refused.SLOW),
        (answer(received_us=START_US + 1_000), 0.1, Refused.SLOW),
        (answer(sent_us=START_US + 200_000), 0.1, Refused.SLOW),
    ],
)
def test_what_rfc_4330_tells_to_discard_is_discarded(raw: bytes, took_s: float, refused: Refused) -> None:
    assert refused is judged(raw, took_s)


def test_a_forged_kiss_of_death_is_not_obeyed() -> None:
    assert judged(answer(b"87654321", stratum=0, kiss=b"DENY")) is Refused.FORGED


def test_the_seconds_that_run_over_in_2036_are_read_by_the_floor() -> None:
    after_us = (2**32 - NTP_S + 1_000) * 1_000_000  # 2036-02-07 and a little
    verdict = judge(answer(received_us=after_us, sent_us=after_us), NONCE, 0.0, after_us - 10**15)
    assert isinstance(verdict, Answer)
    assert verdict.observation.wall_us == after_us


@given(st.binary(max_size=80), st.floats(0, 10))
def test_any_bytes_give_a_verdict(raw: bytes, took_s: float) -> None:
    assert isinstance(judged(raw, took_s), Answer | Refused)
    assert isinstance(judge(raw[:24] + NONCE + raw[24:], NONCE, took_s, START_US), Answer | Refused)


class _Server(asyncio.DatagramProtocol):
    def __init__(self, replies: Callable[[bytes], list[bytes]]) -> None:
        self._replies = replies
        self.requests: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[object, ...]) -> None:
        self.requests.append(data)
        for reply in self._replies(data[40:48]):
            self.transport.sendto(reply, addr)


@asynccontextmanager
async def serving(replies: Callable[[bytes], list[bytes]]) -> AsyncIterator[tuple[_Server, int]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Server(replies), local_addr=("::1", 0)
    )
    try:
        yield server, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


CLOCK = StillClock()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses pass at once on CLOCK, and are kept."""
    pauses: list[float] = []
    CLOCK.now_s = 100.0

    class Asyncio:
        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        async def sleep(self, pause_s: float) -> None:
            pauses.append(pause_s)
            CLOCK.now_s += pause_s
            await asyncio.sleep(0)

    monkeypatch.setattr(sntp, "asyncio", Asyncio())
    monkeypatch.setattr(limits, "ANSWER_S", 0.05)
    return pauses


async def run(
    servers: list[tuple[str, int]],
    enough: Callable[[], bool],
    believe: Callable[[Observation], bool] = lambda _: True,
) -> list[Observation]:
    """Run the client until there is enough."""
    told: list[Observation] = []

    def hear(observation: Observation, _: float) -> bool:
        told.append(observation)
        return believe(observation)

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        client = group.create_task(
            run_sntp(
                servers,
                clock=CLOCK,
                floor_us=START_US,
                seed=4,
                on_observation=hear,
            ),
            name="sntp",
        )
        while not enough() and not client.done():
            await asyncio.sleep(0.002)
        client.cancel()
    return told


def test_the_client_hears_a_server_over_ipv6_and_ignores_what_others_forge() -> None:
    async def life() -> None:
        def replies(nonce: bytes) -> list[bytes]:
            return [answer(b"forged!!", received_us=START_US + 10**13, sent_us=START_US + 10**13), answer(nonce)]

        async with serving(replies) as (server, port), asyncio.timeout(10):
            verdict, at_s = await ask("::1", port, clock=StillClock(), floor_us=START_US)
        assert isinstance(verdict, Answer)
        assert at_s == 100.0
        assert abs(verdict.observation.wall_us - START_US) < 10
        assert len(server.requests) == 1

    asyncio.run(life())


def test_a_silent_server_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_S", 0.02)

    async def life() -> None:
        async with serving(lambda _: []) as (_, port):
            with pytest.raises(TimeoutError):
                await ask("::1", port, clock=StillClock(), floor_us=START_US)

    asyncio.run(life())


def test_polls_are_never_closer_than_64_seconds_and_not_in_step(quick: list[float]) -> None:
    async def life() -> list[Observation]:
        async with serving(lambda nonce: [answer(nonce)]) as (server, port):
            return await run([("::1", port)], lambda: len(server.requests) > 8)

    assert len(asyncio.run(life())) >= 8
    start_s, *pauses = quick
    assert 0 <= start_s <= limits.START_S
    assert all(768 <= pause_s <= 1_280 for pause_s in pauses)
    assert len(set(pauses)) == len(pauses)


def test_a_server_that_fails_gives_way_to_the_next_and_pauses_grow(quick: list[float]) -> None:
    async def life() -> list[Observation]:
        async with serving(lambda _: []) as (silent, one), serving(lambda _: []) as (_, other):
            return await run([("::1", one), ("::1", other)], lambda: len(silent.requests) > 3)

    assert asyncio.run(life()) == []
    pauses = quick[1:]
    assert all(pause_s >= 64 for pause_s in pauses)
    assert pauses[0] < 100 < pauses[3] < pauses[5]


def test_a_server_that_sends_us_away_is_left_alone_while_another_answers(quick: list[float]) -> None:
    async def life() -> tuple[list[Observation], int]:
        async with (
            serving(lambda nonce: [answer(nonce, stratum=0, kiss=b"DENY")]) as (denying, one),
            serving(lambda nonce: [answer(nonce)]) as (good, other),
        ):
            told = await run([("::1", one), ("::1", other)], lambda: len(good.requests) > 4)
            return told, len(denying.requests)

    told, asked = asyncio.run(life())
    assert (len(told) >= 4, 1) == (True, asked)
    assert quick


@pytest.mark.parametrize("kiss", [b"DENY", b"RSTR"])
def test_the_only_server_is_asked_again_a_day_and_a_half_after_it_sent_us_away(quick: list[float], kiss: bytes) -> None:
    asked_s: list[float] = []

    def replies(nonce: bytes) -> list[bytes]:
        asked_s.append(CLOCK.now_s)
        return [answer(nonce, stratum=0, kiss=kiss) if len(asked_s) == 1 else answer(nonce)]

    async def life() -> list[Observation]:
        async with serving(replies) as (_, port):
            return await run([("::1", port)], lambda: len(asked_s) > 2)

    assert asyncio.run(life())
    assert asked_s[1] - asked_s[0] == pytest.approx(limits.POLL_MAX_S)
    assert quick


def test_while_nobody_is_believed_each_server_is_asked_in_turn_and_ever_more_slowly(quick: list[float]) -> None:
    async def life() -> tuple[list[Observation], list[int]]:
        lie_us = START_US + 10**15

        async with (
            serving(lambda nonce: [answer(nonce, received_us=lie_us, sent_us=lie_us)]) as (liar, one),
            serving(lambda nonce: [answer(nonce)]) as (honest, other),
        ):
            told = await run(
                [("::1", one), ("::1", other)],
                lambda: len(honest.requests) > 6,
                lambda observation: observation.wall_us < lie_us and len(honest.requests) > 2,
            )
            return told, [len(liar.requests), len(honest.requests)]

    told, asked = asyncio.run(life())
    assert asked[0] == 3, "once one is believed it is the one that is asked"
    assert asked[1] > 6
    assert len({one.teller for one in told}) == 2
    doubting = quick[1:6]
    assert all(pause_s >= 64 for pause_s in doubting)
    assert doubting[0] <= 80 < doubting[2] < doubting[4] <= 1_280
    assert min(quick[6:]) >= 768


def test_a_floor_that_is_the_wrong_one_does_not_move_a_right_answer_out_of_the_century() -> None:
    verdict = judge(answer(), NONCE, 0.1, START_US + 69 * 31_556_952 * 1_000_000)
    assert isinstance(verdict, Answer)
    assert abs(verdict.observation.wall_us - START_US) < 1_000_000


def test_a_server_that_wants_fewer_questions_gets_fewer(quick: list[float]) -> None:
    async def life() -> None:
        async with serving(lambda nonce: [answer(nonce, stratum=0, kiss=b"RATE")]) as (server, port):
            await run([("::1", port)], lambda: len(server.requests) > 8)

    asyncio.run(life())
    assert 1_500 < quick[1] < quick[4] <= limits.POLL_MAX_S * 1.25
