"""An SNTP client over UDP on IPv6: asks one server after the other, patiently, and hands on what it is told.

An answer that is not believed (`Timekeeper`) makes it ask another server, and this one again, until one is.

Will not: speak IPv4, ask more often than once in 64 seconds, or ask a server that sent it away for the next 36 hours.
"""

import asyncio
import logging
import random
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Never

from lichtmast.edge.clock import Clock
from lichtmast.edge.timekeeping import limits
from lichtmast.edge.timekeeping.sntp_packets import NONCE_BYTES, Answer, Refused, Verdict, judge, request
from lichtmast.edge.timekeeping.values import Observation

_log: Final = logging.getLogger(__name__)


class _Exchange(asyncio.DatagramProtocol):
    """One request on a socket of its own (a port by chance), and the first datagram that answers it."""

    def __init__(self, nonce: bytes, clock: Clock, floor_us: int) -> None:
        self._nonce = nonce
        self._clock = clock
        self._floor_us = floor_us
        self._sent_at_s = clock.monotonic_s()
        self.verdict: asyncio.Future[tuple[Verdict, float]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[object, ...]) -> None:  # noqa: ARG002 - the socket is connected
        """Judge it. A forged one is not an answer: the real one may still come."""
        arrived_s = self._clock.monotonic_s()
        verdict = judge(data, self._nonce, arrived_s - self._sent_at_s, self._floor_us)
        if verdict is not Refused.FORGED and not self.verdict.done():
            self.verdict.set_result((verdict, arrived_s))

    def error_received(self, exc: Exception) -> None:
        """Port unreachable and the like."""
        if not self.verdict.done():
            self.verdict.set_exception(exc)


async def ask(host: str, port: int, *, clock: Clock, floor_us: int) -> tuple[Verdict, float]:
    """Ask once. Returns the verdict and when (monotonic) it came. Raises OSError, of which TimeoutError is one."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(limits.ANSWER_S):
        nonce = secrets.token_bytes(NONCE_BYTES)
        transport, exchange = await loop.create_datagram_endpoint(
            lambda: _Exchange(nonce, clock, floor_us), remote_addr=(host, port), family=socket.AF_INET6
        )
        try:
            transport.sendto(request(nonce))
            return await exchange.verdict
        finally:
            transport.close()


async def run_sntp(
    servers: Sequence[tuple[str, int]],
    *,
    clock: Clock,
    floor_us: int,
    seed: int,
    on_observation: Callable[[Observation, float], bool],
) -> Never:
    """Ask for ever. `on_observation` gets what was told, and when; it returns whether time is trusted now."""
    chance = random.Random(seed)  # noqa: S311 - spreads requests, keeps no secret
    wanted = list(servers)
    away_until_s = dict.fromkeys(wanted, 0.0)
    slowest_s, failures, doubts = limits.POLL_S, 0, 0
    await asyncio.sleep(chance.random() * limits.START_S)
    while True:
        now_s = clock.monotonic_s()
        server = next((one for one in wanted if away_until_s[one] <= now_s), None)
        if server is None:
            await asyncio.sleep(min(away_until_s.values()) - now_s)
            continue
        host, port = server
        try:
            verdict, arrived_s = await ask(host, port, clock=clock, floor_us=floor_us)
        except OSError as error:
            verdict = None
            _log.warning("sntp_failed server=%s reason=%s", host, type(error).__name__)
        pause_s = slowest_s
        match verdict:
            case Answer(observation):
                failures = 0
                if on_observation(replace(observation, teller=f"{host} {port}"), arrived_s):
                    doubts = 0
                else:
                    _to_the_end(wanted, server)
                    pause_s = min(slowest_s, limits.POLL_MIN_S * 2.0 ** min(doubts, 30))
                    doubts += 1
            case Refused.GO_AWAY:
                away_until_s[server] = clock.monotonic_s() + limits.POLL_MAX_S
                pause_s = limits.POLL_MIN_S
                _log.error("sntp_sent_away server=%s", host)
            case Refused.SLOW_DOWN:
                slowest_s = pause_s = min(limits.POLL_MAX_S, slowest_s * 2)
            case _:
                _to_the_end(wanted, server)
                pause_s = min(slowest_s, limits.POLL_MIN_S * 2.0 ** min(failures, 30))
                failures += 1
        await asyncio.sleep(max(limits.POLL_MIN_S, pause_s * (1 + limits.JITTER * (1 - 2 * chance.random()))))


def _to_the_end(wanted: list[tuple[str, int]], server: tuple[str, int]) -> None:
    wanted.remove(server)
    wanted.append(server)
