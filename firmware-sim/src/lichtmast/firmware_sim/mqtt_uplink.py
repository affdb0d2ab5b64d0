"""One device over MQTT 3.1.1: publishes at QoS 1, hears the store's acknowledgement, comes back when the broker dies.

A PUBACK only says that the broker has the pack; the outbox keeps it until the acknowledgement topic names it.

Will not use a persistent session: acknowledgements are cumulative, so what was missed is said again.
"""

import asyncio
import contextlib
import logging
from typing import Final

import aiomqtt

from lichtmast.firmware_sim import limits
from lichtmast.firmware_sim.chance import backoff_s
from lichtmast.firmware_sim.uplink import Uplink
from lichtmast.wire import topics
from lichtmast.wire.acknowledgement import AcknowledgementError, decode_acknowledgement

_LOG: Final = logging.getLogger(__name__)
_PAHO_LOG: Final = logging.getLogger(f"{__name__}.paho")
_PAHO_LOG.setLevel(logging.CRITICAL)  # a broken connection is an event that we count, not an error of the program


async def run_mqtt(uplink: Uplink, host: str, port: int, connecting: asyncio.Semaphore) -> None:
    """Deliver for ever; ends by cancellation. `host` is an IPv6 literal."""
    device = uplink.device.spec.device
    attempt = 0
    while True:
        client = aiomqtt.Client(
            host,
            port,
            identifier=device.urn,
            clean_session=True,
            timeout=limits.MQTT_TIMEOUT_S,
            keepalive=limits.MQTT_KEEPALIVE_S,
            logger=_PAHO_LOG,
        )
        try:
            async with connecting:
                await _connect(client)
            try:
                # QoS 0: cumulative acknowledgements need no queue at the broker, where a thousand would cost much.
                await client.subscribe(topics.ack_topic(device), qos=0)
                uplink.connects += 1
                attempt = 0
                uplink.device.outbox.reconnected()
                async with asyncio.TaskGroup() as group:
                    group.create_task(_hear(uplink, client), name=f"hear {device}")
                    group.create_task(_publish(uplink, client), name=f"publish {device}")
            finally:
                await _disconnect(client)
        except* aiomqtt.MqttError:
            uplink.interruptions += 1
            _LOG.debug("mqtt_interrupted", extra={"device": str(device), "attempt": attempt})
        await asyncio.sleep(backoff_s(attempt, uplink.device.seed, limits.RETRY_S, limits.RETRY_MAX_S))
        attempt += 1


async def _publish(uplink: Uplink, client: aiomqtt.Client) -> None:
    """Publish one pack at a time, in order, each confirmed by the broker before the next."""
    device = uplink.device
    topic = topics.up_topic(device.spec.device)
    while True:
        waiting = await uplink.wait_for_work(also_mischief=True)
        if waiting is None:
            await client.publish(topic, device.mischief[0], qos=1)
            device.mischief.popleft()
            device.mischief_sent += 1
            uplink.changed()
            continue
        try:
            await client.publish(topic, waiting.payload, qos=1)
        except BaseException:  # also cancellation, which is how a broken connection ends this task
            device.outbox.returned(waiting.seq)
            raise


async def _hear(uplink: Uplink, client: aiomqtt.Client) -> None:
    device = uplink.device
    async for message in client.messages:
        payload = message.payload
        try:
            ack = decode_acknowledgement(payload if isinstance(payload, bytes) else b"")
        except AcknowledgementError as error:
            _LOG.warning("acknowledgement_unreadable", extra={"device": str(device.spec.device), "reason": str(error)})
            continue
        if ack.epoch != device.epoch:
            continue  # of an earlier life; it confirms nothing of this one
        accepted, refused = device.outbox.acknowledge(ack)
        uplink.settled("ack", accepted)
        uplink.settled("refused", refused)


async def _connect(client: aiomqtt.Client) -> None:
    """Connect, and leave nothing behind when that fails or is cancelled.

    aiomqtt 2.5 opens the socket in a thread, which a cancellation cannot stop; a moment is enough for it to finish.
    """
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.wait([entering], timeout=limits.MQTT_LEAVING_S)
        entering.cancel()
        await asyncio.wait([entering])
        await _abandon(client)
        raise
    except aiomqtt.MqttError:
        await _abandon(client)
        raise


async def _disconnect(client: aiomqtt.Client) -> None:
    """Say goodbye where somebody still listens."""
    with contextlib.suppress(aiomqtt.MqttError):  # the connection is gone, which is what was asked for
        await client.__aexit__(None, None, None)
    await _abandon(client)


async def _abandon(client: aiomqtt.Client) -> None:
    """Close what aiomqtt 2.5 forgets after a CONNACK or DISCONNECT that did not happen: socket, reader and timer task.

    Left alone they would live until the keepalive runs out, which adds up when a thousand devices retry.
    """
    client._client._sock_close()  # noqa: SLF001 - the only handle on that socket
    timer = client._misc_task  # noqa: SLF001 - as above
    if timer is not None:
        timer.cancel()
        await asyncio.wait([timer])
    disconnected = client._disconnected  # noqa: SLF001 - else asyncio complains that nobody looked at its exception
    if disconnected.done() and not disconnected.cancelled():
        disconnected.exception()
