"""Notices on the broker: a CloudEvent on `lm-alerts.TENANT`, which MQTT clients know as `lm-alerts/TENANT`.

A connection for each message, and an answer: the broker's PONG comes after it has taken what came before. It hands the
message to whoever is subscribed at that moment, and keeps nothing.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field

from lichtmast.ingest.announcer import publication
from lichtmast.ingest.notifying.cloud_event import cloud_event
from lichtmast.ingest.notifying.limits import CONNECT_TIMEOUT_S
from lichtmast.ingest.notifying.settings import NotifyingSettings
from lichtmast.registry.notifying import Answer, Letter

SUBJECT = "lm-alerts"


@dataclass(frozen=True, slots=True)
class BrokerLine:
    """Where our own clients reach the broker, and with what."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)


async def send_mqtt(letter: Letter, line: BrokerLine, settings: NotifyingSettings) -> Answer:
    """Publish it; whether the broker has taken it."""
    subject = f"{SUBJECT}.{letter.channel.draft.tenant}"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _publish(line, publication(subject, cloud_event(letter, settings)))
    except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
        return Answer(accepted=False, words="the broker did not take it; it may be restarting")
    return Answer(accepted=True, words=f"the broker took it, for whoever listens to {subject.replace('.', '/')} now")


async def _publish(line: BrokerLine, block: bytes) -> None:
    reader, writer = await asyncio.open_connection(line.host, line.port)
    try:
        await reader.readuntil(b"\r\n")  # INFO
        login = {"verbose": False, "pedantic": False, "user": line.user, "pass": line.password, "lang": "python"}
        writer.write(b"CONNECT %b\r\n%bPING\r\n" % (json.dumps(login).encode(), block))
        answer = b"INFO"
        while answer.startswith(b"INFO"):  # it may tell about itself again
            answer = await reader.readuntil(b"\r\n")
        if not answer.startswith(b"PONG"):
            raise ValueError(answer[:100])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
