"""A town over real CoAP: an aiocoap server on [::1] that says later, says nothing, refuses, or is gone."""

import asyncio
from typing import TYPE_CHECKING

import aiocoap
import pytest

from lichtmast.firmware_sim import DeviceSpec, Town, Transport, hang_devices, limits
from lichtmast.firmware_sim.town import wall_clock_us

if TYPE_CHECKING:
    from tests.firmware_sim.conftest import CoapIngest, Store

Assets = list[tuple[str, float, float]]
pytestmark = pytest.mark.slow


def coap_specs(assets: Assets, count: int) -> list[DeviceSpec]:
    specs = hang_devices(assets, tenant="gm0402", count=2 * count + 20, seed=5)
    return [one for one in specs if one.transport is Transport.COAP][:count]


def town_of(specs: list[DeviceSpec], port: int, *, interval_s: float, hostile: int = 0) -> Town:
    return Town(specs, seed=1, interval_s=interval_s, mqtt=None, coap=("::1", port), hostile=hostile)


def test_every_pack_is_answered_in_both_formats(
    make_store: "type[Store]", make_coap_ingest: "type[CoapIngest]", assets: Assets, free_udp_port: int
) -> None:
    async def scenario() -> None:
        store = make_store()
        ingest = make_coap_ingest(store, wall_clock_us)
        async with (
            ingest.listening(free_udp_port) as port,
            town_of(coap_specs(assets, 10), port, interval_s=0.2) as town,
        ):
            await town.run(1.0)
            assert await town.wait_drained(10)
        assert ingest.formats == {110, 112}
        assert town.ledger().total.sent == town.ledger().total.acknowledged == 50
        assert sum(len(packs) for packs in store.stored.values()) == 50
        assert town.ledger().total.attempts == 50, "an undisturbed pack is sent once"
        assert town.ledger().surprises() == ()

    asyncio.run(scenario())


def test_hostile_packs_are_answered_with_a_refusal(
    make_store: "type[Store]", make_coap_ingest: "type[CoapIngest]", assets: Assets, free_udp_port: int
) -> None:
    async def scenario() -> None:
        ingest = make_coap_ingest(make_store(), wall_clock_us)
        async with (
            ingest.listening(free_udp_port) as port,
            town_of(coap_specs(assets, 4), port, interval_s=0.2, hostile=6) as town,
        ):
            await town.run(0.6)
            assert await town.wait_drained(10)
        ledger = town.ledger()
        assert ledger.total.refused == ledger.total.flawed == 6
        assert ledger.total.unnumbered == 0
        assert {reason for one in ledger.devices.values() for reason in one.refusal_reasons} == {"4.00"}
        assert ledger.surprises() == ()

    asyncio.run(scenario())


def test_later_means_again(
    make_store: "type[Store]", make_coap_ingest: "type[CoapIngest]", assets: Assets, free_udp_port: int
) -> None:
    async def scenario() -> None:
        store = make_store()
        ingest = make_coap_ingest(store, wall_clock_us)
        ingest.script = [aiocoap.SERVICE_UNAVAILABLE, aiocoap.TOO_MANY_REQUESTS, aiocoap.INTERNAL_SERVER_ERROR] * 2
        async with (
            ingest.listening(free_udp_port) as port,
            town_of(coap_specs(assets, 3), port, interval_s=0.2) as town,
        ):
            await town.run(0.6)
            assert await town.wait_drained(20)
            assert town.statistics().interruptions == 6
        assert town.ledger().total.acknowledged == 9
        assert town.ledger().total.attempts == 15
        assert sum(len(packs) for packs in store.stored.values()) == 9

    asyncio.run(scenario())


def test_an_answer_that_never_comes_is_asked_for_again(
    make_store: "type[Store]",
    make_coap_ingest: "type[CoapIngest]",
    assets: Assets,
    free_udp_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "COAP_ANSWER_TIMEOUT_S", 0.5)

    async def scenario() -> None:
        store = make_store()
        ingest = make_coap_ingest(store, wall_clock_us)
        ingest.script = [None, None]
        async with (
            ingest.listening(free_udp_port) as port,
            town_of(coap_specs(assets, 3), port, interval_s=0.3) as town,
        ):
            await town.run(0.6)
            assert await town.wait_drained(20)
            assert town.statistics().interruptions == 2
        assert town.ledger().total.acknowledged == 6
        assert sum(len(packs) for packs in store.stored.values()) == 6

    asyncio.run(scenario())


def test_a_slow_or_dead_neighbour_does_not_hold_up_the_town(
    make_store: "type[Store]", make_coap_ingest: "type[CoapIngest]", assets: Assets, free_udp_port: int
) -> None:
    """With one shared client context NSTART = 1 would queue everybody behind the request that gets no answer."""

    async def scenario() -> None:
        store = make_store()
        ingest = make_coap_ingest(store, wall_clock_us)
        ingest.script = [None]
        async with (
            ingest.listening(free_udp_port) as port,
            town_of(coap_specs(assets, 5), port, interval_s=0.2) as town,
        ):
            await town.run(0.6)
            await store.wait_deliveries(12)
            assert not await town.wait_drained(0.2)
            finished = [one for one in town.ledger().devices.values() if one.outstanding == 0]
            assert len(finished) == 4

    asyncio.run(scenario())


def test_a_server_that_is_gone_for_a_while_loses_nothing(
    make_store: "type[Store]", make_coap_ingest: "type[CoapIngest]", assets: Assets, free_udp_port: int
) -> None:
    async def scenario() -> None:
        store = make_store()
        ingest = make_coap_ingest(store, wall_clock_us)
        async with town_of(coap_specs(assets, 5), free_udp_port, interval_s=0.1) as town:
            await town.run(0.5)
            assert not await town.wait_drained(0.1)
            assert town.ledger().total.acknowledged == 0
            async with ingest.listening(free_udp_port):
                await town.run(0.5)
                assert await town.wait_drained(20)
            assert town.statistics().interruptions >= 5, "the fault did not bite"
        assert town.ledger().total.acknowledged == 50
        assert sum(len(packs) for packs in store.stored.values()) == 50

    asyncio.run(scenario())
