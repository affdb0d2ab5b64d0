"""The two links of a simulation: ordered and broken as a whole like TCP, or each datagram for itself like UDP."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable

from simulated_server import DEVICE, Door, Ingest, Log
from simulated_world import World

from lichtmast.edge.outbox import Packed
from lichtmast.edge.uplink import limits
from lichtmast.edge.uplink.coap import judge
from lichtmast.edge.uplink.errors import UplinkError
from lichtmast.edge.uplink.link import Handed, Heard, Kind, Outcome, Report
from lichtmast.wire import topics
from lichtmast.wire.acknowledgement import Acknowledgement

Attempted = Callable[[Packed], None]
"""Told of every pack before its first byte leaves."""


class Broker:
    """Takes packs into the log and passes acknowledgements on, as long as it lives."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.log = Log(world)
        self.ingest = Ingest(world, self.log, self.tell)
        self.door = Door(world, self.log, self.ingest.kick, lambda: self.up)
        self.up = True
        self.twice = 0
        self._told: list[bytes] = []
        self.connections: dict[MqttConnection, None] = {}  # in their order: a set has another in each process

    def take(self, payload: bytes) -> None:
        self.log.append(topics.up_subject(DEVICE), payload)
        if self.twice:
            self.twice -= 1
            self._world.bite("publish_twice")
            self.log.append(topics.up_subject(DEVICE), payload)
        self.ingest.kick()

    def tell(self, payload: bytes) -> None:
        """QoS 0: whoever is not connected misses it."""
        if not self.connections or self._world.chance.random() < self._world.ack_loss:
            self._world.bite("ack_lost")
            return
        self._told.append(payload)
        for connection in self.connections:
            connection.push(payload)

    def whisper(self, how: str) -> None:
        """An acknowledgement that is none, out of the blue."""
        if self._told and self.connections:
            self._world.bite(how)
            for connection in self.connections:
                connection.push(self._spoil(how, self._told[-1]))

    def _spoil(self, how: str, payload: bytes) -> bytes:
        fields = json.loads(payload)
        match how:
            case "ack_garbled":
                at = self._world.chance.randrange(len(payload))
                return payload[:at] + bytes([payload[at] ^ 0x80]) + payload[at + 1 :]
            case "ack_stale":
                return self._world.chance.choice(self._told)
            case "ack_of_another_epoch":
                return Acknowledgement(fields["epoch"] % 2**52 + 1, fields["upto"] + 3).encode()
            case _:  # of what was never sent
                return Acknowledgement(fields["epoch"], fields["upto"] + 2**40).encode()

    def kill(self, down_s: float, *, cut: int) -> None:
        """It dies, and with it every connection; the last `cut` messages were not on the disk yet."""
        self.up = False
        self.break_connections()
        keep = max((one for one in self.log.promised if one > self.ingest.offset), default=0)
        behind = max(len(self.log.messages) - cut, keep, 0)
        if behind < len(self.log.messages):
            self._world.bite("log_rewound" if behind < self.ingest.offset else "puback_broken", behind)
            self.log.cut(behind)
        self.ingest.kill(down_s + 0.2)
        self._world.loop.call_later(down_s, self._start)

    def replace_log(self) -> None:
        """The folder of the log was deleted; what a CoAP sender was promised is in the store already."""
        if all(one <= self.ingest.offset for one in self.log.promised):
            self._world.bite("log_replaced")
            self.log.cut(0)
            self.log.created += 1

    def break_connections(self) -> None:
        for connection in list(self.connections):
            connection.break_off("reset by the network")

    def _start(self) -> None:
        self.up = True


class MqttConnection:
    """An open connection: what is sent arrives in order, late, or not at all from some moment on."""

    def __init__(self, world: World, broker: Broker, attempted: Attempted) -> None:
        self._world = world
        self._broker = broker
        self._attempted = attempted
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._free_s = {"mqtt_up": 0.0, "mqtt_down": 0.0}
        self._broken = ""

    @property
    def conversation(self) -> "MqttConnection":
        return self

    async def deliver(self, packed: Packed) -> Outcome:
        self._attempted(packed)
        confirmed: asyncio.Future[None] = self._world.loop.create_future()
        self._waiting[confirmed] = None
        self._travel("mqtt_up", lambda: self._arrive(packed, confirmed))
        try:
            if self._broken:
                raise UplinkError(self._broken)
            async with asyncio.timeout(limits.MQTT_TIMEOUT_S):
                await confirmed
        except TimeoutError:
            self._world.bite("publish_unconfirmed")
            raise UplinkError("no PUBACK") from None
        finally:
            self._waiting.pop(confirmed, None)
        return Handed()

    async def report(self, kind: Report, payload: bytes) -> None:
        raise AssertionError((kind, payload))

    async def wait_heard(self) -> Heard:
        payload = await self._heard.get()
        if payload is None:
            raise UplinkError(self._broken)
        return Heard(Kind.ACK, payload)

    def push(self, payload: bytes) -> None:
        self._travel("mqtt_down", lambda: self._heard.put_nowait(payload))

    def break_off(self, why: str) -> None:
        self._broker.connections.pop(self, None)
        if not self._broken:
            self._broken = why
            self._heard.put_nowait(None)
            for one in self._waiting:
                if not one.done():
                    one.set_exception(UplinkError(why))

    def _arrive(self, packed: Packed, confirmed: asyncio.Future[None]) -> None:
        if not self._broker.up:
            return
        self._broker.take(packed.payload)
        self._travel("mqtt_down", lambda: None if confirmed.done() else confirmed.set_result(None))

    def _travel(self, direction: str, arrive: Callable[[], None]) -> None:
        at_s = max(self._free_s[direction], self._world.now_s + self._world.draw_delay_s())
        self._free_s[direction] = at_s
        self._world.loop.call_at(at_s, self._reach, direction, arrive)

    def _reach(self, direction: str, arrive: Callable[[], None]) -> None:
        if direction in self._world.blocked:  # TCP tries again until somebody gives up
            if not self._broken:
                self._world.loop.call_later(1.0, self._reach, direction, arrive)
        elif not self._broken or (direction == "mqtt_up" and self._world.chance.random() < 0.5):
            arrive()  # what the kernel had sent before the end may arrive behind it


class SimulatedMqtt:
    """The link that Delivery opens."""

    name = "mqtt"
    window = limits.MQTT_WINDOW_PACKS
    at_once = limits.MQTT_AT_ONCE

    def __init__(self, world: World, broker: Broker, attempted: Attempted) -> None:
        self._world, self._broker, self._attempted = world, broker, attempted

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[MqttConnection]:
        await asyncio.sleep(self._world.draw_delay_s())
        if self._world.blocked & {"mqtt_up", "mqtt_down"}:
            self._world.bite("connect_timed_out")
            await asyncio.sleep(limits.MQTT_CONNECT_S)
            raise UplinkError("nobody answers")
        if not self._broker.up:
            self._world.bite("connect_refused")
            raise UplinkError("connection refused")
        connection = MqttConnection(self._world, self._broker, self._attempted)
        self._broker.connections[connection] = None
        self._world.note("mqtt connected")
        try:
            yield connection
        finally:
            connection.break_off("closed")


class CoapExchange:
    """CON requests over datagrams that are lost, doubled, delayed and damaged, which the checksum drops."""

    conversation = None
    _ids = itertools.count(1)

    def __init__(self, world: World, broker: Broker, attempted: Attempted) -> None:
        self._world, self._broker, self._attempted = world, broker, attempted

    async def deliver(self, packed: Packed) -> Outcome:
        self._attempted(packed)
        message_id = next(self._ids)
        answer: asyncio.Future[tuple[str, int | None, bytes]] = self._world.loop.create_future()

        def respond(told: tuple[str, int | None, bytes]) -> None:
            if not answer.done():
                answer.set_result(told)

        def arrive() -> None:
            told = self._broker.door.take(message_id, packed.content_format, packed.payload)
            if told is not None:
                self._datagram("coap_down", lambda: respond(told))

        wait_s = 2.0 * self._world.chance.uniform(1, 1.5)  # ACK_TIMEOUT, ACK_RANDOM_FACTOR
        for _ in range(limits.COAP_MAX_RETRANSMIT + 1):
            self._datagram("coap_up", arrive)
            done, _ = await asyncio.wait([answer], timeout=wait_s)
            if done:
                return judge(*answer.result())
            wait_s *= 2
        self._world.bite("request_unanswered")
        raise UplinkError("no answer")

    def _datagram(self, direction: str, arrive: Callable[[], None]) -> None:
        if direction in self._world.blocked:
            return
        if self._world.chance.random() < self._world.loss:
            self._world.bite(self._world.chance.choice(("datagram_lost", "datagram_corrupt")))
            return
        copies = 2 if self._world.chance.random() < self._world.duplication else 1
        for _ in range(copies):
            late = self._world.duplication and self._world.chance.random() < 0.2
            if late:
                self._world.bites["datagram_late"] += 1
            self._world.loop.call_later(self._world.draw_delay_s() + (5.0 if late else 0.0), arrive)


class SimulatedCoap:
    """The link that Delivery opens."""

    name = "coap"
    window = limits.COAP_WINDOW_PACKS
    at_once = limits.COAP_WINDOW_PACKS

    def __init__(self, world: World, broker: Broker, attempted: Attempted) -> None:
        self._exchange = CoapExchange(world, broker, attempted)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[CoapExchange]:
        yield self._exchange
