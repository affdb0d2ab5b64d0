"""Names become addresses anew at each attempt, IPv6 alone, and a resolver that hangs hurts nobody. And: no herd."""

import asyncio
import socket
import threading
import time
from collections import Counter
from typing import Any

import pytest

from lichtmast.edge.pace import backoff_s, spread_over_s
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.errors import UplinkError
from lichtmast.edge.uplink.resolve import Resolver

Answers = list[tuple[Any, ...]]


def answer(*addresses: str) -> Answers:
    return [(socket.AF_INET6, socket.SOCK_DGRAM, 17, "", (one, 0, 0, 0)) for one in addresses]


def asked(host: str, times: int = 1) -> list[str]:
    async def ask() -> list[str]:
        resolver = Resolver(host)
        return [await resolver.next_address() for _ in range(times)]

    return asyncio.run(ask())


@pytest.mark.parametrize(("host", "literal"), [("::1", "::1"), ("2001:db8::7", "2001:db8::7"), ("fe80::1%lo", "%1")])
def test_a_literal_is_used_as_it_is_with_its_zone_by_number(host: str, literal: str) -> None:
    assert asked(host)[0].endswith(literal)


def test_a_name_is_asked_for_again_at_each_attempt_and_only_for_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def lookup(host: str, *_: object, **how: object) -> Answers:
        seen.append((host, how["family"]))
        return answer("2001:db8::1") if len(seen) == 1 else answer("2001:db8:2::1")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert asked("broker.example", 2) == ["2001:db8::1", "2001:db8:2::1"]
    assert seen == [("broker.example", socket.AF_INET6)] * 2


def test_each_attempt_goes_to_the_next_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer("2001:db8::1", "2001:db8::2"))
    assert asked("broker.example", 3) == ["2001:db8::1", "2001:db8::2", "2001:db8::1"]


def test_while_the_resolver_knows_nothing_the_addresses_it_told_last_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def lookup(host: str, *_: object, **__: object) -> Answers:
        seen.append(host)
        if len(seen) > 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return answer("2001:db8::1", "2001:db8::2")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert asked("broker.example", 3) == ["2001:db8::1", "2001:db8::2", "2001:db8::1"]
    assert len(seen) == 3


def test_a_resolver_that_knows_nothing_any_more_leaves_what_it_told_last(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [answer("2001:db8::1")]

    def lookup(*_: object, **__: object) -> Answers:
        if not answers:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return answers.pop()

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert asked("broker.example", 3) == ["2001:db8::1"] * 3


@pytest.mark.parametrize("host", ["fe80::1%no-such-port", "2001:db8::zz", "a" * 300])
def test_what_is_no_address_is_told_in_words(host: str) -> None:
    with pytest.raises(UplinkError, match="has no IPv6 address"):
        asked(host)


def test_a_resolver_that_hangs_blocks_neither_the_loop_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESOLVE_S", 0.05)
    answers = threading.Event()

    def hang(*_: object, **__: object) -> Answers:
        answers.wait()
        return answer("2001:db8::1")

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def story() -> None:
        resolver = Resolver("broker.example")
        with pytest.raises(UplinkError, match="has not answered"):
            await resolver.next_address()
        before = threading.active_count()
        with pytest.raises(UplinkError, match="still owes an answer"):
            await resolver.next_address()
        assert threading.active_count() == before, "one thread hangs, and no second one"
        answers.set()
        async with asyncio.timeout(5):
            while True:
                try:
                    assert await resolver.next_address() == "2001:db8::1"
                except UplinkError:
                    await asyncio.sleep(0.01)
                else:
                    return

    began_s = time.monotonic()
    asyncio.run(story())
    assert time.monotonic() - began_s < 20, "the end does not wait for the thread that hangs"


def test_a_town_that_lost_its_broker_does_not_come_back_in_step() -> None:
    """500 agents, all cut off in the same instant; the broker is back after five minutes."""
    attempts: Counter[int] = Counter()
    for seed in range(500):
        at_s = 0.0
        for attempt in range(40):
            at_s += backoff_s(attempt, seed * 7919, limits.RETRY_S, limits.RETRY_MAX_S)
            attempts[int(at_s)] += 1
    busiest = max(attempts[second] for second in range(60, 360))
    assert busiest <= 40, "in no second of the outage come more than eight in a hundred"
    by_minute = [sum(attempts[second] for second in range(start, start + 60)) for start in range(60, 360, 60)]
    assert max(by_minute) <= 500 * 2, "an agent tries at most twice a minute"


def test_a_herd_that_lost_its_connections_in_one_instant_comes_back_one_by_one() -> None:
    pauses_s = [spread_over_s(1, seed * 7919, limits.LOST_S, 30.0) for seed in range(5_000)]
    assert min(pauses_s) >= limits.LOST_S
    assert max(pauses_s) <= 30.0
    assert max(Counter(int(pause_s) for pause_s in pauses_s).values()) <= 1.3 * 5_000 / 29
    again_s = [spread_over_s(2, seed * 7919, limits.LOST_S, 30.0) for seed in range(5_000)]
    assert again_s != pauses_s, "nobody is always the last"
