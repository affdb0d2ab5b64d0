"""Notices on the broker: taken for certain, and neither read nor written by any device."""

import asyncio
import json
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port
from mqtt_bytes import connect, publish, subscribe

from lichtmast.ingest.broker import Broker, BrokerSettings
from lichtmast.ingest.broker_keys import Issuer
from lichtmast.ingest.callout.request import Request
from lichtmast.ingest.callout.rules import answer
from lichtmast.ingest.callout.sessions import Session
from lichtmast.ingest.notifying import BrokerLine, NotifyingSettings
from lichtmast.ingest.notifying.mqtt import send_mqtt
from lichtmast.registry.notifying import Answer, Channel, ChannelDraft, ChannelKind, Letter
from lichtmast.registry.notifying.records import Notice
from lichtmast.wire import DeviceId

NOTICE = Notice(
    1, 7, "raised", 1_795_345_200_000_000, "gm0402", "Lamp uit", "critical", "datastream/17", "Brink 2", "0 W"
)
LETTER = Letter("5f" * 16, Channel(3, ChannelDraft("gm0402", "bus", ChannelKind.MQTT, ""), 0), (NOTICE,))
SETTINGS = NotifyingSettings("https://lichtmast.example.nl/")
SUBSCRIPTION_REFUSED = 0x80


async def told(line: BrokerLine) -> Answer:
    return await send_mqtt(LETTER, line, SETTINGS)


@pytest.mark.slow
def test_the_broker_takes_it_for_who_may_listen_and_an_open_device_may_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Broker(BrokerSettings(tmp_path, mqtt_port=0)) as broker:
            reader, writer = await asyncio.open_connection("::1", broker.client_port)
            await reader.readuntil(b"\r\n")
            login = {"verbose": False, "user": broker.user, "pass": broker.password}
            writer.write(b"CONNECT %b\r\nSUB lm-alerts.gm0402 1\r\nPING\r\n" % json.dumps(login).encode())
            assert await reader.readuntil(b"\r\n") == b"PONG\r\n"

            device, device_writer = await asyncio.open_connection("::1", broker.mqtt_port)
            device_writer.write(connect() + subscribe("lm-alerts/gm0402"))
            await device.readexactly(4)  # CONNACK
            assert (await device.readexactly(5))[4] == SUBSCRIPTION_REFUSED
            device_writer.write(publish("lm-alerts/gm0402", b"all is well"))

            line = BrokerLine("::1", broker.client_port, broker.user, broker.password)
            assert (await told(line)).accepted
            header = await reader.readuntil(b"\r\n")  # the first that comes is ours, not the device's
            event = json.loads(await reader.readexactly(int(header.split()[-1])))
            assert (event["id"], event["data"]["notices"][0]["name"]) == ("5f" * 16, "Brink 2")

            stranger = await told(BrokerLine("::1", broker.client_port, broker.user, "wrong"))
            assert not stranger.accepted
            for one in (writer, device_writer):
                one.close()
            await broker.stop()

    asyncio.run(scenario())


def test_a_broker_that_is_away_is_told() -> None:
    assert not asyncio.run(told(BrokerLine("::1", free_port(), "", ""))).accepted


def content(token: str | None) -> dict[str, Any]:
    assert token is not None
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


def covers(allowed: str, subject: str) -> bool:
    """Whether a subject with wildcards lets this one in, as the server reads it."""
    theirs, mine = allowed.split("."), subject.split(".")
    if theirs[-1] == ">":
        theirs = theirs[:-1] + mine[len(theirs) - 1 :]
    return len(theirs) == len(mine) and all(one in {"*", other} for one, other in zip(theirs, mine, strict=True))


def test_a_device_with_a_certificate_is_given_no_right_to_alerts() -> None:
    until_us = 2_000_000_000_000_000
    device = DeviceId("gm0402", "lm-1")
    asked = Request(
        "UUSER",
        30,
        "2001:db8::7",
        device.urn,
        is_mqtt=True,
        has_credentials=False,
        certificate_der=b"",
        until_us=until_us,
    )
    session = Session(30, device, 7, until_us)
    rights = content(content(answer(asked, session, Issuer(), "server", 1))["nats"]["jwt"])["nats"]
    assert covers("lm.gm0402.lm-1.up", rights["pub"]["allow"][0])
    for allowed in (*rights["pub"]["allow"], *rights["sub"]["allow"]):
        assert not covers(allowed, "lm-alerts.gm0402"), allowed
