"""What Lichtmast says to one device and hears of it: configuration, commands and their answers, state and events.

Speaks MQTT as the broker's own user, because only an MQTT publish can be retained or reach a device with QoS 1. One
connection an order: people give these, not programs by the thousand.
"""

import asyncio
import json
from dataclasses import asdict
from typing import Any, Final

import aiomqtt
import pyarrow.compute as pc

from lichtmast.ingest.broker import Broker
from lichtmast.ingest.log import Log
from lichtmast.store import DuckStore
from lichtmast.suite.errors import DeviceOrderError
from lichtmast.suite.refused import refused
from lichtmast.wire import DeviceId, topics
from lichtmast.wire.twin import Answer, Command, Desired, TwinError, decode_desired, decode_event, decode_state

CONNECT_TIMEOUT_S: Final = 5.0
SHOWN_EVENTS_MAX: Final = 10
RETAINED_WAIT_S: Final = 1.0
"""How long the broker may take to hand out the configuration that it retains; it has none where it stays silent."""
VERSION_STEP_MAX: Final = 10**12
"""A version further above the last is a slip of the hand, or a state that somebody forged: none would be left above."""


class DevicePost:
    """Orders to devices and what they report, of one running Lichtmast."""

    def __init__(self, broker: Broker, log: Log, store: DuckStore) -> None:
        self._broker = broker
        self._log = log
        self._store = store

    async def configure(self, device: DeviceId, desired: Desired) -> None:
        """Retain a configuration for the device. Raises DeviceOrderError where its version is not a step up.

        What is retained here decides. What the device says that it runs counts only as far as a version of ours can
        have brought it there: its state can be forged.
        """
        states = await self._reported(topics.state_subject(device), 1)
        claimed = states[-1].get("version", 0) if states else 0
        try:
            async with self._connected() as client:
                retained = await _retained_version(client, device)
                highest = retained + VERSION_STEP_MAX
                running = max(retained, claimed if claimed <= highest else 0)
                if desired.version <= running:
                    raise DeviceOrderError(
                        f"{device} has version {running} already; give the configuration a version above that"
                    )
                if desired.version > highest:
                    raise DeviceOrderError(
                        f"version {desired.version} is over {VERSION_STEP_MAX} above {retained}; take smaller steps"
                    )
                await client.publish(topics.cfg_topic(device), desired.encode(), qos=1, retain=True)
        except aiomqtt.MqttError as error:
            raise DeviceOrderError("the broker did not take the configuration; send it again") from error

    async def command(self, device: DeviceId, command: Command, wait_s: float) -> Answer | None:
        """Send a command and wait for its answer; None where there was none in time. Raises DeviceOrderError."""
        try:
            async with self._connected() as client:
                await client.subscribe(topics.ev_topic(device))
                await client.publish(topics.cmd_topic(device), command.encode(), qos=1)
                try:
                    async with asyncio.timeout(wait_s):
                        return await _answer(client, command.id)
                except TimeoutError:
                    return None
        except aiomqtt.MqttError as error:
            raise DeviceOrderError(f"the broker broke off; {device} may have got command {command.id}") from error

    async def show(self, device: DeviceId) -> dict[str, Any]:
        """The last state and events that the device reported, and which packs of it are acknowledged or refused."""
        states = await self._reported(topics.state_subject(device), 1)
        progress = await asyncio.to_thread(self._store.progress)
        epochs = progress.filter(pc.field("device") == str(device)).to_pylist()
        return {
            "device": str(device),
            "state": states[-1] if states else None,
            "events": await self._reported(topics.ev_subject(device), SHOWN_EVENTS_MAX),
            "acknowledged": [
                {"epoch": one["epoch"], "upto": one["upto"], "last": max([one["upto"], *one["ranges"]])}
                for one in epochs
            ],
            "quarantined_by_reason": [
                asdict(one) for one in await asyncio.to_thread(refused, self._store, str(device))
            ],
        }

    def _connected(self) -> aiomqtt.Client:
        broker = self._broker
        return aiomqtt.Client(
            broker.settings.host,
            broker.mqtt_port,
            username=broker.user,
            password=broker.password,
            tls_context=broker.mqtt_tls(),
            timeout=CONNECT_TIMEOUT_S,
        )

    async def _reported(self, subject: str, most: int) -> list[dict[str, Any]]:
        """The last documents of a subject, oldest first; those that a device wrote wrong are named as such."""
        held = await self._log.held_of(topics.EVENTS_STREAM, subject, self._log.settings.events_per_subject_max)
        return [
            _document(message.payload, is_state=subject.endswith(".state"))
            | {"received": message.published.isoformat(timespec="seconds")}
            for message in held[-most:]
        ]


async def _retained_version(client: aiomqtt.Client, device: DeviceId) -> int:
    """The version of the configuration that the broker keeps for the device; 0 where it has none that can be read."""
    await client.subscribe(topics.cfg_topic(device), qos=1)
    try:
        async with asyncio.timeout(RETAINED_WAIT_S):
            message = await anext(aiter(client.messages))
        return decode_desired(bytes(message.payload)).version
    except (TimeoutError, TwinError):
        return 0
    finally:
        await client.unsubscribe(topics.cfg_topic(device))


async def _answer(client: aiomqtt.Client, command_id: str) -> Answer:
    async for message in client.messages:
        try:
            told = decode_event(bytes(message.payload))
        except TwinError:
            continue  # Whatever it is, it answers nothing.
        if isinstance(told, Answer) and told.id == command_id:
            return told
    raise aiomqtt.MqttError("the connection ended")


def _document(raw: bytes, *, is_state: bool) -> dict[str, Any]:
    """A document that its decoder has passed, as plain values."""
    try:
        (decode_state if is_state else decode_event)(raw)
    except TwinError as error:
        return {"undecodable": str(error)}
    fields: dict[str, Any] = json.loads(raw)
    return fields
