"""One epoll for thousands of sockets, whatever they speak."""

import select
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 0.005
"""How often a load that keeps so many at one time looks whether there is room for more."""


class Watch:
    """Calls whoever a socket belongs to when something is there to read or room to write."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._owners: dict[int, Callable[[], None]] = {}

    def add(self, descriptor: int, owner: Callable[[], None], *, writing: bool = False) -> None:
        self._owners[descriptor] = owner
        self._poll.register(descriptor, select.EPOLLOUT if writing else select.EPOLLIN)

    def want(self, descriptor: int, *, writing: bool) -> None:
        self._poll.modify(descriptor, select.EPOLLOUT if writing else select.EPOLLIN)

    def drop(self, descriptor: int) -> None:
        if self._owners.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def step(self, timeout_s: float) -> None:
        """Serve what is ready, or wait for it so long."""
        for descriptor, _ in self._poll.poll(timeout_s, 512):
            owner = self._owners.get(descriptor)
            if owner is not None:
                owner()
