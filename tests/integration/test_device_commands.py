"""`lichtmast device`: from an unknown device to one that is configured, commanded and shown, over a real broker."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from running_lichtmast import Running, lichtmast

from lichtmast.wire import DeviceId, Reading, decode_acknowledgement, encode, topics
from lichtmast.wire.twin import (
    Answer,
    Command,
    Desired,
    Dim,
    Event,
    Identify,
    Level,
    Outcome,
    Reboot,
    State,
    decode_command,
    decode_desired,
)

pytestmark = pytest.mark.slow
LAMP = DeviceId("gm0402", "lamp-1")
AIR = DeviceId("gm0402", "air-1")
UNTIL = "2099-11-22T06:00"


@asynccontextmanager
async def connected(running: Running) -> AsyncIterator[aiomqtt.Client]:
    """A device's connection: nobody signs in."""
    async with aiomqtt.Client("::1", running.mqtt_port, timeout=10) as client:
        yield client


async def command(running: Running, *words: str) -> tuple[int, str, str]:
    """Run `lichtmast device ...` beside the event loop: exit code, stdout, stderr on one line."""
    done = await asyncio.to_thread(lichtmast, "device", *words, data=running.folder.path)
    return done.returncode, done.stdout, " ".join(done.stderr.split())


async def next_payload(client: aiomqtt.Client) -> bytes:
    async with asyncio.timeout(30):
        return bytes((await anext(aiter(client.messages))).payload)


async def granted(client: aiomqtt.Client, topic: str) -> bool:
    """Whether the broker lets a device hear this topic; 0x80 is MQTT 3.1.1's no."""
    [code] = await client.subscribe(topic, qos=1)
    return {1: True, 0x80: False}[code if isinstance(code, int) else code.value]


async def answering(running: Running, answers: dict[str, Answer | None], seen: list[Command]) -> None:
    """A device that gives each command the answer under its name, or none."""
    async with connected(running) as client:
        await client.subscribe(topics.cmd_topic(LAMP), qos=1)
        await client.publish(topics.ev_topic(LAMP), Event("started").encode(), qos=1)
        async for message in client.messages:
            got = decode_command(bytes(message.payload))
            seen.append(got)
            answer = answers[type(got.order).__name__.lower()]
            # Noise first: other answers, and what is no document at all, must not be taken for the answer.
            await client.publish(topics.ev_topic(LAMP), b"{", qos=1)
            await client.publish(topics.ev_topic(LAMP), Answer("another", Outcome.REFUSED).encode(), qos=1)
            if answer is not None:
                told = Answer(got.id, answer.outcome, answer.reason)
                await client.publish(topics.ev_topic(LAMP), told.encode(), qos=1)


async def wait_shown(running: Running, name: str) -> dict[str, Any]:
    """What `device show` says once it shows an event of this name."""
    async with asyncio.timeout(30):
        while True:
            _, out, _ = await command(running, "show", str(LAMP), "--json")
            told: dict[str, Any] = json.loads(out)
            if any(one.get("event") == name for one in told["events"]):
                return told


def test_a_device_that_was_added_may_speak_at_once(running: Running) -> None:
    async def scene() -> None:
        for created in (True, False):
            code, out, _ = await command(running, "add", str(AIR), "--profile", "air-quality", "--json")
            told = json.loads(out)
            assert (code, told["urn"], told["status"], told["created"]) == (0, AIR.urn, "active", created)
        async with connected(running) as client:
            await client.subscribe(topics.ack_topic(AIR))
            reading = Reading("/air/0/pm10", 1e-8, "kg/m3", time.time_ns() // 1000)
            raw = encode(AIR, [reading], epoch=7, seq=5, dropped=[(1, 4)])
            await client.publish(topics.up_topic(AIR), raw, qos=1)
            ack = decode_acknowledgement(await next_payload(client))
            assert (ack.epoch, ack.upto) == (7, 5)
            wrong = encode(AIR, [Reading("/weather/0/temperature", 280.0, "K", reading.time_us)], epoch=7, seq=6)
            await client.publish(topics.up_topic(AIR), wrong, qos=1)
            assert decode_acknowledgement(await next_payload(client)).upto == 6
        account = await asyncio.to_thread(running.audit)
        assert account["faults"] == []
        assert account["dropped_by_device"] == {str(AIR): 4}
        assert account["sent"] == 6 == account["stored"] + account["quarantined"] + account["dropped"]
        code, out, _ = await command(running, "show", str(AIR), "--json")
        told = json.loads(out)
        assert told["acknowledged"] == [{"epoch": 7, "upto": 6, "last": 6}]
        assert told["quarantined_by_reason"] == account["quarantined_by_reason"]
        code, out, _ = await command(running, "show", str(AIR))
        last = "profile air-quality has no name /weather/0/temperature"
        assert f"1 refused: unknown_name, last: {last}" in out.splitlines()
        code, _, said = await command(running, "add", "gm0402/x-1", "--profile", "air-quality", "--asset", "none")
        assert (code, "no lamppost none" in said) == (1, True)
        code, _, said = await command(running, "add", "gm0402/x-1", "--profile", "nonsense")
        assert (code, "nonsense" in said) == (1, True)

    asyncio.run(scene())


def test_a_configuration_waits_for_the_device_and_goes_up_only(running: Running, tmp_path: Path) -> None:
    async def scene() -> None:
        await command(running, "add", str(LAMP), "--profile", "lamp-controller")
        file = tmp_path / "desired.json"
        file.write_bytes(Desired(3, interval_s=60.0).encode())
        assert (await command(running, "configure", str(LAMP), str(file)))[0] == 0
        async with connected(running) as client:  # connects only now, and finds it
            await client.subscribe(topics.cfg_topic(LAMP), qos=1)
            got = decode_desired(await next_payload(client))
            assert (got.version, got.interval_s) == (3, 60.0)
            state = State("0.1.0", "boot-1", 12.0, 3, 60.0, levels={"/lamp/0": Level(0.5, "command")})
            await client.publish(topics.state_topic(LAMP), state.encode(), qos=1, retain=True)
            await client.publish(topics.ev_topic(LAMP), Event("configured").encode(), qos=1)
            assert (await wait_shown(running, "configured"))["state"]["version"] == 3
            _, out, _ = await command(running, "show", str(LAMP))
            assert re.match(r"state: as of \d\d:\d\d:\d\d UTC \(\d+ (s|min) ago\)$", out.splitlines()[0])
            assert {"  version 3", "  interval_s 60.0", "  levels", "    /lamp/0", "      level 0.5"} <= set(
                out.splitlines()
            )
            code, _, said = await command(running, "configure", str(LAMP), str(file))
            assert (code, "has version 3 already" in said) == (1, True)
            # A state that somebody forged must not end all configuring.
            state = State("0.1.0", "boot-1", 12.0, 2**53 - 1, 60.0)
            await client.publish(topics.state_topic(LAMP), state.encode(), qos=1, retain=True)
            await client.publish(topics.ev_topic(LAMP), Event("forged").encode(), qos=1)
            await wait_shown(running, "forged")
        file.write_bytes(Desired(4, interval_s=30.0).encode())
        assert (await command(running, "configure", str(LAMP), str(file)))[0] == 0
        file.write_bytes(Desired(2**53 - 1).encode())
        code, _, said = await command(running, "configure", str(LAMP), str(file))
        assert (code, "take smaller steps" in said) == (1, True)
        file.write_text('{"version": 4, "interval": 5}')
        code, _, said = await command(running, "configure", str(LAMP), str(file))
        assert (code, "interval" in said) == (1, True)

    asyncio.run(scene())


def test_commands_reach_the_device_and_its_answer_is_the_exit_code(running: Running) -> None:
    answers = {
        "dim": Answer("", Outcome.DONE),
        "identify": Answer("", Outcome.REFUSED, "clock_untrusted"),
        "reboot": None,
    }

    async def scene() -> None:
        await command(running, "add", str(LAMP), "--profile", "lamp-controller")
        seen: list[Command] = []
        device = asyncio.create_task(answering(running, answers, seen))
        try:
            await wait_shown(running, "started")
            code, out, _ = await command(running, "command", str(LAMP), "dim", "0.5", "--until", UNTIL, "--json")
            assert (code, json.loads(out)["state"]) == (0, "done")
            code, out, _ = await command(running, "command", str(LAMP), "identify", "--seconds", "5")
            assert (code, "refused, clock_untrusted" in out) == (1, True)
            code, _, said = await command(running, "command", str(LAMP), "reboot", "--wait", "1")
            assert (code, "no answer within 1 s" in said) == (1, True)
        finally:
            device.cancel()
            await asyncio.gather(device, return_exceptions=True)
        assert [one.order for one in seen] == [Dim(0.5, 4_099_010_400), Identify(5.0), Reboot()]
        assert len({one.id for one in seen}) == 3
        told = await wait_shown(running, "started")
        assert any("undecodable" in one for one in told["events"])

    asyncio.run(scene())


def test_orders_to_nobody_are_refused_before_they_are_sent(running: Running, tmp_path: Path) -> None:
    async def scene() -> None:
        file = tmp_path / "desired.json"
        file.write_bytes(Desired(1).encode())
        for order in (("configure", "gm0402/none-1", str(file)), ("command", "gm0402/none-1", "reboot")):
            code, _, said = await command(running, *order)
            assert (code, "gm0402/none-1 is not registered" in said) == (1, True)
        code, _, said = await command(running, "show", "gm0402/none")
        assert (code, "is not registered" in said) == (1, True)
        wrong: list[tuple[str, ...]] = [
            ("dim",),
            ("dim", "0.5"),
            ("reboot", "0.5"),
            ("reboot", "--seconds", "5"),
            ("dim", "2"),
        ]
        for words in wrong:
            code, _, said = await command(running, "command", str(LAMP), *words)
            assert code == 2, said

    asyncio.run(scene())


def test_without_a_running_lichtmast_devices_are_added_and_nothing_else(prepared: Running) -> None:
    async def scene() -> None:
        assert (await command(prepared, "add", str(LAMP), "--profile", "lamp-controller"))[0] == 0
        code, _, said = await command(prepared, "show", str(LAMP))
        assert (code, "no Lichtmast runs on" in said) == (1, True)

    asyncio.run(scene())


def test_devices_may_report_and_not_order(running: Running, tmp_path: Path) -> None:
    """What a device may: publish up, ev and state, hear ack, cfg and cmd; its own pretended orders reach nobody."""

    async def scene() -> None:
        await command(running, "add", str(LAMP), "--profile", "lamp-controller")
        async with connected(running) as client, connected(running) as other:
            for topic in (topics.ack_topic(LAMP), topics.cfg_topic(LAMP), topics.cmd_topic(LAMP)):
                assert await granted(other, topic)
            for topic in (topics.up_topic(LAMP), topics.ev_topic(LAMP), topics.state_topic(LAMP), "#"):
                assert not await granted(other, topic)
            for topic in (topics.cfg_topic(LAMP), topics.cmd_topic(LAMP), topics.ack_topic(LAMP), "lm/door/coap/ev"):
                await client.publish(topic, b"forged", qos=1, retain=True)
            waiting = asyncio.create_task(command(running, "command", str(LAMP), "reboot", "--wait", "1"))
            got = decode_command(await next_payload(other))  # the first that arrives is the true one
            assert isinstance(got.order, Reboot)
            await waiting
        async with connected(running) as late:  # and nothing forged was retained
            await late.subscribe(topics.cfg_topic(LAMP), qos=1)
            file = tmp_path / "desired.json"
            file.write_bytes(Desired(1).encode())
            await command(running, "configure", str(LAMP), str(file))
            assert decode_desired(await next_payload(late)).version == 1

    asyncio.run(scene())
