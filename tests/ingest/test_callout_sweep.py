"""Who was let in and taken back in the same moment: the server lists nobody before it has our answer."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from identity_town import IdentityTown

from lichtmast.ingest.callout import Callout, callout, limits
from lichtmast.ingest.callout.sessions import Session


class Server:
    """As much of a server as the sweep sees: a list of connections, and an order to end some."""

    server_id = "N1"

    def __init__(self) -> None:
        self.standing: set[int] = set()
        self.ordered: list[int] = []
        self.looks = 0
        self.looked = asyncio.Event()

    @asynccontextmanager
    async def line(self, *_: object) -> AsyncIterator["Server"]:
        """In place of `open_line`."""
        yield self

    def subscribe(self, _: str) -> None:
        """Questions, which nobody asks here."""

    async def messages(self) -> AsyncIterator[Any]:
        """None, for ever."""
        await asyncio.Event().wait()
        yield []

    async def request(self, *_: object) -> bytes:
        """The list."""
        self.looks += 1
        connections = [{"cid": number, "authorized_user": ""} for number in self.standing]
        self.looked.set()
        return json.dumps({"data": {"total": len(connections), "connections": connections}}).encode()

    def order(self, _: str, payloads: Iterable[bytes]) -> None:
        """Ends who stands; for who does not yet stand it comes too early."""
        numbers = [json.loads(payload)["cid"] for payload in payloads]
        self.ordered += numbers
        self.standing -= set(numbers)


def test_who_was_dropped_before_the_server_listed_him_is_dropped_as_soon_as_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KICK_WAIT_S", 0.01)
    monkeypatch.setattr(limits, "UNLISTED_S", 0.05)
    town = IdentityTown(tmp_path / "town")
    gone = town.device("lm-1")
    log = tmp_path / "server.log"
    log.touch()
    broker: Any = SimpleNamespace(
        callout_password="", system_password="", client_port=0, user="own", log_file=log,
        settings=SimpleNamespace(connections_max=10),
    )  # fmt: skip

    async def story() -> None:
        server = Server()
        monkeypatch.setattr(callout, "open_line", server.line)
        admission = town.admission()
        watched = Callout(broker, lambda: admission, on_refused=lambda _: None)
        running = asyncio.create_task(watched.run(), name="callout")
        async with asyncio.timeout(10):
            await server.looked.wait()
            watched._known.admit(Session(7, gone.device, gone.serial, gone.not_after_us), time.monotonic())
            admission = town.admission(revoked=[gone])
            watched.renew(admission)
            while watched.statistics().swept_revision != admission.revision:
                server.looked.clear()
                await server.looked.wait()
                await asyncio.sleep(0)
            assert server.ordered == [7]
            server.standing.add(7)
            while server.standing:
                server.looked.clear()
                await server.looked.wait()
                await asyncio.sleep(0)
        assert server.ordered == [7, 7]
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(story())
    finally:
        logging.disable(logging.NOTSET)
