"""A fleet that sends percent where a ratio is expected is mended without touching a device, and no reading is lost."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiomqtt
import pytest
from running_lichtmast import Running
from typer.testing import CliRunner

from lichtmast.registry import Registry
from lichtmast.store import DuckStore
from lichtmast.suite.commands.quarantine import app
from lichtmast.suite.errors import SuiteError
from lichtmast.wire import Quality
from lichtmast.wire.acknowledgement import decode_acknowledgement

pytestmark = pytest.mark.slow

FLEET = [f"bin-{number:02}" for number in range(50)]
PACKS = 4
START_S = int(time.time()) - 3_600
RULES = {"profile": {"filling-level": {"level": {"accepts": [{"unit": "%", "scale": 0.01}]}}}}
RUNNER = CliRunner()


def percent(name: str, seq: int) -> int:
    """What a container says; each reading of the fleet is another."""
    return (FLEET.index(name) * PACKS + seq) % 101


def pack(name: str, seq: int) -> str:
    """One reading a pack, ten minutes apart, of the last hour."""
    first = {"bn": f"urn:dev:lm:gm0402:{name}", "bt": START_S + 600 * seq, "lm-epoch": 1, "lm-seq": seq}
    return json.dumps([first | {"n": "/container/0/level", "u": "%", "v": percent(name, seq)}])


async def send(running: Running) -> str:
    """The fleet sends; what the first device is told."""
    async with aiomqtt.Client("::1", running.mqtt_port, timeout=10) as client:
        await client.subscribe(f"lm/gm0402/{FLEET[0]}/ack")
        await client.publish(f"lm/gm0402/{FLEET[1]}/up", "nonsense", qos=1)
        for seq in range(1, PACKS + 1):
            for name in FLEET:
                await client.publish(f"lm/gm0402/{name}/up", pack(name, seq), qos=1)
        async with asyncio.timeout(20):
            async for message in client.messages:
                told = decode_acknowledgement(bytes(message.payload))
                if told.upto == PACKS:
                    return told.refused[-1].reason
    raise AssertionError("the connection ended")


def quarantine(running: Running, *words: str, code: int = 0) -> dict[str, Any]:
    """`lichtmast quarantine ... --json`, in this process."""
    done = RUNNER.invoke(app, [*words, "--data", str(running.folder.path), "--json"])
    assert done.exit_code == code, (words, done.output, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def balanced(running: Running, stored: int, quarantined: int, discarded: int = 0) -> None:
    """The books, as they must be now."""
    audit = running.audit()
    assert audit["balanced"], audit["faults"]
    names = ("sent", "stored", "quarantined", "discarded", "duplicates", "missing", "rows_stored", "waiting")
    sent = len(FLEET) * PACKS + 1
    assert [audit[name] for name in names] == [sent, stored, quarantined, discarded, 0, 0, stored, 0]
    assert all(one["quarantined"] >= 0 for one in audit["accounts"])
    assert sum(one["quarantined"] for one in audit["accounts"]) == quarantined


def wait_until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_percent_as_ratio_is_mended_by_a_rule_and_a_replay_that_is_killed_midway(
    prepared: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, sent = prepared, len(FLEET) * PACKS
    running.register(*FLEET, profile="filling-level")
    running.start()
    assert asyncio.run(send(running)) == "wrong_unit"
    wait_until(lambda: running.status()["quarantined"] == sent + 1)
    balanced(running, 0, sent + 1)
    groups = quarantine(running, "list", "--by", "reason")["groups"]
    assert [(one["reason"], one["packs"], one["devices"]) for one in groups] == [
        ("wrong_unit", sent, len(FLEET)),
        ("undecodable", 1, 1),
    ]
    listed = quarantine(running, "list", "--entries", "--reason", "wrong_unit", "--limit", "3")
    assert (len(listed["entries"]), listed["is_whole"]) == (3, False)
    shown = quarantine(running, "show", listed["entries"][0]["entry"])
    assert (shown["state"], shown["reason"], shown["device"]) == ("open", "wrong_unit", listed["entries"][0]["device"])
    told = quarantine(running, "discard", "--reason", "undecodable", "--because", "a bench test")
    assert told["discarded"] == 1
    balanced(running, 0, sent, discarded=1)
    told = quarantine(running, "replay", "--all", "--dry-run", code=1)
    assert (told["kept"], told["still_refused"][0]["reason"]) == (sent, "wrong_unit")

    with Registry.open(running.folder.registry) as registry:
        registry.validation.put(RULES, "the bins of 2026 count in percent", at_us=time.time_ns() // 1000)
    told = quarantine(running, "replay", "--all", "--dry-run")
    assert (told["replayed"], told["kept"]) == (sent, 0)

    told = quarantine(running, "replay", "--device", f"gm0402/{FLEET[0]}")
    assert (told["examined"], told["replayed"]) == (PACKS, PACKS)
    balanced(running, PACKS, sent - PACKS, discarded=1)

    running.stop()
    monkeypatch.setenv("LICHTMAST_FAULTS", "ingest.before_commit=exit@1")
    running.start()  # it dies with the replay in the log and nothing of it in the store
    left = RUNNER.invoke(app, ["replay", "--reason", "wrong_unit", "--data", str(running.folder.path)])
    assert isinstance(left.exception, SuiteError)
    assert running.process is not None
    assert running.process.wait(20) != 0
    monkeypatch.delenv("LICHTMAST_FAULTS")
    running.start()
    wait_until(lambda: running.audit()["waiting"] == 0)
    balanced(running, sent, 0, discarded=1)
    assert quarantine(running, "replay", "--all")["examined"] == 0

    running.kill()
    with Registry.open(running.folder.registry) as registry:
        actions = [one.action for one in registry.audit_log.read(limit=10, newest_first=True)]
    assert actions[:3] == ["quarantine.replayed", "quarantine.replayed", "validation.put"]
    store = DuckStore.open(running.folder.store, clock_us=lambda: time.time_ns() // 1000)
    rows = store.range(range(1, 10_000), 0, 2**62, limit=10_000).to_pylist()
    store.close()
    times_s = [(START_S + 600 * seq, percent(name, seq) / 100) for name in FLEET for seq in range(1, PACKS + 1)]
    assert sorted((row["phenomenon_time"] // 1_000_000, row["result"]) for row in rows) == sorted(times_s)
    flags = int(Quality.REPLAYED | Quality.UNIT_CONVERTED)
    assert {row["quality"] & flags for row in rows} == {flags}
