"""The way up over real MQTT and CoAP: a broker that is killed, a store that is silent, a server that lies."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Never

import aiocoap
import pytest
from free_ports import free_port
from uplink_town import DEVICE, Broker, Door, Server, draft, eventually, open_outbox, stamp_now

from lichtmast.edge.clock import SystemClock
from lichtmast.edge.outbox import OutboxThread
from lichtmast.edge.uplink import Delivery, Failover, Link, limits
from lichtmast.edge.uplink.coap import CoapLink
from lichtmast.edge.uplink.mqtt import MqttLink
from lichtmast.wire import topics
from lichtmast.wire.acknowledgement import Acknowledgement, Refused
from lichtmast.wire.twin import TwinError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("START_SPREAD_S", 0.0),
        ("RETRY_S", 0.1),
        ("LOST_S", 0.1),
        ("RETRY_MAX_S", 0.5),
        ("ACK_PATIENCE_S", 0.4),
        ("ACK_PATIENCE_MAX_S", 0.8),
    ):
        monkeypatch.setattr(limits, name, value)


class Agent:
    """A delivery over a real outbox, and what it was told."""

    def __init__(self, outbox: OutboxThread, *links: Link, patience_s: float = 60.0, return_s: float = 60.0) -> None:
        self.outbox = outbox
        self.cfg: list[bytes] = []
        self.cmd: list[bytes] = []
        self.complaints: list[str] = []
        self.refusals: list[str] = []
        self.state = b"state"
        self.delivery = Delivery(
            outbox,
            links,
            Failover([link.name for link in links], patience_s=patience_s, return_s=return_s, seed=5),
            clock=SystemClock(),
            seed=5,
            spread_s=limits.LOST_S,
            on_cfg=self.cfg.append,
            on_cmd=self.cmd.append,
            on_ack_refused=self.complaints.append,
            on_pack_refused=self.refusals.append,
            state=self.encode_state,
        )

    def encode_state(self) -> bytes:
        if not self.state:
            raise TwinError("a room cannot say how it is")
        return self.state

    async def measure(self, packs: int, readings: int = 1) -> None:
        drafts = [draft(readings) for _ in range(packs)]
        self.delivery.added_nowait(await self.outbox.put(drafts, stamp_now()))

    @property
    def waiting(self) -> int:
        told = self.delivery.statistics().courier
        return told.unsent + told.in_flight

    async def delivered(self) -> None:
        await eventually(
            lambda: self.outbox.statistics().packs == 0 or not self.waiting,
            what="all delivered",
        )

        async def is_empty() -> bool:
            await self.outbox.flush()
            return self.outbox.statistics().packs == 0

        async with asyncio.timeout(5):
            while not await is_empty():
                await asyncio.sleep(0.01)

    async def connected(self) -> None:
        await eventually(lambda: self.delivery.statistics().connected, what="connected")


@asynccontextmanager
async def running(*tasks: Coroutine[object, object, Never]) -> AsyncIterator[None]:
    """Tasks in the background: what they raise fails the test at once, and their end may not take long."""
    async with asyncio.TaskGroup() as group:
        started = [group.create_task(task) for task in tasks]
        yield
        for one in started:
            one.cancel()
        _, late = await asyncio.wait(started, timeout=5)
        assert not late


@asynccontextmanager
async def mqtt_town(folder: Path, *, extra: str = "", backlog: int = 0) -> AsyncIterator[tuple[Broker, Server, Agent]]:
    """A broker, a server that is not yet running, and an agent likewise."""
    async with Broker(folder, extra).running() as broker, open_outbox(folder) as outbox:
        agent = Agent(outbox, MqttLink(DEVICE, "::1", broker.port))
        await agent.measure(backlog)
        yield broker, Server(broker.port), agent


@asynccontextmanager
async def coap_town(folder: Path) -> AsyncIterator[tuple[int, Door, Agent]]:
    """A door that is not yet open, its port, and an agent that is not yet running."""
    port = free_port(socket.SOCK_DGRAM)
    async with open_outbox(folder) as outbox:
        yield port, Door(), Agent(outbox, CoapLink("::1", port))


def test_live_packs_and_backlog_are_delivered_over_mqtt_and_each_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with mqtt_town(tmp_path, backlog=200) as (_, server, agent), running(server.run()):
            await eventually(lambda: server.client, what="the server listens")
            async with running(agent.delivery.run()):
                await agent.connected()
                await agent.measure(1)
                await agent.delivered()
            assert sorted(server.heard) == list(range(1, 202)), "an undisturbed pack is sent once"
            assert agent.delivery.statistics().courier.accepted == 201

    asyncio.run(story())


def test_a_broker_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            mqtt_town(tmp_path, backlog=50) as (broker, server, agent),
            running(server.run(), agent.delivery.run()),
        ):
            for _ in range(3):
                await agent.connected()
                await agent.measure(10)
                await broker.kill()
                await eventually(lambda: not agent.delivery.statistics().connected, what="noticed")
                await broker.start()
            await agent.delivered()
            assert server.stored == set(range(1, 81))
            assert agent.delivery.statistics().interruptions >= 3, "the fault did not bite"

    asyncio.run(story())


def test_a_store_that_is_deaf_for_a_while_hears_probes_and_then_everything(tmp_path: Path) -> None:
    async def story() -> None:
        async with mqtt_town(tmp_path, backlog=100) as (_, server, agent):
            server.deaf = True
            async with running(server.run(), agent.delivery.run()):
                await eventually(lambda: agent.delivery.statistics().courier.silent_rounds >= 3, what="probes")
                told = agent.delivery.statistics().courier
                assert told.in_flight <= limits.MQTT_WINDOW_PACKS
                assert told.attempts <= told.in_flight + told.silent_rounds, "one at a time"
                assert told.accepted == 0
                server.deaf = False
                await agent.delivered()
            assert server.stored == set(range(1, 101))

    asyncio.run(story())


def test_acknowledgements_that_lie_settle_nothing_and_are_reported_but_not_again_and_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with mqtt_town(tmp_path, backlog=3) as (_, server, agent):
            server.mute = True
            async with running(server.run(), agent.delivery.run()):
                await eventually(lambda: len(server.stored) == 3, what="all sent")
                epoch = server.epoch
                lies = [b"", b"\xff\xfe", b"[]", b'{"epoch":77}', b'{"epoch":77,"upto":1e99}', b"[" * 5_000]
                lies += [Acknowledgement(epoch, 2**53 - 1).encode(), Acknowledgement(epoch, 4).encode()]
                for lie in (*lies, Acknowledgement(epoch % 2**52 + 1, 3).encode()):
                    await server.say(topics.ack_topic(DEVICE), lie)
                await eventually(lambda: agent.delivery.statistics().courier.acks_of_other_epochs == 1)
                told = agent.delivery.statistics()
                assert (told.acks_unreadable, told.courier.acks_refused) == (6, 2)
                assert told.courier.accepted == 0
                assert agent.outbox.statistics().packs == 3
                assert len(agent.complaints) == 1, "a flood gets no flood in return"
                await server.say(topics.ack_topic(DEVICE), Acknowledgement(epoch, 3).encode())
                await agent.delivered()

    asyncio.run(story())


def test_configuration_that_was_set_before_and_commands_are_heard(tmp_path: Path) -> None:
    async def story() -> None:
        async with mqtt_town(tmp_path) as (_, server, agent), running(server.run()):
            await server.say(topics.cfg_topic(DEVICE), b"desired", retain=True)
            async with running(agent.delivery.run()):
                await eventually(lambda: agent.cfg == [b"desired"], what="the retained configuration")
                await server.say(topics.cmd_topic(DEVICE), b"dim")
                await eventually(lambda: agent.cmd == [b"dim"], what="the command")

    asyncio.run(story())


def test_state_is_told_after_each_connection_and_events_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        async with mqtt_town(tmp_path) as (broker, server, agent), running(server.run()):
            agent.state = b"old"
            agent.delivery.state_changed_nowait()
            agent.state = b"state"
            for number in range(limits.EVENTS_MAX + 3):
                agent.delivery.report_nowait(b"%d" % number, is_answer=False)
            await eventually(lambda: server.client, what="the server listens")
            async with running(agent.delivery.run()):
                await eventually(lambda: len(server.reports) == limits.EVENTS_MAX + 1, what="all reports")
                assert server.reports[0] == ("state", b"state")
                assert [one for _, one in server.reports[1:]] == [
                    b"%d" % number for number in range(3, limits.EVENTS_MAX + 3)
                ]
                assert agent.delivery.statistics().events_dropped == 3
                await broker.kill()
                server.reports.clear()
                agent.state = b"state of now"
                await broker.start()
                await eventually(lambda: ("state", b"state of now") in server.reports, what="the state once more")
                agent.state = b"changed"
                agent.delivery.state_changed_nowait()
                await eventually(lambda: ("state", b"changed") in server.reports, what="what has changed")

    asyncio.run(story())


def test_a_state_that_cannot_be_told_is_logged_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with mqtt_town(tmp_path, backlog=1) as (_, server, agent), running(server.run()):
            await eventually(lambda: server.client, what="the server listens")
            agent.state = b""
            async with running(agent.delivery.run()):
                agent.delivery.state_changed_nowait()
                agent.delivery.report_nowait(b"first", is_answer=False)
                await eventually(lambda: ("ev", b"first") in server.reports, what="the event")
                agent.delivery.state_changed_nowait()
                agent.delivery.report_nowait(b"second", is_answer=False)
                await eventually(lambda: ("ev", b"second") in server.reports, what="the next event")
                await agent.delivered()
                agent.state = b"well again"
                agent.delivery.state_changed_nowait()
                await eventually(lambda: ("state", b"well again") in server.reports, what="the state")
            assert [one.message for one in caplog.records].count("state_unavailable") == 1
            assert agent.delivery.statistics().interruptions == 0

    asyncio.run(story())


def test_a_broker_that_hangs_is_given_up_and_ending_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MQTT_TIMEOUT_S", 0.5)

    async def story() -> None:
        async with mqtt_town(tmp_path) as (broker, server, agent):
            async with running(server.run(), agent.delivery.run()):
                await agent.connected()
                broker.pause()
                await agent.measure(1)
                await eventually(lambda: agent.delivery.statistics().interruptions >= 2, what="given up")
                broker.resume()
                await agent.delivered()
                broker.pause()
                await agent.measure(1)
            broker.resume()

    asyncio.run(story())


def test_a_broker_that_refuses_the_acknowledgements_is_no_link(tmp_path: Path) -> None:
    """Without them nothing could ever be settled."""
    extra = (
        'authorization { users: [{user: u, password: p, permissions: {subscribe: {deny: "lm.*.*.ack"}}}] }'
        "\nno_auth_user: u"
    )

    async def story() -> None:
        async with mqtt_town(tmp_path, extra=extra) as (_, _, agent), running(agent.delivery.run()):
            await eventually(lambda: "refuses SUBSCRIBE" in agent.delivery.statistics().last_trouble)
            assert agent.delivery.statistics().connects == 0

    asyncio.run(story())


def test_a_pack_that_an_acknowledgement_refuses_is_told_with_the_servers_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with mqtt_town(tmp_path) as (_, server, agent):
            server.mute = True
            async with running(server.run(), agent.delivery.run()):
                await agent.connected()
                await agent.measure(1)
                await eventually(lambda: server.heard, what="sent")
                ack = Acknowledgement(server.epoch, 1, (), (Refused(1, "unknown_unit", "there is no dB here"),))
                for _ in range(2):
                    await server.say(topics.ack_topic(DEVICE), ack.encode())
                await agent.delivered()
            assert agent.refusals == ["unknown_unit: there is no dB here"] == [agent.delivery.statistics().last_refusal]

    asyncio.run(story())
    (line,) = [vars(one) for one in caplog.records if one.message == "pack_refused"]
    assert (line["levelname"], line["reason"], line["seq"]) == ("WARNING", "unknown_unit: there is no dB here", 1)


def test_an_outbox_that_was_replaced_by_a_new_file_goes_on_with_the_numbers_of_that(tmp_path: Path) -> None:
    async def story() -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        first.mkdir()
        second.mkdir()
        async with (
            mqtt_town(tmp_path) as (broker, server, _),
            open_outbox(first) as outbox,
            open_outbox(second) as other,
        ):
            agent = Agent(outbox, MqttLink(DEVICE, "::1", broker.port))
            server.mute = True
            async with running(server.run(), agent.delivery.run()):
                await agent.measure(2)
                await eventually(lambda: server.stored == {1, 2}, what="sent, and not confirmed")
                await other.put([draft(), draft(), draft()], stamp_now())
                old = agent.delivery._outbox
                agent.delivery._outbox = agent.outbox = other
                server.mute = False
                await agent.measure(1)
                await eventually(lambda: server.epoch == other.epoch, what="the new epoch")
                await agent.delivered()
                assert server.stored == {1, 2, 3, 4}
                assert old.statistics().packs == 2, "nothing of the old file was settled by the new numbers"

    asyncio.run(story())


def test_packs_are_delivered_over_coap_in_one_datagram_or_in_blocks(tmp_path: Path) -> None:
    async def story() -> None:
        async with coap_town(tmp_path) as (port, door, agent):
            await agent.measure(1)
            await agent.measure(1, readings=100)
            await agent.measure(1)
            async with door.listening(port), running(agent.delivery.run()):
                await agent.delivered()
            assert door.heard == [1, 2, 3]
            assert door.sizes[1] > 3_000

    asyncio.run(story())


def test_what_a_coap_server_answers_decides_about_the_pack(tmp_path: Path) -> None:
    async def story() -> None:
        async with coap_town(tmp_path) as (port, door, agent):
            await agent.measure(2)
            door.script = [
                (aiocoap.BAD_REQUEST, None, b"wrong_unit: dB, not W"),
                (aiocoap.SERVICE_UNAVAILABLE, 1, b""),
                (aiocoap.FORBIDDEN, 0, b"not registered"),
                (aiocoap.INTERNAL_SERVER_ERROR, None, b""),
            ]
            async with door.listening(port), running(agent.delivery.run()):
                await eventually(lambda: len(door.heard) == 2)
                asked_at_s = asyncio.get_running_loop().time()
                await eventually(lambda: len(door.heard) == 3)
                assert asyncio.get_running_loop().time() - asked_at_s >= 0.9, "Max-Age is obeyed"
                await agent.delivered()
            assert door.heard == [1, 2, 2, 2, 2]
            told = agent.delivery.statistics().courier
            assert dict(told.refusal_reasons) == {"4.00 wrong_unit: dB, not W": 1}
            assert (told.accepted, told.refused) == (1, 1)
            assert agent.refusals == ["4.00 wrong_unit: dB, not W"] == [agent.delivery.statistics().last_refusal]

    asyncio.run(story())


def test_a_coap_server_that_is_silent_or_gone_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COAP_ANSWER_S", 0.5)

    async def story() -> None:
        async with coap_town(tmp_path) as (port, door, agent):
            await agent.measure(2)
            door.script = [None]
            async with running(agent.delivery.run()):
                await eventually(lambda: agent.delivery.statistics().interruptions >= 2, what="nobody there")
                async with door.listening(port):
                    await agent.delivered()
            assert door.heard == [1, 2, 1], "the one that broke the link holds up nobody"

    asyncio.run(story())


def test_without_a_broker_the_packs_go_over_coap_and_with_it_over_mqtt_again(tmp_path: Path) -> None:
    async def story() -> None:
        port, door = free_port(socket.SOCK_DGRAM), Door()
        async with mqtt_town(tmp_path) as (broker, server, one), door.listening(port):
            links = MqttLink(DEVICE, "::1", broker.port), CoapLink("::1", port)
            agent = Agent(one.outbox, *links, patience_s=2.0, return_s=1.0)
            async with running(server.run(), agent.delivery.run()):
                await agent.measure(5)
                await agent.delivered()
                assert door.heard == []
                await broker.kill()
                await agent.measure(2)
                await agent.delivered()
                assert sorted(door.heard) == [6, 7]
                await broker.start()
                await eventually(lambda: server.client, what="the server is back")
                await eventually(lambda: agent.delivery.statistics().failover.link == "mqtt", what="back")
                await agent.connected()
                await agent.measure(1)
                await agent.delivered()
                assert 8 in server.stored

    asyncio.run(story())
