"""An agent's uplink against a real Lichtmast: MQTT with a broker that is killed, then the CoAP door, and the books."""

import asyncio
from pathlib import Path

import pytest
from running_lichtmast import Running
from uplink_town import DEVICE, draft, eventually, open_outbox, stamp_now

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.outbox import Draft, OutboxThread
from lichtmast.edge.sampling.measured import Measured
from lichtmast.edge.uplink import Delivery, Failover, Link, limits
from lichtmast.edge.uplink.coap import CoapLink
from lichtmast.edge.uplink.mqtt import MqttLink
from lichtmast.suite.folder import Folder

pytestmark = pytest.mark.slow


def delivery_of(outbox: OutboxThread, *links: Link) -> Delivery:
    failover = Failover([link.name for link in links], patience_s=3.0, return_s=600.0, seed=1)
    ignore: list[object] = []
    return Delivery(
        outbox,
        links,
        failover,
        clock=SystemClock(),
        seed=1,
        spread_s=limits.LOST_S,
        on_cfg=ignore.append,
        on_cmd=ignore.append,
        on_ack_refused=ignore.append,
    )


def test_over_both_links_everything_is_stored_once_or_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_S", 0.2)
    monkeypatch.setattr(limits, "RETRY_MAX_S", 1.0)
    monkeypatch.setattr(limits, "START_SPREAD_S", 0.0)
    monkeypatch.setattr(limits, "LOST_S", 0.2)
    running = Running(Folder(tmp_path / "data"), tmp_path / "output")

    async def deliver(outbox: OutboxThread, drafts: list[Draft], *links: Link, kill: bool = False) -> Delivery:
        delivery = delivery_of(outbox, *links)
        task = asyncio.create_task(delivery.run(), name="delivery")
        if kill:
            await eventually(lambda: delivery.statistics().connected, what="connected")
            await asyncio.to_thread(running.kill_broker)
        delivery.added_nowait(await outbox.put(drafts, stamp_now()))
        told = outbox.statistics().next_seq - 1

        def done() -> bool:
            courier = delivery.statistics().courier
            return courier.accepted + courier.refused >= told and not courier.unsent + courier.in_flight

        await eventually(done, within_s=40, what="delivered")
        task.cancel()
        await asyncio.wait([task])
        return delivery

    async def story() -> None:
        mqtt, coap = MqttLink(DEVICE, "::1", running.mqtt_port), CoapLink("::1", running.coap_port)
        (tmp_path / "by-mqtt").mkdir()
        (tmp_path / "by-coap").mkdir()
        wrong = Draft([Measured("/air/0/pm10", 1.0, "W", SystemClock().monotonic_s())])
        async with open_outbox(tmp_path / "by-mqtt") as outbox:
            over_mqtt = await deliver(outbox, [draft() for _ in range(60)] + [wrong], mqtt, kill=True)
        async with open_outbox(tmp_path / "by-coap") as outbox:
            over_coap = await deliver(outbox, [draft() for _ in range(20)] + [wrong], coap)
        assert over_mqtt.statistics().interruptions >= 1, "the fault did not bite"
        assert (over_mqtt.statistics().courier.accepted, over_mqtt.statistics().courier.refused) == (60, 1)
        assert (over_coap.statistics().courier.accepted, over_coap.statistics().courier.refused) == (20, 1)
        assert list(over_mqtt.statistics().courier.refusal_reasons) == ["wrong_unit"]
        assert "/air/0/pm10" in next(iter(over_coap.statistics().courier.refusal_reasons))

    running.start()
    try:
        running.register(DEVICE.device)
        asyncio.run(story())

        async def books() -> None:
            await eventually(lambda: running.audit()["stored"] == 80, what="all in the store")

        asyncio.run(books())
        audit = running.audit()
        assert (audit["stored"], audit["quarantined"], audit["missing"]) == (80, 2, 0), audit
        assert audit["balanced"]
    finally:
        running.stop()
