"""Hanging devices on lampposts, building a town, and leaving nothing behind."""

import asyncio
import json
import os
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lichtmast.firmware_sim
from lichtmast.firmware_sim import DeviceSpec, SpecError, Town, TownError, Transport, hang_devices, limits
from lichtmast.firmware_sim.history import Entry, History, digest
from lichtmast.wire.identity import DeviceId
from lichtmast.wire.profile import load_profiles

ASSETS = [(f"mast-{number}", 5.17 + number / 1_000, 52.22) for number in range(62)]


def test_exported_names_are_a_promise() -> None:
    assert lichtmast.firmware_sim.__all__ == [
        "CurveError",
        "Curves",
        "DeviceLedger",
        "DeviceSpec",
        "Ledger",
        "Outbox",
        "SpecError",
        "Statistics",
        "Tally",
        "Town",
        "TownError",
        "Transport",
        "VirtualDevice",
        "hang_devices",
    ]


def test_every_lamppost_gets_a_lamp_before_any_gets_a_sensor() -> None:
    specs = hang_devices(ASSETS, tenant="gm0402", count=200, seed=1)
    lamps = [one for one in specs if one.profile == "lamp-controller"]
    assert [one.asset for one in lamps] == [asset for asset, _, _ in ASSETS]
    assert len(specs) == 200
    assert {one.profile for one in specs} == set(load_profiles())
    kinds = Counter((one.asset, one.profile) for one in specs)
    assert max(kinds.values()) == 1
    by_asset = Counter(one.asset for one in specs)
    assert max(by_asset.values()) - min(by_asset.values()) <= 1


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 1_500), seed=st.integers(0, 9), assets=st.integers(1, 62))
def test_any_number_of_devices_is_spread_over_lampposts_and_transports(count: int, seed: int, assets: int) -> None:
    specs = hang_devices(ASSETS[:assets], tenant="gm0402", count=count, seed=seed)
    assert len(specs) == len({one.device for one in specs}) == count
    assert specs == hang_devices(ASSETS[:assets], tenant="gm0402", count=count, seed=seed)
    places = {asset: (longitude, latitude) for asset, longitude, latitude in ASSETS}
    assert all(places[one.asset] == (one.longitude, one.latitude) for one in specs)
    over = Counter(one.transport for one in specs)
    assert 0 <= over[Transport.MQTT] - over[Transport.COAP] <= len(load_profiles())
    in_cbor = sum(one.content_format == 112 for one in specs)
    assert 0 <= over[Transport.COAP] - 2 * in_cbor <= len(load_profiles())


@pytest.mark.parametrize("count", [1, 20_000])
def test_a_town_has_its_limits(count: int) -> None:
    assert len(hang_devices(ASSETS, tenant="gm0402", count=count, seed=1)) == count


@pytest.mark.parametrize("count", [0, 20_001])
def test_a_count_outside_the_limits_is_refused(count: int) -> None:
    with pytest.raises(SpecError, match=f"count {count} is not from 1 to 20000"):
        hang_devices(ASSETS, tenant="gm0402", count=count, seed=1)


def test_no_assets_no_devices() -> None:
    with pytest.raises(SpecError, match="import assets first"):
        hang_devices([], tenant="gm0402", count=1, seed=1)


def specs_of(transport: Transport, count: int = 2) -> list[DeviceSpec]:
    return [DeviceSpec(DeviceId("gm0402", f"lm-{n:04d}"), "noise", transport, 5.0, 52.0) for n in range(count)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"specs": []}, "0 devices; a town has 1 to 20000"),
        ({"specs": specs_of(Transport.MQTT) * 2}, "two devices have the same name"),
        ({"interval_s": 0.009}, "interval 0.009 s is below 0.01 s"),
        ({"interval_s": float("nan")}, "interval nan s is below"),
        ({"hostile": -1}, "hostile is -1"),
        ({"mqtt": None}, "2 devices speak mqtt, but mqtt= is None"),
        ({"mqtt": ("127.0.0.2", 1883)}, "'127.0.0.2' has no IPv6 address"),
    ],
)
def test_a_town_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {
        "specs": specs_of(Transport.MQTT),
        "seed": 1,
        "interval_s": 1.0,
        "mqtt": ("::1", 1),
        "coap": None,
    }
    settings |= change
    with pytest.raises(TownError, match=message):
        Town(settings.pop("specs"), **settings)


def test_the_shortest_interval_is_accepted() -> None:
    Town(specs_of(Transport.MQTT), seed=1, interval_s=0.01, mqtt=("::1", 1), coap=None)


@pytest.mark.slow
def test_a_town_that_finds_nobody_leaves_no_socket_and_no_task_and_speaks_no_ipv4(free_udp_port: int) -> None:
    async def scenario() -> tuple[int, int]:
        process = psutil.Process()
        await asyncio.to_thread(os.getpid)  # the thread pool's own descriptors are not the town's
        before = process.num_fds()
        specs = hang_devices(ASSETS, tenant="gm0402", count=20, seed=1)
        # A port where nobody listens, for TCP and UDP alike.
        nobody = ("::1", free_udp_port)
        async with Town(specs, seed=1, interval_s=0.1, mqtt=nobody, coap=nobody) as town:
            await town.run(0.5)
            families = {one.family for one in process.net_connections(kind="inet")}
            assert socket.AF_INET not in families
            assert town.statistics().interruptions >= 20
            assert town.ledger().total.outstanding == 100
            assert not await town.wait_drained(0.05)
        assert len(asyncio.all_tasks()) == 1
        return before, process.num_fds()

    before, after = asyncio.run(scenario())
    assert after == before


@pytest.mark.slow
def test_leaving_a_town_while_the_broker_does_not_answer_is_quick_and_clean() -> None:
    """A listener that accepts and says nothing: the CONNECT stays unanswered when the town is left."""

    async def scenario() -> None:
        held: list[asyncio.StreamWriter] = []
        reached = asyncio.Event()

        async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)
            reached.set()

        server = await asyncio.start_server(accept, "::1", 0)
        port = server.sockets[0].getsockname()[1]
        async with (
            asyncio.timeout(4),
            Town(specs_of(Transport.MQTT), seed=1, interval_s=1, mqtt=("::1", port), coap=None),
        ):
            await reached.wait()
        for writer in held:
            writer.close()
        server.close()
        await server.wait_closed()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_town_that_is_held_up_for_long_skips_rounds_and_counts_them(
    free_udp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LATE_S_MAX", 0.1)

    async def scenario() -> None:
        specs = specs_of(Transport.COAP)
        async with Town(specs, seed=1, interval_s=0.02, mqtt=None, coap=("::1", free_udp_port)) as town:
            running = asyncio.create_task(town.run(1.0))
            await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251 - holding up the event loop is the fault
            await running
            missed = town.statistics().missed_rounds
            assert 20 <= missed <= 49
            assert town.ledger().total.outstanding == 2 * (50 - missed)

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_town_that_is_held_up_shortly_catches_up(free_udp_port: int) -> None:
    async def scenario() -> None:
        specs = specs_of(Transport.COAP)
        async with Town(specs, seed=1, interval_s=0.02, mqtt=None, coap=("::1", free_udp_port)) as town:
            running = asyncio.create_task(town.run(0.6))
            await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251 - holding up the event loop is the fault
            await running
            assert town.statistics().missed_rounds == 0
            assert town.ledger().total.outstanding == 60

    asyncio.run(scenario())


def test_the_history_holds_every_line_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history.jsonl"
    device = DeviceId("gm0402", "lm-0001")

    async def scenario() -> None:
        async with History(path) as history:

            async def attempt(seq: int) -> None:
                history.note(Entry("attempt", device, 7, seq, digest(b"pack"), 1_000 + seq))
                await history.wait_written()
                written = {json.loads(line)["seq"] for line in path.read_text(encoding="ascii").splitlines()}
                assert seq in written, "an attempt is on disk before anything is sent"

            await asyncio.gather(*(attempt(seq) for seq in range(50)))
            history.note(Entry("ack", device, 7, 50, "", 2_000))

    asyncio.run(scenario())
    lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert [one["seq"] for one in lines] == list(range(51))
    assert lines[0] == {
        "op": "attempt",
        "device": "gm0402/lm-0001",
        "epoch": 7,
        "seq": 0,
        "digest": "8705660254ac4bab",
        "t_us": 1_000,
    }
