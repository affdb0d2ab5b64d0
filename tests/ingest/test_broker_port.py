"""A Lichtmast that was killed leaves a server that needs a moment to end; its successor waits for the port."""

import asyncio
import socket
from pathlib import Path

import pytest

from lichtmast.ingest import Broker, BrokerError, BrokerSettings, broker

pytestmark = pytest.mark.slow


@pytest.fixture
def held() -> socket.socket:
    return socket.create_server(("::1", 0), family=socket.AF_INET6)


def test_a_port_that_is_let_go_is_waited_for(tmp_path: Path, held: socket.socket) -> None:
    async def start() -> int:
        asyncio.get_running_loop().call_later(0.3, held.close)
        async with Broker(BrokerSettings(tmp_path, mqtt_port=port)) as started:
            return started.mqtt_port

    port = held.getsockname()[1]
    assert asyncio.run(start()) == port


def test_a_port_that_stays_taken_is_told(tmp_path: Path, held: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start() -> None:
        async with Broker(BrokerSettings(tmp_path, mqtt_port=held.getsockname()[1])):
            pass

    monkeypatch.setattr(broker, "PORT_WAIT_S", 0.1)
    with held, pytest.raises(BrokerError, match=r"nats-server did not start: .*MQTT.*address already in use"):
        asyncio.run(start())
