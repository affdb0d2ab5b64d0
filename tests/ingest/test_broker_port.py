"""A Lichtmast that was killed leaves a server that needs a moment to end; its successor waits for the port."""

import asyncio
import socket
from pathlib import Path

import pytest

from lichtmast.ingest import Broker, BrokerSettings

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
