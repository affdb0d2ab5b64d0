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
from lichtmast.edge.outbox import OutboxThread
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


def way_up(outbox: OutboxThread, link: ClosedLink, spread_s: float = 30.0) -> Delivery:
    return Delivery(
        outbox,
        [link],
        Failover(["mqtt"], patience_s=60, return_s=60, seed=1),
        clock=SystemClock(),
        seed=1,
        spread_s=spread_s,
        on_cfg=lambda _: None,
        on_cmd=lambda _: None,
        on_ack_refused=pytest.fail,
    )


def test_a_refused_new_certificate_is_shown_again_soon_however_long_the_pauses_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "START_SPREAD_S", 0.0)
    monkeypatch.setattr(delivery, "backoff_s", lambda attempt, *_: 0.0 if attempt < TRIES - 1 else 3600.0)

    async def story() -> None:
        async with open_outbox(tmp_path) as outbox:
            link = ClosedLink()
            agent = way_up(outbox, link)
            running = asyncio.create_task(agent.run(), name="delivery")
            await eventually(lambda: link.opened == TRIES, what="it pauses for an hour")
            agent.reconnect_nowait()
            await eventually(lambda: link.opened == 2 * TRIES, what="it tries again as at first")
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(story())


@pytest.mark.parametrize(("proven_s", "pauses"), [(0.0, "spread"), (3600.0, "back-off")])
def test_after_a_connection_that_worked_the_pause_is_one_of_the_spread_and_else_the_back_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proven_s: float, pauses: str
) -> None:
    monkeypatch.setattr(limits, "START_SPREAD_S", 0.0)
    monkeypatch.setattr(limits, "PROVEN_S", proven_s)
    asked: list[str] = []

    def paused(what: str) -> float:
        asked.append(what)
        return 0.0

    def spread(_index: int, _seed: int, *between_s: float) -> float:
        assert between_s == (limits.LOST_S, 77.0)
        return paused("spread")

    monkeypatch.setattr(delivery, "spread_over_s", spread)
    monkeypatch.setattr(delivery, "backoff_s", lambda *_: paused("back-off"))

    async def story() -> None:
        async with open_outbox(tmp_path) as outbox:
            running = asyncio.create_task(way_up(outbox, ClosedLink(), spread_s=77.0).run(), name="delivery")
            await eventually(lambda: len(asked) >= TRIES, what="it tried again and again")
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(story())
    assert set(asked) == {pauses}
