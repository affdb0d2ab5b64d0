"""Killing anything at any moment loses nothing and doubles nothing."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from running_lichtmast import Running

from lichtmast.firmware_sim import DeviceSpec, Ledger, Town
from lichtmast.registry import Registry
from lichtmast.store import DuckStore, Outcome
from lichtmast.suite import virtual_town

DEVICES = 60
SEED = 20261121


def settle(prepared: Running) -> list[DeviceSpec]:
    """Register the devices before Lichtmast starts, so that none is a stranger when it speaks first."""
    with Registry.open(prepared.folder.registry) as registry:
        virtual_town.furnish(registry, prepared.folder.path)
        return virtual_town.settle(registry, DEVICES)


async def live_and_kill(
    running: Running, specs: list[DeviceSpec], history: Path, kills: int
) -> tuple[Ledger, Counter[str]]:
    """The town's ledger after so many kills at random moments under load, and what was killed how often."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    killed: Counter[str] = Counter()
    mqtt, coap = ("::1", running.mqtt_port), ("::1", running.coap_port)
    async with Town(specs, seed=SEED, interval_s=0.5, history=history, mqtt=mqtt, coap=coap) as town:
        living = asyncio.create_task(town.run(None))
        for number in range(kills):
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            if number % 2:
                await asyncio.to_thread(running.kill)
                await running.start_again()
                killed["lichtmast"] += 1
            else:
                await asyncio.to_thread(running.kill_broker)
                killed["nats-server"] += 1
        await asyncio.sleep(1)
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        assert await town.wait_drained(120), f"not all was acknowledged: {town.statistics()}"
        return town.ledger(), killed


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.faults)])
def test_kills_under_load_lose_nothing_and_double_nothing(prepared: Running, tmp_path: Path, kills: int) -> None:
    running = prepared
    specs = settle(running)
    running.start()
    ledger, killed = asyncio.run(live_and_kill(running, specs, tmp_path / "history.jsonl", kills))
    audit = running.audit()
    assert killed == {"lichtmast": kills // 2, "nats-server": kills // 2}
    assert audit["faults"] == []
    assert (audit["missing"], audit["double_packs"], audit["waiting"]) == (0, 0, 0)
    assert audit["stored"] == ledger.total.sent
    assert ledger.surprises() == ()
    assert running.stop() == 0
    check_by_history(running, tmp_path / "history.jsonl", ledger)


def check_by_history(running: Running, history: Path, ledger: Ledger) -> None:
    """Hold the store against the devices' own fsynced books, pack by pack."""
    entries = [json.loads(line) for line in history.read_text().splitlines()]
    acknowledged = {(one["device"], one["epoch"], one["seq"]) for one in entries if one["op"] == "ack"}
    attempted = {(one["device"], one["epoch"], one["seq"]) for one in entries if one["op"] == "attempt"}
    store = DuckStore.open(running.folder.store, clock_us=lambda: 0)
    try:
        kept: Counter[tuple[str, int, int]] = Counter()
        for device, account in ledger.devices.items():
            for row in store.ledger_range(str(device), account.epoch).to_pylist():
                if row["outcome"] != Outcome.DUPLICATE:
                    kept[row["device"], row["epoch"], row["seq"]] += 1
    finally:
        store.close()
    assert acknowledged <= set(kept), "acknowledged and lost"
    assert set(kept) <= attempted, "stored and never sent"
    assert max(kept.values()) == 1, "stored twice"
    interrupted = len(entries) - len(acknowledged) - len(attempted)
    assert interrupted > 0, "vacuous: no pack had to be sent again, so no kill hit anything"
