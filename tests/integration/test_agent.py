"""The real agent against the real server: its readings arrive, it does as it is told, and it refuses nonsense."""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from running_agent import RunningAgent
from running_lichtmast import Running, lichtmast

from lichtmast.wire import topics
from lichtmast.wire.twin import Answer, Command, Desired, Dim, Event, Outcome, Reboot, State, decode_event, decode_state

pytestmark = pytest.mark.slow
WAIT_S = 20


@pytest.fixture
def agent(running: Running, tmp_path: Path) -> Iterator[RunningAgent]:
    one = RunningAgent.beside(running, tmp_path / "agent")
    yield one
    one.end()


class Listener:
    """Somebody who hears what the agent reports, and may publish as the server does."""

    def __init__(self, client: aiomqtt.Client, agent: RunningAgent) -> None:
        self._client = client
        self._agent = agent
        self.events: list[Event | Answer] = []
        self.states: list[State] = []

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await self._client.publish(topic, payload, qos=1, retain=retain)

    async def wait_event(self, name: str) -> Event:
        found: Event = await self._wait(
            lambda: next((one for one in self.events if isinstance(one, Event) and one.name == name), None), name
        )
        self.events.remove(found)
        return found

    async def wait_answer(self, command_id: str) -> Answer:
        found: Answer = await self._wait(
            lambda: next((one for one in self.events if isinstance(one, Answer) and one.id == command_id), None),
            command_id,
        )
        return found

    async def wait_state(self, is_it: Callable[[State], bool]) -> State:
        found: State = await self._wait(lambda: next((one for one in self.states[::-1] if is_it(one)), None), "a state")
        return found

    async def _wait(self, find: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - what is found
        until_s = time.monotonic() + WAIT_S
        while (found := find()) is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                pytest.fail(f"{what} did not come; events {self.events}\n{self._agent.log.read_text()[-2000:]}")
            try:
                async with asyncio.timeout(left_s):
                    message = await anext(aiter(self._client.messages))
            except TimeoutError:
                continue
            payload = bytes(message.payload)
            if message.topic.value.endswith("/state"):
                self.states.append(decode_state(payload))
            else:
                self.events.append(decode_event(payload))
        return found


@asynccontextmanager
async def listening(running: Running, agent: RunningAgent) -> AsyncIterator[Listener]:
    """As the broker's own user, who may publish anywhere: what the server, or whoever stole its place, could send."""
    written = (running.folder.broker / "nats-server.conf").read_text()
    found = re.search(r'user: "(lichtmast)", password: "([^"]+)"', written)
    assert found is not None
    async with aiomqtt.Client("::1", running.mqtt_port, username=found[1], password=found[2], timeout=10) as client:
        await client.subscribe(topics.state_topic(agent.device), qos=1)
        await client.subscribe(topics.ev_topic(agent.device), qos=1)
        yield Listener(client, agent)


def stored(running: Running) -> int:
    told: int = running.audit()["stored"]
    return told


def wait_stored(running: Running, count: int) -> None:
    until_s = time.monotonic() + WAIT_S
    while stored(running) < count:
        assert time.monotonic() < until_s, f"fewer than {count} packs are stored"
        time.sleep(0.25)


def test_what_it_measures_is_stored_and_the_outbox_empties(running: Running, agent: RunningAgent) -> None:
    agent.start()
    wait_stored(running, 5)
    # Acknowledgements come once a second, so a few always wait.
    assert agent.wait_outbox(20)["next_seq"] > 5, "beside a running agent the outbox can be looked into"
    assert agent.stop() == 0
    agent.start()
    wait_stored(running, 10)
    assert agent.stop() == 0
    audit = running.audit()
    assert (audit["faults"], audit["missing"], audit["quarantined"]) == ([], 0, 0)
    assert len({row["device"] for row in audit["accounts"]}) == 1
    assert agent.outbox()["next_seq"] - 1 - agent.outbox()["packs"] <= audit["stored"]


def test_an_orderly_end_keeps_the_interval_that_was_running(agent: RunningAgent) -> None:
    agent.interval_s = 3_600
    agent.start()
    until_s = time.monotonic() + WAIT_S
    while agent.outbox()["next_seq"] == 1:  # the first report comes soon after the start, the next in an hour
        assert time.monotonic() < until_s
    agent.outbox()  # takes longer than a sample does
    assert agent.stop() == 0
    assert agent.outbox()["next_seq"] == 3


def test_a_configuration_is_applied_reported_and_outlives_a_restart(running: Running, agent: RunningAgent) -> None:
    agent.start()
    desired = agent.folder / "desired.json"
    desired.write_text('{"version": 7, "interval_s": 1.5, "sensors": {"/lamp/0/power": {"deadband": 500}}}')
    done = lichtmast("device", "configure", str(agent.device), str(desired), data=running.folder.path)
    assert done.returncode == 0, done.stderr

    async def scenario() -> State:
        async with listening(running, agent) as listener:
            return await listener.wait_state(lambda one: one.version == 7)

    assert asyncio.run(scenario()).interval_s == 1.5
    assert agent.stop() == 0
    (running.folder.path / "marker").touch()
    agent.start()
    state = asyncio.run(scenario())
    assert (state.version, state.interval_s) == (7, 1.5)


HOSTILE_WISHES = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b'{"version": 8, "version": 9}',
    b'{"version": 1e3}',
    b'{"version": 8, "interval_s": NaN}',
    b'{"version": 8, "interval_s": 0.2}',
    b'{"version": 8, "sensors": {"/lamp/0/nothing": {"deadband": 1}}}',
    b'{"version": 8, "sensors": {"/lamp/0/power": {"deadband": -1}}}',
    b'{"version": 8, "rules": [{"kind": "dusk", "name": "night", "target": "/lamp/9/command"}]}',
    b'{"version": 8, "surprise": true}',
    b'{"version": 8, "sensors": ' + b"[" * 5_000 + b"}",
    b'{"version": 8, "x": "' + b"y" * 20_000 + b'"}',
]


def test_hostile_configurations_are_refused_upstream_and_the_running_one_stays(
    running: Running, agent: RunningAgent
) -> None:
    agent.start()

    async def scenario() -> None:
        async with listening(running, agent) as listener:
            good = Desired(3, interval_s=1.0)
            await listener.publish(topics.cfg_topic(agent.device), good.encode(), retain=True)
            await listener.wait_state(lambda one: one.version == 3)
            for raw in HOSTILE_WISHES:
                await listener.publish(topics.cfg_topic(agent.device), raw)
                event = await listener.wait_event("configuration_refused")
                assert event.reason, raw
            listener.states.clear()
            await listener.publish(topics.cfg_topic(agent.device), good.encode())  # known: only makes it say how it is
            assert (await listener.wait_state(lambda _: True)).version == 3

    asyncio.run(scenario())
    assert stored(running) > 0


def test_a_command_moves_the_lamp_once_and_nonsense_moves_nothing(running: Running, agent: RunningAgent) -> None:
    agent.start()
    words = ("device", "command", str(agent.device), "dim", "0.25", "--until", "2099-01-01T00:00", "--wait", "20")
    done = lichtmast(*words, data=running.folder.path)
    assert done.returncode == 1, "a week is the longest"
    until = datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M")
    done = lichtmast(*words[:6], until, *words[7:], data=running.folder.path)
    assert done.returncode == 0, done.stdout + done.stderr

    async def scenario() -> None:
        async with listening(running, agent) as listener:
            state = await listener.wait_state(lambda one: bool(one.levels))
            assert state.levels["/lamp/0/command"].level == 0.25
            now_s = time.time()
            for raw in (b"", b"{}", b'{"id": "x", "name": "open", "expires": 1}', b"\x00" * 100, b"[" * 20_000):
                await listener.publish(topics.cmd_topic(agent.device), raw)
                assert (await listener.wait_event("command_refused")).reason
            for command, outcome in (
                (Command("late", Dim(0.9, now_s + 60), now_s - 5), Outcome.EXPIRED),
                (Command("other", Dim(0.9, now_s + 60, "/lamp/7/command"), now_s + 60), Outcome.REFUSED),
                (Command("good", Dim(0.75, now_s + 60), now_s + 60), Outcome.DONE),
            ):
                await listener.publish(topics.cmd_topic(agent.device), command.encode())
                assert (await listener.wait_answer(command.id)).outcome is outcome

    asyncio.run(scenario())
    assert agent.stop() == 0


def test_a_reboot_ends_the_process_and_is_answered_after_it(running: Running, agent: RunningAgent) -> None:
    agent.start()

    async def order() -> None:
        async with listening(running, agent) as listener:
            await listener.wait_state(lambda _: True)  # else it is not connected yet, and would not hear it
            command = Command("again", Reboot(), time.time() + 60)
            await listener.publish(topics.cmd_topic(agent.device), command.encode())
            await asyncio.to_thread(wait_ended, agent)
            agent.start()
            assert (await listener.wait_answer("again")).outcome is Outcome.DONE

    asyncio.run(order())


def wait_ended(agent: RunningAgent) -> None:
    assert agent.process is not None
    assert agent.process.wait(WAIT_S) == 75


def test_acknowledgements_that_cannot_be_true_delete_nothing(running: Running, agent: RunningAgent) -> None:
    agent.start()
    wait_stored(running, 2)
    epoch = agent.outbox()["epoch"]

    async def scenario() -> None:
        async with listening(running, agent) as listener:
            hostile = [
                b"no json",
                b'{"epoch": %d, "upto": %d}' % (epoch, 2**53 - 1),
                b'{"epoch": %d, "upto": -1}' % epoch,
                b'{"epoch": %d, "upto": 0, "ranges": [[5, 1]]}' % epoch,
                b'{"epoch": 1, "upto": 9007199254740991}',
            ]
            for raw in hostile:
                await listener.publish(topics.ack_topic(agent.device), raw)
            event = await listener.wait_event("acknowledgement_refused")
            assert event.reason

    asyncio.run(scenario())
    wait_stored(running, stored(running) + 5)
    assert agent.stop() == 0
    audit = running.audit()
    assert (audit["faults"], audit["missing"]) == ([], 0)


def test_a_driver_that_lies_is_refused_upstream_and_what_is_sound_goes_on(
    running: Running, agent: RunningAgent
) -> None:
    agent.start()
    wait_stored(running, 2)

    async def scenario() -> None:
        async with listening(running, agent) as listener:
            for told in (
                '{"values": {"power": NaN}}',
                '{"values": {"power": "forty"}}',
                '{"values": {"power": true}}',
                '{"values": {"power": 1e999}}',
            ):
                replace(agent.control, told)
                event = await listener.wait_event("driver_refused")
                assert event.reason.startswith("lamp: power"), event
                replace(agent.control, "{}")
                before = stored(running)
                await asyncio.to_thread(wait_stored, running, before + 2)
                break  # further refusals within a minute are counted, not told

    asyncio.run(scenario())
    assert agent.stop() == 0
    audit = running.audit()
    assert (audit["faults"], audit["quarantined"]) == ([], 0), "what a driver invents never reaches the server"


def replace(path: Path, text: str) -> None:
    """The whole file or nothing: the driver reads it at any moment."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 - named for what it does


def test_settings_that_do_not_fit_end_with_two_and_say_what_to_mend(agent: RunningAgent) -> None:
    agent.profile = "weather"
    agent.write_settings()
    for command in ("check", "selftest"):
        done = agent.command(command)
        assert done.returncode == 2
        assert "profile weather has no /lamp/0/level" in done.stderr


def test_the_selftest_reads_each_driver_and_opens_each_link(running: Running, agent: RunningAgent) -> None:
    agent.coap = ("::1", running.coap_port)
    agent.write_settings()
    done = agent.command("selftest", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["sound"]) == (0, True), told
    verdicts = {one["name"]: one["verdict"] for one in told["checks"]}
    assert verdicts["driver lamp"] == "PASS"
    assert [name for name in verdicts if name.startswith(("mqtt to", "coap to"))] == [
        f"mqtt to ::1 port {running.mqtt_port}",
        f"coap to ::1 port {running.coap_port}",
    ]
