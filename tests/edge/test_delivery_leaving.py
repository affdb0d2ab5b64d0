"""A link that breaks in the very moment in which it is left: the cancellation is not lost (Python 3.11's TaskGroup)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from uplink_town import draft, eventually, open_outbox, stamp_now

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.outbox import OutboxThread
from lichtmast.edge.outbox.values import Packed
from lichtmast.edge.uplink import Delivery, Failover, Link, Report, UplinkError, limits
from lichtmast.edge.uplink.link import Conversation, Heard, Outcome


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "START_SPREAD_S", 0.0)
    monkeypatch.setattr(limits, "LOST_S", 0.01)
    monkeypatch.setattr(limits, "RETRY_S", 0.01)


class Breaking:
    """A link whose connection ends when told, or (as aiomqtt's does) just when its reader is cancelled."""

    window, at_once = 32, 8

    def __init__(self, name: str, *, on_cancel: bool = False) -> None:
        self.name = name
        self.opens = 0
        self.broke = asyncio.Event()
        self._on_cancel = on_cancel

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Breaking"]:
        self.opens += 1
        yield self

    @property
    def conversation(self) -> Conversation:
        return self

    async def deliver(self, packed: Packed) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError(packed)

    async def report(self, kind: Report, payload: bytes) -> None:
        raise AssertionError((kind, payload))

    async def wait_heard(self) -> Heard:
        try:
            await self.broke.wait()
        except asyncio.CancelledError:
            if not self._on_cancel:
                raise
        raise UplinkError("the connection ended")


def delivery_of(outbox: OutboxThread, *links: Link, patience_s: float) -> Delivery:
    return Delivery(
        outbox,
        links,
        Failover([one.name for one in links], patience_s=patience_s, return_s=60.0, seed=1),
        clock=SystemClock(),
        seed=1,
        spread_s=limits.LOST_S,
        on_cfg=print,
        on_cmd=print,
        on_ack_refused=print,
    )


@pytest.mark.parametrize("turns", range(9))
def test_the_end_comes_through_in_whichever_turn_the_link_breaks(tmp_path: Path, turns: int) -> None:
    async def story() -> bool:
        async with open_outbox(tmp_path) as outbox:
            link = Breaking("mqtt")
            delivery = delivery_of(outbox, link, patience_s=60.0)
            task = asyncio.create_task(delivery.run(), name="delivery")
            delivery.added_nowait(await outbox.put([draft()], stamp_now()))
            await eventually(lambda: delivery.statistics().courier.in_flight == 1, what="a pack on its way")
            link.broke.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            _, late = await asyncio.wait([task], timeout=1.0)
            return not late

    assert asyncio.run(story())


def test_a_link_that_breaks_because_it_is_left_is_left(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_outbox(tmp_path) as outbox:
            one, other = Breaking("mqtt", on_cancel=True), Breaking("coap")
            delivery = delivery_of(outbox, one, other, patience_s=0.05)
            task = asyncio.create_task(delivery.run(), name="delivery")
            delivery.added_nowait(await outbox.put([draft()], stamp_now()))
            await eventually(lambda: other.opens, within_s=3, what="the other link is used")
            task.cancel()
            _, late = await asyncio.wait([task], timeout=1.0)
            assert not late

    asyncio.run(story())
