"""A town over real MQTT: a NATS server on [::1], an ingest that acknowledges, and SIGKILL."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lichtmast.firmware_sim import DeviceSpec, Ledger, Town, Transport, hang_devices, limits
from lichtmast.firmware_sim.town import wall_clock_us

if TYPE_CHECKING:
    from tests.firmware_sim.conftest import Broker, MakeBroker, MqttIngest, Store

Assets = list[tuple[str, float, float]]
pytestmark = pytest.mark.slow


def mqtt_specs(assets: Assets, count: int) -> list[DeviceSpec]:
    specs = hang_devices(assets, tenant="gm0402", count=2 * count + 20, seed=5)
    return [one for one in specs if one.transport is Transport.MQTT][:count]


def assert_accounted_for(ledger: Ledger, store: "Store") -> None:
    """Everything sent is acknowledged or refused, and exactly that is in the store."""
    for device, account in ledger.devices.items():
        sent = {seq for first, last in account.sent for seq in range(first, last + 1)}
        answered = {seq for first, last in (*account.acknowledged, *account.refused) for seq in range(first, last + 1)}
        assert answered == sent
        assert store.numbers(device) == sent
    assert store.conflicts == []
    assert ledger.surprises() == ()


async def with_ingest(
    broker: "Broker", make_mqtt_ingest: "type[MqttIngest]", store: "Store"
) -> "tuple[MqttIngest, asyncio.Task[None]]":
    ingest = make_mqtt_ingest(broker.port, store, wall_clock_us)
    task = asyncio.create_task(ingest.run())
    async with asyncio.timeout(10):
        await ingest.ready.wait()
    return ingest, task


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_every_pack_is_acknowledged(
    make_broker: "MakeBroker", make_store: "type[Store]", make_mqtt_ingest: "type[MqttIngest]", assets: Assets
) -> None:
    async def scenario() -> None:
        store = make_store()
        async with make_broker() as broker:
            _, task = await with_ingest(broker, make_mqtt_ingest, store)
            async with Town(
                mqtt_specs(assets, 10), seed=1, interval_s=0.1, mqtt=("::1", broker.port), coap=None
            ) as town:
                await town.run(1.0)
                assert await town.wait_drained(10)
            await stop(task)
        ledger = town.ledger()
        assert ledger.total.sent == ledger.total.acknowledged == 100
        assert ledger.total.outstanding == 0
        assert_accounted_for(ledger, store)
        assert town.statistics().connects == 10

    asyncio.run(scenario())


def test_hostile_packs_are_refused_or_quarantined_and_named(
    make_broker: "MakeBroker", make_store: "type[Store]", make_mqtt_ingest: "type[MqttIngest]", assets: Assets
) -> None:
    async def scenario() -> None:
        store = make_store()
        async with make_broker() as broker:
            _, task = await with_ingest(broker, make_mqtt_ingest, store)
            async with Town(
                mqtt_specs(assets, 6), seed=1, interval_s=0.2, mqtt=("::1", broker.port), coap=None, hostile=20
            ) as town:
                await town.run(1.0)
                assert await town.wait_drained(10)
            await stop(task)
        ledger = town.ledger()
        assert ledger.total.flawed == 20
        assert ledger.total.unnumbered == 10 == len(store.unnumbered)
        assert ledger.total.refused == 10 == sum(len(one) for one in store.quarantined.values())
        assert ledger.total.sent == ledger.total.acknowledged + 20
        reasons = {reason for one in ledger.devices.values() for reason in one.refusal_reasons}
        assert reasons == {"unknown_name", "wrong_type", "wrong_unit"}
        assert_accounted_for(ledger, store)

    asyncio.run(scenario())


def test_a_killed_broker_loses_nothing(
    make_broker: "MakeBroker",
    make_store: "type[Store]",
    make_mqtt_ingest: "type[MqttIngest]",
    assets: Assets,
    tmp_path: Path,
) -> None:
    history = tmp_path / "history" / "run.jsonl"

    async def scenario() -> None:
        store = make_store()
        async with make_broker() as broker:
            _, task = await with_ingest(broker, make_mqtt_ingest, store)
            async with Town(
                mqtt_specs(assets, 10),
                seed=2,
                interval_s=0.05,
                mqtt=("::1", broker.port),
                coap=None,
                history=history,
            ) as town:
                sampling = asyncio.create_task(town.run(2.5))
                for round_number in range(2):
                    await store.wait_deliveries(store.deliveries + 100)
                    before = town.statistics()
                    await broker.kill()
                    assert before.total.sent > 0
                    await asyncio.sleep(0.3 * round_number)  # the outage itself
                    await broker.start()
                await sampling
                assert await town.wait_drained(40)
                assert town.statistics().interruptions >= 10, "the fault did not bite"
                assert town.statistics().connects >= 20
            await stop(task)
        assert_accounted_for(town.ledger(), store)
        assert town.ledger().total.sent == 500
        assert_history_agrees(history, town.ledger(), store)

    asyncio.run(scenario())


def assert_history_agrees(history: Path, ledger: Ledger, store: "Store") -> None:
    lines = [json.loads(line) for line in history.read_text(encoding="ascii").splitlines()]
    attempts = {(one["device"], one["seq"]): one["digest"] for one in lines if one["op"] == "attempt"}
    acks = [(one["device"], one["seq"]) for one in lines if one["op"] == "ack"]
    assert len(acks) == len(set(acks)) == ledger.total.acknowledged
    assert set(acks) == set(attempts)
    assert {one["op"] for one in lines} == {"attempt", "ack"}
    assert {(str(device), seq) for device, packs in store.stored.items() for seq in packs} == set(attempts)


def test_a_store_that_was_silent_is_not_flooded_when_it_returns(
    make_broker: "MakeBroker",
    make_store: "type[Store]",
    make_mqtt_ingest: "type[MqttIngest]",
    assets: Assets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "ACK_PATIENCE_S", 1.0)

    async def scenario() -> None:
        store = make_store()
        async with make_broker() as broker:
            ingest, task = await with_ingest(broker, make_mqtt_ingest, store)
            ingest.deaf = True
            async with Town(
                mqtt_specs(assets, 2), seed=3, interval_s=0.02, mqtt=("::1", broker.port), coap=None
            ) as town:
                await town.run(1.0)
                assert not await town.wait_drained(0.1)
                assert town.ledger().total.outstanding == 100
                ingest.deaf = False
                assert await town.wait_drained(40)
                attempts = town.statistics().total.attempts
            await stop(task)
        assert_accounted_for(town.ledger(), store)
        assert attempts <= 300, "packs the ingest missed are repeated, but paced by its acknowledgements"

    asyncio.run(scenario())
