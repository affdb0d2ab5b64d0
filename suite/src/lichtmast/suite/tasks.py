"""Tasks that must all go on for as long as a block lasts."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from lichtmast.suite.errors import SuiteError


class Tasks:
    """Tasks that must all go on: when one ends by itself, the block that they belong to ends with the reason."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        for task in reversed(self._tasks):
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Begin a task of this block."""
        self._tasks.append(self._group.create_task(self._hold(work, name), name=name))

    async def _hold(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """A task group takes a child that ends, or is cancelled from within, for one that is done. We do not."""
        this = asyncio.current_task()
        try:
            await work
        except asyncio.CancelledError:
            if self._ending or (this is not None and this.cancelling()):
                raise
        if not self._ending:
            raise SuiteError(f"the task {name!r} ended while Lichtmast was running; see the log lines above")
