"""Who is admitted now: follows the register and tells the doors, so that a device that is revoked is out in seconds.

A certificate that was just issued is admitted before its device hears of it: the answer to an enrolment waits for that.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lichtmast.registry import Registry
from lichtmast.registry.identity import Admission

_log = logging.getLogger(__name__)

CHECK_S: Final = 0.5
"""How often the register is asked whether it changed: one indexed read of one row."""
ADMITTED_S: Final = 2.0
"""How long an answer with a new certificate waits at most; the node's own patience bears the rest."""


class Gatekeeper:
    """Holds the newest Admission. `admission` is what a door asks at a handshake, `run` keeps it new."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._listeners: list[Callable[[Admission], object]] = []
        self._admission = registry.identity.admission()
        self._asked = asyncio.Event()
        self._looked = asyncio.Condition()

    def admission(self) -> Admission:
        """The newest."""
        return self._admission

    def on_change(self, listener: Callable[[Admission], object]) -> None:
        """Have a door hear of each new Admission; it drops whom that refuses."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow the register until cancelled. While it cannot be read, what was known last holds."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._asked.wait()
            self._asked.clear()
            try:
                fresh = await asyncio.to_thread(self._newer)
            except Exception as error:  # noqa: BLE001 - a register that is busy for long must not open or shut any door
                _log.error("admission_not_renewed reason=%s", error)
                continue
            if fresh is not None:
                self._admission = fresh
                for listener in self._listeners:
                    listener(fresh)
            async with self._looked:
                self._looked.notify_all()

    async def wait_current(self, timeout_s: float) -> bool:
        """Wait until the doors know the register as it is at this call; False when time ran out first."""
        try:
            async with asyncio.timeout(timeout_s):
                wanted = await asyncio.to_thread(self._registry.revision)
                async with self._looked:
                    while self._admission.revision < wanted:
                        self._asked.set()
                        await self._looked.wait()
        except TimeoutError:
            return False
        return True

    def _newer(self) -> Admission | None:
        if self._registry.revision() == self._admission.revision:
            return None
        return self._registry.identity.admission()


class AnswerWhenAdmitted:
    """An ASGI layer that holds the answer with a new certificate until the doors admit it.

    Else a node that connects at once is refused, as a stranger with a certificate that nobody issued.
    """

    def __init__(self, app: ASGIApp, gatekeeper: Gatekeeper) -> None:
        self._app = app
        self._gatekeeper = gatekeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; a certificate a moment later."""

        async def held(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.OK:
                await self._gatekeeper.wait_current(ADMITTED_S)
            await send(message)

        issues = scope["type"] == "http" and scope["method"] == "POST"
        await self._app(scope, receive, held if issues else send)
