"""Blocking reads in threads, with an end to both: so many at work, so many waiting, then 503."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar, TypeVarTuple

import anyio
from anyio.to_thread import run_sync

from lichtmast.api.problem import Problem

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class Workers:
    """A bounded number of threads for registry and store."""

    def __init__(self, *, threads: int, waiting_max: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)
        self._admitted_max = threads + waiting_max
        self._admitted = 0

    async def run(self, read: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Call `read` in a thread. Raises a 503 Problem where too many wait already."""
        if self._admitted >= self._admitted_max:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Too many requests are waiting; try again.",
                headers={"Retry-After": "2"},
            )
        self._admitted += 1
        try:
            return await run_sync(read, *arguments, limiter=self._limiter)
        finally:
            self._admitted -= 1
