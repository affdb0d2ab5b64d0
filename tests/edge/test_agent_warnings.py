"""What an agent says without --verbose to whoever tries it first: no broker, no clock, no disk."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from free_ports import free_port
from uplink_town import eventually

from lichtmast.edge import limits
from lichtmast.edge.agent import run_agent
from lichtmast.edge.checks import Check, Verdict, selftest
from lichtmast.edge.clock import SystemClock
from lichtmast.edge.preparing import Prepared, prepare
from lichtmast.edge.settings import parse_settings
from lichtmast.edge.uplink import limits as uplink_limits
from lichtmast.edge.watchdog import Watchdog


def prepared(state: Path, time_port: int, broker_port: int) -> Prepared:
    text = f"""
[device]
tenant = "gm0402"
name = "lm-0001"
profile = "weather"
state = "{state}"
[clock]
source = "sntp"
servers = ["[::1]:{time_port}"]
[uplink]
order = ["mqtt"]
[uplink.mqtt]
host = "::1"
port = {broker_port}
[[driver]]
name = "board"
kind = "simulated"
[driver.channel.temperature]
shape = "constant"
unit = "Cel"
value = 15
[[driver.reading]]
channel = "temperature"
suffix = "/weather/0/temperature"
"""
    return prepare(parse_settings(text))


@pytest.mark.slow
def test_no_broker_and_no_clock_are_each_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLOCK_DOUBT_S", 0.05)
    monkeypatch.setattr(uplink_limits, "START_SPREAD_S", 0.0)
    monkeypatch.setattr(uplink_limits, "RETRY_S", 0.05)
    monkeypatch.setattr(uplink_limits, "RETRY_MAX_S", 0.05)
    caplog.set_level("INFO")

    def told(name: str) -> list[str]:
        return [one.levelname for one in caplog.records if one.message == name]

    async def story() -> None:
        parts = prepared(tmp_path / "state", free_port(socket.SOCK_DGRAM), free_port())
        running = asyncio.create_task(run_agent(parts, SystemClock(), Watchdog.of("", "")), name="agent")
        await eventually(lambda: len(told("uplink_interrupted")) > 2 and told("clock_not_trusted"))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(story())
    assert told("clock_not_trusted") == ["WARNING"]
    assert set(told("uplink_interrupted")[1:]) == {"INFO"}
    assert told("uplink_interrupted")[0] == "WARNING"


def test_a_selftest_that_cannot_write_still_makes_the_other_checks(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    state.touch()  # a file in its place cannot be written into by root either

    async def checks() -> dict[str, Check]:
        parts = prepared(state, free_port(socket.SOCK_DGRAM), free_port())
        return {one.name: one async for one in selftest(parts, SystemClock())}

    found = asyncio.run(checks())
    assert found["outbox"].verdict is Verdict.FAIL
    assert "Not a directory" in found["outbox"].told
    assert found["driver board"].verdict is Verdict.PASS
    assert any(name.startswith("mqtt") for name in found)
