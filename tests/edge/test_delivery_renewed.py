"""The way up with a new certificate: what failed before does not slow down what comes now."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from uplink_town import eventually, open_outbox

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.identity import Refusal
from lichtmast.edge.uplink import Delivery, Failover, delivery, limits
from lichtmast.edge.uplink.errors import LinkRefusedError
from lichtmast.edge.uplink.link import Session

TRIES = 4


class ClosedLink:
    """Whoever is at the other end lets nobody in."""

    name, window, at_once = "mqtt", 1, 1

    def __init__(self) -> None:
        self.opened = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Session]:
        """Never."""
        self.opened += 1
        raise LinkRefusedError("not let in", Refusal.NOT_ADMITTED)
        yield


def test_a_refused_new_certificate_is_shown_again_soon_however_long_the_pauses_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "START_SPREAD_S", 0.0)
    monkeypatch.setattr(delivery, "backoff_s", lambda attempt, *_: 0.0 if attempt < TRIES - 1 else 3600.0)

    async def story() -> None:
        async with open_outbox(tmp_path) as outbox:
            link = ClosedLink()
            way_up = Delivery(
                outbox,
                [link],
                Failover(["mqtt"], patience_s=60, return_s=60, seed=1),
                clock=SystemClock(),
                seed=1,
                on_cfg=lambda _: None,
                on_cmd=lambda _: None,
                on_ack_refused=pytest.fail,
            )
            running = asyncio.create_task(way_up.run(), name="delivery")
            await eventually(lambda: link.opened == TRIES, what="it pauses for an hour")
            way_up.reconnect_nowait()
            await eventually(lambda: link.opened == 2 * TRIES, what="it tries again as at first")
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(story())
