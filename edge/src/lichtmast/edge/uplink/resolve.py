"""From a host name to IPv6 addresses, anew at each attempt: addresses change while an agent runs for years.

While the resolver is silent or knows nothing, those that it told last are tried. Only AAAA is asked for. A resolver
that hangs costs one sleeping thread, never the event loop and never a second thread.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Final

from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.errors import UplinkError

_NO_IPV6: Final = "has no IPv6 address (AAAA)"


class Resolver:
    """The addresses of one host, one after the other: each attempt goes to the next of them."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._is_owed_an_answer = False
        self._attempts = 0
        self._told_last: list[str] = []

    async def next_address(self) -> str:
        """An IPv6 literal, with its zone where it has one, without brackets. Raises UplinkError."""
        try:
            addresses = _ask(self._host, numeric=True) if ":" in self._host else await self._ask_in_thread()
        except UplinkError:
            if not self._told_last:
                raise
            addresses = self._told_last
        self._told_last = addresses
        self._attempts += 1
        return addresses[(self._attempts - 1) % len(addresses)]

    async def _ask_in_thread(self) -> list[str]:
        if self._is_owed_an_answer:
            raise UplinkError(
                f"the resolver still owes an answer for {self._host}; see that the machine reaches its DNS"
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def deliver(addresses: list[str], error: UplinkError | None) -> None:
            if answer.done():
                return  # nobody waits any more
            if error is None:
                answer.set_result(addresses)
            else:
                answer.set_exception(error)

        def ask() -> None:
            addresses: list[str] = []
            told: UplinkError | None = None
            try:
                addresses = _ask(self._host, numeric=False)
            except UplinkError as error:
                told = error
            self._is_owed_an_answer = False
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(deliver, addresses, told)

        # A daemon: a resolver that hangs must not keep the agent from ending, as the loop's own executor would.
        self._is_owed_an_answer = True
        threading.Thread(target=ask, name=f"resolve {self._host}", daemon=True).start()
        try:
            async with asyncio.timeout(limits.RESOLVE_S):
                return await answer
        except TimeoutError:
            raise UplinkError(f"the resolver has not answered for {self._host} in {limits.RESOLVE_S:.0f} s") from None


def _ask(host: str, *, numeric: bool) -> list[str]:
    flags = socket.AI_NUMERICHOST if numeric else 0
    try:
        found = socket.getaddrinfo(host, None, family=socket.AF_INET6, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no host name"
        raise UplinkError(f"{host} {_NO_IPV6}: {reason}") from error
    literals = dict.fromkeys(_literal(sockaddr) for *_, sockaddr in found)
    return list(literals)[: limits.ADDRESSES_MAX]


def _literal(sockaddr: tuple[object, ...]) -> str:
    """The address with its zone by number, which works where the name of the interface may change."""
    address, scope = str(sockaddr[0]), sockaddr[-1]
    return f"{address}%{scope}" if scope and "%" not in address else address
